"""The choice of number format and kernels."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from danlu.model import precision
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.precision import Precision, apply_precision, choose_precision
from danlu.model.presets import QWEN3

SIZE = {
    "vocab_size": 96,
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "head_dim": 16,
    "d_ff": 56,
}
EVERY = [Precision(dtype=d, kernels=k) for d in ("float32", "bfloat16") for k in ("plain", "native")]


def loss(model: LanguageModel) -> torch.Tensor:
    ids = torch.randint(96, (2, 20), generator=torch.Generator().manual_seed(1))
    return model.nll_sum(ids[:, :-1], None, None, ids[:, 1:], torch.ones(2, 19, dtype=torch.bool)) / 38


@pytest.mark.parametrize("choice", EVERY, ids=str)
def test_every_choice_gives_the_same_loss_up_to_rounding_and_float32_gradients(choice: Precision):
    model = LanguageModel(QWEN3(**SIZE))
    expected = loss(model).detach()
    apply_precision(model, choice)
    total = loss(model)
    total.backward()
    assert_close(total.detach(), expected, atol=1e-5 if choice.dtype == "float32" else 5e-3, rtol=0)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("head", [LanguageModel, ScoreModel])
def test_choosing_leaves_the_model_as_it_was_but_for_the_choice(head: type[LanguageModel] | type[ScoreModel]):
    model = head(QWEN3(**SIZE))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    choice = choose_precision(model, batch_size=2, seq_len=16)
    assert model.backbone.compute_dtype == precision.DTYPES[choice.dtype]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_where_kernels_cannot_be_had_the_plain_ones_are_in_force(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precision.fused_block, "supports", lambda decoder: False)
    model = LanguageModel(QWEN3(**SIZE))
    assert apply_precision(model, Precision(kernels="native")) == Precision(kernels="plain")
    assert choose_precision(model, batch_size=2, seq_len=16).kernels == "plain"


def test_a_repeated_forward_gives_the_same_bits():
    model = LanguageModel(QWEN3(**SIZE))
    for choice in EVERY:
        apply_precision(model, choice)
        assert torch.equal(loss(model), loss(model))
