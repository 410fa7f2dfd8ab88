"""Where theory names the best policy, learning must end there: through sampler, rewards, loss and loop."""

from dataclasses import dataclass, replace

import pytest
import torch
from enumerable import Stratified, World, batches_of, learn, team_of, total_variation

from danlu.objectives.ppo import Ppo, Surrogate
from danlu.rl.advantages import Baseline, Gae
from danlu.rl.collect import RolloutConfig
from danlu.rl.controller import KlConfig

TEXTS = World(vocab_size=8, stop_id=7, max_new_tokens=2)  # 57 completions of one or two tokens
TOKENS = World(vocab_size=16, stop_id=15, max_new_tokens=1)  # 16 completions of one
BETA = 0.5
IN_REWARD = KlConfig(init_coef=BETA, target=None)
LEAVE_ONE_OUT = Baseline(kind="leave_one_out", divide_by_std=False)
GROUP_MEAN = Baseline(divide_by_std=False)


def in_loss(estimator, beta=BETA):
    return KlConfig(init_coef=beta, target=None, estimator=estimator, place="loss")


@dataclass(frozen=True)
class Effort:
    """How long and how carefully is learnt."""

    n_episodes: int = 256
    n_completions: int = 64
    n_rollouts: int = 100
    spread: float = 1.0  # of the rewards


def learnt(world, estimator, objective, kl, effort=Effort(), *, sampler="stratified"):
    """The policy's exact distribution after learning, the reference's, and the rewards."""
    rewards = world.rewards(effort.spread)
    team = team_of(world, rewards, with_value=isinstance(estimator, Gae))
    if sampler == "stratified":
        team = replace(team, sampler=Stratified(world, team.trained.policy))
    config = RolloutConfig(
        n_episodes=effort.n_episodes,
        n_completions=effort.n_completions,
        minibatch_size=effort.n_episodes,
        max_new_tokens=world.max_new_tokens,
        missing_end_penalty=0.0,
    )
    learn(batches_of(team, config, estimator, kl), objective, n_steps=effort.n_rollouts, lr=1e-2)
    return world.logprobs(team.trained.policy).exp(), world.logprobs(team.reference), rewards


def tilted(ref_logprobs, rewards, beta):
    """pi_ref(y) exp(r(y) / beta) / Z."""
    return (ref_logprobs + rewards / beta).softmax(0)


KL_IN_REWARD = {
    "ppo": (Gae(gae_lambda=1.0), Ppo()),
    "rloo": (LEAVE_ONE_OUT, Surrogate()),
    "grpo": (GROUP_MEAN, Surrogate(average="sums")),
    "reinforce": (Baseline(kind="batch", divide_by_std=False), Surrogate()),
}


@pytest.mark.parametrize("method", KL_IN_REWARD)
def test_with_kl_in_the_reward_the_optimum_is_reached(method):
    p, ref, rewards = learnt(TEXTS, *KL_IN_REWARD[method], IN_REWARD)
    optimum = tilted(ref, rewards, BETA)
    assert total_variation(ref.exp(), optimum) > 0.5  # there is a way to go
    assert total_variation(p, optimum) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("method", KL_IN_REWARD)
def test_with_the_sampler_that_commands_use_the_optimum_is_reached(method):
    p, ref, rewards = learnt(TEXTS, *KL_IN_REWARD[method], IN_REWARD, Effort(n_rollouts=150), sampler="own")
    assert total_variation(p, tilted(ref, rewards, BETA)) < 0.02


@pytest.mark.parametrize("estimator", ["k2", "k3"])
def test_with_kl_in_the_loss_single_tokens_reach_the_optimum(estimator):
    p, ref, rewards = learnt(TOKENS, LEAVE_ONE_OUT, Surrogate(), in_loss(estimator))
    assert total_variation(p, tilted(ref, rewards, BETA)) < 0.02


@pytest.mark.slow
def test_a_mean_that_holds_the_answer_itself_weakens_the_reward():
    effort = Effort(n_episodes=2048, n_completions=2)  # a group of two is noisy
    p, ref, rewards = learnt(TOKENS, GROUP_MEAN, Surrogate(), in_loss("k3"), effort)
    assert total_variation(p, tilted(ref, rewards, BETA * 2)) < 0.02  # G / (G - 1) = 2
    assert total_variation(p, tilted(ref, rewards, BETA)) > 0.1


def test_dividing_by_the_deviation_measures_rewards_in_deviations():
    kl = in_loss("k3", beta=2.0)  # in deviations
    p, ref, rewards = learnt(TOKENS, Baseline(), Surrogate(), kl, Effort(n_completions=256, spread=2.0))
    deviation = ((p * rewards.square()).sum() - (p * rewards).sum().square()).sqrt()
    assert total_variation(p, tilted(ref, rewards, 2.0 * float(deviation))) < 0.02
    assert total_variation(p, tilted(ref, rewards, 2.0)) > 0.05


def test_the_published_kl_term_ends_elsewhere():
    p, ref, rewards = learnt(TOKENS, LEAVE_ONE_OUT, Surrogate(), in_loss("k3_unweighted"))
    low, high = (
        float(rewards.max()),
        float(rewards.max()) + BETA,
    )  # beta pi_ref / (c - r) sums to 1 in between
    for _ in range(60):
        middle = (low + high) / 2
        total = float((BETA * ref.exp() / (middle - rewards)).sum())
        low, high = (middle, high) if total > 1 else (low, middle)
    assert total_variation(p, BETA * ref.exp() / (high - rewards)) < 0.02
    assert total_variation(p, tilted(ref, rewards, BETA)) > 0.1


def test_the_listed_completions_are_everything_that_can_be_said():
    for world, n in ((TEXTS, 57), (TOKENS, 16)):
        assert len(world.completions) == n
        assert float(world.logprobs(world.model()).exp().sum()) == pytest.approx(1, abs=1e-5)
        assert torch.all(world.rewards() <= 0)
