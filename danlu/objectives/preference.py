"""Preference optimisation without sampling: DPO and its published variants, from rankings and from thumbs.

All of them raise the score of what people preferred, and differ in what a completion's score is and in the
loss of a difference of two scores:

    variant  score of a completion           loss of a pair with margin m = score(better) - score(worse)
    dpo      log pi/pi_ref                   -log sigmoid(beta m)
    ipo      log pi/pi_ref                   (m - 1 / (2 beta))^2
    simpo    log pi / length                 -log sigmoid(beta m - target_margin)
    orpo     log odds of pi^(1 / length)     -log sigmoid(m), beside the likelihood of the better one
    kto      log pi/pi_ref                   none: each completion against a reference point
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from danlu.config import ConfigError
from danlu.data.records import PreferenceBatch
from danlu.objectives.loss import Loss, Term
from danlu.objectives.ranking import pair_weights, preference, ranking_pairs

VariantName = Literal["dpo", "ipo", "simpo", "orpo", "kto"]
KNOBS = (
    "beta",
    "label_smoothing",
    "target_margin",
    "odds_coef",
    "nll_coef",
    "desirable_weight",
    "undesirable_weight",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """One of the variants; a knob left at none has the variant's published value.

    A ranking of K answers gives C(K, 2) pairs and weighs one; where people saw no difference, a pair asks for
    probability one half. A thumb weighs one.
    """

    variant: VariantName = "dpo"
    beta: float | None = None  # dpo, ipo (its tau), kto: 0.1; simpo: 2
    label_smoothing: float | None = None  # dpo: 0; share of pairs that are labelled the wrong way round
    target_margin: float | None = None  # simpo: 1; its gamma, about half of beta
    odds_coef: float | None = None  # orpo: 0.1; its lambda
    nll_coef: float | None = None  # dpo: 0, orpo: 1; of the best answers' loss a token
    desirable_weight: float | None = None  # kto: 1; of thumbs up
    undesirable_weight: float | None = None  # kto: 1; of thumbs down

    def __post_init__(self) -> None:
        known = VARIANTS[self.variant].published
        for name in KNOBS:
            value = getattr(self, name)
            if value is not None and name not in known:
                raise ConfigError(
                    f"objective.{name} is {value}, but {self.variant} has no such knob; "
                    f"it has {', '.join(known)}"
                )
            if value is not None and value < 0:
                raise ConfigError(f"objective.{name} is {value}; it must not be negative")
        if self.beta == 0:
            raise ConfigError("objective.beta is 0; it must be above 0")
        if self.label_smoothing is not None and self.label_smoothing >= 0.5:
            raise ConfigError(
                f"objective.label_smoothing is {self.label_smoothing}; it must be below 0.5, "
                "where labels say nothing"
            )

    @property
    def knobs(self) -> dict[str, float]:
        """Every knob that the variant has, with the value in force."""
        given = {name: getattr(self, name) for name in KNOBS}
        published = VARIANTS[self.variant].published
        return {name: usual if given[name] is None else given[name] for name, usual in published.items()}

    @property
    def has_reference(self) -> bool:
        """Whether scores compare the policy with the model that it began as."""
        return VARIANTS[self.variant].score is log_ratio

    def __call__(self, model: Any, batch: PreferenceBatch) -> Loss:
        logprobs = completion_logprobs(model, batch)
        scores = VARIANTS[self.variant].score(logprobs, batch)
        return (
            self.rating_loss(scores, batch)
            if self.variant == "kto"
            else self.pair_loss(logprobs, scores, batch)
        )

    def weights(self, batch: PreferenceBatch) -> Mapping[str, Tensor]:
        n_groups = torch.tensor(len(batch.group_ids.unique()))
        return {"preference": n_groups} | ({"nll": n_groups} if self.knobs.get("nll_coef") else {})

    def rewards(self, model: Any, batch: PreferenceBatch) -> Tensor:
        """The reward that the policy implies for each completion: beta times its score, (completions,)."""
        scores = VARIANTS[self.variant].score(completion_logprobs(model, batch), batch)
        return self.knobs.get("beta", 1.0) * scores

    def pair_loss(self, logprobs: Tensor, scores: Tensor, batch: PreferenceBatch) -> Loss:
        """The loss over all pairs of every ranking."""
        knobs, variant = self.knobs, VARIANTS[self.variant]
        first, second = ranking_pairs(batch.group_ids)
        smoothing = knobs.get("label_smoothing", 0.0)
        preferred = (1 - 2 * smoothing) * preference(batch.ranks, first, second) + smoothing
        own = {name: knobs[name] for name in variant.loss_knobs}
        margins = scores[first] - scores[second]
        losses = preferred * variant.loss(margins, **own) + (1 - preferred) * variant.loss(-margins, **own)
        total = (losses * pair_weights(batch.group_ids, first)).sum()
        terms = {"preference": Term(total, knobs.get("odds_coef", 1.0))}
        if knobs.get("nll_coef"):
            nll = -(best_shares(batch.group_ids, batch.ranks) * logprobs / batch.lengths).sum()
            terms["nll"] = Term(nll, knobs["nll_coef"])
        return Loss(terms, pair_metrics(scores.detach(), batch.ranks, first, second))

    def rating_loss(self, scores: Tensor, batch: PreferenceBatch) -> Loss:
        """The loss over all thumbs."""
        assert batch.reference_point is not None
        liked, point = batch.ranks == 1, batch.reference_point
        total = kto_loss(scores, liked, point, **self.knobs).sum()
        with torch.no_grad():
            metrics = {
                "liked_score": ((scores * liked).sum(), liked.sum()),
                "disliked_score": ((scores * ~liked).sum(), (~liked).sum()),
                "reference_point": (point * len(scores), torch.tensor(len(scores))),
            }
        return Loss({"preference": Term(total)}, metrics)


def completion_logprobs(model: Any, batch: PreferenceBatch) -> Tensor:
    """log p of each whole completion given its prompt, the end token included, (completions,)."""
    logprobs = model.target_logprobs(batch.inputs, batch.target_ids, batch.loss_mask)
    return logprobs.new_zeros(len(batch.group_ids)).index_add(
        0, batch.completion_ids[batch.loss_mask], logprobs
    )


def log_ratio(logprobs: Tensor, batch: PreferenceBatch) -> Tensor:
    """log pi(y|x) / pi_ref(y|x) in nats, (completions,); summed over tokens, not averaged."""
    assert batch.ref_logprobs is not None
    return logprobs - batch.ref_logprobs


def mean_logprob(logprobs: Tensor, batch: PreferenceBatch) -> Tensor:
    """Log-probability a token, (completions,) (Meng et al. 2024, eq. 3)."""
    return logprobs / batch.lengths


def log_odds(logprobs: Tensor, batch: PreferenceBatch) -> Tensor:
    """log p / (1 - p), p being the geometric mean of the tokens' probabilities (Hong et al. 2024, eq. 4)."""
    # A certain model has infinite odds and no gradient; in float32 that happens within 6e-8 of certainty.
    mean = mean_logprob(logprobs, batch).clamp(max=-1e-6)
    return mean - torch.log(-torch.expm1(mean))


