"""Dropout: how much is left out, what the rest is worth, and that a resumed run draws the same."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.model.dropout import Dropout, add_dropout
from danlu.model.heads import LanguageModel
from danlu.model.precision import Precision, apply_precision
from danlu.model.presets import LLAMA, TRANSFORMER
from danlu.model.translation import TranslationModel

SIZES = {"vocab_size": 40, "d_model": 32, "n_layers": 2, "d_ff": 48}
HEADS = {"n_heads": 2, "n_kv_heads": 2, "head_dim": 16}


def translator() -> TranslationModel:
    return TranslationModel(TRANSFORMER(**SIZES, **HEADS))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_share_is_left_out_and_the_mean_is_kept(dtype: torch.dtype):
    drop = Dropout(0.25, torch.Generator().manual_seed(0))
    x = torch.ones(401, 501, dtype=dtype)
    out = drop(x)
    assert_close(out.unique(), torch.tensor([0.0, 4 / 3], dtype=dtype))
    left_out = float((out == 0).float().mean())
    assert left_out == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / x.numel()) ** 0.5)
    for part in (out[::2], out[:, ::2], out[:, 3::4]):  # no lane of the random words is its own
        deviation = (0.25 * 0.75 / part.numel()) ** 0.5
        assert float((part == 0).float().mean()) == pytest.approx(0.25, abs=5 * deviation)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_passes_where_the_number_did(dtype: torch.dtype):
    drop = Dropout(0.5, torch.Generator().manual_seed(0))
    x = torch.ones(64, dtype=dtype, requires_grad=True)
    out = drop(x)
    out.sum().backward()
    assert_close(x.grad, out.detach())


def test_out_of_training_nothing_is_left_out():
    model, ids = translator(), torch.arange(12).view(2, 6)
    before = model(ids, None, ids)
    add_dropout(model, 0.5, seed=1)
    assert torch.equal(model.eval()(ids, None, ids), before)
    assert not torch.equal(model.train()(ids, None, ids), before)


def test_every_sublayer_and_both_embeddings_have_it_and_the_weights_keep_their_names():
    model = translator()
    names = [*model.state_dict()]
    add_dropout(model, 0.1, seed=1)
    # Two encoder blocks of two sublayers, two decoder blocks of three, and the embedding, used twice.
    assert sum(isinstance(module, Dropout) for module in model.modules()) == 2 * 2 + 2 * 3 + 1
    assert [*model.state_dict()] == names


def test_random_numbers_go_on_where_they_stood():
    first, second = translator(), translator()
    ids = torch.arange(12).view(2, 6)
    state = add_dropout(first, 0.3, seed=1)
    first(ids, None, ids)
    saved = state.state_dict()
    add_dropout(second, 0.3, seed=2).load_state_dict(saved)
    assert torch.equal(first(ids, None, ids), second(ids, None, ids))


def test_kernels_that_know_no_dropout_are_not_used_for_it():
    model = LanguageModel(LLAMA(**SIZES, **HEADS))
    add_dropout(model, 0.1, seed=1)
    assert apply_precision(model, Precision(kernels="native")).kernels == "plain"


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_is_none_is_refused(share: float):
    with pytest.raises(ConfigError, match="it must be at least 0 and below 1"):
        add_dropout(translator(), share, seed=1)
