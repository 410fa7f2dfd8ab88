"""A sampler that truncates in secret, found out by a KL below zero."""

from dataclasses import dataclass, replace

import torch
from enumerable import PROMPT, World, team_of

from danlu.generate.sampler import Sampler
from danlu.rl.advantages import Baseline
from danlu.rl.collect import Memory, RolloutConfig, collect
from danlu.rl.controller import AdaptiveKl, KlConfig

WORLD = World(vocab_size=8, stop_id=7, max_new_tokens=2)
CONFIG = RolloutConfig(n_episodes=128, n_completions=128, minibatch_size=64, max_new_tokens=2)


@dataclass
class Truncating:
    """Draws among the two likeliest tokens and reports their probability among all."""

    sampler: Sampler

    def generate(self, prompts, sampling, n=1):
        return self.sampler.generate(prompts, replace(sampling, top_k=2), n)


def warnings_of(*, truncated):
    """Of a rollout whose reference likes the likeliest tokens still more than the policy does."""
    team = team_of(WORLD, WORLD.rewards(), with_value=False)
    with torch.no_grad():
        team.reference.lm_head.weight.mul_(1.5)
    if truncated:
        team = replace(team, sampler=Truncating(team.sampler))
    memory = Memory(AdaptiveKl(KlConfig(), n_episodes=1000))
    estimator = Baseline(kind="leave_one_out", divide_by_std=False)
    return collect(team, [PROMPT], CONFIG, estimator, memory, seed=0).warnings


def test_truncated_sampling_is_named_and_honest_sampling_is_not():
    assert warnings_of(truncated=False) == []
    (warning,) = warnings_of(truncated=True)
    assert "a KL is never negative" in warning
    assert "Sampling is truncated" in warning
