"""KL estimators against exact enumeration: what their mean is, and what the mean of their gradient is."""

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.objectives.kl import KlPenalty, k1, k2, k3
from danlu.rl.advantages import gae
from danlu.rl.controller import AdaptiveKl, KlConfig
from danlu.rl.rewards import token_rewards

# Policy, reference and the policy that sampled, over five tokens.
LOGITS = tensor([0.3, -1.0, 0.8, 0.1, -0.4], dtype=torch.float64)
REF = tensor([1.0, 0.2, -0.5, 0.0, 0.4], dtype=torch.float64).log_softmax(0)
OLD = tensor([-0.2, 0.5, 0.3, 0.9, -1.0], dtype=torch.float64).log_softmax(0)


def gradient(value_of):
    """d value / d logits, at LOGITS."""
    logits = LOGITS.clone().requires_grad_()
    value_of(logits.log_softmax(0)).backward()
    return logits.grad


def kl(p, q):
    """KL(p, q) of log-probabilities, every token counted."""
    return (p.exp() * (p - q)).sum()


REVERSE = gradient(lambda logprobs: kl(logprobs, REF))
FORWARD = gradient(lambda logprobs: kl(REF, logprobs))


def test_the_mean_of_k1_and_k3_is_the_kl_and_that_of_k2_is_not():
    p = LOGITS.log_softmax(0)
    exact = kl(p, REF)
    assert_close((p.exp() * k1(p, REF)).sum(), exact)
    assert_close((p.exp() * k3(p, REF)).sum(), exact)
    assert_close((p.exp() * k2(p, REF)).sum(), 0.5 * (p.exp() * (p - REF).square()).sum())
    assert abs(float((p.exp() * k2(p, REF)).sum() - exact)) > 0.05


def test_k2_and_k3_are_never_negative_and_k1_is():
    p = LOGITS.log_softmax(0)
    assert float(k1(p, REF).min()) < 0 < float(k2(p, REF).min())
    assert float(k3(p, REF).min()) > 0
    assert_close(k3(tensor([-1.0]), tensor([-1.0])), tensor([0.0]))


def mean_loss(estimator, sampler):
    """The mean of the loss term over tokens drawn from `sampler`, as a function of the policy."""
    return lambda logprobs: (sampler.exp() * KlPenalty(estimator, 1.0)(logprobs, sampler, REF)).sum()


@pytest.mark.parametrize("estimator", ["k2", "k3"])
@pytest.mark.parametrize("sampler", [LOGITS.log_softmax(0), OLD], ids=["on-policy", "off-policy"])
def test_in_the_loss_k2_and_k3_have_the_gradient_of_the_reverse_kl(estimator, sampler):
    assert_close(gradient(mean_loss(estimator, sampler)), REVERSE)


def test_weighted_k3_has_the_value_of_the_kl_off_policy_too():
    p = LOGITS.log_softmax(0)
    assert_close(mean_loss("k3", OLD)(p), kl(p, REF))


def test_unweighted_k3_as_published_has_the_gradient_of_the_forward_kl():
    published = gradient(mean_loss("k3_unweighted", LOGITS.log_softmax(0)))
    assert_close(published, FORWARD)
    assert float((published - REVERSE).abs().max()) > 0.1


def test_as_a_loss_k1_holds_nothing_back():
    p = LOGITS.log_softmax(0)
    gradient_of_k1 = gradient(lambda logprobs: (p.exp() * k1(logprobs, REF)).sum())
    assert_close(gradient_of_k1, torch.zeros(5, dtype=torch.float64))


@pytest.mark.parametrize(("estimator", "right"), [(k1, True), (k2, False), (k3, False)])
def test_as_a_reward_only_k1_has_the_gradient_of_the_reverse_kl(estimator, right):
    """A reward is a number: its push is the mean of estimate times the gradient of log p."""
    p = LOGITS.log_softmax(0)
    push = gradient(lambda logprobs: (p.exp() * estimator(p, REF) * logprobs).sum())
    assert torch.allclose(push, REVERSE) is right


def two_tokens():
    """Two tokens of vocabulary, two positions: logits of the first, and of the second after either."""
    return tensor([[0.4, -0.3], [1.2, 0.1], [-0.6, 0.5]], dtype=torch.float64)


REF_TWO = tensor([[-0.2, 0.1], [0.3, 0.9], [0.8, -1.1]], dtype=torch.float64).log_softmax(1)
PATHS = ((0, 0), (0, 1), (1, 0), (1, 1))


def along(logprobs):
    """Log-probability of each token of each path, (4, 2)."""
    return torch.stack([torch.stack([logprobs[0, a], logprobs[1 + a, b]]) for a, b in PATHS])


def gradient_of_two(value_of):
    logits = two_tokens().requires_grad_()
    value_of(along(logits.log_softmax(1))).backward()
    return logits.grad


def test_over_several_tokens_k1_in_the_reward_has_the_gradient_of_the_whole_sequences_kl():
    old, ref = along(two_tokens().log_softmax(1)), along(REF_TWO)
    probability = old.sum(1).exp()
    mask = torch.ones(4, 2, dtype=torch.bool)
    rewards = token_rewards(torch.zeros(4, dtype=torch.float64), old, ref, mask, kl_coef=1.0)
    advantages, _ = gae(rewards, torch.zeros_like(rewards), mask, gamma=1.0, gae_lambda=1.0)
    push = gradient_of_two(lambda p: (probability.unsqueeze(1) * advantages * p).sum())
    exact = gradient_of_two(lambda p: (p.sum(1).exp() * (p - ref).sum(1)).sum())
    assert_close(-push, exact)


def test_over_several_tokens_the_loss_sees_each_tokens_kl_but_not_which_texts_it_leads_to():
    old, ref = along(two_tokens().log_softmax(1)), along(REF_TWO)
    probability = old.sum(1).exp().unsqueeze(1)
    penalty = KlPenalty("k3", 1.0)
    of_loss = gradient_of_two(lambda p: (probability * penalty(p, old, ref)).sum())
    exact = gradient_of_two(lambda p: (p.sum(1).exp() * (p - ref).sum(1)).sum())
    assert_close(of_loss[1:], exact[1:])  # nothing follows the second token
    # What the first token misses: KL of the second, by which token came first.
    second = (two_tokens()[1:].log_softmax(1).exp() * (two_tokens()[1:].log_softmax(1) - REF_TWO[1:])).sum(1)
    first = two_tokens()[0].softmax(0)
    missing = first * (second - (first * second).sum())
    assert_close(of_loss[0] + missing, exact[0])


@pytest.mark.parametrize(
    ("estimator", "place", "reason"),
    [
        ("k1", "loss", "zero on average"),
        ("k2", "reward", "not differentiated"),
        ("k3", "reward", "not differentiated"),
        ("k3_unweighted", "reward", "not differentiated"),
    ],
)
def test_a_wrong_place_is_refused_with_the_reason(estimator, place, reason):
    with pytest.raises(ConfigError, match=reason):
        KlConfig(estimator=estimator, place=place)


def test_the_controller_charges_kl_in_one_place_only():
    in_reward = AdaptiveKl(KlConfig(init_coef=0.3), n_episodes=100)
    assert (in_reward.reward_coef, in_reward.penalty) == (0.3, None)
    in_loss = AdaptiveKl(KlConfig(init_coef=0.3, estimator="k3", place="loss"), n_episodes=100)
    assert (in_loss.reward_coef, in_loss.penalty) == (0.0, KlPenalty("k3", 0.3))
