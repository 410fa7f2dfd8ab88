from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.rl.tamer import HeadConfig, RewardHead, credit_weights, features

TWO = HeadConfig(half_life=1, window=2, ridge=1.0)


def replies(n: int, seed: int = 0) -> list[tuple[torch.Tensor, float]]:
    """Hidden vectors of `n` replies of unequal length, and their grades."""
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(3 + i % 4, 6, generator=generator), float(i % 5 - 2)) for i in range(n)]


def test_credit_halves_with_every_half_life_from_the_end():
    weights = credit_weights(3, HeadConfig(half_life=1, window=10))
    assert_close(weights, torch.tensor([1 / 7, 2 / 7, 4 / 7], dtype=torch.float64))


def test_tokens_before_the_window_get_no_credit():
    weights = credit_weights(4, HeadConfig(half_life=2, window=2))
    ratio = math.sqrt(2)  # two tokens, one apart, at a half-life of two
    assert_close(weights, torch.tensor([0, 0, 1 / (1 + ratio), ratio / (1 + ratio)], dtype=torch.float64))


def test_an_infinite_half_life_credits_all_alike():
    weights = credit_weights(5, HeadConfig(half_life=float("inf"), window=4))
    assert weights.tolist() == [0, 0.25, 0.25, 0.25, 0.25]


def test_credit_is_the_exponential_delay_integrated_over_each_token():
    """Knox and Stone's credit with the delay density e^(-t / mean) / mean, a token lasting one unit."""
    half_life, n = 3.0, 5
    mean = half_life / math.log(2)
    integrals = [math.exp(-(n - 1 - i) / mean) - math.exp(-(n - i) / mean) for i in range(n)]
    weights = credit_weights(n, HeadConfig(half_life=half_life, window=n))
    assert_close(weights.tolist(), [each / sum(integrals) for each in integrals])


def test_one_grade_moves_the_head_as_computed_by_hand():
    head = RewardHead(2, TWO)
    # Directions (1, 0) and (0, 1), shares 1/3 and 2/3, target 2. With P = I each step is
    # w += share / (1 + share) * 2 * direction: 1/4 * 2 and 2/5 * 2.
    head.learn(torch.tensor([[5.0, 0.0], [0.0, 0.1]]), 2.0)
    assert_close(head.weight, torch.tensor([0.5, 0.8], dtype=torch.float64))
    # P shrinks by share / (1 + share) along each direction.
    assert_close(head.covariance, torch.diag(torch.tensor([3 / 4, 3 / 5], dtype=torch.float64)))


def test_a_second_grade_corrects_the_prediction_of_the_first():
    head = RewardHead(2, HeadConfig(ridge=1.0))
    along = torch.tensor([[3.0, 0.0]])
    head.learn(along, 1.0)  # gain 1/2: predicts 1/2
    head.learn(along, -1.0)  # P is 1/2, gain (1/2) / (3/2) = 1/3: 1/2 + 1/3 * (-1 - 1/2) = 0
    assert_close(head.weight, torch.zeros(2, dtype=torch.float64), atol=1e-15, rtol=0)


def test_after_many_grades_the_head_is_the_ridge_regression_on_all_of_them():
    config = HeadConfig(half_life=2, window=5, ridge=0.3)
    head, given = RewardHead(6, config), replies(40)
    for hidden, grade in given:
        head.learn(hidden, grade)
    gram = config.ridge * torch.eye(6, dtype=torch.float64)
    moment = torch.zeros(6, dtype=torch.float64)
    for hidden, grade in given:
        unit, share = features(hidden), credit_weights(len(hidden), config)
        gram += unit.T @ (share[:, None] * unit)
        moment += grade * (share @ unit)
    assert_close(head.weight, torch.linalg.solve(gram, moment), atol=1e-12, rtol=0)


def test_the_order_of_grades_does_not_matter():
    given = replies(12)
    heads = [RewardHead(6, HeadConfig()) for _ in range(2)]
    for hidden, grade in given:
        heads[0].learn(hidden, grade)
    for hidden, grade in reversed(given):
        heads[1].learn(hidden, grade)
    assert_close(heads[0].weight, heads[1].weight, atol=1e-12, rtol=0)


def test_the_expected_grade_is_the_credited_mean_of_the_tokens_rewards():
    head = RewardHead(2, TWO)
    head.weight = torch.tensor([0.3, -0.6], dtype=torch.float64)
    hidden = torch.tensor([[9.0, 9.0], [2.0, 0.0], [0.0, 7.0]])  # the first lies before the window
    assert head.grade(hidden) == pytest.approx(0.3 / 3 - 0.6 * 2 / 3)


def test_a_grade_of_nought_leaves_a_fresh_head_at_nought():
    head = RewardHead(6, HeadConfig())
    head.learn(replies(1)[0][0], 0.0)
    assert head.weight.tolist() == [0.0] * 6


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"half_life": 0}, "head.half_life is 0; it must be above 0"),
        ({"half_life": math.nan}, "head.half_life is nan"),
        ({"window": 0}, "head.window is 0; it must be at least 1"),
        ({"ridge": 0.0}, "head.ridge is 0.0; it must be above 0 and finite"),
        ({"ridge": math.inf}, "head.ridge is inf"),
    ],
)
def test_impossible_settings_are_refused(given: dict[str, float], told: str):
    with pytest.raises(ConfigError, match=told):
        HeadConfig(**given)  # type: ignore[arg-type]
