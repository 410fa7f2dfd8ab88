"""Faults of PPO and reward models that other projects shipped."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from catalogue import fault
from miniature import chat_format, language_model, prompts, said, team, tokenizer
from torch import Tensor
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.data.records import RolloutBatch
from danlu.generate.sampler import Completion, Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model.hf import load_language_model
from danlu.objectives.ppo import Ppo, PpoBatch
from danlu.objectives.token_loss import token_logprobs
from danlu.recipes import ppo
from danlu.recipes.stage import publish
from danlu.rl import advantages, collect, controller, rewards
from danlu.rl.collect import RolloutConfig
from danlu.rl.rollout import Prompt, Rollout
from danlu.rl.team import Team

SMALL = RolloutConfig(n_episodes=4, minibatch_size=4, max_new_tokens=8)


def collected(given: Team, config: RolloutConfig = SMALL) -> collect.Collected:
    kl = controller.AdaptiveKl(controller.KlConfig(init_coef=0.1), 1000)
    some = prompts(config.n_episodes)
    return collect.collect(given, some, config, advantages.Gae(), collect.Memory(kl), seed=0)


def truncated(given: Team, some: Sequence[Prompt], config: RolloutConfig, seed: int) -> list[Rollout]:
    sampling = SamplingConfig(max_new_tokens=config.max_new_tokens, top_k=8, seed=seed)
    done = given.sampler.generate([prompt.ids for prompt in some], sampling)
    return [Rollout(prompt, completion) for prompt, completion in zip(some, done, strict=True)]


@fault("trl #925 #1005 #1017", broken={"danlu.rl.collect.sample": truncated})
def test_rollouts_are_drawn_from_the_whole_distribution():
    given, n = team(), 400
    some = [replace(prompts(1)[0], id=str(i)) for i in range(n)]
    drawn = collect.sample(given, some, replace(SMALL, max_new_tokens=1), 0)
    with torch.no_grad():
        logprobs = given.reference(torch.tensor([some[0].ids]))[0, -1].log_softmax(-1)
    probs = logprobs.exp()
    mean = float((probs * logprobs).sum())  # minus the entropy
    spread = math.sqrt(float((probs * (logprobs - mean).square()).sum()) / n)
    found = sum(rollout.completion.logprobs[0] for rollout in drawn) / n
    assert abs(found - mean) < 4 * spread


@fault("LLaMA-Factory #98 #664; trl #351")
def test_generation_defaults_of_a_model_directory_change_no_rollout(tmp_path: Path):
    publish(language_model(), tokenizer(), tmp_path / "model")
    path = tmp_path / "model" / "generation_config.json"
    tree = json.loads(path.read_text()) | {"do_sample": True, "top_k": 1, "temperature": 0.01}
    path.write_text(json.dumps(tree))
    loaded = load_language_model(tmp_path / "model")
    ids = [prompt.ids for prompt in prompts(4)]

    def drawn(model: Any) -> list[Completion]:
        sampler = Sampler(model, stop_ids=chat_format().stop_ids, kernel="torch")
        return sampler.generate(ids, SamplingConfig(max_new_tokens=8))

    assert drawn(loaded) == drawn(language_model())


class Colder(Sampler):
    """A sampler that draws at half the temperature it is told."""

    def generate(self, prompts: Any, sampling: SamplingConfig, *rest: Any) -> list[Completion]:
        return super().generate(prompts, replace(sampling, temperature=sampling.temperature / 2), *rest)


@fault(
    "MedicalGPT #374; trl #235 #1857",
    broken={"danlu.rl.collect.sampler_gap": lambda *given: 0.0},
)
def test_a_sampler_that_disagrees_with_the_model_is_an_error_and_no_warning():
    given = team()
    colder = Colder(language_model(), stop_ids=chat_format().stop_ids, kernel="torch")
    with pytest.raises(FloatingPointError, match="the sampler's log-probabilities differ from the model's"):
        collected(replace(given, sampler=colder))


PATHS: dict[str, Any] = {name: Path(name) for name in ("policy", "reward_model", "prompts", "out")}


@fault(
    "minimind train_ppo.py: drawn at 0.8, scored at 1",
    broken={"danlu.recipes.ppo.PpoConfig.__post_init__": lambda self: None},
)
def test_logprobs_at_another_temperature_than_the_sampler_are_refused():
    with pytest.raises(ConfigError, match=r"objective\.temperature is 1\.0; it must equal rollout\.temp"):
        ppo.PpoConfig(**PATHS, rollout=RolloutConfig(temperature=0.8))


@fault("DeepSpeed-Chat ppo_trainer.py: greedy rollouts for Llama")
def test_rollouts_without_exploration_are_refused():
    with pytest.raises(ConfigError, match="temperature"):
        ppo.PpoConfig(**PATHS, rollout=RolloutConfig(temperature=0.0))
    with pytest.raises(ConfigError, match=r"objective\.temperature is 0\.0; it must be above 0"):
        Ppo(temperature=0.0)


@fault(
    "DeepSpeedExamples #533: generate_experience",
    broken={"danlu.rl.collect.evaluating": nullcontext},
)
def test_old_logprobs_are_taken_without_dropout():
    given = team()
    policy: Any = given.trained.policy
    for block in policy.backbone.blocks:
        block.mlp.register_forward_hook(lambda module, inputs, out: F.dropout(out, 0.5, module.training))
    given.trained.train()
    batch = collected(given, replace(SMALL, logprob_tolerance=1e9)).batch
    assert given.trained.training
    given.trained.eval()
    with torch.no_grad():
        expected = token_logprobs(policy(*batch.inputs), batch.target_ids)
    mask = batch.loss_mask
    assert_close(batch.old_logprobs[mask], expected[mask], atol=1e-5, rtol=1e-5)


def other_shapes(forward: Any, batch: Any, size: int) -> tuple[Tensor, ...]:
    return tuple(each + 0.01 for each in forward(batch))


@fault("trl #454; trlx #107", broken={"danlu.rl.collect.minibatched": other_shapes})
def test_the_ratio_is_one_before_the_first_update():
    given = team()
    batch = collected(given).batch
    loss = Ppo()(given.trained, PpoBatch(batch))
    ratio, n = loss.metrics["ratio"]
    assert_close(ratio / n, torch.tensor(1.0))
    assert float(loss.metrics["approx_kl"][0]) < 1e-8


@fault("TRL ppo_trainer.py: value and score of untruncated text")
def test_nothing_stands_behind_the_first_end():
    model = language_model()
    with torch.no_grad():  # an end is likely everywhere
        model.lm_head.weight[tokenizer().im_end_id] *= 4
    sampler = Sampler(model, stop_ids=chat_format().stop_ids, kernel="torch")
    some = prompts(32)
    drawn = sampler.generate([prompt.ids for prompt in some], SamplingConfig(max_new_tokens=24))
    ended = [each for each in drawn if each.finish_reason == "stop"]
    assert ended
    for each in ended:
        assert each.ids.index(tokenizer().im_end_id) == len(each.ids) - 1
    batch = collect.lay_out([Rollout(p, c) for p, c in zip(some, drawn, strict=True)], tokenizer().pad_id)
    assert batch.loss_mask.sum(dim=1).tolist() == [len(each.ids) for each in drawn]


@fault(
    "minimind train_ppo.py: length bonus",
    broken={"danlu.rl.rewards.penalise_missing_end": lambda scores, ended, penalty: scores + 0.5},
)
def test_being_cut_off_is_never_worth_more_than_ending():
    scores, ended = torch.tensor([2.0, -1.0]), torch.tensor([False, False])
    assert_close(rewards.penalise_missing_end(scores, ended, 1.0), torch.tensor([-1.0, -2.0]))
    kept = rewards.penalise_missing_end(scores, ~ended, 1.0)
    assert_close(kept, scores)


def k3_rewards(scores: Tensor, logprobs: Tensor, ref: Tensor, mask: Tensor, *, kl_coef: float) -> Tensor:
    apart = logprobs - ref
    return -kl_coef * ((-apart).exp() - 1 + apart) * mask + scores.unsqueeze(1)


@fault(
    "minimind train_ppo.py: k3; verl core_algos.py: kl_penalty",
    broken={"danlu.rl.rewards.token_rewards": k3_rewards},
)
def test_the_penalty_pulls_as_the_gradient_of_kl_does():
    logits = torch.tensor([1.0, -0.5, 0.3, 2.0, -1.0], dtype=torch.float64, requires_grad=True)
    ref = torch.tensor([0.2, 0.4, -1.0, 0.5, 1.5], dtype=torch.float64).log_softmax(-1)
    logprobs = logits.log_softmax(-1)
    kl = (logprobs.exp() * (logprobs - ref)).sum()
    (expected,) = torch.autograd.grad(-0.3 * kl, logits, retain_graph=True)
    every = rewards.token_rewards(  # every token once, so that the expectation is exact
        torch.zeros(5, dtype=torch.float64),
        logprobs.detach()[:, None],
        ref[:, None],
        torch.ones(5, 1, dtype=torch.bool),
        kl_coef=0.3,
    )[:, 0]
    (found,) = torch.autograd.grad((logprobs.detach().exp() * every * logprobs).sum(), logits)
    assert_close(found, expected)


def per_token(logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor) -> Tensor:
    return ((logprobs - ref_logprobs) * mask).sum(dim=1) / mask.sum(dim=1)


@fault(
    "OpenRLHF, verl: adaptive KL controller fed with a mean over tokens",
    broken={"danlu.rl.rewards.sequence_kl": per_token},
)
def test_the_controller_steers_by_kl_summed_over_tokens():
    mask = torch.ones(2, 10, dtype=torch.bool)
    kl = float(rewards.sequence_kl(torch.full((2, 10), -1.0), torch.full((2, 10), -1.2), mask).mean())
    steering = controller.AdaptiveKl(controller.KlConfig(init_coef=0.1, target=2.0, horizon=100), 1000)
    steering.update(kl, 50)
    assert kl == pytest.approx(2.0)  # ten tokens, 0.2 nats each: exactly the target
    assert steering.coef == pytest.approx(0.1)


def with_padding(n_pad: int) -> RolloutBatch:
    """Two counted tokens and `n_pad` padded ones, on which the policy has moved far."""
    width = 2 + n_pad
    counted = torch.arange(width)[None] < 2
    zeros, long = torch.zeros(1, width), torch.zeros(1, width, dtype=torch.int64)
    return RolloutBatch(
        input_ids=long,
        target_ids=long,
        loss_mask=counted,
        position_ids=long,
        segment_ids=long,
        old_logprobs=torch.full((1, width), math.log(0.5)) * counted,
        ref_logprobs=zeros,
        old_values=zeros,
        advantages=counted.float(),
        returns=zeros,
    )


def unmasked(self: Ppo, logprobs: Tensor, rollout: RolloutBatch) -> Any:
    log_ratio = logprobs - rollout.old_logprobs
    n = torch.tensor(log_ratio.numel())
    metrics = {
        "ratio": (log_ratio.exp().sum(), n),
        "approx_kl": ((0.5 * log_ratio.square()).sum(), n),
        "clip_fraction": (torch.zeros(()), n),
    }
    return -(log_ratio.exp() * rollout.advantages).sum(), metrics


@fault(
    "TRL ppo_trainer.py:857,867-868",
    broken={"danlu.objectives.ppo.Ppo.policy_term": unmasked},
)
def test_padding_does_not_dilute_what_is_logged():
    def logged(n_pad: int) -> list[float]:
        rollout = with_padding(n_pad)
        logprobs = torch.full((1, 2 + n_pad), math.log(0.6))
        _, metrics = Ppo().policy_term(logprobs, rollout)
        return [float(total / weight) for total, weight in metrics.values()]

    assert logged(6) == pytest.approx(logged(0))
    assert logged(6)[0] == pytest.approx(1.2)


def over_everything(x: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    return (x - x.mean()) / (x.std() + 1e-8)


@fault("OpenRLHF #1239", broken={"danlu.rl.advantages.whiten": over_everything})
def test_a_sample_without_a_token_shifts_no_mean():
    x, mask = torch.tensor([[1.0, 2.0], [4.0, 0.0]]), torch.tensor([[True, True], [True, False]])
    empty = torch.zeros(1, 2)
    with_empty = advantages.whiten(torch.cat([x, empty]), torch.cat([mask, empty.bool()]))
    assert_close(with_empty[:2], advantages.whiten(x, mask))
    assert_close(with_empty[2], torch.zeros(2))


def no_mask(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, gae_lambda: float) -> Any:
    found, running, following = torch.zeros_like(rewards), 0.0, 0.0
    for t in reversed(range(rewards.shape[1])):
        running = rewards[:, t] + gamma * following - values[:, t] + gamma * gae_lambda * running
        following = values[:, t]
        found[:, t] = running
    return found, found + values


@fault("safe-rlhf #88", broken={"danlu.rl.advantages.gae": no_mask})
def test_lengths_of_others_change_no_advantage():
    given = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.3, 0.4]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    alone, _ = advantages.gae(*given, mask, gamma=1.0, gae_lambda=0.95)
    rubbish = torch.full((1, 3), 7.0)  # what a value model says of padding
    longer = [torch.cat([x, rubbish], dim=1) for x in given]
    padded, returns = advantages.gae(
        *longer, torch.cat([mask, torch.zeros(1, 3, dtype=torch.bool)], dim=1), gamma=1.0, gae_lambda=0.95
    )
    assert_close(padded[:, :2], alone)
    assert_close(padded[:, 2:], torch.zeros(1, 3))
    assert_close(returns[:, 2:], torch.zeros(1, 3))


def by_its_residue(x: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    counted = x[mask]
    return (x - counted.mean()) / (counted.std(unbiased=False) + 1e-12) * mask


@fault("NeMo-RL #1518", broken={"danlu.rl.advantages.whiten": by_its_residue})
def test_rewards_that_are_all_alike_give_no_advantage():
    alike = torch.full((3, 7), 0.1)
    alike[0, 0] += 1e-7  # rounding
    assert float(advantages.whiten(alike, torch.ones(3, 7, dtype=torch.bool)).abs().max()) < 0.01


def unchecked(self: advantages.Baseline) -> None:
    pass


@fault(
    "NeMo-RL #1518: leave-one-out, then divided by the deviation",
    broken={"danlu.rl.advantages.Baseline.__post_init__": unchecked},
)
def test_what_was_left_out_is_never_divided_by_how_much_it_varies():
    with pytest.raises(ConfigError, match="next to others almost equal, a reward would become huge"):
        advantages.Baseline(kind="leave_one_out", divide_by_std=True)


@fault(
    "OpenRLHF #768: KL in the reward and in the loss",
    broken={"danlu.rl.controller.AdaptiveKl.reward_coef": 0.1},
)
def test_kl_is_charged_once():
    in_loss = controller.AdaptiveKl(controller.KlConfig(init_coef=0.1, estimator="k3", place="loss"), 1000)
    assert in_loss.penalty is not None
    assert in_loss.penalty.coef == 0.1
    assert in_loss.reward_coef == 0
    in_reward = controller.AdaptiveKl(controller.KlConfig(init_coef=0.1), 1000)
    assert in_reward.penalty is None
    assert in_reward.reward_coef == 0.1


@fault(
    "DeepSpeed-Chat: advantages as they come; minimind: normalised over a batch of 2",
    broken={"danlu.rl.advantages.whiten": lambda x, mask, shift_mean=True: x * mask},
)
def test_advantages_are_whitened_over_the_whole_rollout():
    batch = collected(team()).batch
    counted = batch.advantages[batch.loss_mask]
    assert abs(float(counted.mean())) < 1e-4
    assert float(counted.std(unbiased=False)) == pytest.approx(1.0, abs=1e-3)


@fault("trl #204 #615: the same response to every query")
def test_a_collapse_to_one_answer_is_logged():
    given = team()
    (one,) = collect.sample(given, prompts(1), SMALL, 0)
    others = collect.sample(given, prompts(3), SMALL, 1)
    assert collect.distinct_share([one] * 4) == 0.25
    assert collect.distinct_share([one, *others]) == 1.0
    assert "distinct" in collected(given).stats


def hopeful(value: float) -> bool:
    return True


class HopefulMath:
    isfinite = staticmethod(hopeful)


@fault("OpenRLHF #1120", broken={"danlu.generate.engine.math": HopefulMath})
def test_logits_that_are_no_numbers_stop_sampling():
    model = language_model()
    with torch.no_grad():
        model.lm_head.weight[5] = math.nan
    sampler = Sampler(model, stop_ids=chat_format().stop_ids, kernel="torch")
    with pytest.raises(FloatingPointError, match="logits are not finite"):
        sampler.generate([chat_format().prompt(said("Hello"))], SamplingConfig(max_new_tokens=4))


@fault("OpenRLHF #600 #642 #841; torchtune #1395; trl #1913 #4692")
def test_ppo_takes_a_step_on_a_cpu():
    given = team()
    objective = Ppo()
    batch = PpoBatch(collected(given).batch)
    weights = objective.weights(batch)
    loss = objective(given.trained, batch)
    sum(term.coef * term.total / weights[name] for name, term in loss.terms.items()).backward()  # type: ignore[union-attr]
    for name, parameter in given.trained.named_parameters():
        assert parameter.device.type == "cpu"
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
