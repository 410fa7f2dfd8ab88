"""PPO's options, GRPO, RLOO and best-of-n as commands run them: on tiny untrained models, with real files."""

import json
import re
from dataclasses import replace
from pathlib import Path
from shutil import copy

import pytest
import torch
from safetensors.torch import load_file
from test_resume import Cut, cut_after, metrics
from torch import nn
from torch.testing import assert_close

from danlu.adapters.attach import adapted_layers, adapters_off
from danlu.adapters.files import load_adapter
from danlu.adapters.settings import AdapterConfig
from danlu.cli import main
from danlu.config import ConfigError
from danlu.data.records import DataError
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import load_language_model
from danlu.model.raters import RaterModel
from danlu.objectives.ppo import Ppo
from danlu.recipes import best_of_n, grpo, ppo, rloo
from danlu.recipes.judge import grade_of
from danlu.recipes.pretrain import Shape
from danlu.recipes.stage import chat_format_of, publish
from danlu.rl import judges
from danlu.rl.advantages import Baseline
from danlu.rl.collect import RolloutConfig
from danlu.rl.judges import Endpoint
from danlu.rl.rollout import Prompt
from danlu.rl.team import Average
from danlu.tokenizer.bpe import Tokenizer
from danlu.train.run import open_run

SHAPE = Shape(d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=32, max_seq_len=64)
LORA = AdapterConfig(kind="lora", rank=4, alpha=8.0)
ROLLOUT = RolloutConfig(n_episodes=16, n_completions=4, minibatch_size=8, n_epochs=2, max_new_tokens=6)


@pytest.fixture(scope="session")
def models(kit, tmp_path_factory) -> Path:
    """A folder with an untrained policy and an untrained reward model."""
    folder, tokenizer = tmp_path_factory.mktemp("untrained"), Tokenizer.load(kit.tokenizer)
    sizes = SHAPE.model_config(tokenizer.vocab_size)
    publish(LanguageModel(sizes, seed=0), tokenizer, folder / "policy")
    publish(ScoreModel(sizes, seed=1), tokenizer, folder / "reward")
    return folder


@pytest.fixture
def given(kit, models, tmp_path):
    """The settings that every method has in common."""
    return {
        "policy": models / "policy",
        "reward_model": models / "reward",
        "prompts": kit.prompts,
        "out": tmp_path / "out",
        "n_episodes": 64,
        "rollout": ROLLOUT,
        "save_every": 1,
    }


def variants(given):
    """Every option that a rollout leaves something behind for, in some method."""
    scaled, smoothed = replace(ROLLOUT, scale_scores="running"), {"ema_decay": 0.9}
    return {
        "grpo": (grpo.run, grpo.GrpoConfig(**given | smoothed | {"rollout": scaled})),
        "rloo": (rloo.run, rloo.RlooConfig(**given, max_approx_kl=1e-6)),
        "reinforce": (
            rloo.run,
            rloo.RlooConfig(**given, advantage=Baseline(kind="running", divide_by_std=False)),
        ),
        "ppo on a shared network": (
            ppo.run,
            ppo.PpoConfig(**given, value_model="shared", grad_accum_steps=2),
        ),
        "ppo with a critic warm-up": (ppo.run, ppo.PpoConfig(**given, value_model="policy", critic_warmup=2)),
        "grpo with an adapter and its average": (
            grpo.run,
            grpo.GrpoConfig(**given | smoothed, adapter=LORA),
        ),
        "ppo of the top layer": (ppo.run, ppo.PpoConfig(**given, top_layers=1)),
    }


def weights(out):
    return load_file(out / "model" / "model.safetensors")


def last_checkpoint(out):
    return load_file(max((out / "checkpoints").glob("step-*/model.safetensors"), key=step_of))


def step_of(path):
    return int(path.parent.name.removeprefix("step-"))


def rollouts_of(out):
    return [line["rollout"] for line in metrics(out) if "rollout" in line]


