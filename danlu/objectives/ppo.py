"""What is learnt from rollouts: clipped surrogate, KL, entropy, text against forgetting; PPO's critic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from danlu.config import ConfigError
from danlu.data.records import Batch, RolloutBatch
from danlu.objectives.kl import KlPenalty
from danlu.objectives.loss import Loss, Term, whole
from danlu.objectives.token_loss import counted_logprobs, token_logprobs

Metrics = dict[str, tuple[Tensor, Tensor]]  # sums and what to divide them by


@dataclass(frozen=True, slots=True)
class PpoBatch:
    """A minibatch of rollouts, what is modelled beside it, and what the whole rollout decides."""

    rollout: RolloutBatch
    pretrain: Batch | None = None  # ordinary text (PPO-ptx)
    demonstrations: Batch | None = None
    kl: KlPenalty | None = None  # where KL is a term of the loss and not part of the rewards
    entropy: float = 0.0  # nats a token over the rollout, estimated from its samples
    value_only: bool = False  # the critic warms up: the policy stays as it is

    @property
    def beside(self) -> dict[str, Batch]:
        """What is there of the two, by the name of its term."""
        found = {"ptx": self.pretrain, "sft": self.demonstrations}
        return {name: batch for name, batch in found.items() if batch is not None}


@dataclass(frozen=True, slots=True)
class Said:
    """What the policy makes of rollouts by now, each (batch, seq)."""

    logprobs: Tensor
    entropy: Tensor | None = None  # of the next token's distribution; None where none is learnt


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrogate:
    """The policy's terms alone, for methods without a value model: Schulman et al. 2017, eq. 7, and more.

    Each term is a mean over the whole update, whatever the micro-batches.
    """

    clip_range: float = 0.2  # of the probability ratio
    # Ye et al. 2020: a bad token's loss is at most so many times its advantage, however its ratio grew.
    dual_clip: float | None = None
    # Over what policy, KL and entropy are averaged: all tokens alike; completions alike, each over its own
    # tokens (Shao et al. 2024); completions alike, each summed (the gradient of a completion's probability).
    average: Literal["tokens", "completions", "sums"] = "tokens"
    entropy_coef: float = 0.0  # of the bonus for entropy
    entropy_floor: float | None = None  # nats a token; the bonus only counts in rollouts below
    ptx_coef: float = 0.0  # of ordinary text; 27.8 belongs to InstructGPT's scale of rewards
    sft_coef: float = 0.0  # the same for demonstrations
    temperature: float = 1.0  # must equal the sampler's

    def __post_init__(self) -> None:
        require_positive(self, "clip_range", "temperature")
        if self.dual_clip is not None and self.dual_clip <= 1:
            raise ConfigError(f"objective.dual_clip is {self.dual_clip}; it must be above 1, for instance 3")
        if self.entropy_floor is not None and self.entropy_coef <= 0:
            raise ConfigError(
                f"objective.entropy_floor is {self.entropy_floor} and objective.entropy_coef "
                f"{self.entropy_coef}; the floor is held by the bonus, whose coefficient must be above 0"
            )

    def __call__(self, model: Any, batch: PpoBatch) -> Loss:
        return whole(self.parts(model, batch))

    def parts(self, model: Any, batch: PpoBatch) -> Iterator[Loss]:
        """What is learnt from rollouts, then each kind of text."""
        yield self.policy_part(self.read(model, batch), batch)
        yield from self.text_parts(model, batch)

    def weights(self, batch: PpoBatch) -> Mapping[str, Tensor]:
        return {**self.policy_weights(batch), **text_weights(batch)}

    def read(self, model: Any, batch: PpoBatch) -> Said:
        """The policy on the rollouts; logits are held only where entropy itself is to be learnt."""
        if self.has_bonus(batch):
            return self.said(model.policy(*batch.rollout.tree_inputs), batch)
        return Said(counted_logprobs(model.policy, batch.rollout, temperature=self.temperature))

    def said(self, logits: Tensor, batch: PpoBatch) -> Said:
        logprobs = token_logprobs(logits, batch.rollout.target_ids, temperature=self.temperature)
        return Said(logprobs, token_entropy(logits, self.temperature) if self.has_bonus(batch) else None)

    def policy_part(self, said: Said, batch: PpoBatch) -> Loss:
        """Surrogate, KL and entropy, as far as they count, and what happened to the ratio."""
        rollout, mask, logprobs = batch.rollout, batch.rollout.loss_mask, said.logprobs
        total, metrics = self.policy_term(logprobs, rollout)
        terms = {"policy": Term(total)}
        if batch.kl is not None:
            # Padding is masked before and not after: an overflow times zero would be no number.
            each = batch.kl(
                *(x.where(mask, 0.0) for x in (logprobs, rollout.old_logprobs, rollout.ref_logprobs))
            )
            terms["kl"] = Term((each * self.shares(rollout)).sum(), batch.kl.coef)
        # Without a bonus, surprise at the tokens that were drawn: its mean is the entropy.
        entropy = -logprobs.detach() if said.entropy is None else said.entropy
        if said.entropy is not None:
            terms["entropy_bonus"] = Term(-(entropy * self.shares(rollout)).sum(), self.entropy_coef)
        return Loss(terms, {**metrics, "entropy": ((entropy.detach() * mask).sum(), mask.sum())})

    def policy_weights(self, batch: PpoBatch) -> dict[str, Tensor]:
        rollout = batch.rollout
        count = rollout.loss_mask.sum() if self.average == "tokens" else (rollout.lengths > 0).sum()
        there = {"policy": True, "kl": batch.kl is not None, "entropy_bonus": self.has_bonus(batch)}
        return {name: count for name, counts in there.items() if counts}

    def policy_term(self, logprobs: Tensor, rollout: RolloutBatch) -> tuple[Tensor, Metrics]:
        """Summed clipped surrogate and what happened to the ratio."""
        mask, advantages = rollout.loss_mask, rollout.advantages
        log_ratio = (logprobs - rollout.old_logprobs) * mask
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - self.clip_range, 1 + self.clip_range)
        loss = -torch.minimum(ratio * advantages, clipped * advantages)
        if self.dual_clip is not None:
            loss = torch.where(advantages < 0, torch.minimum(loss, -self.dual_clip * advantages), loss)
        counted = mask.sum()
        with torch.no_grad():
            metrics = {
                "ratio": ((ratio * mask).sum(), counted),
                "ratio_variance": (((ratio - 1).square() * mask).sum(), counted),
                "approx_kl": ((0.5 * log_ratio.square()).sum(), counted),
                "clip_fraction": (((ratio != clipped) & mask).sum(), counted),
            }
        return (loss * self.shares(rollout)).sum(), metrics

    def shares(self, rollout: RolloutBatch) -> Tensor:
        """What each token counts in a sum that the weight of its term divides, (batch, seq).

        Rows hold several completions each, so their number says nothing.
        """
        if self.average != "completions":
            return rollout.loss_mask
        return rollout.loss_mask / rollout.lengths[rollout.sequence_ids].clamp(min=1)

    def has_bonus(self, batch: PpoBatch) -> bool:
        """Whether entropy is rewarded in this rollout."""
        low = self.entropy_floor is None or batch.entropy < self.entropy_floor
        return low and self.entropy_coef > 0

    def text_parts(self, model: Any, batch: PpoBatch) -> Iterator[Loss]:
        """Ordinary text and demonstrations: Ouyang et al. 2022, eq. 2 (PPO-ptx)."""
        coefs = {"ptx": self.ptx_coef, "sft": self.sft_coef}
        for name, text in batch.beside.items():
            nll = model.policy.nll_sum(*text.inputs, text.target_ids, text.loss_mask)
            yield Loss({name: Term(nll, coefs[name])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ppo(Surrogate):
    """The policy's terms and the clipped value error (Schulman et al. 2017, eq. 9)."""

    value_clip_range: float = 0.2  # of the value's move since the rollout
    value_coef: float = 0.1

    def __post_init__(self) -> None:
        Surrogate.__post_init__(self)
        require_positive(self, "value_clip_range")

    def parts(self, model: Any, batch: PpoBatch) -> Iterator[Loss]:
        """The policy, the critic, then each kind of text; over a shared trunk the first two are one."""
        inputs = batch.rollout.tree_inputs
        if batch.value_only:
            yield self.value_part(model.value(*inputs), batch.rollout)
            return
        if model.shares_trunk:
            logits, values = model(*inputs)
            rewarded = self.policy_part(self.said(logits, batch), batch)
            yield whole([rewarded, self.value_part(values, batch.rollout)])
        else:
            yield self.policy_part(self.read(model, batch), batch)
            yield self.value_part(model.value(*inputs), batch.rollout)
        yield from self.text_parts(model, batch)

    def weights(self, batch: PpoBatch) -> Mapping[str, Tensor]:
        value = {"value": batch.rollout.loss_mask.sum()}
        if batch.value_only:
            return value
        return {**self.policy_weights(batch), **value, **text_weights(batch)}

    def value_part(self, values: Tensor, rollout: RolloutBatch) -> Loss:
        """The value error; a move beyond the clip range earns nothing (Schulman's published code)."""
        mask = rollout.loss_mask
        near = rollout.old_values + (values - rollout.old_values).clamp(
            -self.value_clip_range, self.value_clip_range
        )
        error, near_error = (values - rollout.returns).square(), (near - rollout.returns).square()
        loss = 0.5 * torch.maximum(error, near_error)
        with torch.no_grad():
            clips = ((near_error > error) & mask).sum()
        term = Term((loss * mask).sum(), self.value_coef)
        return Loss({"value": term}, {"value_clip_fraction": (clips, mask.sum())})


def text_weights(batch: PpoBatch) -> dict[str, Tensor]:
    """Targets that the text beside a minibatch counts."""
    return {name: text.loss_mask.sum() for name, text in batch.beside.items()}


def token_entropy(logits: Tensor, temperature: float) -> Tensor:
    """Entropy of the next-token distribution in nats, (batch, seq)."""
    logprobs = (logits.float() / temperature).log_softmax(-1)
    return -(logprobs.exp() * logprobs).sum(-1)


def require_positive(config: Any, *names: str) -> None:
    """Refuse settings of an objective that are not above 0."""
    for name in names:
        if getattr(config, name) <= 0:
            raise ConfigError(f"objective.{name} is {getattr(config, name)}; it must be above 0")
