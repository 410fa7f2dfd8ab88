"""Likelihoods of rankings against enumeration, hand calculation and finite differences."""

from __future__ import annotations

import math
from itertools import permutations, product

import pytest
import torch
from ranked_by_hand import ranked, scored
from torch import tensor
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.model.raters import RaterModel, tie_start
from danlu.objectives.ranking import (
    TIES,
    Ranking,
    choice_losses,
    choices,
    pair_losses,
    pair_weights,
    preference,
    ranking_pairs,
)

SCORES = [0.3, -1.2, 2.0, 0.7, -0.4]


def ranking_nll(scores, ranks):
    """Minus the log-likelihood of one ranking under Plackett-Luce, not divided by its choices."""
    losses, weights, _ = choice_losses(tensor(scores, dtype=torch.float64), ranked(ranks, [0] * len(ranks)))
    return float((losses * weights).sum()) * (len(ranks) - 1)


def plackett_luce(worths, order):
    """Probability of an order, best first, by drawing without replacement."""
    return math.prod(worths[i] / sum(worths[j] for j in order[at:]) for at, i in enumerate(order))


def test_plackett_luce_sums_to_one_over_all_orderings():
    total = sum(math.exp(-ranking_nll(SCORES, list(ranks))) for ranks in permutations(range(1, 6)))
    assert total == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("ranks", [[3, 1, 4, 2, 5], [1, 2, 2, 3, 4], [2, 1, 1, 2, 1], [1, 1, 1, 1, 1]])
def test_plackett_luce_takes_the_mean_over_every_order_of_what_is_tied(ranks):
    worths = [math.exp(score) for score in SCORES]
    agreeing = [
        order for order in permutations(range(5)) if sorted(ranks) == [ranks[i] for i in order]
    ]  # the tied in any order
    expected = sum(-math.log(plackett_luce(worths, order)) for order in agreeing) / len(agreeing)
    assert ranking_nll(SCORES, ranks) == pytest.approx(expected, abs=1e-12)


def test_of_two_completions_plackett_luce_is_bradley_terry_ties_included():
    for ranks in ([1, 2], [2, 1], [1, 1]):
        batch, model = ranked(ranks, [0, 0]), scored([0.4, 1.1])
        totals = [
            Ranking(kind=kind)(model, batch).terms["ranking"].total
            for kind in ("plackett_luce", "bradley_terry")
        ]
        assert_close(totals[0], totals[1])


def test_rankings_whose_completions_lie_mixed_are_kept_apart():
    mixed = ranked([2, 1, 1, 3, 2], [7, 3, 7, 7, 3])
    losses, weights, index = choice_losses(tensor(SCORES, dtype=torch.float64), mixed)
    of = [float((losses * weights)[mixed.group_ids[index] == group].sum()) for group in (3, 7)]
    assert of[0] == pytest.approx(ranking_nll([SCORES[1], SCORES[4]], [1, 2]))
    assert of[1] == pytest.approx(ranking_nll([SCORES[0], SCORES[2], SCORES[3]], [2, 1, 3]) / 2)


def test_a_choice_keeps_all_that_is_worse_and_its_shares_make_every_order_count_once():
    left, chosen, shares = choices((1, 2, 2), width=4)
    assert left.tolist() == [[True, True, True, False], [False, True, True, False]]
    assert chosen.tolist() == [[1, 0, 0, 0], [0, 0.5, 0.5, 0]]
    assert shares.tolist() == [1, 1]


@pytest.mark.parametrize("kind", TIES)
def test_the_three_outcomes_of_a_pair_sum_to_one(kind):
    grid = torch.linspace(-30, 30, 61, dtype=torch.float64)
    for log_tie in (-9.0, -1.0, 0.0, 1.5, 3.0):
        logprobs = TIES[kind](grid, tensor(log_tie, dtype=torch.float64))
        assert_close(logprobs.exp().sum(0), torch.ones_like(grid), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "log_tie", "expected"),
    [
        ("davidson", 0.0, [4 / 7, 2 / 7, 1 / 7]),  # nu = 1: 4, sqrt(4), 1
        ("rao_kupper", math.log(math.log(2)), [4 / 6, 1 - 4 / 6 - 1 / 9, 1 / 9]),  # theta = 2
    ],
)
def test_worths_of_four_and_one_worked_by_hand(kind, log_tie, expected):
    difference = tensor([math.log(4)], dtype=torch.float64)
    found = TIES[kind](difference, tensor(log_tie, dtype=torch.float64)).exp()
    assert_close(found[:, 0], tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("kind", TIES)
def test_without_ties_both_are_bradley_terry(kind):
    difference = torch.linspace(-5, 5, 11, dtype=torch.float64)
    never = TIES[kind](difference, tensor(-30.0, dtype=torch.float64))
    assert_close(never[0], torch.nn.functional.logsigmoid(difference))
    assert_close(never[2], torch.nn.functional.logsigmoid(-difference))


@pytest.mark.parametrize("kind", TIES)
def test_the_tie_parameter_begins_where_equal_scores_tie_as_often_as_pairs_do(kind):
    for tied in (0.02, 0.3, 0.8):
        start = tie_start(kind, tied)
        logprobs = TIES[kind](torch.zeros(1, dtype=torch.float64), tensor(start, dtype=torch.float64))
        assert float(logprobs[1].exp()) == pytest.approx(tied)


KINDS = ("bradley_terry", "plackett_luce", "davidson", "rao_kupper")


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind):
    raters = RaterModel(kind, log_tie=-0.3, n_rankings={"a": 2, "b": 5}).double()
    raters.log_scales.data += tensor([0.2, -0.5])
    model = scored([0.3, -1.2, 2.0, 0.7, -0.4, 0.1], raters)
    batch = ranked(
        [1, 2, 2, 3, 2, 1],
        [0, 0, 0, 0, 1, 1],
        levels=tensor([0.0, -0.5, -0.5, -1.5, -1.0, 0.0], dtype=torch.float64),
        weights=tensor([2.0, 2.0, 2.0, 2.0, 0.5, 0.5], dtype=torch.float64),
        raters=["a"] * 4 + ["b"] * 2,
    )
    objective = Ranking(kind=kind, rater_noise=True)
    learnt = [model.weight, raters.log_scales, *([raters.log_tie] if kind in TIES else [])]

    def total():
        return sum(term.total for term in objective(model, batch).terms.values())

    total().backward()
    for parameter in learnt:
        for index in product(*map(range, parameter.shape)):
            at, step = parameter.data[index].clone(), 1e-6
            ends = []
            for sign in (1, -1):
                parameter.data[index] = at + sign * step
                ends.append(total().item())
            parameter.data[index] = at
            assert parameter.grad[index].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_ranking_weighs_one_whatever_its_length_and_kind(kind):
    # Equal scores: two completions and five give the same loss, for the mean over pairs or choices of
    # log 2 is log 2, and Plackett-Luce's choices among n cost log n each.
    model = scored([0.0] * 7, RaterModel(kind, log_tie=0.0))
    batch = ranked([1, 2, 1, 2, 3, 4, 5], [0, 0, 1, 1, 1, 1, 1])
    both = Ranking(kind=kind)(model, batch).terms["ranking"].total.item()
    expected = {
        "bradley_terry": 2 * math.log(2),
        "plackett_luce": math.log(2) + (math.log(2) + math.log(3) + math.log(4) + math.log(5)) / 4,
        "davidson": 2 * math.log(3),
        "rao_kupper": 2 * math.log(1 + math.exp(1)),
    }
    assert both == pytest.approx(expected[kind])
    assert Ranking(kind=kind).weights(batch)["ranking"] == 2
    sure = scored([3.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0], model.raters)
    assert Ranking(kind=kind).indifferent(sure, batch) == pytest.approx(expected[kind] / 2)


