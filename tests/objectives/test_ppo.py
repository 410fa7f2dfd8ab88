import math

import pytest
import torch
from torch import nn, tensor
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.data.records import Batch, RolloutBatch
from danlu.objectives.kl import KlPenalty
from danlu.objectives.ppo import Ppo, PpoBatch, Surrogate, token_entropy
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

    shares_trunk = False

    def __init__(self, p, values):
        super().__init__()
        self.logits = nn.Parameter(tensor([[[math.log(x), math.log(1 - x)] for x in p]]))
        self.values = nn.Parameter(tensor([values]))

    @property
    def policy(self):
        return self

    def forward(self, *inputs):
        return self.logits.expand(len(inputs[0]), -1, -1)

    def target_logprobs(self, inputs, target_ids, loss_mask, *, temperature):
        return token_logprobs(self(*inputs), target_ids, temperature=temperature)[loss_mask]

    def value(self, *inputs):
        return self.values.expand(len(inputs[0]), -1)


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


def test_dual_clip_bounds_what_a_bad_token_costs_however_its_ratio_grew():
    # Ratio 0.95 / 0.1 = 9.5 with A = -1: unbounded loss 9.5, with c = 3 at most 3 and no gradient.
    grown = rollout(
        loss_mask=tensor([[True, False]]),
        old_logprobs=tensor([[math.log(0.1), 0.0]]),
        advantages=tensor([[-1.0, 0.0]]),
    )
    plain, bounded = Networks([0.95, 0.5], [0.0, 0.0]), Networks([0.95, 0.5], [0.0, 0.0])
    loss = Surrogate()(plain, PpoBatch(grown)).terms["policy"].total
    assert_close(loss, tensor(9.5))
    loss = Surrogate(dual_clip=3.0)(bounded, PpoBatch(grown)).terms["policy"].total
    assert_close(loss, tensor(3.0))
    loss.backward()
    assert float(bounded.logits.grad.abs().max()) == 0


def test_dual_clip_leaves_good_tokens_and_small_ratios_alone():
    model, batch = Networks([0.7, 0.7], [0.0, 0.0]), PpoBatch(rollout())
    assert_close(
        Surrogate(dual_clip=3.0)(model, batch).terms["policy"].total,
        Surrogate()(model, batch).terms["policy"].total,
    )


def test_a_dual_clip_of_one_or_less_is_refused():
    with pytest.raises(ConfigError, match=r"objective\.dual_clip is 1"):
        Surrogate(dual_clip=1)


LONG_AND_SHORT = {  # a completion of three tokens and one of a single token, all ratios 1
    "input_ids": torch.zeros(2, 3, dtype=torch.int64),
    "target_ids": torch.zeros(2, 3, dtype=torch.int64),
    "loss_mask": tensor([[True, True, True], [True, False, False]]),
    "position_ids": torch.zeros(2, 3, dtype=torch.int64),
    "segment_ids": torch.zeros(2, 3, dtype=torch.int64),
    "old_logprobs": torch.full((2, 3), math.log(0.5)),
    "ref_logprobs": torch.full((2, 3), math.log(0.25)),
    "old_values": torch.zeros(2, 3),
    "advantages": tensor([[1.0, 1.0, 1.0], [5.0, 9.0, 9.0]]),
    "returns": torch.zeros(2, 3),
}


@pytest.mark.parametrize(
    ("average", "mean"),
    [
        ("tokens", -(3 * 1.0 + 5.0) / 4),
        ("completions", -(1.0 + 5.0) / 2),
        ("sums", -(3 * 1.0 + 5.0) / 2),
    ],
)
def test_three_averages_of_a_long_and_a_short_completion(average, mean):
    objective, batch = Surrogate(average=average), PpoBatch(RolloutBatch(**LONG_AND_SHORT))
    model = Networks([0.5, 0.5, 0.5], [0.0, 0.0, 0.0])
    total = objective(model, batch).terms["policy"].total
    assert_close(total / objective.weights(batch)["policy"], tensor(mean))


def test_kl_in_the_loss_is_a_term_with_the_coefficient_of_the_rollout():
    batch = PpoBatch(RolloutBatch(**LONG_AND_SHORT), kl=KlPenalty("k2", 0.3))
    objective = Surrogate(average="completions")
    term = objective(Networks([0.5, 0.5, 0.5], [0.0, 0.0, 0.0]), batch).terms["kl"]
    # log(0.5 / 0.25) = log 2 at every token, so (log 2)^2 / 2 for either completion.
    assert_close(term.total / objective.weights(batch)["kl"], tensor(math.log(2) ** 2 / 2))
    assert term.coef == 0.3


def test_kl_of_padding_is_no_number_and_counts_for_nothing():
    padded = rollout(loss_mask=tensor([[True, False]]), ref_logprobs=tensor([[math.log(0.5), 1e9]]))
    model = Networks([0.5, 0.5], [0.0, 0.0])
    total = Surrogate()(model, PpoBatch(padded, kl=KlPenalty("k3", 1.0))).terms["kl"].total
    assert_close(total, tensor(0.0))
    total.backward()
    assert bool(model.logits.grad.isfinite().all())


def test_the_bonus_pays_for_entropy_and_raises_it():
    model = Networks([0.9, 0.9], [0.0, 0.0])
    term = Surrogate(entropy_coef=0.1)(model, PpoBatch(rollout())).terms["entropy_bonus"]
    each = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert_close(term.total, tensor(-2 * each))
    term.total.backward()
    assert float(model.logits.grad[0, 0, 0]) > 0 > float(model.logits.grad[0, 0, 1])  # towards the middle


def test_a_floor_lets_the_bonus_count_only_in_rollouts_below_it():
    objective, model = Surrogate(entropy_coef=0.1, entropy_floor=0.5), Networks([0.9, 0.9], [0.0, 0.0])
    low, high = PpoBatch(rollout(), entropy=0.4), PpoBatch(rollout(), entropy=0.6)
    assert set(objective(model, low).terms) == set(objective.weights(low)) == {"policy", "entropy_bonus"}
    assert set(objective(model, high).terms) == set(objective.weights(high)) == {"policy"}


def test_a_floor_without_a_bonus_is_refused():
    with pytest.raises(ConfigError, match=r"objective\.entropy_floor is 0\.5 and objective\.entropy_coef 0"):
        Surrogate(entropy_floor=0.5)


def test_while_the_critic_warms_up_nothing_moves_the_policy():
    model, batch = Networks([0.7, 0.7], [0.5, 0.1]), PpoBatch(rollout(), value_only=True)
    loss = Ppo()(model, batch)
    assert set(loss.terms) == set(Ppo().weights(batch)) == {"value"}
    loss.terms["value"].total.backward()
    assert model.logits.grad is None
    assert float(model.values.grad.abs().max()) > 0
