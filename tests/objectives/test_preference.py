from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn, tensor
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.data.records import PreferenceBatch
from danlu.objectives.preference import (
    Preference,
    best_shares,
    completion_logprobs,
    ipo_loss,
    log_odds,
    simpo_loss,
)


class FixedLogprobs(nn.Module):
    """Stands for a policy whose log-probability of each counted target is known."""

    def __init__(self, logprobs):
        super().__init__()
        self.logprobs = nn.Parameter(logprobs if isinstance(logprobs, torch.Tensor) else tensor(logprobs))

    def target_logprobs(self, inputs, target_ids, loss_mask):
        return self.logprobs


def batch(owners, groups, ranks, ref=None, point=None):
    """One row; `owners` says whose each target is, -1 for positions of a prompt."""
    owned = tensor([owners])
    blank = torch.zeros_like(owned)
    return PreferenceBatch(
        input_ids=blank,
        target_ids=blank,
        loss_mask=owned >= 0,
        completion_ids=owned,
        position_ids=blank,
        segment_ids=blank,
        branch_ids=blank,
        group_ids=tensor(groups),
        ranks=tensor(ranks),
        ref_logprobs=None if ref is None else tensor(ref),
        reference_point=None if point is None else tensor(point),
    )


# The better answer has two tokens, -1 and -0.5, and the worse one has one, -2. Under the reference they have
# -1.8 and -1.5, so that the log-ratios are 0.3 and -0.5 and the margin is 0.8.
TOKENS = [-1.0, -0.5, -2.0]
PAIR = batch([-1, 0, 0, 1], [0, 0], [1, 2], ref=[-1.8, -1.5])


def terms(objective, given=PAIR, tokens=TOKENS):
    loss = objective(FixedLogprobs(tokens), given)
    return {name: (float(term.total.detach()), term.coef) for name, term in loss.terms.items()}


def minus_log_sigmoid(x):
    return math.log(1 + math.exp(-x))


def test_log_probabilities_are_summed_over_the_tokens_of_each_completion():
    assert_close(completion_logprobs(FixedLogprobs(TOKENS), PAIR), tensor([-1.5, -2.0]))


def test_dpo_by_hand():
    assert terms(Preference(beta=0.5)) == {"preference": (pytest.approx(minus_log_sigmoid(0.4)), 1.0)}


def test_conservative_dpo_by_hand():
    expected = 0.8 * minus_log_sigmoid(0.4) + 0.2 * minus_log_sigmoid(-0.4)
    assert terms(Preference(beta=0.5, label_smoothing=0.2))["preference"][0] == pytest.approx(expected)


def test_dpo_beside_the_likelihood_of_the_better_answer_by_hand():
    found = terms(Preference(beta=0.5, nll_coef=0.2))
    assert found["preference"][0] == pytest.approx(minus_log_sigmoid(0.4))
    assert found["nll"] == (pytest.approx(0.75), 0.2)


def test_ipo_by_hand():
    assert terms(Preference(variant="ipo", beta=0.5))["preference"][0] == pytest.approx((0.8 - 1) ** 2)
    assert_close(ipo_loss(tensor(5.0), beta=0.1), tensor(0.0))


def test_simpo_by_hand():
    # A token of the better answer has -0.75 on average, of the worse -2: the margin is 1.25.
    found = terms(Preference(variant="simpo", beta=2.0, target_margin=0.5))
    assert found["preference"][0] == pytest.approx(minus_log_sigmoid(2 * 1.25 - 0.5))


def test_simpo_at_its_target_margin_is_undecided():
    margin = tensor(0.25, requires_grad=True)
    loss = simpo_loss(margin, beta=2.0, target_margin=0.5)
    loss.backward()
    assert_close(loss.detach(), tensor(math.log(2)))
    assert_close(margin.grad, tensor(-1.0))  # -beta / 2


def test_orpo_by_hand():
    better, worse = math.exp(-0.75), math.exp(-2.0)
    ratio = math.log(better / (1 - better)) - math.log(worse / (1 - worse))
    found = terms(Preference(variant="orpo", odds_coef=0.25))
    assert found["preference"] == (pytest.approx(minus_log_sigmoid(ratio)), 0.25)
    assert found["nll"] == (pytest.approx(0.75), 1.0)


def test_the_odds_of_a_certain_answer_stay_finite():
    model = FixedLogprobs([0.0, 0.0, -2.0])
    loss = Preference(variant="orpo")(model, PAIR).terms["preference"].total
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(model.logprobs.grad).all()
    assert_close(log_odds(tensor([-1e-4, -30.0]), batch([0, 1], [0, 0], [1, 2])), tensor([9.2103, -30.0]))


# Three thumbs, the second of them down; log-ratios 0.3, -0.5 and 2.
THUMBS = batch([0, 0, 1, 2], [0, 1, 2], [1, 2, 1], ref=[-1.8, -1.5, -3.0], point=0.5)
RATED = [-1.0, -0.5, -2.0, -1.0]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_kto_by_hand():
    objective = Preference(variant="kto", beta=0.5, desirable_weight=1.5, undesirable_weight=2.0)
    up = 1.5 * ((1 - sigmoid(0.5 * (0.3 - 0.5))) + (1 - sigmoid(0.5 * (2.0 - 0.5))))
    down = 2.0 * (1 - sigmoid(0.5 * (0.5 + 0.5)))
    assert terms(objective, THUMBS, RATED) == {"preference": (pytest.approx(up + down), 1.0)}
    assert int(objective.weights(THUMBS)["preference"]) == 3


