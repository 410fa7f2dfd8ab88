import math

import pytest
import torch
from torch import nn, tensor
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.data.records import Batch, RolloutBatch
from danlu.objectives.ppo import Ppo, PpoBatch, token_entropy
from danlu.objectives.token_loss import token_logprobs


def rollout(**changed):
    long = torch.zeros(1, 2, dtype=torch.int64)
    fields = {
        "input_ids": long,
        "target_ids": tensor([[0, 1]]),
        "loss_mask": tensor([[True, True]]),
        "position_ids": long,
        "segment_ids": long,
        "old_logprobs": tensor([[math.log(0.5), math.log(0.5)]]),
        "ref_logprobs": torch.zeros(1, 2),
        "old_values": tensor([[0.0, 0.0]]),
        "advantages": tensor([[1.0, -1.0]]),
        "returns": tensor([[1.0, 0.5]]),
    }
    return RolloutBatch(**{**fields, **changed})


class Networks(nn.Module):
    """Two tokens of vocabulary; the policy gives the first p at each position, the critic fixed values."""

    def __init__(self, p, values):
        super().__init__()
        self.logits = nn.Parameter(tensor([[[math.log(x), math.log(1 - x)] for x in p]]))
        self.values = nn.Parameter(tensor([values]))

    def forward(self, *inputs):
        return self.logits, self.values

    def value(self, *inputs):
        return self.values


def test_clipped_surrogate_and_values_worked_by_hand():
    # Ratios: 0.7 / 0.5 = 1.4 with A = 1, clipped at 1.2; 0.3 / 0.5 = 0.6 with A = -1: clipped 0.8 is worse.
    # Values 0.5 and 0.1 against returns 1 and 0.5: moves from 0 are clipped to 0.2 and stay 0.1.
    loss = Ppo()(Networks([0.7, 0.7], [0.5, 0.1]), PpoBatch(rollout()))
    assert_close(loss.terms["policy"].total, tensor(-1.2 + 0.8))
    assert_close(loss.terms["value"].total, tensor(0.5 * (1 - 0.2) ** 2 + 0.5 * 0.4**2))
    clips, counted = loss.metrics["clip_fraction"]
    assert (int(clips), int(counted)) == (2, 2)
    assert int(loss.metrics["value_clip_fraction"][0]) == 1


def test_a_ratio_beyond_the_clip_range_in_the_good_direction_has_no_gradient():
    model = Networks([0.7, 0.5], [0.0, 0.0])
    Ppo()(model, PpoBatch(rollout())).terms["policy"].total.backward()
    assert_close(model.logits.grad[0, 0], torch.zeros(2))  # ratio 1.4, advantage 1
    assert float(model.logits.grad[0, 1].abs().sum()) > 0  # ratio 1, advantage -1


def test_positions_outside_the_mask_count_for_nothing():
    masked = rollout(loss_mask=tensor([[True, False]]), advantages=tensor([[1.0, 1e6]]))
    loss = Ppo()(Networks([0.5, 0.9], [0.0, 1e6]), PpoBatch(masked))
    assert_close(loss.terms["policy"].total, tensor(-1.0))
    assert_close(loss.terms["value"].total, tensor(0.5))
    assert Ppo().weights(PpoBatch(masked))["policy"] == 1


def test_temperature_divides_the_logits_of_every_logprob():
    logits = tensor([[[2.0, 0.0]]])
    expected = -math.log(1 + math.exp(-1.0))
    assert_close(token_logprobs(logits, tensor([[0]]), temperature=2.0), tensor([[expected]]))
    assert_close(token_entropy(tensor([[[5.0, 5.0]]]), 0.7), tensor([[math.log(2)]]))


def test_pretraining_text_is_a_term_with_its_own_weight():
    long = torch.zeros(1, 3, dtype=torch.int64)
    text = Batch(
        input_ids=long,
        target_ids=long,
        loss_mask=tensor([[True, True, False]]),
        position_ids=long,
        segment_ids=long,
    )
    weights = Ppo(ptx_coef=0.5).weights(PpoBatch(rollout(), text))
    assert {name: int(w) for name, w in weights.items()} == {"policy": 2, "value": 2, "ptx": 2}


def test_a_clip_range_of_zero_is_refused():
    with pytest.raises(ConfigError, match=r"objective\.clip_range is 0"):
        Ppo(clip_range=0)