def test_a_strength_asks_for_a_difference_of_scores():
    batch = ranked([1, 2], [0, 0], levels=tensor([0.0, -1.5]))
    for kind in ("bradley_terry", "plackett_luce"):
        total = Ranking(kind=kind, margin_coef=2.0)(scored([4.0, 0.0]), batch).terms["ranking"].total
        assert total.item() == pytest.approx(math.log(1 + math.exp(-(4 - 2.0 * 1.5))))


def test_strengths_may_be_left_out_of_account():
    graded, plain = ranked([1, 2], [0, 0], levels=tensor([0.0, -1.5])), ranked([1, 2], [0, 0])
    found = [Ranking(margin_coef=0.0)(scored([1.0, 0.0]), b).terms["ranking"].total for b in (graded, plain)]
    assert torch.equal(found[0], found[1])


def test_a_ranking_counts_as_often_as_its_rater_weighs():
    batch = ranked([1, 2, 2, 1], [0, 0, 1, 1], weights=tensor([3.0, 3.0, 0.5, 0.5]))
    model, objective = scored([1.0, 0.0, 2.0, 0.0]), Ranking()
    expected = 3 * math.log(1 + math.exp(-1)) + 0.5 * math.log(1 + math.exp(2))
    assert objective(model, batch).terms["ranking"].total.item() == pytest.approx(expected)
    assert float(objective.weights(batch)["ranking"]) == 3.5


def test_a_reliable_rater_makes_differences_count_more_and_a_stranger_is_average():
    raters = RaterModel("bradley_terry", n_rankings={"sure": 1, "noisy": 1})
    raters.log_scales.data = tensor([math.log(3) + 5.0, math.log(1 / 3) + 5.0])  # only differences matter
    assert raters.scales() == pytest.approx({"sure": 3.0, "noisy": 1 / 3})
    for name, scale in (("sure", 3.0), ("noisy", 1 / 3), ("stranger", 1.0), ("", 1.0)):
        batch = ranked([1, 2], [0, 0], raters=[name] * 2)
        loss = Ranking(rater_noise=True)(scored([1.0, 0.0], raters), batch)
        assert loss.terms["ranking"].total.item() == pytest.approx(math.log(1 + math.exp(-scale)), rel=1e-6)


def test_over_an_epoch_every_raters_prior_counts_once():
    raters = RaterModel("bradley_terry", n_rankings={"a": 2, "b": 1})
    raters.log_scales.data = tensor([0.5, -0.5])
    batch = ranked([1, 2] * 3, [0, 0, 1, 1, 2, 2], raters=["a", "a", "b", "b", "a", "a"])
    loss = Ranking(rater_noise=True)(scored([0.0] * 6, raters), batch)
    assert loss.terms["rater_prior"].total.item() == pytest.approx(2 * 0.5 * 0.5**2)


def test_the_default_computes_the_published_formula_bit_for_bit():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(9, generator=generator)
    batch = ranked([1, 2, 2, 4, 3, 1, 1, 2, 3], [0, 0, 0, 0, 0, 1, 2, 1, 2])
    first, second = ranking_pairs(batch.group_ids)
    losses = pair_losses(scores[first] - scores[second], preference(batch.ranks, first, second))
    expected = (losses * pair_weights(batch.group_ids, first)).sum()
    model = scored(scores)
    model.features = model.features.float()
    model.weight.data = scores
    assert torch.equal(Ranking()(model, batch).terms["ranking"].total, expected)


def test_a_margin_below_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"objective\.margin_coef is -1"):
        Ranking(margin_coef=-1)