def test_no_gradient_flows_through_the_reference_point():
    point = tensor(0.5, requires_grad=True)
    loss = Preference(variant="kto")(FixedLogprobs(RATED), replace(THUMBS, reference_point=point))
    loss.terms["preference"].total.backward()
    assert point.grad is None


def test_what_is_far_above_the_reference_point_no_longer_pulls():
    model = FixedLogprobs([-1.0, -0.5, -2.0, -1.0])
    given = replace(THUMBS, ref_logprobs=tensor([-1.5, -2.0, -501.0]))
    Preference(variant="kto")(model, given).terms["preference"].total.backward()
    assert abs(float(model.logprobs.grad[3])) < 1e-12
    assert abs(float(model.logprobs.grad[0])) > 0.02


def test_three_answers_with_a_tie_give_the_mean_over_three_pairs():
    # Log-ratios 2, 1, 1; the first is best and the others tie, which is least at margin 0.
    given = batch([0, 1, 2], [0, 0, 0], [1, 2, 2], ref=[-3.0, -3.0, -3.0])
    found = terms(Preference(beta=1.0), given, [-1.0, -2.0, -2.0])
    assert found["preference"][0] == pytest.approx((2 * minus_log_sigmoid(1.0) + math.log(2)) / 3)
    ipo = terms(Preference(variant="ipo", beta=1.0), given, [-1.0, -2.0, -2.0])
    assert ipo["preference"][0] == pytest.approx((2 * (1 - 0.5) ** 2 + 0.5**2) / 3)


def test_every_ranking_weighs_one_however_many_answers_it_has():
    given = batch([0, 1, 2, 3, 4], [3, 3, 1, 1, 1], [1, 2, 1, 2, 3], ref=[-1.0] * 5)
    objective = Preference(nll_coef=1.0)
    assert {name: int(w) for name, w in objective.weights(given).items()} == {"preference": 2, "nll": 2}
    assert terms(objective, given, [-1.0] * 5)["preference"][0] == pytest.approx(2 * math.log(2))


def test_the_best_answers_of_a_ranking_share_its_weight():
    shares = best_shares(tensor([0, 0, 5, 5, 5]), tensor([2, 1, 4, 3, 3]))
    assert_close(shares, tensor([0.0, 1.0, 0.0, 0.5, 0.5]))


def test_metrics_say_whether_the_margin_grew_because_both_fell():
    metrics = Preference()(FixedLogprobs(TOKENS), PAIR).metrics
    means = {name: float(total / weight) for name, (total, weight) in metrics.items()}
    assert means == pytest.approx({"accuracy": 1, "margin": 0.8, "chosen_score": 0.3, "rejected_score": -0.5})


def test_the_implied_reward_is_beta_times_the_log_ratio():
    assert_close(Preference(beta=0.5).rewards(FixedLogprobs(TOKENS), PAIR), tensor([0.15, -0.25]))


RANKED = batch([0, 0, 1, 2, 2, 2, 3, 4], [0, 0, 0, 1, 1], [1, 3, 1, 2, 1])
VARIANTS = [
    Preference(beta=0.3),
    Preference(beta=0.3, label_smoothing=0.1, nll_coef=0.5),
    Preference(variant="ipo", beta=0.4),
    Preference(variant="simpo"),
    Preference(variant="orpo", odds_coef=0.7),
    Preference(variant="kto", beta=0.6, desirable_weight=1.3),
]


@pytest.mark.parametrize("objective", VARIANTS, ids=lambda each: each.variant)
def test_gradients_equal_finite_differences(objective):
    tokens = -torch.rand(8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.1
    ref = -torch.rand(5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 0.5
    given = replace(RANKED, ref_logprobs=ref, reference_point=tensor(0.2, dtype=torch.float64))

    def value(logprobs):
        loss = objective(FixedLogprobs(logprobs), given)
        return sum(term.coef * term.total for term in loss.terms.values())

    model = FixedLogprobs(tokens)
    loss = objective(model, given)
    sum(term.coef * term.total for term in loss.terms.values()).backward()
    for i in range(len(tokens)):
        step = torch.zeros_like(tokens)
        step[i] = 1e-6
        slope = (value(tokens + step) - value(tokens - step)) / 2e-6
        assert float(model.logprobs.grad[i]) == pytest.approx(float(slope.detach()), abs=1e-8, rel=1e-6)


def test_knobs_left_alone_have_the_published_values():
    assert Preference().knobs == {"beta": 0.1, "label_smoothing": 0.0, "nll_coef": 0.0}
    assert Preference(variant="simpo", beta=2.5).knobs == {"beta": 2.5, "target_margin": 1.0}
    assert Preference(variant="orpo").knobs == {"odds_coef": 0.1, "nll_coef": 1.0}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"variant": "kto", "label_smoothing": 0.1},
            "label_smoothing is 0.1, but kto has no such knob; it has b",
        ),
        (
            {"variant": "orpo", "beta": 0.1},
            "beta is 0.1, but orpo has no such knob; it has odds_coef, nll_coef",
        ),
        ({"beta": 0.0}, "beta is 0; it must be above 0"),
        ({"variant": "simpo", "target_margin": -1.0}, "target_margin is -1.0; it must not be negative"),
        ({"label_smoothing": 0.5}, "label_smoothing is 0.5; it must be below 0.5"),
    ],
)
def test_knobs_of_another_variant_or_out_of_range_are_refused(given, told):
    with pytest.raises(ConfigError, match=told):
        Preference(**given)
