"""A model with further tokens: old ones as before, new ones the mean of what they replace."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from danlu.model.heads import LanguageModel
from danlu.model.hf import load_language_model, save_model
from danlu.model.presets import LLAMA, QWEN3
from danlu.model.vocabulary import with_new_tokens

SIZES = {"vocab_size": 20, "d_model": 16, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "head_dim": 8}


@torch.no_grad()
@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_are_means_and_old_logits_stay(tied: bool):
    model = LanguageModel(LLAMA(**SIZES, d_ff=24, tie_embeddings=tied), seed=3)
    ids = torch.tensor([[1, 5, 19, 7]])
    before, embedding, head = (
        model(ids),
        model.backbone.embedding.weight.clone(),
        model.lm_head.weight.clone(),
    )
    grown = with_new_tokens(model, [[1, 5], [19, 7, 7]])
    assert grown.config.vocab_size == 22
    assert torch.equal(grown(ids)[..., :20], before)
    table = grown.backbone.embedding.weight
    assert torch.equal(table[:20], embedding)
    assert_close(table[20], (embedding[1] + embedding[5]) / 2)
    assert_close(table[21], (embedding[19] + 2 * embedding[7]) / 3)
    assert_close(grown.lm_head.weight[20], (head[1] + head[5]) / 2)
    assert (grown.lm_head.weight is table) == tied
    # A new token's logit is the mean of its parts'.
    assert_close(grown(ids)[..., 21], (before[..., 19] + 2 * before[..., 7]) / 3)


def test_no_new_tokens_is_the_same_model():
    model = LanguageModel(LLAMA(**SIZES, d_ff=24))
    assert with_new_tokens(model, []) is model


def test_a_grown_model_learns_and_is_read_by_transformers(tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    grown = with_new_tokens(LanguageModel(QWEN3(**SIZES, d_ff=24), seed=3), [[1, 5], [2, 3]])
    ids = torch.tensor([[20, 5, 21, 7]])
    loss = grown.nll_sum(ids, None, None, ids, torch.ones_like(ids, dtype=torch.bool))
    loss.backward()
    grad = grown.backbone.embedding.weight.grad
    assert grad is not None
    assert grad[20].abs().max() > 0
    save_model(grown, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.no_grad():
        assert_close(theirs(ids).logits, grown(ids), atol=1e-5, rtol=0)
        assert_close(load_language_model(tmp_path, vocab_size=22)(ids), grown(ids))
