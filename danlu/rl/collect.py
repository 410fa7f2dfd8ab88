"""Rollouts: sample from the policy, score, estimate advantages."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from danlu.config import ConfigError
from danlu.data.records import Batch, RolloutBatch, pad_rows
from danlu.generate.sampler import Completion, Sampler, SamplingConfig
from danlu.objectives.token_loss import token_logprobs
from danlu.rl.advantages import explained_variance, gae, whiten
from danlu.rl.packing import Packing
from danlu.rl.rewards import penalise_missing_end, sequence_kl, token_rewards


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutConfig:
    n_episodes: int = 128  # completions sampled before the policy is updated
    minibatch_size: int = 64  # completions in one forward pass
    n_epochs: int = 1  # passes over each rollout
    max_new_tokens: int = 48
    temperature: float = 1.0  # sampling uses nothing else: no top-k, no top-p, or KL turns negative
    gamma: float = 1.0
    gae_lambda: float = 0.95
    missing_end_penalty: float = 1.0  # taken off a completion that never ended
    score_clip: float = 10.0  # scores are clamped to this range
    whiten_rewards: bool = False  # scale rewards to unit variance, keeping their mean
    logprob_tolerance: float = 0.02  # how far the sampler's log-probabilities may lie from the model's, mean

    def __post_init__(self) -> None:
        if self.n_episodes % self.minibatch_size:
            raise ConfigError(
                f"rollout.n_episodes is {self.n_episodes}; "
                f"it must be a multiple of rollout.minibatch_size, {self.minibatch_size}"
            )


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the policy is asked."""

    id: str
    ids: list[int]  # up to where the assistant begins


@dataclass(frozen=True, slots=True)
class Rollout:
    """One prompt and what the policy said."""

    prompt: Prompt
    completion: Completion

    @property
    def ended(self) -> bool:
        return self.completion.finish_reason == "stop"


Reward = Callable[[Sequence[Rollout]], Sequence[float]]


class PolicyAndValue(nn.Module):
    """What PPO trains: the policy and its critic."""

    def __init__(self, policy: nn.Module, value: nn.Module) -> None:
        super().__init__()
        self.policy, self.value = policy, value


@dataclass(frozen=True, slots=True)
class Team:
    """The four networks of RLHF; `trained` holds two of them, `reward` hides the fourth behind a function."""

    trained: PolicyAndValue
    reference: nn.Module
    sampler: Sampler
    reward: Reward
    pad_id: int


@dataclass(frozen=True, slots=True)
class Collected:
    """A rollout ready for PPO, and what is worth logging about it."""

    batch: RolloutBatch
    rollouts: list[Rollout]
    scores: Tensor  # before penalty and clamp, (episodes,)
    stats: dict[str, float]


@torch.no_grad()
def collect(
    team: Team, prompts: Sequence[Prompt], config: RolloutConfig, *, kl_coef: float, seed: int
) -> Collected:
    """Sample one completion a prompt from the current policy and prepare PPO's batch."""
    with evaluating(team.trained):
        rollouts = sample(team, prompts, config, seed)
        batch = lay_out(rollouts, team.pad_id)
        old = minibatched(
            lambda b: token_logprobs(
                team.trained.policy(*b.inputs), b.target_ids, temperature=config.temperature
            ),
            batch,
            config.minibatch_size,
        )
        ref = minibatched(
            lambda b: token_logprobs(team.reference(*b.inputs), b.target_ids, temperature=config.temperature),
            batch,
            config.minibatch_size,
        )
        values = minibatched(lambda b: team.trained.value(*b.inputs), batch, config.minibatch_size)
    gap = sampler_gap(rollouts, old, batch.loss_mask, config.logprob_tolerance)
    scores = torch.tensor(team.reward(rollouts), dtype=torch.float32)
    ended = torch.tensor([rollout.ended for rollout in rollouts])
    final = penalise_missing_end(scores, ended, config.missing_end_penalty)
    final = final.clamp(-config.score_clip, config.score_clip)
    mask = batch.loss_mask
    rewards = token_rewards(final, old, ref, mask, kl_coef=kl_coef)
    if config.whiten_rewards:
        rewards = whiten(rewards, mask, shift_mean=False)
    values = values * mask
    advantages, returns = gae(rewards, values, mask, gamma=config.gamma, gae_lambda=config.gae_lambda)
    prepared = RolloutBatch(
        **{name: getattr(batch, name) for name in Batch.__slots__},
        old_logprobs=old * mask,
        ref_logprobs=ref * mask,
        old_values=values,
        advantages=whiten(advantages, mask),
        returns=returns,
    )
    stats = {
        "score": float(scores.mean()),
        "score_total": float(rewards.sum(dim=1).mean()),
        "kl": float(sequence_kl(old, ref, mask).mean()),
        "kl_coef": kl_coef,
        "length": float(mask.sum(dim=1).float().mean()),
        "ended": float(ended.float().mean()),
        "explained_variance": explained_variance(values, returns, mask),
        "sampler_gap": gap,
        "distinct": distinct_share(rollouts),
    }
    return Collected(prepared, rollouts, scores, stats)


def sample(team: Team, prompts: Sequence[Prompt], config: RolloutConfig, seed: int) -> list[Rollout]:
    """One completion a prompt at the training temperature, nothing truncated."""
    sampling = SamplingConfig(max_new_tokens=config.max_new_tokens, temperature=config.temperature, seed=seed)
    completions = team.sampler.generate([prompt.ids for prompt in prompts], sampling)
    return [Rollout(prompt, completion) for prompt, completion in zip(prompts, completions, strict=True)]


def lay_out(rollouts: Sequence[Rollout], pad_id: int) -> Batch:
    """Prompt and completion one a row; `loss_mask` is True where the policy chose the target."""
    rows = [[*rollout.prompt.ids, *rollout.completion.ids] for rollout in rollouts]
    masks = [[False] * len(rollout.prompt.ids) + [True] * len(rollout.completion.ids) for rollout in rollouts]
    longest = max(len(row) for row in rows) - 1
    return pad_rows(rows, masks, pad_id, width=-(-longest // 16) * 16)  # few widths, few kernel shapes


def minibatched(forward: Callable[[Batch], Tensor], batch: Batch, size: int) -> Tensor:
    """Run `forward` on rows packed as in training; (batch, seq) again, zero at padding."""
    parts: list[Tensor] = []
    for index in torch.arange(len(batch)).split(size):
        rows = batch.rows(index)
        packing = Packing.of(rows)
        parts.append(packing.unpack(forward(packing.pack(rows))))
    return torch.cat(parts)


def sampler_gap(rollouts: Sequence[Rollout], logprobs: Tensor, mask: Tensor, tolerance: float) -> float:
    """Mean distance between the sampler's log-probabilities and the model's; too much of it is an error."""
    sampled = torch.tensor([x for rollout in rollouts for x in rollout.completion.logprobs])
    gap = float((sampled - logprobs[mask]).abs().mean())
    if not gap <= tolerance:
        raise FloatingPointError(
            f"the sampler's log-probabilities differ from the model's by {gap:.2g} on average; "
            f"at most {tolerance:.2g} is rounding (rollout.logprob_tolerance)"
        )
    return gap


def distinct_share(rollouts: Sequence[Rollout]) -> float:
    """Share of completions that no other completion equals: a collapse shows here first."""
    return len({tuple(rollout.completion.ids) for rollout in rollouts}) / len(rollouts)


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Dropout off within, as it was before after."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
