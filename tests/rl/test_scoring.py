from __future__ import annotations

import pytest
from torch import nn

from danlu.config import ConfigError
from danlu.generate.sampler import Completion
from danlu.rl.collect import Prompt, Rollout
from danlu.rl.scoring import ensemble_reward_of, ensemble_scores


class Times(nn.Module):
    """Scores each position by a multiple of its token."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, input_ids, position_ids, segment_ids):
        return self.factor * input_ids.float()


def test_an_ensemble_gives_mean_and_sample_deviation_of_its_members():
    found = ensemble_scores([Times(1.0), Times(2.0), Times(6.0)], [[5, 1], [9, 9, 2]], pad_id=0)
    assert found.mean == pytest.approx([3.0, 6.0])
    assert found.std == pytest.approx([7**0.5, 28**0.5])  # deviations -2, -1, 3: 14 / 2


def test_caution_takes_off_deviations():
    rollout = Rollout(Prompt("p", [4]), Completion(ids=(7, 2), logprobs=(0.0, 0.0), finish_reason="stop"))
    models = [Times(1.0), Times(3.0)]
    assert ensemble_reward_of(models, 0)([rollout]) == pytest.approx([4.0])
    assert ensemble_reward_of(models, 0, caution=0.5)([rollout]) == pytest.approx([4.0 - 0.5 * 8**0.5])


def test_one_model_is_no_ensemble():
    with pytest.raises(ConfigError, match="an ensemble of 1 reward models has no deviation"):
        ensemble_scores([Times(1.0)], [[1]], pad_id=0)
