from __future__ import annotations

import math

import numpy as np
import torch
from torch import tensor
from torch.testing import assert_close

from danlu.generate.choose import choose, invert, uniforms


def test_the_uniform_number_falls_into_the_cumulative_interval_of_its_token():
    weights = tensor([[1.0, 2.0, 0.0, 1.0]]).repeat(5, 1)  # intervals [0, .25), [.25, .75), none, [.75, 1)
    uniform = tensor([0.0, 0.25, 0.74, 0.75, 0.9999999])
    assert invert(weights, uniform).tolist() == [0, 1, 1, 3, 3]


def test_a_token_without_weight_at_the_end_is_never_reached():
    weights = tensor([[3e-5, 1e-5, 0.0]])
    assert invert(weights, tensor([1 - 2**-24])).tolist() == [1]


def test_logprob_is_that_of_the_drawn_token_at_the_temperature():
    logits = tensor([[math.log(3.0), 0.0]])
    ids, logprobs = choose(logits, tensor([0.95]), tensor([2.0]))
    assert ids.tolist() == [1]
    assert_close(logprobs, tensor([-math.log(math.sqrt(3.0) + 1)]))  # weights sqrt(3) and 1 at temperature 2


def test_temperature_zero_takes_the_likeliest_and_reports_temperature_one():
    ids, logprobs = choose(tensor([[0.0, math.log(3.0)]] * 2), tensor([0.0, 0.9]), tensor([0.0, 0.0]))
    assert ids.tolist() == [1, 1]
    assert_close(logprobs, tensor([0.75, 0.75]).log())


def test_top_k_and_top_p_limit_what_is_drawn_but_not_the_reported_logprob():
    logits = tensor([[0.1, 0.5, 0.3, 0.1]]).log().repeat(3, 1)
    uniform = tensor([0.9999999] * 3)  # the last token that is allowed, likeliest first
    ids, logprobs = choose(logits, uniform, torch.ones(3), tensor([2, 0, 1]), tensor([1.0, 0.6, 1.0]))
    assert ids.tolist() == [
        2,
        2,
        1,
    ]  # the two likeliest; those before which less than 0.6 is held; the likeliest
    assert_close(logprobs, tensor([0.3, 0.3, 0.5]).log())


def test_top_p_counts_the_share_of_what_top_k_kept():
    logits = tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    ids, _ = choose(logits, tensor([0.9999999]), torch.ones(1), tensor([2]), tensor([0.55]))
    assert ids.tolist() == [0]  # 0.4 of 0.7 is already more than 0.55


def test_min_p_is_relative_to_the_likeliest_at_the_temperature():
    logits = tensor([[0.5, 0.3, 0.15, 0.05]]).log().repeat(3, 1)
    uniform = tensor([0.9999999] * 3)
    ids, _ = choose(logits, uniform, tensor([1.0, 2.0, 0.0]), min_p=tensor([0.31, 0.5, 1.0]))
    # Floors of 0.155; of sqrt(0.5) / 2 where weights go as square roots; and what is greedy stays so.
    assert ids.tolist() == [1, 2, 0]


def test_rows_with_different_settings_do_not_mix():
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    uniform, temperature = tensor([0.1, 0.5, 0.9, 0.3]), tensor([1.0, 0.0, 0.5, 1.0])
    top_k, top_p = tensor([0, 3, 5, 0]), tensor([1.0, 1.0, 0.9, 0.5])
    ids, logprobs = choose(logits, uniform, temperature, top_k, top_p)
    for i in range(4):
        row = slice(i, i + 1)
        alone = choose(logits[row], uniform[row], temperature[row], top_k[row], top_p[row])
        assert_close((ids[row], logprobs[row]), alone)


def test_draws_follow_the_softmax_probabilities():
    logits = torch.randn(1, 20, generator=torch.Generator().manual_seed(1)).repeat(20_000, 1)
    uniform = torch.from_numpy(uniforms(0, "draws", 20_000))
    ids, _ = choose(logits, uniform, torch.ones(20_000))
    expected = logits[0].softmax(-1) * 20_000
    chi_square = ((ids.bincount(minlength=20) - expected) ** 2 / expected).sum()
    assert chi_square < 36.2  # 99 % point of chi-square with 19 degrees of freedom


def test_uniforms_follow_from_seed_and_key_alone():
    assert np.array_equal(uniforms(3, "a", 4), uniforms(3, "a", 9)[:4])
    assert not np.array_equal(uniforms(3, "a", 4), uniforms(3, "b", 4))
    assert not np.array_equal(uniforms(3, "a", 4), uniforms(4, "a", 4))
    draws = np.stack([uniforms(0, key, 100) for key in range(100)])
    assert abs(draws.mean() - 0.5) < 0.012  # four standard errors
    assert draws.min() >= 0
    assert draws.max() < 1