def dpo_loss(margin: Tensor, *, beta: float) -> Tensor:
    """-log sigmoid(beta m) (Rafailov et al. 2023, eq. 7)."""
    return softplus(-beta * margin)


def ipo_loss(margin: Tensor, *, beta: float) -> Tensor:
    """(m - 1 / (2 beta))^2, where beta is the paper's tau (Azar et al. 2023, eq. 17)."""
    return (margin - 1 / (2 * beta)).square()


def simpo_loss(margin: Tensor, *, beta: float, target_margin: float) -> Tensor:
    """-log sigmoid(beta m - target_margin) (Meng et al. 2024, eq. 6)."""
    return softplus(target_margin - beta * margin)


def orpo_loss(margin: Tensor) -> Tensor:
    """-log sigmoid(m) of the log odds ratio m (Hong et al. 2024, eq. 7)."""
    return softplus(-margin)


def kto_loss(
    log_ratios: Tensor,
    liked: Tensor,
    reference_point: Tensor,
    *,
    beta: float,
    desirable_weight: float,
    undesirable_weight: float,
) -> Tensor:
    """w (1 - sigmoid(±beta (log ratio - z_0))), + for what is liked (Ethayarajh et al. 2024, eq. 8).

    Args:
        log_ratios: of each completion, (completions,).
        liked: True for a thumb up, (completions,).
        reference_point: z_0, a scalar through which no gradient flows.
        beta: how soon gains and losses saturate.
        desirable_weight: w of a thumb up; `undesirable_weight` that of a thumb down.
    """
    gain = beta * (log_ratios - reference_point.detach())
    return torch.where(
        liked, desirable_weight * torch.sigmoid(-gain), undesirable_weight * torch.sigmoid(gain)
    )


def best_shares(group_ids: Tensor, ranks: Tensor) -> Tensor:
    """One for the best completion of each ranking, divided where several share its rank, (completions,)."""
    groups, index = group_ids.unique(return_inverse=True)
    best = ranks.new_full((len(groups),), int(ranks.max())).scatter_reduce(0, index, ranks, "amin")
    is_best = (ranks == best[index]).float()
    return is_best / torch.zeros(len(groups)).index_add(0, index, is_best)[index]


def pair_metrics(
    scores: Tensor, ranks: Tensor, first: Tensor, second: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """How scores agree with the pairs of which people preferred one.

    The scores of chosen and rejected answers are logged apart: a margin can also grow because both fall.
    """
    strict = ranks[first] != ranks[second]
    better = torch.where(ranks[first] < ranks[second], first, second)[strict]
    worse = torch.where(ranks[first] < ranks[second], second, first)[strict]
    n_strict = strict.sum()
    return {
        "accuracy": ((scores[better] > scores[worse]).sum(), n_strict),
        "margin": ((scores[better] - scores[worse]).sum(), n_strict),
        "chosen_score": (scores[better].sum(), n_strict),
        "rejected_score": (scores[worse].sum(), n_strict),
    }


@dataclass(frozen=True, slots=True)
class Variant:
    """What a variant computes, and its knobs with their published values."""

    score: Callable[[Tensor, PreferenceBatch], Tensor]
    loss: Callable[..., Tensor]
    loss_knobs: Mapping[str, float]  # arguments of `loss`
    other_knobs: Mapping[str, float] = field(default_factory=dict)

    @property
    def published(self) -> dict[str, float]:
        return {**self.loss_knobs, **self.other_knobs}


VARIANTS: dict[VariantName, Variant] = {
    "dpo": Variant(log_ratio, dpo_loss, {"beta": 0.1}, {"label_smoothing": 0.0, "nll_coef": 0.0}),
    "ipo": Variant(log_ratio, ipo_loss, {"beta": 0.1}),
    "simpo": Variant(mean_logprob, simpo_loss, {"beta": 2.0, "target_margin": 1.0}),
    "orpo": Variant(log_odds, orpo_loss, {}, {"odds_coef": 0.1, "nll_coef": 1.0}),
    "kto": Variant(log_ratio, kto_loss, {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0}),
}
