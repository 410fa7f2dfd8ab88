"""What `danlu doctor` shows and checks of PPO, GRPO and RLOO, on what they would build."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from torch import Tensor

from danlu.adapters.files import is_adapter, load_adapter
from danlu.data.records import Batch, RolloutBatch
from danlu.generate.sampling import SamplingConfig
from danlu.inspect import data_checks, model_checks
from danlu.inspect.finding import Finding
from danlu.model.heads import LanguageModel
from danlu.model.hf import load_language_model, load_model
from danlu.objectives.ppo import PpoBatch, Surrogate
from danlu.objectives.token_loss import token_logprobs
from danlu.recipes import grpo, ppo
from danlu.recipes.checking import (
    NOT_GIVEN,
    Checkup,
    both_logprobs,
    heading,
    mean_loss,
    metric,
    number_of,
    scratch_run,
    show_batch,
    text_findings,
)
from danlu.recipes.grpo import GrpoConfig
from danlu.recipes.judge import check_one_judge, tokenizer_of
from danlu.recipes.policy import read_prompts
from danlu.recipes.ppo import PpoConfig
from danlu.recipes.rloo import RlooConfig
from danlu.recipes.stage import chat_format_of
from danlu.rl.collect import Collected, Memory, collect
from danlu.rl.controller import AdaptiveKl
from danlu.rl.packing import Packing
from danlu.rl.rollout import Prompt, Rollout
from danlu.rl.team import Team
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat
from danlu.train.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class PpoDoctor(PpoConfig):
    out: Path = NOT_GIVEN  # the stage's run directory, if it has one; only read
    example: int = 1  # prompt to answer and show, counted from 1
    n_shown: int = 120  # tokens of prompt and answer


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpoDoctor(GrpoConfig):
    out: Path = NOT_GIVEN  # the stage's run directory, if it has one; only read
    example: int = 1  # prompt to answer and show, counted from 1
    n_shown: int = 120  # tokens of prompt and answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RlooDoctor(RlooConfig):
    out: Path = NOT_GIVEN  # the stage's run directory, if it has one; only read
    example: int = 1  # prompt to answer and show, counted from 1
    n_shown: int = 120  # tokens of prompt and answer


PolicyDoctor = PpoDoctor | GrpoDoctor | RlooDoctor


def check_policy(config: PolicyDoctor, screen: Console) -> Iterator[Finding]:
    """One rollout of the policy, rewarded, and the first minibatch that would be learnt from."""
    check_one_judge(config, None)
    tokenizer = (chat_format := chat_format_of(config.policy)).tokenizer
    heading(screen, "checks of the models")
    for finding in tokenizer_findings(config, tokenizer):
        yield finding
        if not finding.ok:  # every id means something else, so nothing that follows means anything
            return
    with scratch_run(config.out) as scratch:
        team = TEAMS[type(config)](config, chat_format, scratch)
    chosen = chosen_prompts(config, chat_format)
    yield data_checks.special_tokens(tokenizer)
    agreement = sampler_finding(team, chosen, config)
    yield agreement
    if not agreement.ok:  # nothing that is computed from such a rollout means anything
        return
    controller = AdaptiveKl(config.kl, config.n_episodes)
    rollout = replace(config.rollout, n_episodes=len(chosen) * config.rollout.n_completions)
    collected = collect(team, chosen, rollout, config.advantage, Memory(controller), seed=config.seed)
    minibatch = collected.batch.rows(torch.arange(config.rollout.minibatch_size))
    packing = Packing.of(minibatch)
    rows, is_pad = packing.pack(minibatch), ~packing.filled
    show_rollout(screen, config, tokenizer, rows, packing)
    heading(screen, "checks of the rollout")
    yield from rollout_findings(collected, config)
    yield from text_findings([rows], [is_pad], cast(LanguageModel, team.trained.policy).config.max_seq_len)
    yield packed_logprobs(team, minibatch, packing, config.objective.temperature)
    yield from update_findings(team, config.objective, PpoBatch(rows, kl=controller.penalty))


def sampler_finding(team: Team, prompts: Sequence[Prompt], config: PolicyDoctor) -> Finding:
    """The same for rollouts, with their own sampler, temperature and tolerance."""
    rollout = config.rollout
    sampling = SamplingConfig(
        max_new_tokens=rollout.max_new_tokens, temperature=rollout.temperature, seed=config.seed
    )
    completions = team.sampler.generate([prompt.ids for prompt in prompts], sampling)
    rollouts = [Rollout(p, c) for p, c in zip(prompts, completions, strict=True)]
    sampled, trained = both_logprobs(
        team.trained.policy, rollouts, pad_id=team.pad_id, temperature=config.objective.temperature
    )
    return model_checks.logprobs_agree(sampled, trained, rollout.logprob_tolerance)


def chosen_prompts(config: PolicyDoctor, chat_format: ChatFormat) -> list[Prompt]:
    """The example and what follows it: as few prompts as fill whole minibatches and whole groups."""
    rollout = config.rollout
    longest = load_language_model(config.policy).config.max_seq_len - rollout.max_new_tokens
    prompts = read_prompts(config.prompts, chat_format, longest)
    first = number_of(config.example, len(prompts), "prompts")
    n = math.lcm(rollout.minibatch_size, rollout.n_completions) // rollout.n_completions
    return [prompts[(first + i) % len(prompts)] for i in range(n)]


def tokenizer_findings(config: PolicyDoctor, tokenizer: Tokenizer) -> Iterator[Finding]:
    """Whether policy and reward model read the same ids."""
    for path in filter(None, (config.policy, config.reward_model)):
        model = load_adapter(path) if is_adapter(path) else load_model(path)
        yield model_checks.tokenizer_fits(model.config.vocab_size, tokenizer.vocab_size)
    if config.reward_model is not None:
        theirs = tokenizer_of(config.reward_model).fingerprint
        yield model_checks.same_tokenizer([tokenizer.fingerprint, theirs])


def update_findings(team: Team, objective: Surrogate, batch: PpoBatch) -> Iterator[Finding]:
    """What must hold before the first update."""
    loss, weights = objective(team.trained, batch), objective.weights(batch)
    yield model_checks.ratio_is_one(metric(loss, "ratio"), metric(loss, "approx_kl"))
    yield model_checks.gradient_reaches(
        team.trained, lambda: mean_loss(objective(team.trained, batch), weights)
    )


def rollout_findings(collected: Collected, config: PolicyDoctor) -> Iterator[Finding]:
    """What must hold of a rollout before anything is learnt from it."""
    rollouts = collected.rollouts
    n_ended = sum(rollout.ended for rollout in rollouts)
    yield model_checks.some_end(n_ended, len(rollouts), config.rollout.max_new_tokens)
    yield model_checks.scores_differ(collected.scores)
    if config.reference is None:
        yield model_checks.starts_at_reference(collected.stats["kl"], 1e-3)


@torch.no_grad()
def packed_logprobs(team: Team, minibatch: RolloutBatch, packing: Packing, temperature: float) -> Finding:
    """The policy's log-probabilities in the rows of training against those of one completion a row."""

    def logprobs(rows: Batch) -> Tensor:
        return token_logprobs(
            team.trained.policy(*rows.tree_inputs), rows.target_ids, temperature=temperature
        )

    mask = minibatch.loss_mask
    together = packing.unpack(logprobs(packing.pack(minibatch)))
    tolerance = model_checks.tolerance_of(cast(LanguageModel, team.trained.policy))
    return model_checks.packing_keeps_logprobs(together[mask], logprobs(minibatch)[mask], tolerance)


def show_rollout(
    screen: Console, config: PolicyDoctor, tokenizer: Tokenizer, rows: RolloutBatch, packing: Packing
) -> None:
    """The packed row that holds the example, and the example in it."""
    first = packing.filled & (packing.source == 0)  # where the first completion begins
    row = int(first.any(dim=1).nonzero()[0, 0])
    segment = int(rows.segment_ids[first][0])
    shown = rows.rows(torch.tensor([row]))
    numbers = {"logprob": shown.old_logprobs, "advantage": shown.advantages}
    show_batch(screen, config, tokenizer, shown, segment, ~packing.filled[row, None], numbers)


TEAMS: dict[type, Callable[[Any, ChatFormat, Run], Team]] = {
    PpoDoctor: ppo.build_team,
    GrpoDoctor: grpo.build_team,
    RlooDoctor: grpo.build_team,
}
CHECKUPS: dict[type, Checkup] = dict.fromkeys(TEAMS, check_policy)
