"""Watching a policy on held-out prompts while it is trained, and keeping the weights of its best moment.

Each look answers the same prompts with the same random numbers, so that two looks differ by the policies
alone. The reward model that is maximised cannot tell when it is deceived; others that are not maximised can,
and so can the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from danlu.config import ConfigError
from danlu.generate.sampling import SamplingConfig
from danlu.rl.collect import RolloutConfig
from danlu.rl.frontier import LEAST_FALL, falling, smoothed
from danlu.rl.judges import CheckedReward
from danlu.rl.rewards import penalise_missing_end
from danlu.rl.rollout import Prompt, Reward, Rollout, lay_out
from danlu.rl.team import Team, evaluating

Measure = Literal["judges", "worst", "true_score"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    prompts: Path | None = None  # held-out prompts to look at, {"id", "messages"} a line; none is no guard
    judges: tuple[
        Path, ...
    ] = ()  # reward models that nothing is trained on, best with another half of the data
    measure: Measure = "judges"  # what must not fall: their mean, the worst of them, or the truth where known
    every: int = 4  # rollouts from one look to the next
    stop: bool = True  # end when the measure falls, and publish the weights of its peak; else only record
    sureness: float = 4.0  # standard errors by which it must have fallen

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"every is {self.every}; it must be at least 1 rollout")
        if self.sureness <= 0:
            raise ConfigError(f"sureness is {self.sureness}; it must be above 0, for instance 4")


@dataclass(frozen=True, slots=True)
class Scores:
    """What completions are worth, each (batch,): to the reward, to each judge, in truth."""

    score: Tensor
    judges: Mapping[str, Tensor]
    true_score: Tensor | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Everybody's opinion of completions; nothing but `reward` is trained on."""

    reward: Reward | CheckedReward
    judges: Mapping[str, Reward]
    truth: Reward | None
    missing_end_penalty: float

    def __call__(self, rollouts: Sequence[Rollout]) -> Scores:
        ended = torch.tensor([rollout.ended for rollout in rollouts])

        def by(reward: Reward | CheckedReward) -> Tensor:
            scores = torch.tensor([float(score) for score in reward(rollouts)])
            return penalise_missing_end(scores, ended, self.missing_end_penalty)

        truth = None if self.truth is None else torch.tensor([float(x) for x in self.truth(rollouts)])
        return Scores(by(self.reward), {name: by(judge) for name, judge in self.judges.items()}, truth)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A policy as the held-out prompts found it; means over completions."""

    step: int  # weight updates done
    kl: float  # nats a completion, from the reference
    score: float  # by the reward model that is maximised
    judges: float | None  # mean over the judges, less what they gave the first look
    spread: float | None  # standard deviation over the judges of what a completion gained, mean
    worst: float | None  # the least that a judge gives each completion, mean
    true_score: float | None
    length: float
    ended: float


class Keeper(nn.Module):
    """Copies of a policy's trained weights, saved with it: of the best look so far and of the latest.

    Whether a look was a peak shows when the next one has been taken, so two are kept and no more.
    """

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        self.names = [name for name, p in policy.named_parameters() if p.requires_grad]
        for place in ("best", "latest"):
            for name in self.names:
                weight = policy.get_parameter(name).detach().clone()
                self.register_buffer(self._buffer(place, name), weight)

    @torch.no_grad()
    def take(self, policy: nn.Module) -> None:
        """Keep the policy's weights as the latest."""
        for name in self.names:
            self.get_buffer(self._buffer("latest", name)).copy_(policy.get_parameter(name))

    @torch.no_grad()
    def promote(self) -> None:
        """The latest become the best."""
        for name in self.names:
            self.get_buffer(self._buffer("best", name)).copy_(self.get_buffer(self._buffer("latest", name)))

    @torch.no_grad()
    def put_back(self, policy: nn.Module) -> None:
        """Give the policy the best weights again."""
        for name in self.names:
            policy.get_parameter(name).copy_(self.get_buffer(self._buffer("best", name)))

    @staticmethod
    def _buffer(place: str, name: str) -> str:
        return f"{place}:{name.replace('.', ':')}"


