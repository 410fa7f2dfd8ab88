import torch
from torch import tensor
from torch.testing import assert_close

from danlu.rl.advantages import explained_variance, gae, whiten


def test_gae_of_three_tokens_worked_by_hand():
    # gamma 1, lambda 0.5. Deltas from the end: 1 - 0.6 = 0.4; 0 + 0.6 - 0.5 = 0.1; 0 + 0.5 - 0.2 = 0.3.
    # Advantages: 0.4; 0.1 + 0.5 * 0.4 = 0.3; 0.3 + 0.5 * 0.3 = 0.45.
    rewards, values = tensor([[0.0, 0.0, 1.0]]), tensor([[0.2, 0.5, 0.6]])
    mask = tensor([[True, True, True]])
    advantages, returns = gae(rewards, values, mask, gamma=1.0, gae_lambda=0.5)
    assert_close(advantages, tensor([[0.45, 0.3, 0.4]]))
    assert_close(returns, tensor([[0.65, 0.8, 1.0]]))


def test_gae_skips_positions_outside_the_mask():
    mask = tensor([[False, True, True, False]])
    rewards, values = tensor([[9.0, 0.0, 1.0, 9.0]]), tensor([[9.0, 0.5, 0.6, 9.0]])
    advantages, returns = gae(rewards, values, mask, gamma=1.0, gae_lambda=1.0)
    assert_close(advantages, tensor([[0.0, 0.5, 0.4, 0.0]]))
    assert_close(returns, tensor([[0.0, 1.0, 1.0, 0.0]]))


def test_discount_reaches_back_through_gamma():
    advantages, _ = gae(
        tensor([[0.0, 1.0]]), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), gamma=0.5, gae_lambda=1.0
    )
    assert_close(advantages, tensor([[0.5, 1.0]]))


def test_whitening_spans_the_whole_batch_and_only_the_mask():
    x, mask = (
        tensor([[1.0, 3.0, 100.0], [5.0, 100.0, 100.0]]),
        tensor([[True, True, False], [True, False, False]]),
    )
    # Mean 3, variance (4 + 0 + 4) / 3.
    deviation = (8 / 3) ** 0.5
    assert_close(whiten(x, mask), tensor([[-2 / deviation, 0.0, 0.0], [2 / deviation, 0.0, 0.0]]))


def test_whitening_rewards_keeps_their_mean():
    x, mask = tensor([[1.0, 3.0]]), tensor([[True, True]])
    assert_close(whiten(x, mask, shift_mean=False), tensor([[1.0, 3.0]]))
    wide = whiten(tensor([[0.0, 10.0]]), mask, shift_mean=False)
    assert_close(wide, tensor([[4.0, 6.0]]))


def test_explained_variance_of_a_perfect_and_a_constant_critic():
    returns, mask = tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 3, dtype=torch.bool)
    assert abs(explained_variance(returns, returns, mask) - 1) < 1e-6
    assert abs(explained_variance(torch.zeros(1, 3), returns, mask)) < 1e-6
