"""Rankings without texts: a model of known scores, and batches that say only who ranked what how."""

from __future__ import annotations

import torch
from torch import nn

from danlu.data.records import RankingBatch


class LinearScores(nn.Module):
    """Stands for a reward model: the score of each completion is linear in features of its own."""

    def __init__(self, features, weight, raters=None):
        super().__init__()
        self.features, self.weight, self.raters = features, nn.Parameter(weight), raters

    def forward(self, input_ids, position_ids, segment_ids, branch_ids):
        return self.features[input_ids] @ self.weight


def ranked(ranks, groups, numbers=None, **given):
    """A batch whose completion i has the features in row `numbers[i]` of the model's table."""
    numbers = torch.arange(len(ranks)) if numbers is None else numbers
    blank = torch.zeros_like(numbers)
    return RankingBatch(
        input_ids=numbers,
        position_ids=blank,
        segment_ids=blank,
        branch_ids=blank,
        end_index=torch.arange(len(ranks)),
        group_ids=torch.as_tensor(groups),
        ranks=torch.as_tensor(ranks),
        **given,
    )


def scored(scores, raters=None):
    """A model whose parameters are the scores themselves."""
    scores = torch.as_tensor(scores, dtype=torch.float64)
    return LinearScores(torch.eye(len(scores), dtype=torch.float64), scores, raters)
