import math

import torch
from torch import nn, tensor
from torch.testing import assert_close

from danlu.data.records import RankingBatch
from danlu.objectives.ranking import Ranking, pair_losses, pair_weights, preference, ranking_pairs


class FixedScores(nn.Module):
    """Stands for a reward model whose score of each row is known."""

    def __init__(self, scores):
        super().__init__()
        self.scores = nn.Parameter(tensor(scores))

    def forward(self, input_ids, position_ids, segment_ids, branch_ids):
        # Other positions hold a number that would spoil every expectation if it were read.
        spoiled = torch.full(input_ids.shape, 99.0)
        return torch.where(input_ids == 1, self.scores.unsqueeze(1), spoiled)


def batch(ranks, groups):
    n = len(ranks)
    ids = torch.zeros(n, 3, dtype=torch.int64)
    end = torch.arange(n) % 3
    ids[torch.arange(n), end] = 1
    blank = torch.zeros(n, 3, dtype=torch.int64)
    return RankingBatch(
        input_ids=ids,
        position_ids=blank,
        segment_ids=blank,
        branch_ids=blank,
        end_index=torch.arange(n) * 3 + end,
        group_ids=tensor(groups),
        ranks=tensor(ranks),
    )


def test_three_answers_with_a_tie_give_the_loss_worked_by_hand():
    # Scores 2, 1, 1; people: the first is best, the others tie.
    # Pairs: (2,1) -> log(1 + e^-1), twice; the tie at difference 0 -> log 2. Mean over the three pairs.
    loss = Ranking()(FixedScores([2.0, 1.0, 1.0]), batch([1, 2, 2], [0, 0, 0]))
    expected = (2 * math.log(1 + math.exp(-1)) + math.log(2)) / 3
    assert_close(loss.terms["ranking"].total, tensor(expected))


def test_a_tie_pulls_scores_together():
    model = FixedScores([1.0, 0.0])
    Ranking()(model, batch([1, 1], [0, 0])).terms["ranking"].total.backward()
    # d/d(difference) of 0.5 softplus(-d) + 0.5 softplus(d) at 1 is sigmoid(1) - 1/2.
    pull = 1 / (1 + math.exp(-1)) - 0.5
    assert_close(model.scores.grad, tensor([pull, -pull]))


def test_every_prompt_weighs_one_however_many_answers_it_has():
    objective = Ranking()
    mixed = batch([1, 2, 1, 2, 3, 4], [0, 0, 1, 1, 1, 1])
    assert objective.weights(mixed)["ranking"] == 2
    first, _ = ranking_pairs(mixed.group_ids)
    weights = pair_weights(mixed.group_ids, first)
    assert_close(weights.sum(), tensor(2.0))
    assert_close(weights[0], tensor(1.0))  # two answers, one pair
    assert_close(weights[1:], torch.full((6,), 1 / 6))  # four answers, six pairs


def test_pairs_never_join_two_prompts():
    first, second = ranking_pairs(tensor([0, 1, 0, 1]))
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 2), (1, 3)]


def test_preference_is_one_half_for_a_tie():
    ranks = tensor([1, 3, 1])
    assert_close(preference(ranks, tensor([0, 1, 0]), tensor([1, 2, 2])), tensor([1.0, 0.0, 0.5]))


def test_accuracy_leaves_ties_out():
    loss = Ranking()(FixedScores([2.0, 1.0, 3.0]), batch([1, 2, 2], [0, 0, 0]))
    agreed, counted = loss.metrics["accuracy"]
    assert (int(agreed), int(counted)) == (1, 2)


def test_pair_loss_of_a_sure_and_right_model_vanishes():
    assert_close(
        pair_losses(tensor([30.0, -30.0]), tensor([1.0, 0.0])), tensor([0.0, 0.0]), atol=1e-9, rtol=0
    )