class Guard:
    """Looks at the policy now and then; knows its peak, and whether that has surely been passed."""

    def __init__(
        self,
        team: Team,
        prompts: Sequence[Prompt],
        judgement: Judgement,
        config: GuardConfig,
        rollout: RolloutConfig,
    ) -> None:
        check_measure(config, judgement, len(prompts))
        self.team, self.prompts, self.judgement = team, prompts, judgement
        self.config, self.rollout = config, rollout
        self.keeper = Keeper(team.trained.policy)
        team.trained.add_module("keeper", self.keeper)  # so that checkpoints carry it
        self.looks: list[Look] = []
        self.measured: list[list[float]] = []  # at each look, a number for each prompt
        self.zeros: dict[str, float] = {}  # what each judge gave the first look
        self.peak = 0  # number of the best look

    @property
    def passed(self) -> bool:
        """Whether the policy is surely worse than it was, and training it on is to be ended."""
        if not self.config.stop or len(self.looks) <= LEAST_FALL:
            return False
        return falling(np.array(self.measured), sureness=self.config.sureness)

    @property
    def kept_step(self) -> int:
        """Updates done by the weights that are to be published."""
        return self.looks[self.peak if self.passed else -1].step

    @torch.no_grad()
    def look(self, step: int) -> Look:
        """Answer every prompt, judge the answers, and keep the weights as long as they may be the peak."""
        with evaluating(self.team.trained):
            sampling = SamplingConfig(
                max_new_tokens=self.rollout.max_new_tokens,
                temperature=self.rollout.temperature,
                seed=SEED,
            )
            completions = self.team.sampler.generate([prompt.ids for prompt in self.prompts], sampling)
            rollouts = [Rollout(p, c) for p, c in zip(self.prompts, completions, strict=True)]
            kl = self._kl(rollouts)
        scores = self.judgement(rollouts)
        gains = self._gains(scores.judges)
        worth = {"true_score": scores.true_score}
        if gains is not None:
            worth |= {"judges": gains.mean(dim=0), "worst": gains.amin(dim=0)}
        measured = worth[self.config.measure]
        assert measured is not None  # `check_measure` has seen to it
        self.looks.append(
            Look(
                step=step,
                kl=float(kl.mean()),
                score=float(scores.score.mean()),
                judges=mean_of(worth.get("judges")),
                spread=mean_of(None if gains is None or len(gains) < 2 else gains.std(dim=0)),
                worst=mean_of(worth.get("worst")),
                true_score=mean_of(scores.true_score),
                length=sum(len(r.completion.ids) for r in rollouts) / len(rollouts),
                ended=sum(r.ended for r in rollouts) / len(rollouts),
            )
        )
        self.measured.append([round(value, 6) for value in measured.tolist()])
        self._keep()
        return self.looks[-1]

    def put_back_peak(self) -> None:
        """Give the policy the weights of its best look."""
        self.keeper.put_back(self.team.trained.policy)

    def to_tree(self) -> dict[str, Any]:
        """The frontier as plain values, for reports."""
        return {
            "measure": self.config.measure,
            "n_prompts": len(self.prompts),
            "zeros": self.zeros,
            "looks": [asdict(look) for look in self.looks],
            "passed": self.passed,
            "kept_step": self.kept_step,
        }

    def state_dict(self) -> dict[str, Any]:
        looks = [asdict(look) for look in self.looks]
        return {"looks": looks, "measured": self.measured, "zeros": self.zeros, "peak": self.peak}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.looks = [Look(**look) for look in state["looks"]]
        self.measured, self.zeros, self.peak = state["measured"], dict(state["zeros"]), state["peak"]

    def _kl(self, rollouts: Sequence[Rollout]) -> Tensor:
        """KL from the reference of each completion, summed over its tokens, in nats, (batch,)."""
        batch, policy = lay_out(rollouts, self.team.pad_id), self.team.trained.policy
        sums: list[Tensor] = []
        for index in torch.arange(len(batch)).split(self.rollout.minibatch_size):
            rows = batch.rows(index)
            both = policy(*rows.tree_inputs), self.team.reference(*rows.tree_inputs)
            sums.append((token_kl(*both, self.rollout.temperature) * rows.loss_mask).sum(dim=1))
        return torch.cat(sums)

    def _gains(self, judges: Mapping[str, Tensor]) -> Tensor | None:
        """What each judge gives less its mean at the first look: so they share a zero; (judges, batch)."""
        if not judges:
            return None
        if not self.looks:
            self.zeros = {name: float(scores.mean()) for name, scores in judges.items()}
        return torch.stack([scores - self.zeros[name] for name, scores in judges.items()])

    def _keep(self) -> None:
        """The look before this one has both neighbours: its weights stay if it is the best so far."""
        around = smoothed(np.array(self.measured))
        if len(around) and (len(around) == 1 or around[-1] > around[self.peak]):
            self.keeper.promote()
            self.peak = len(around) - 1
        self.keeper.take(self.team.trained.policy)


def check_measure(config: GuardConfig, judgement: Judgement, n_prompts: int) -> None:
    """Refuse a guard that could not see anything."""
    if config.measure == "true_score" and judgement.truth is None:
        raise ConfigError(
            "guard.measure is 'true_score', and the truth is not known here; name reward models in "
            "guard.judges and use guard.measure=judges"
        )
    if config.measure != "true_score" and not judgement.judges:
        raise ConfigError(
            f"guard.measure is {config.measure!r} and guard.judges is empty; name at least one reward model "
            "that the policy is not trained on"
        )
    if n_prompts < LEAST_PROMPTS:
        raise ConfigError(
            f"{config.prompts}: holds {n_prompts} prompts; a guard needs at least {LEAST_PROMPTS}, and sees "
            "more with some hundreds"
        )


def token_kl(logits: Tensor, ref_logits: Tensor, temperature: float) -> Tensor:
    """KL of the next token's distribution from the reference's, in nats, (batch, seq).

    Over the whole vocabulary, never negative: summed along a sample it has the mean of log p - log p_ref
    there and far less spread (Amini et al. 2025, Better estimation of the KL between language models).
    """
    logprobs = (logits.float() / temperature).log_softmax(dim=-1)
    ref_logprobs = (ref_logits.float() / temperature).log_softmax(dim=-1)
    return (logprobs.exp() * (logprobs - ref_logprobs)).sum(dim=-1)


def mean_of(values: Tensor | None) -> float | None:
    return None if values is None else float(values.double().mean())


LEAST_PROMPTS = 8
SEED = 777_000_001  # of every look, and of no rollout
