"""Advantages without a value model, worked by hand."""

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.recipes.grpo import GrpoConfig
from danlu.recipes.rloo import RlooConfig
from danlu.rl.advantages import Baseline, Rewarded
from danlu.rl.collect import RolloutConfig

MASK = tensor([[True, True], [False, True], [True, False], [True, True]])


def rewarded(totals, *, n=2, past=None):
    """Each total on the last counted token; what stands outside the mask must not matter."""
    rewards = torch.zeros(4, 2)
    for row, column in enumerate((1, 1, 0, 1)):
        rewards[row, column] = totals[row]
    rewards[1, 0] = rewards[2, 1] = 99.0
    return Rewarded(rewards=rewards, values=torch.zeros(4, 2), mask=MASK, n_completions=n, past_reward=past)


def advantages_of(baseline, totals, **given):
    """One number a completion, after checking that all its tokens share it and no other token has any."""
    advantages, returns = baseline(rewarded(totals, **given))
    each = torch.stack([row[mask][0] for row, mask in zip(advantages, MASK, strict=True)])
    assert_close(advantages, each.unsqueeze(1) * MASK)
    assert_close(returns, tensor(totals).unsqueeze(1) * MASK)
    return each


def test_group_mean_and_deviation_of_two_prompts_by_hand():
    # Groups (1, 3) and (2, 8): means 2 and 5, deviations 1 and 3.
    plain = advantages_of(Baseline(divide_by_std=False), [1.0, 3.0, 2.0, 8.0])
    assert_close(plain, tensor([-1.0, 1.0, -3.0, 3.0]))
    scaled = advantages_of(Baseline(), [1.0, 3.0, 2.0, 8.0])
    assert_close(scaled, tensor([-1.0, 1.0, -1.0, 1.0]), atol=2e-4, rtol=0)


def test_leave_one_out_compares_with_the_others_of_the_prompt():
    loo = Baseline(kind="leave_one_out", divide_by_std=False)
    assert_close(advantages_of(loo, [1.0, 3.0, 2.0, 8.0]), tensor([-2.0, 2.0, -6.0, 6.0]))
    # Four of one prompt: 8 - (1 + 3 + 2) / 3 = 6, 1 - 13 / 3, and so on.
    four = advantages_of(loo, [1.0, 3.0, 2.0, 8.0], n=4)
    assert_close(four, tensor([1 - 13 / 3, 3 - 11 / 3, 2 - 4.0, 8 - 2.0]))


def test_batch_and_running_baselines_need_no_group():
    totals = [1.0, 3.0, 2.0, 8.0]
    batch = advantages_of(Baseline(kind="batch", divide_by_std=False), totals, n=1)
    assert_close(batch, tensor([1 - 13 / 3, 3 - 11 / 3, 2 - 4.0, 8 - 2.0]))
    running = Baseline(kind="running", divide_by_std=False)
    assert_close(advantages_of(running, totals, n=1, past=2.5), tensor([-1.5, 0.5, -0.5, 5.5]))
    assert_close(advantages_of(running, totals, n=1), batch)  # nothing is past yet


def test_equal_rewards_of_a_prompt_teach_nothing():
    tenth = [0.1] * 4  # whose mean in float32 is not exactly 0.1
    assert float(advantages_of(Baseline(), tenth, n=4).abs().max()) < 1e-3


def test_dividing_what_was_left_out_is_refused():
    with pytest.raises(ConfigError, match="only 'group' is divided"):
        Baseline(kind="leave_one_out")


@pytest.mark.parametrize("config", [GrpoConfig, RlooConfig])
def test_one_completion_has_nobody_to_be_compared_with(config):
    with pytest.raises(ConfigError, match=r"rollout\.n_completions is 1 .* at least 2"):
        config(policy="p", prompts="q", out="o", rollout=RolloutConfig(n_completions=1))


def test_a_rollout_holds_whole_groups():
    with pytest.raises(ConfigError, match=r"multiple of rollout\.n_completions, 3"):
        RolloutConfig(n_episodes=128, n_completions=3)
