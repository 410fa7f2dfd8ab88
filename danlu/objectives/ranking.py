"""The reward model's loss: Bradley-Terry over all pairs of a ranking, ties counted as halves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from danlu.data.records import RankingBatch
from danlu.objectives.loss import Loss, Term


@dataclass(frozen=True, slots=True)
class Ranking:
    """-1/C(K,2) times the sum over a prompt's pairs of log sigmoid(better - worse).

    Ouyang et al. 2022, eq. 1: all pairs of a prompt form one batch element, so each completion passes
    through the model once and a prompt counts once, however many answers it has. Where people saw no
    difference the pair asks for probability one half instead of being dropped.
    """

    def __call__(self, model: Any, batch: RankingBatch) -> Loss:
        scores = end_scores(model, batch)
        first, second = ranking_pairs(batch.group_ids)
        losses = pair_losses(scores[first] - scores[second], preference(batch.ranks, first, second))
        total = (losses * pair_weights(batch.group_ids, first)).sum()
        strict = batch.ranks[first] != batch.ranks[second]
        agreed = torch.sign(scores[first] - scores[second]) == torch.sign(
            batch.ranks[second] - batch.ranks[first]
        )
        return Loss({"ranking": Term(total)}, {"accuracy": ((agreed & strict).sum(), strict.sum())})

    def weights(self, batch: RankingBatch) -> Mapping[str, Tensor]:
        return {"ranking": torch.tensor(len(batch.group_ids.unique()))}


def end_scores(model: Any, batch: RankingBatch) -> Tensor:
    """One score a completion, read where its last token stands, (completions,)."""
    return model(*batch.inputs).flatten()[batch.end_index]


def ranking_pairs(group_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Row numbers of every two completions of the same prompt, each pair once, both (pairs,)."""
    same = group_ids.unsqueeze(0) == group_ids.unsqueeze(1)
    first, second = torch.nonzero(torch.triu(same, diagonal=1), as_tuple=True)
    return first, second


def preference(ranks: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """How often people should prefer the first of each pair: 1, 0, or one half for a tie, (pairs,)."""
    return 0.5 * (1 + torch.sign(ranks[second] - ranks[first]).float())


def pair_losses(difference: Tensor, preferred: Tensor) -> Tensor:
    """Cross-entropy of sigmoid(score difference) against the share that prefers the first, (pairs,)."""
    return preferred * softplus(-difference) + (1 - preferred) * softplus(difference)


def pair_weights(group_ids: Tensor, first: Tensor) -> Tensor:
    """1 / C(K, 2) for each pair, so that every ranking weighs one, (pairs,)."""
    _, index, counts = group_ids.unique(return_inverse=True, return_counts=True)
    k = counts[index[first]].float()
    return 2 / (k * (k - 1))
