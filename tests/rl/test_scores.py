"""From what a reward says to what is rewarded: scaling, length, and what is refused."""

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from danlu.generate.sampler import Completion
from danlu.rl.agreement import negative_kl
from danlu.rl.collect import Memory, RolloutConfig, final_scores, no_end
from danlu.rl.controller import AdaptiveKl, KlConfig
from danlu.rl.judges import CheckedReward, RewardError
from danlu.rl.rewards import Moments, length_cost, scale_scores
from danlu.rl.rollout import Prompt, Rollout


def rollout(n_tokens=2, *, ended=True):
    ids = (5,) * n_tokens
    return Rollout(
        Prompt("sky", [1]),
        Completion(ids=ids, logprobs=(0.0,) * n_tokens, finish_reason="stop" if ended else "length"),
    )


def test_moments_of_parts_are_those_of_the_whole():
    seen = Moments()
    for part in ([1.0, 4.0], [2.0], [7.0, 7.0, 3.0]):
        seen.add(tensor(part))
    assert (seen.n, seen.mean) == (6, pytest.approx(4.0))
    assert seen.std == pytest.approx(((9 + 0 + 4 + 9 + 9 + 1) / 6) ** 0.5)
    resumed = Moments()
    resumed.load_state_dict(seen.state_dict())
    assert (resumed.n, resumed.mean, resumed.std) == (seen.n, seen.mean, seen.std)


def test_scaling_by_the_reference_keeps_to_the_first_rollout():
    seen = Moments()
    assert_close(scale_scores(tensor([1.0, 3.0]), seen, "reference"), tensor([-1.0, 1.0]))
    assert_close(scale_scores(tensor([5.0, 4.0]), seen, "reference"), tensor([3.0, 2.0]))


def test_scaling_by_what_was_seen_takes_in_every_rollout():
    seen = Moments()
    scale_scores(tensor([1.0, 3.0]), seen, "running")
    # 1, 3, 5, 7: mean 4, variance 5.
    assert_close(scale_scores(tensor([5.0, 7.0]), seen, "running"), tensor([1.0, 3.0]) / 5**0.5)


def test_without_scaling_scores_stay_and_nothing_is_remembered():
    seen = Moments()
    assert_close(scale_scores(tensor([1.0, 3.0]), seen, "none"), tensor([1.0, 3.0]))
    assert seen.n == 0


def test_length_costs_beyond_what_is_free():
    assert_close(length_cost(tensor([2, 5, 9]), 0.1, 5), tensor([0.0, 0.0, 0.4]))


def test_scores_are_scaled_then_penalised_then_clamped():
    config = RolloutConfig(
        scale_scores="reference", missing_end_penalty=0.5, length_coef=0.1, free_length=1, score_clip=1.0
    )
    memory = Memory(AdaptiveKl(KlConfig(), n_episodes=100))
    rollouts = [rollout(2), rollout(2), rollout(6, ended=False), rollout(1)]
    # Mean 3, variance 5; the third lost what it had above 0, then 0.5, then 0.1 for each of five tokens.
    scores = tensor([6.0, 2.0, 4.0, 0.0])
    deviation = 5**0.5
    expected = [min(1.0, 3 / deviation - 0.1), -1 / deviation - 0.1, -0.5 - 0.5, max(-1.0, -3 / deviation)]
    assert_close(final_scores(scores, rollouts, config, memory), tensor(expected))


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([0.5], "returned 1 scores for 2 completions"),
        ([0.5, float("nan")], "prompt 'sky' is nan; it must be a finite number"),
        ([0.5, float("inf")], "is inf"),
        ([0.5, None], "is None"),
        ([0.5, "0.7"], "is '0.7'"),
    ],
)
def test_a_reward_that_is_no_finite_number_each_is_refused(scores, message):
    reward = CheckedReward(lambda _: scores)
    with pytest.raises(RewardError, match=message):
        reward([rollout(), rollout()])
    assert reward.failed


def test_a_reward_that_raises_is_remembered_as_failed_until_it_works():
    answers = iter([None, [1, 2.5]])
    reward = CheckedReward(lambda _: list(next(answers)))
    with pytest.raises(TypeError):
        reward([rollout(), rollout()])
    assert reward.failed
    assert_close(reward([rollout(), rollout()]), tensor([1.0, 2.5]))
    assert not reward.failed


def test_a_rollout_in_which_nothing_ended_is_named():
    assert no_end([rollout(ended=False), rollout()]) == []
    (warning,) = no_end([rollout(ended=False)] * 3)
    assert "none of 3 completions ended" in warning


NOISE = torch.linspace(-1, 1, 64)  # mean 0, standard error 0.07


def test_kl_below_zero_by_noise_alone_is_not_named():
    assert negative_kl(NOISE - 0.2, lambda: NOISE) is None
    assert negative_kl((NOISE - 5)[:8], lambda: NOISE) is None  # eight completions say too little


def test_kl_below_zero_beyond_noise_is_named_with_its_cause():
    truncated = negative_kl(NOISE - 0.5, lambda: NOISE - 0.5)
    assert truncated is not None
    assert "-0.5 nats" in truncated
    assert "truncated" in truncated
    odd_reference = negative_kl(NOISE - 0.5, lambda: NOISE)
    assert odd_reference is not None
    assert "reference's numbers are no log-probabilities" in odd_reference
