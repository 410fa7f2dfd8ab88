"""The reward model's loss: how likely people's rankings are, given the scores.

Pairs by Bradley-Terry, Davidson or Rao-Kupper, or whole orderings by Plackett-Luce; margins, raters' weights
and raters' reliability go with each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad, softplus
from torch.nn.utils.rnn import pad_sequence

from danlu.config import ConfigError
from danlu.data.records import RankingBatch
from danlu.objectives.loss import Loss, Term

Kind = Literal["bradley_terry", "plackett_luce", "davidson", "rao_kupper"]
WITH_TIES = ("davidson", "rao_kupper")  # kinds that give a tie a probability
SCALE_SPREAD = 1.0  # standard deviation of raters' log scales, as believed beforehand


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Negative log-likelihood of each ranking, a mean over its pairs or choices, so that it weighs one.

    Ouyang et al. 2022, eq. 1: all pairs of a prompt form one batch element, so each completion passes
    through the model once and a prompt counts once, however many answers it has.
    """

    kind: Kind = "bradley_terry"  # davidson and rao_kupper learn how often people see no difference
    margin_coef: float = 1.0  # score difference to ask for beyond that, per unit of a record's strength
    rater_noise: bool = False  # learn how reliable each named rater is

    def __post_init__(self) -> None:
        if not 0 <= self.margin_coef < float("inf"):
            raise ConfigError(f"objective.margin_coef is {self.margin_coef}; it must be at least 0")

    def __call__(self, model: Any, batch: RankingBatch) -> Loss:
        scores = end_scores(model, batch)
        first, second = ranking_pairs(batch.group_ids)
        terms = {"ranking": Term(self.total(model, batch, scores))}
        if self.rater_noise:
            terms["rater_prior"] = Term(rater_prior(model, batch))
        strict = batch.ranks[first] != batch.ranks[second]
        agreed = torch.sign(scores[first] - scores[second]) == torch.sign(
            batch.ranks[second] - batch.ranks[first]
        )
        return Loss(terms, {"accuracy": ((agreed & strict).sum(), strict.sum())})

    def weights(self, batch: RankingBatch) -> Mapping[str, Tensor]:
        n_rankings = torch.tensor(len(batch.group_ids.unique()))
        weights = batch.weights
        total = n_rankings if weights is None else weights[first_of_each(batch.group_ids)].sum()
        return {"ranking": total, **({"rater_prior": n_rankings} if self.rater_noise else {})}

    def indifferent(self, model: Any, batch: RankingBatch) -> float:
        """What a ranking costs where all scores are equal."""
        equal = torch.zeros(len(batch.ranks), device=batch.ranks.device)
        with torch.no_grad():
            return float(self.total(model, batch, equal) / self.weights(batch)["ranking"])

    def total(self, model: Any, batch: RankingBatch, scores: Tensor) -> Tensor:
        """Negative log-likelihoods of all rankings, each as often as it counts, as a sum."""
        losses, weights, index = self.losses(model, batch, scores)
        if batch.weights is not None:
            weights = weights * batch.weights[index]
        return (losses * weights).sum()

    def losses(self, model: Any, batch: RankingBatch, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each pair or choice: its loss, its share of its ranking, and one completion of that ranking."""
        if batch.levels is not None:
            scores = scores - self.margin_coef * batch.levels
        if self.rater_noise:
            scores = scores * rater_log_scales(model, batch).exp()
        if self.kind == "plackett_luce":
            return choice_losses(scores, batch)
        first, second = ranking_pairs(batch.group_ids)
        preferred = preference(batch.ranks, first, second)
        log_tie = model.raters.log_tie if self.kind in WITH_TIES else None
        losses = PAIR_LOSSES[self.kind](scores[first] - scores[second], preferred, log_tie)
        return losses, pair_weights(batch.group_ids, first), first


def end_scores(model: Any, batch: RankingBatch) -> Tensor:
    """One score a completion, read where its last token stands, (completions,)."""
    return model(*batch.inputs).flatten()[batch.end_index]


def first_of_each(group_ids: Tensor) -> Tensor:
    """The number of one completion of each ranking, (rankings,)."""
    _, index = group_ids.unique(return_inverse=True)
    numbers = torch.arange(len(group_ids), device=group_ids.device)
    return torch.zeros_like(index.unique()).scatter_(0, index.flip(0), numbers.flip(0))


def ranking_pairs(group_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Row numbers of every two completions of the same prompt, each pair once, both (pairs,)."""
    same = group_ids.unsqueeze(0) == group_ids.unsqueeze(1)
    first, second = torch.nonzero(torch.triu(same, diagonal=1), as_tuple=True)
    return first, second


def preference(ranks: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """How often people should prefer the first of each pair: 1, 0, or one half for a tie, (pairs,)."""
    return 0.5 * (1 + torch.sign(ranks[second] - ranks[first]).float())


def pair_losses(difference: Tensor, preferred: Tensor, log_tie: Tensor | None = None) -> Tensor:
    """Cross-entropy of sigmoid(score difference) against the share that prefers the first, (pairs,)."""
    return preferred * softplus(-difference) + (1 - preferred) * softplus(difference)


def pair_weights(group_ids: Tensor, first: Tensor) -> Tensor:
    """1 / C(K, 2) for each pair, so that every ranking weighs one, (pairs,)."""
    _, index, counts = group_ids.unique(return_inverse=True, return_counts=True)
    k = counts[index[first]].float()
    return 2 / (k * (k - 1))


def davidson_logprobs(difference: Tensor, log_tie: Tensor) -> Tensor:
    """Log-probability that the first wins, that people see no difference, that the second wins, (3, pairs).

    Davidson 1970, for worths p = exp(score): p_i, nu sqrt(p_i p_j) and p_j over their sum, with
    log nu = `log_tie`.
    """
    half = difference / 2
    return torch.stack([half, log_tie.expand_as(half), -half]).log_softmax(0)


def rao_kupper_logprobs(difference: Tensor, log_tie: Tensor) -> Tensor:
    """Log-probability that the first wins, that people see no difference, that the second wins, (3, pairs).

    Rao and Kupper 1967: p_i / (p_i + theta p_j), and a tie has what the two orders leave. People
    tell completions apart only where scores differ by more than a threshold log theta = exp(`log_tie`).
    """
    threshold = log_tie.exp()
    wins, loses = logsigmoid(difference - threshold), logsigmoid(-difference - threshold)
    # log(theta^2 - 1), which overflows neither for large thresholds nor loses digits for small ones.
    surplus = 2 * threshold + torch.log(-torch.expm1(-2 * threshold))
    return torch.stack([wins, surplus + wins + loses, loses])


def davidson_losses(difference: Tensor, preferred: Tensor, log_tie: Tensor) -> Tensor:
    """Minus the log-probability of what people said of each pair, (pairs,)."""
    return -outcome(davidson_logprobs(difference, log_tie), preferred)


def rao_kupper_losses(difference: Tensor, preferred: Tensor, log_tie: Tensor) -> Tensor:
    """Minus the log-probability of what people said of each pair, (pairs,)."""
    return -outcome(rao_kupper_logprobs(difference, log_tie), preferred)


def outcome(logprobs: Tensor, preferred: Tensor) -> Tensor:
    """Of three log-probabilities the one of what happened, where one half is a tie, (pairs,)."""
    return logprobs.gather(0, (2 - 2 * preferred).long().unsqueeze(0)).squeeze(0)


def outcome_probabilities(kind: str, difference: float, log_tie: Tensor) -> tuple[float, float, float]:
    """How often the first wins, people see no difference, and the second wins, at a difference of scores."""
    logprobs = TIES[kind](torch.tensor([difference], dtype=torch.float64), log_tie.detach().double())
    wins, ties, loses = logprobs.exp().squeeze(1).tolist()
    return wins, ties, loses


def choice_losses(scores: Tensor, batch: RankingBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Plackett-Luce: the losses of all choices, their weights, and one completion of each one's ranking.

    A ranking is a series of choices of the best among what is left (Luce 1959; Plackett 1975). A tie stands
    for every order of the tied alike: the loss is the mean over these orders, as a pair's tie counts half for
    either. A ranking of K completions has K - 1 choices and its weight is shared among them.
    """
    order = batch.group_ids.argsort(stable=True)
    _, sizes = batch.group_ids.unique(return_counts=True)
    members = pad_sequence(
        list(order.split(sizes.tolist())), batch_first=True
    )  # (rankings, most completions)
    series = [choices(tuple(r.tolist()), members.shape[1]) for r in batch.ranks[order].split(sizes.tolist())]
    left, chosen, shares = (torch.cat(each).to(scores.device) for each in zip(*series, strict=True))
    ranking = torch.repeat_interleave(torch.tensor([len(each) for _, _, each in series]).to(scores.device))
    own = scores[members[ranking]]  # (choices, most completions)
    of_left = own.masked_fill(~left, float("-inf")).logsumexp(1)
    losses = of_left - (chosen.to(own.dtype) * own).sum(1)
    return losses, shares.to(own.dtype) / (sizes[ranking] - 1), members[ranking, 0]


@lru_cache(maxsize=1024)
def choices(ranks: tuple[int, ...], width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The choices that make up a ranking, averaged over the orders of what is tied.

    Among the orders of c tied completions, every subset of s of them is equally often what is left, once in
    C(c, s), and each of its members is then chosen equally often.

    Returns:
        Which completions are left, (choices, width) bool; how often each of them is chosen, (choices, width),
        rows summing to one; and the choice's share in the mean, (choices,). Columns beyond K are zero.
    """
    left: list[list[bool]] = []
    chosen: list[list[float]] = []
    shares: list[float] = []
    for rank in sorted(set(ranks)):
        tied = [i for i, each in enumerate(ranks) if each == rank]
        worse = [each > rank for each in ranks]
        for size in range(len(tied), 0, -1):
            if size == 1 and not any(worse):
                continue  # the last one is no choice
            for subset in combinations(tied, size):
                left.append([after or i in subset for i, after in enumerate(worse)])
                chosen.append([(i in subset) / size for i in range(len(ranks))])
                shares.append(1 / comb(len(tied), size))
    rest = (0, width - len(ranks))
    return (
        pad(torch.tensor(left), rest, value=False),
        pad(torch.tensor(chosen, dtype=torch.float64), rest),
        torch.tensor(shares, dtype=torch.float64),
    )


def rater_log_scales(model: Any, batch: RankingBatch) -> Tensor:
    """Logarithm of the scale of each completion's rater; 0, the average, for whoever is not known."""
    scales = model.raters.centred()
    everyone = torch.cat([scales, scales.new_zeros(1)])
    return everyone[numbers_of(model, batch)]  # -1 is the last, the zero


def rater_prior(model: Any, batch: RankingBatch) -> Tensor:
    """Minus the logarithm of the log scales' normal prior, as much of it as belongs to these rankings.

    Each rater's part is spread over that rater's rankings, so that it counts once an epoch: it keeps finite
    the scale of a rater who ranked little, and is nothing beside hundreds of rankings.
    """
    numbers = numbers_of(model, batch)[first_of_each(batch.group_ids)]
    known = numbers[numbers >= 0]
    return (
        0.5 * (model.raters.centred()[known] / SCALE_SPREAD).square() / model.raters.n_rankings[known]
    ).sum()


def numbers_of(model: Any, batch: RankingBatch) -> Tensor:
    """The number of each completion's rater, -1 where the model does not know that rater, (completions,)."""
    return model.raters.numbers(batch.raters or [""] * len(batch.ranks)).to(batch.ranks.device)


PairLosses = Callable[[Tensor, Tensor, Any], Tensor]
PAIR_LOSSES: dict[str, PairLosses] = {
    "bradley_terry": pair_losses,
    "davidson": davidson_losses,
    "rao_kupper": rao_kupper_losses,
}
TIES = {"davidson": davidson_logprobs, "rao_kupper": rao_kupper_logprobs}
