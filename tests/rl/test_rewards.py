from torch import tensor
from torch.testing import assert_close

from danlu.rl.controller import AdaptiveKl, KlConfig
from danlu.rl.rewards import penalise_missing_end, sequence_kl, token_rewards


def test_kl_penalty_is_charged_where_it_arises_and_the_score_at_the_end():
    rewards = token_rewards(
        tensor([1.0]),
        logprobs=tensor([[-1.0, -2.0]]),
        ref_logprobs=tensor([[-1.5, -2.0]]),
        mask=tensor([[True, True]]),
        kl_coef=0.2,
    )
    assert_close(rewards, tensor([[-0.1, 1.0]]))  # -0.2 * (-1.0 + 1.5), then -0.2 * 0 + 1


def test_the_score_stands_at_the_last_token_the_policy_chose_not_at_the_padding():
    rewards = token_rewards(
        tensor([1.0, 2.0]),
        logprobs=tensor([[0.0, -1.0, -1.0, -9.0], [0.0, 0.0, -1.0, -1.0]]),
        ref_logprobs=tensor([[-5.0, -1.0, -1.0, 0.0], [-5.0, -5.0, -1.0, -1.0]]),
        mask=tensor([[False, True, True, False], [False, False, True, True]]),
        kl_coef=0.5,
    )
    assert_close(rewards, tensor([[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 2.0]]))


def test_a_missing_end_is_never_a_bonus():
    scores = penalise_missing_end(tensor([2.0, 2.0, -3.0]), tensor([True, False, False]), 1.0)
    assert_close(scores, tensor([2.0, -1.0, -4.0]))


def test_kl_is_summed_over_tokens():
    kl = sequence_kl(tensor([[-1.0, -1.0, 0.0]]), tensor([[-2.0, -1.5, -7.0]]), tensor([[True, True, False]]))
    assert_close(kl, tensor([1.5]))


def test_the_controller_moves_by_the_clipped_error():
    controller = AdaptiveKl(KlConfig(init_coef=0.1, target=4.0, horizon=100), n_episodes=10**6)
    controller.update(kl=4.4, n_episodes=50)  # error 0.1, half a horizon
    assert abs(controller.coef - 0.1 * 1.05) < 1e-12
    controller.update(kl=400.0, n_episodes=50)  # error clipped to 0.2
    assert abs(controller.coef - 0.1 * 1.05 * 1.1) < 1e-12
    controller.update(kl=0.0, n_episodes=50)  # error clipped to -0.2
    assert abs(controller.coef - 0.1 * 1.05 * 1.1 * 0.9) < 1e-12


def test_the_horizon_is_a_tenth_of_the_run_unless_set():
    assert AdaptiveKl(KlConfig(), n_episodes=4000).horizon == 400


def test_without_a_target_the_coefficient_is_fixed():
    controller = AdaptiveKl(KlConfig(init_coef=0.3, target=None), n_episodes=100)
    controller.update(kl=50.0, n_episodes=100)
    assert controller.coef == 0.3


def test_one_rollout_at_most_halves_the_coefficient_however_short_the_horizon():
    controller = AdaptiveKl(KlConfig(init_coef=0.4, target=1.0, horizon=10), n_episodes=100)
    controller.update(kl=0.0, n_episodes=100)  # 1 - 0.2 * 10 would turn the penalty into a reward
    assert controller.coef == 0.2
