"""Label smoothing: worked by hand, and against torch's own cross-entropy of all logits."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.data.records import TranslationBatch
from danlu.model.fused_loss import excess_sum
from danlu.model.presets import TRANSFORMER
from danlu.model.translation import TranslationModel
from danlu.objectives.token_loss import SmoothedTokenLoss
from danlu.train.loop import backward, total_weights


def model() -> TranslationModel:
    sizes = {"vocab_size": 23, "d_model": 16, "n_layers": 1, "d_ff": 24}
    made = TranslationModel(TRANSFORMER(**sizes, n_heads=2, n_kv_heads=2, head_dim=8), seed=2)
    made.logits_bias.copy_(torch.randn(1, 23, generator=torch.Generator().manual_seed(4)))
    return made


def batch() -> TranslationBatch:
    generator = torch.Generator().manual_seed(3)
    source, target = (torch.randint(23, (3, n), generator=generator) for n in (5, 4))
    return TranslationBatch(
        source_ids=source,
        source_segment_ids=torch.tensor([[0] * 5, [0, 0, 0, 1, 1], [0, 0, 1, 1, 1]]),
        input_ids=target,
        target_ids=target.roll(-1, 1),
        loss_mask=torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]]),
    )


def test_a_target_of_three_tokens_worked_by_hand():
    hidden, weight = (
        torch.tensor([[[1.0, 0.0]]]),
        torch.tensor([[math.log(6.0), 0.0], [math.log(3.0), 0.0], [0.0, 0.0]]),
    )
    # p = (0.6, 0.3, 0.1); the target is token 0, a share of 0.3 is spread over the three.
    by_hand = -(0.8 * math.log(0.6) + 0.1 * math.log(0.3) + 0.1 * math.log(0.1))
    excess = excess_sum(hidden, weight, torch.tensor([[0]]), torch.tensor([[True]]))
    assert_close(excess, torch.tensor(math.log(6.0) - (math.log(6.0) + math.log(3.0)) / 3))
    assert -math.log(0.6) + 0.3 * excess.item() == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_loss_and_gradients_are_those_of_torch_on_all_logits(smoothing: float):
    ours, theirs, given = model(), model(), batch()
    objective = SmoothedTokenLoss(label_smoothing=smoothing)
    loss = backward(objective(ours, given), total_weights(objective, [given], 0))
    n = int(given.loss_mask.sum())
    logits = theirs(*given.inputs)[given.loss_mask]
    expected = F.cross_entropy(logits, given.target_ids[given.loss_mask], label_smoothing=smoothing)
    expected.backward()
    total = sum(term.coef * term.total for term in loss.terms.values())
    assert_close(total / n, expected.detach(), atol=1e-5, rtol=0)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(mine.grad, other.grad, atol=1e-5, rtol=1e-4)


def test_what_is_padding_changes_neither_loss_nor_gradient():
    given = batch()
    longer = TranslationBatch(
        source_ids=F.pad(given.source_ids, (0, 3), value=7),
        source_segment_ids=F.pad(given.source_segment_ids, (0, 3), value=1),
        input_ids=F.pad(given.input_ids, (0, 2), value=7),
        target_ids=F.pad(given.target_ids, (0, 2), value=7),
        loss_mask=F.pad(given.loss_mask, (0, 2), value=False),
    )
    gradients: list[list[torch.Tensor]] = []
    for each in (given, longer):
        made = model()
        objective = SmoothedTokenLoss()
        backward(objective(made, each), total_weights(objective, [each], 0))
        gradients.append([p.grad for p in made.parameters() if p.grad is not None])
    for short, long in zip(*gradients, strict=True):
        assert_close(short, long, atol=1e-6, rtol=1e-4)


def test_the_untrained_loss_is_log_vocab():
    sizes = {"vocab_size": 50, "d_model": 64, "n_layers": 2, "d_ff": 96}
    made = TranslationModel(TRANSFORMER(**sizes, n_heads=2, n_kv_heads=2, head_dim=32))
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(50, (40, 9), generator=generator)
    loss = made.nll_sum(ids, None, ids, ids.flip(0), torch.ones_like(ids, dtype=torch.bool)) / ids.numel()
    assert loss.item() == pytest.approx(math.log(50), abs=0.1)


def test_a_share_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"label_smoothing is 1\.0; it must be at least 0 and below 1"):
        SmoothedTokenLoss(label_smoothing=1.0)
