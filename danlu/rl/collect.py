"""Rollouts: sample from the policy, score, estimate advantages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from danlu.config import ConfigError
from danlu.data.records import Batch, RolloutBatch
from danlu.generate.sampling import SamplingConfig
from danlu.objectives.ppo import token_entropy
from danlu.objectives.token_loss import counted_logprobs, token_logprobs
from danlu.rl.advantages import Estimator, Rewarded, explained_variance
from danlu.rl.agreement import negative_kl, sampler_gap
from danlu.rl.controller import AdaptiveKl
from danlu.rl.packing import Packing
from danlu.rl.rewards import (
    Moments,
    ScoreScaling,
    length_cost,
    penalise_missing_end,
    scale_scores,
    sequence_kl,
    token_rewards,
)
from danlu.rl.rollout import Prompt, Rollout, distinct_pairs, distinct_share, lay_out
from danlu.rl.team import Team, evaluating


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutConfig:
    n_episodes: int = 128  # completions sampled before the policy is updated
    n_completions: int = 1  # of each prompt
    minibatch_size: int = 64  # completions in one forward pass
    n_epochs: int = 1  # passes over each rollout
    max_new_tokens: int = 48
    temperature: float = 1.0  # sampling uses nothing else: no top-k, no top-p, or KL turns negative
    scale_scores: ScoreScaling = "none"  # to mean 0 and deviation 1 of the first rollout, or of all so far
    missing_end_penalty: float = 1.0  # taken off a completion that never ended
    length_coef: float = 0.0  # what a token beyond free_length costs
    free_length: int = 0  # tokens that cost nothing
    score_clip: float = 10.0  # scores are clamped to this range
    logprob_tolerance: float = 0.02  # how far the sampler's log-probabilities may lie from the model's, mean

    @property
    def n_minibatches(self) -> int:
        """Minibatches between one sampling and the next."""
        return self.n_epochs * self.n_episodes // self.minibatch_size

    def __post_init__(self) -> None:
        if self.n_epochs < 1:
            raise ConfigError(f"rollout.n_epochs is {self.n_epochs}; it must be at least 1")
        for name in ("minibatch_size", "n_completions"):
            size = getattr(self, name)
            if size < 1 or self.n_episodes % size:
                raise ConfigError(
                    f"rollout.n_episodes is {self.n_episodes}; "
                    f"it must be a multiple of rollout.{name}, {size}"
                )


class Memory:
    """What rollouts leave for later ones: the KL coefficient, and how large scores and rewards were."""

    def __init__(self, controller: AdaptiveKl) -> None:
        self.controller, self.scores, self.rewards = controller, Moments(), Moments()

    def state_dict(self) -> dict[str, Any]:
        moments = {"scores": self.scores.state_dict(), "rewards": self.rewards.state_dict()}
        return {"kl_coef": self.controller.coef, **moments}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.controller.coef = state["kl_coef"]
        self.scores.load_state_dict(state["scores"])
        self.rewards.load_state_dict(state["rewards"])


@dataclass(frozen=True, slots=True)
class Collected:
    """A rollout ready to learn from, and what is worth logging about it."""

    batch: RolloutBatch
    rollouts: list[Rollout]
    scores: Tensor  # as the reward gave them, (episodes,)
    stats: dict[str, float]
    warnings: list[str]

    @property
    def entropy(self) -> float:
        """Nats a token, estimated from the samples."""
        return float(-self.batch.old_logprobs.sum() / self.batch.loss_mask.sum())


@dataclass(frozen=True, slots=True)
class Readings:
    """What the networks say of a rollout, each (batch, seq) and zero outside the mask."""

    logprobs: Tensor
    ref_logprobs: Tensor
    values: Tensor  # zeros where there is no critic


@torch.no_grad()
def collect(
    team: Team,
    prompts: Sequence[Prompt],
    config: RolloutConfig,
    estimator: Estimator,
    memory: Memory,
    *,
    seed: int,
) -> Collected:
    """Sample completions of each prompt from the current policy and prepare what it learns from."""
    with evaluating(team.trained):
        rollouts = sample(team, prompts, config, seed)
        batch = lay_out(rollouts, team.pad_id)
        said = read(team, batch, config)
    mask = batch.loss_mask
    gap = sampler_gap(rollouts, said.logprobs, mask, config.logprob_tolerance)
    scores = team.reward(rollouts)
    final = final_scores(scores, rollouts, config, memory)
    kl_coef = memory.controller.coef
    rewarded = Rewarded(
        rewards=token_rewards(
            final, said.logprobs, said.ref_logprobs, mask, kl_coef=memory.controller.reward_coef
        ),
        values=said.values,
        mask=mask,
        n_completions=config.n_completions,
        past_reward=memory.rewards.mean if memory.rewards.n else None,
    )
    advantages, returns = estimator(rewarded)
    memory.rewards.add(rewarded.totals)
    prepared = RolloutBatch(
        **{name: getattr(batch, name) for name in Batch.__slots__},
        old_logprobs=said.logprobs,
        ref_logprobs=said.ref_logprobs,
        old_values=said.values,
        advantages=advantages,
        returns=returns,
    )
    has_critic = team.trained.value is not None
    explained = {"explained_variance": explained_variance(said.values, returns, mask)} if has_critic else {}
    kl = sequence_kl(said.logprobs, said.ref_logprobs, mask)
    stats = {
        "score": float(scores.mean()),
        "score_total": float(rewarded.totals.mean()),
        "kl": float(kl.mean()),
        "kl_coef": kl_coef,
        **statistics_of(rollouts, scores, mask, config.n_completions),
        **explained,
        "sampler_gap": gap,
    }
    odd = negative_kl(kl, lambda: excess_surprise(team, batch, config))
    return Collected(prepared, rollouts, scores, stats, [*no_end(rollouts), *([odd] if odd else [])])


def sample(team: Team, prompts: Sequence[Prompt], config: RolloutConfig, seed: int) -> list[Rollout]:
    """Completions at the training temperature, nothing truncated; those of a prompt side by side."""
    sampling = SamplingConfig(max_new_tokens=config.max_new_tokens, temperature=config.temperature, seed=seed)
    n = config.n_completions
    if team.player is not None:
        return team.player.play(team.sampler, prompts, sampling, n)
    completions = team.sampler.generate([prompt.ids for prompt in prompts], sampling, n)
    asked = [prompt for prompt in prompts for _ in range(n)]
    return [Rollout(prompt, completion) for prompt, completion in zip(asked, completions, strict=True)]


def read(team: Team, batch: Batch, config: RolloutConfig) -> Readings:
    """Run the networks on rows packed as in training, so that both give the same numbers."""

    def by_trained(rows: Batch) -> tuple[Tensor, Tensor]:
        if team.trained.shares_trunk:
            logits, values = team.trained(*rows.tree_inputs)
            return token_logprobs(logits, rows.target_ids, temperature=config.temperature), values
        logprobs = counted_logprobs(team.trained.policy, rows, temperature=config.temperature)
        value = team.trained.value
        return logprobs, torch.zeros_like(logprobs) if value is None else value(*rows.tree_inputs)

    def by_reference(rows: Batch) -> tuple[Tensor]:
        return (counted_logprobs(team.reference, rows, temperature=config.temperature),)

    logprobs, values = minibatched(by_trained, batch, config.minibatch_size)
    (ref_logprobs,) = minibatched(by_reference, batch, config.minibatch_size)
    mask = batch.loss_mask
    return Readings(logprobs * mask, ref_logprobs * mask, values * mask)


def minibatched(
    forward: Callable[[Batch], tuple[Tensor, ...]], batch: Batch, size: int
) -> tuple[Tensor, ...]:
    """Run `forward` on rows packed as in training; each result is (batch, seq) again, zero at padding."""
    parts: list[tuple[Tensor, ...]] = []
    for index in torch.arange(len(batch)).split(size):
        rows = batch.rows(index)
        packing = Packing.of(rows)
        parts.append(tuple(packing.unpack(each) for each in forward(packing.pack(rows))))
    return tuple(torch.cat(each) for each in zip(*parts, strict=True))


def final_scores(
    scores: Tensor, rollouts: Sequence[Rollout], config: RolloutConfig, memory: Memory
) -> Tensor:
    """Scores as they are rewarded: scaled, less what a missing end and length cost, clamped; (batch,)."""
    ended = torch.tensor([rollout.ended for rollout in rollouts])
    lengths = torch.tensor([len(rollout.completion.ids) for rollout in rollouts])
    scaled = scale_scores(scores, memory.scores, config.scale_scores)
    final = penalise_missing_end(scaled, ended, config.missing_end_penalty)
    final = final - length_cost(lengths, config.length_coef, config.free_length)
    return final.clamp(-config.score_clip, config.score_clip)


def statistics_of(
    rollouts: Sequence[Rollout], scores: Tensor, mask: Tensor, n_completions: int
) -> dict[str, float]:
    """What shows how the completions came out."""
    stats = {
        "length": float(mask.sum(dim=1).float().mean()),
        "ended": sum(rollout.ended for rollout in rollouts) / len(rollouts),
        "distinct": distinct_share(rollouts),
        "distinct_pairs": distinct_pairs(rollouts),
    }
    if n_completions > 1:  # share of prompts whose completions score the same: nothing is learnt from them
        groups = scores.view(-1, n_completions)
        stats["alike"] = float((groups.amax(dim=1) == groups.amin(dim=1)).float().mean())
    return stats


def no_end(rollouts: Sequence[Rollout]) -> list[str]:
    """A warning if every completion was cut: then nothing rewards an end."""
    if any(rollout.ended for rollout in rollouts):
        return []
    return [
        f"none of {len(rollouts)} completions ended within rollout.max_new_tokens; nothing here rewards an "
        "end. Allow more tokens, or fine-tune the policy on answers that end"
    ]


def excess_surprise(team: Team, batch: Batch, config: RolloutConfig) -> Tensor:
    """-log p of the tokens drawn less the policy's entropy there, summed over each completion, (batch,)."""

    def excess(rows: Batch) -> tuple[Tensor]:
        logits, _ = team.trained(*rows.tree_inputs)
        logprobs = token_logprobs(logits, rows.target_ids, temperature=config.temperature)
        return (-logprobs - token_entropy(logits, config.temperature),)

    with evaluating(team.trained):
        (each,) = minibatched(excess, batch, config.minibatch_size)
    return (each * batch.loss_mask).sum(dim=1)