def updates_of(out):
    return [line for line in metrics(out) if "loss" in line]


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert_close(a[name], b[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    "name",
    [
        "grpo",
        "rloo",
        "reinforce",
        "ppo on a shared network",
        "ppo with a critic warm-up",
        "grpo with an adapter and its average",
        "ppo of the top layer",
    ],
)
def test_every_method_resumes_bit_for_bit(name, given, tmp_path):
    run, config = variants(given)[name]
    whole = run(replace(config, out=tmp_path / "whole"))
    resumed = replace(config, out=tmp_path / "cut")
    resumed.out.mkdir()
    copy(whole / "machine.json", resumed.out)
    with pytest.MonkeyPatch.context() as patch:
        cut_after(patch, 5)
        with pytest.raises(Cut):
            run(resumed)
    run(resumed)
    assert_same(weights(whole), weights(resumed.out))
    assert len(rollouts_of(whole)) == len(rollouts_of(resumed.out)) == 4


def test_grpo_has_no_value_model_and_says_how_often_it_learns_nothing(given):
    out = grpo.run(grpo.GrpoConfig(**given))
    assert all(name.startswith("policy.") for name in last_checkpoint(out))
    first, *_ = rollouts_of(out)
    assert "explained_variance" not in first
    assert 0 <= first["alike"] <= 1
    update = updates_of(out)[0]
    assert update["ratio"] == pytest.approx(1, abs=1e-5)
    assert update["kl"] == pytest.approx(0, abs=1e-6)
    assert "value" not in update


def test_completions_of_a_prompt_are_side_by_side_and_differ(given):
    asked = []
    config = grpo.GrpoConfig(**given | {"reward_model": None})
    grpo.run(config, grade=lambda prompt, answer: asked.append((prompt.id, answer)) or 0.0)
    groups = [asked[i : i + 4] for i in range(0, 16, 4)]
    assert [len({name for name, _ in group}) for group in groups] == [1, 1, 1, 1]
    assert len({name for name, _ in asked[:16]}) == 4
    assert len({answer for _, answer in groups[0]}) > 1


def test_an_early_stop_leaves_out_the_rest_of_a_rollout_and_no_rollout(given):
    plain = rloo.run(rloo.RlooConfig(**given | {"out": given["out"] / "plain"}))
    stopped = rloo.run(rloo.RlooConfig(**given | {"out": given["out"] / "stopped"}, max_approx_kl=1e-12))
    # The first update of a rollout sees the policy that sampled; the second sees it moved, and is the last.
    assert (len(updates_of(plain)), len(updates_of(stopped))) == (16, 8)
    assert len(rollouts_of(plain)) == len(rollouts_of(stopped)) == 4
    assert json.loads((stopped / "summary.json").read_text())["n_episodes"] == 64


def test_the_average_forgets_by_its_decay():
    policy = nn.Linear(1, 1)
    with torch.no_grad():
        policy.weight.fill_(1.0)
    policy.bias.requires_grad_(False)
    average = Average(policy)
    with torch.no_grad():
        policy.weight.fill_(2.0)
    average.follow(policy, 0.9)
    average.follow(policy, 0.9)
    assert [name for name, _ in average.named_buffers()] == ["weight"]  # what is frozen needs no average
    average.copy_to(policy)
    assert_close(policy.weight, torch.tensor([[1 + 0.1 + 0.09]]))


def test_the_average_is_what_is_published(given):
    out = ppo.run(ppo.PpoConfig(**given, ema_decay=0.9))
    stored, published = last_checkpoint(out), weights(out)
    embedding = published["model.embed_tokens.weight"]
    assert_close(embedding, stored["average.backbone/embedding/weight"], rtol=0, atol=0)
    assert float((embedding - stored["policy.backbone.embedding.weight"]).abs().max()) > 0


def test_while_the_critic_warms_up_the_policy_stays_and_the_critic_learns(given, models):
    out = ppo.run(ppo.PpoConfig(**given, critic_warmup=4))
    assert_same(weights(out), load_file(models / "policy" / "model.safetensors"))
    before = load_file(models / "reward" / "model.safetensors")["model.embed_tokens.weight"]
    assert float((last_checkpoint(out)["value.backbone.embedding.weight"] - before).abs().max()) > 0
    assert len({rollout["kl_coef"] for rollout in rollouts_of(out)}) == 1  # nothing to steer by yet


def test_a_shared_critic_adds_one_row_of_weights_and_begins_at_zero(given):
    out = ppo.run(ppo.PpoConfig(**given, value_model="shared"))
    extra = [name for name in last_checkpoint(out) if not name.startswith("policy.")]
    assert extra == ["value.score.weight"]
    assert float(last_checkpoint(out)["value.score.weight"].abs().max()) > 0
    # Values were 0, so advantages are the rewards to come: the critic explains nothing of them yet.
    assert rollouts_of(out)[0]["explained_variance"] == pytest.approx(0, abs=1e-6)


def test_a_critic_without_a_network_of_its_own_cannot_warm_up(given):
    with pytest.raises(ConfigError, match="value_model is 'shared'"):
        ppo.PpoConfig(**given, value_model="shared", critic_warmup=1)


def test_an_update_never_mixes_two_rollouts(given):
    with pytest.raises(ConfigError, match="grad_accum_steps is 3; it must divide the 4 minibatches"):
        ppo.PpoConfig(**given, grad_accum_steps=3)


IDS = torch.randint(1, 300, (2, 12), generator=torch.Generator().manual_seed(0))


def built(recipe, config):
    return recipe.build_team(config, chat_format_of(config.policy), open_run(config.out, config))


def memory_of(model):
    return {p.data_ptr() for p in model.parameters()}


@pytest.mark.parametrize("value_model", ["reward_model", "policy", "shared"])
def test_of_the_top_layer_nothing_below_is_trained_or_in_memory_twice(given, value_model):
    team = built(ppo, ppo.PpoConfig(**given, top_layers=1, value_model=value_model))
    policy, value, reference = team.trained.policy, team.trained.value, team.reference
    trained = {name for name, p in policy.named_parameters() if p.requires_grad}
    assert trained == {
        name
        for name, _ in policy.named_parameters()
        if name.startswith(("backbone.blocks.1.", "backbone.norm"))
    }
    own = {name for name, p in policy.named_parameters() if p.data_ptr() not in memory_of(reference)}
    assert own == trained
    assert not any(p.requires_grad for p in reference.parameters())
    assert torch.equal(policy(IDS), reference(IDS))
    learnt = {name for name, p in value.named_parameters() if p.requires_grad}
    if value_model == "shared":
        assert learnt == {"score.weight"}
        return
    assert learnt == trained | {"score.weight"}
    below = {n: p for n, p in value.named_parameters() if n not in learnt}
    if value_model == "policy":
        assert {p.data_ptr() for p in below.values()} <= memory_of(reference)
        assert not value(IDS).any()


def test_a_critic_has_no_use_for_what_is_known_of_raters(given, tmp_path, kit):
    tokenizer = Tokenizer.load(kit.tokenizer)
    judge = ScoreModel(SHAPE.model_config(tokenizer.vocab_size), seed=1)
    judge.raters = RaterModel("davidson", log_tie=0.3, n_rankings={"ann": 3, "bob": 2})
    publish(judge, tokenizer, tmp_path / "judge")
    team = built(ppo, ppo.PpoConfig(**given | {"reward_model": tmp_path / "judge"}))
    assert not any("raters" in name for name, _ in team.trained.named_parameters())


def test_the_top_layers_learn_and_the_others_stay(given, models):
    out = ppo.run(ppo.PpoConfig(**given, top_layers=1))
    before, after = load_file(models / "policy" / "model.safetensors"), weights(out)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed
    assert all(name.startswith(("model.layers.1.", "model.norm")) for name in changed)


@pytest.mark.parametrize("n", [0, 2])
def test_top_layers_are_some_and_not_all(given, n):
    with pytest.raises(ConfigError, match=f"top_layers is {n}; it must be at least 1 and below 2"):
        built(grpo, grpo.GrpoConfig(**given, top_layers=n))


def test_an_adapter_and_top_layers_exclude_each_other(given):
    with pytest.raises(ConfigError, match=r"top_layers is 1 and adapter\.kind is 'lora'"):
        grpo.GrpoConfig(**given, top_layers=1, adapter=LORA)


def test_a_critic_that_starts_from_an_adapted_policy_stands_on_its_base(given):
    team = built(ppo, ppo.PpoConfig(**given, adapter=LORA, value_model="policy"))
    value, base = team.trained.value, memory_of(team.reference)
    own = {name for name, p in value.named_parameters() if p.data_ptr() not in base}
    assert own == {name for name, p in value.named_parameters() if p.requires_grad}
    assert len(adapted_layers(value)) == 2 * 7
    assert own.isdisjoint(
        {name for name, p in team.trained.policy.named_parameters() if p.data_ptr() in memory_of(value)}
        - base
    )


def test_grpo_with_an_adapter_leaves_the_base_and_publishes_the_average(given, models):
    out = grpo.run(grpo.GrpoConfig(**given, adapter=LORA, ema_decay=0.9))
    policy, base = load_adapter(out / "adapter"), load_language_model(models / "policy")
    with adapters_off(policy):
        assert torch.equal(policy(IDS), base(IDS))
    assert float((policy(IDS) - base(IDS)).detach().abs().max()) > 1e-6
    stored = last_checkpoint(out)
    assert {name.partition(".")[0] for name in stored} == {"policy", "average"}
    name = "backbone.blocks.0.mlp.sublayer.up.adapters.default.lora_b"
    assert torch.equal(policy.get_parameter(name).detach(), stored[f"average.{name.replace('.', '/')}"])
    assert not torch.equal(policy.get_parameter(name).detach(), stored[f"policy.{name}"])


class Flaky:
    """Grades by length, and breaks in the third rollout unless it was mended."""

    def __init__(self, broken):
        self.n_calls, self.broken = 0, broken

    def __call__(self, prompt, answer):
        self.n_calls += 1
        if self.broken and self.n_calls > 40:
            raise TimeoutError("the judge does not answer")
        return len(answer) / 10


def test_a_run_whose_reward_breaks_goes_on_where_it_stood(given, tmp_path, capsys):
    config = grpo.GrpoConfig(**given | {"reward_model": None, "save_every": 1000})
    whole = grpo.run(replace(config, out=tmp_path / "whole"), grade=Flaky(broken=False))
    broken = replace(config, out=tmp_path / "broken")
    broken.out.mkdir()
    copy(whole / "machine.json", broken.out)
    with pytest.raises(TimeoutError, match="the judge does not answer"):
        grpo.run(broken, grade=Flaky(broken=True))
    assert "saved after update 8" in capsys.readouterr().err  # two rollouts of four updates
    grpo.run(broken, grade=Flaky(broken=False))
    assert_same(weights(whole), weights(broken.out))
    assert [line["step"] for line in updates_of(broken.out)] == list(range(1, 17))


def test_exactly_one_thing_rewards(given):
    with pytest.raises(ConfigError, match="reward_model is not set"):
        grpo.run(grpo.GrpoConfig(**given | {"reward_model": None}))
    with pytest.raises(ConfigError, match=r"reward_model is .* and `run` got a function; only one"):
        grpo.run(grpo.GrpoConfig(**given), grade=lambda prompt, answer: 0.0)


def test_a_second_judge_and_a_time_without_a_function_are_refused(given):
    at = Endpoint(url="http://127.0.0.1:9/")
    with pytest.raises(ConfigError, match=r"reward_model is .* and endpoint.url is .*; only one can reward"):
        grpo.run(grpo.GrpoConfig(**given, endpoint=at))
    with pytest.raises(ConfigError, match=r"grade_timeout_s is 3 and no function rewards"):
        grpo.run(grpo.GrpoConfig(**given, grade_timeout_s=3.0))
    assert not given["out"].exists()


@pytest.mark.parametrize("method", ["ppo", "grpo", "best_of_n"])
def test_a_reward_model_with_another_tokenizer_is_refused_before_anything_is_written(
    method, given, models, tmp_path, kit, capsys
):
    n = Tokenizer.load(kit.tokenizer).vocab_size
    words = " ".join(f"k{letter}l{letter}m" for letter in "abcdefghijklmnopqrstuvwxyz")
    other = Tokenizer.train([words] * 6, n)
    assert other.vocab_size == n  # so the sizes fit, and only the meaning of the ids does not
    publish(ScoreModel(SHAPE.model_config(n), seed=1), other, tmp_path / "other")
    paths = [f"{key}={given[key]}" for key in ("policy", "prompts", "out")]
    assert main([method, *paths, f"reward_model={tmp_path}/other"]) == 2
    assert "whose tokenizer" in (shown := capsys.readouterr().err)
    assert "every id would mean something else" in shown
    assert not given["out"].exists()


def test_a_service_rewards_where_settings_name_it(given, monkeypatch):
    def lengths(endpoint, tree):
        assert endpoint.url == "http://127.0.0.1:9/score"
        return json.dumps({"scores": [len(each["completion"]) for each in tree["completions"]]}).encode()

    monkeypatch.setattr(judges, "posted", lengths)
    words = [f"{key}={given[key]}" for key in ("policy", "prompts", "out")]
    small = ["n_episodes=8", "rollout.n_episodes=8", "rollout.minibatch_size=8", "rollout.max_new_tokens=4"]
    assert main(["grpo", *words, *small, "endpoint.url=http://127.0.0.1:9/score"]) == 0
    assert rollouts_of(given["out"])[0]["score"] > 0


def test_a_critic_cannot_start_from_a_reward_model_that_is_not_there(given):
    with pytest.raises(ConfigError, match="use value_model='policy' or 'shared'"):
        ppo.PpoConfig(**given | {"reward_model": None})


class Colours:
    """A task in miniature."""

    def questions(self):
        return [Prompt("sky", []), Prompt("grass", [])]

    def grade(self, question, completion):
        return float(completion == {"sky": "blue", "grass": "green"}[question.id])


def test_a_task_grades_answers_to_its_questions_only():
    grade = grade_of(Colours())
    assert grade(Prompt("sky", [1]), "blue") == 1
    assert grade(Prompt("grass", [1]), "blue") == 0
    with pytest.raises(DataError, match="prompt 'coal' is no question of the task"):
        grade(Prompt("coal", [1]), "black")


def test_the_best_of_n_that_ended_are_learnt(given, kit):
    wanted = {"policy", "prompts", "out"}
    config = best_of_n.BestOfNConfig(
        **{key: value for key, value in given.items() if key in wanted},
        n_completions=64,
        n_rounds=2,
        max_new_tokens=16,
        seq_len=64,
        batch_size=2,
    )
    seen = []
    out = best_of_n.run(config, grade=lambda prompt, answer: seen.append(answer) or float(len(answer)))
    rounds = json.loads((out / "summary.json").read_text())["rounds"]
    assert len(seen) == 2 * 64 * 4
    for number, told in enumerate(rounds, start=1):
        lines = (out / f"round-{number}" / "best.jsonl").read_text(encoding="utf-8").splitlines()
        best = [json.loads(line) for line in lines]
        assert told["n_chosen"] == len(best)
        assert all(each["score"] == len(each["messages"][-1]["content"]) for each in best)
        assert told["best_score"] == pytest.approx(sum(each["score"] for each in best) / len(best))
        assert told["kl_bound"] == pytest.approx(3.1745, abs=1e-4)  # ln 64 - 63 / 64
    learnt = json.loads((out / "round-2" / "sft" / "summary.json").read_text())
    assert learnt["n_chats"] == rounds[1]["n_chosen"]
    assert_same(weights(out), load_file(out / "round-2" / "sft" / "model" / "model.safetensors"))


def test_the_command_of_best_of_n_learns_what_the_reward_model_chose(given, models):
    words = [f"{key}={given[key]}" for key in ("policy", "reward_model", "prompts", "out")]
    assert main(["best_of_n", *words, "n_completions=64", "max_new_tokens=16", "seq_len=64"]) == 0
    best = (given["out"] / "round-1" / "best.jsonl").read_text(encoding="utf-8").splitlines()
    (told,) = json.loads((given["out"] / "summary.json").read_text())["rounds"]
    assert told["n_chosen"] == len(best) > 0
    before = load_file(models / "policy" / "model.safetensors")
    assert any(not torch.equal(before[name], weight) for name, weight in weights(given["out"]).items())


def test_if_no_completion_ends_nothing_is_learnt(given):
    config = best_of_n.BestOfNConfig(
        policy=given["policy"], prompts=given["prompts"], out=given["out"], n_completions=1, max_new_tokens=1
    )
    with pytest.raises(DataError, match="no completion of any prompt ended"):
        best_of_n.run(config, grade=lambda prompt, answer: 1.0)


def test_the_sampling_temperature_must_be_the_objectives(given):
    with pytest.raises(ConfigError, match=r"objective\.temperature is 0\.5"):
        ppo.PpoConfig(**given, objective=Ppo(temperature=0.5))


@pytest.mark.parametrize(
    ("command", "row"),
    [
        ("ppo", r"value_model +\"reward_model\" .*; What the critic starts from"),
        ("grpo", r"kl\.place +\"loss\" +'reward' or 'loss'"),
        ("rloo", r"advantage\.kind +\"leave_one_out\""),
        ("best_of_n", r"n_completions +8 +integer; of each prompt"),
    ],
)
def test_a_command_shows_its_own_defaults(command, row, capsys):
    assert main([command, "--help"]) == 0
    assert re.search(row, capsys.readouterr().out)


def test_reinforce_by_the_command_that_the_docs_give(given, capsys):
    words = [f"{key}={given[key]}" for key in ("policy", "reward_model", "prompts", "out")]
    small = ["n_episodes=16", "rollout.n_episodes=8", "rollout.minibatch_size=8", "rollout.max_new_tokens=4"]
    kind = ["advantage.kind=running", "rollout.n_completions=1"]
    assert main(["rloo", *words, *small, *kind]) == 0
    assert len(rollouts_of(given["out"])) == 2


def test_a_kl_estimator_in_the_wrong_place_is_refused_in_plain_words(given, capsys):
    words = [f"{key}={given[key]}" for key in ("policy", "reward_model", "prompts", "out")]
    assert main(["grpo", *words, "kl.place=reward"]) == 2
    assert "kl.estimator is 'k3' and place is 'reward'" in capsys.readouterr().err
    assert not given["out"].exists()
