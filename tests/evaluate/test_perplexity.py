from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from danlu.data.shards import TokenizedDocument, write_shards
from danlu.evaluate.perplexity import TextLoss, bits_per_byte, loss_by_language, summarise_losses
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel

EOS = 0
ENGLISH = [[1, 2, 3, EOS], [2, 2, EOS]]
CHINESE = [[4, 5, 4, 5, 6, EOS]]
TOKEN_BYTES = [0, 1, 2, 1, 3, 3, 6, 1]  # id 0 ends a document and stands for no text


@pytest.fixture
def shards(tmp_path):
    documents = [
        TokenizedDocument(ENGLISH[0][:-1], "en"),
        TokenizedDocument(CHINESE[0][:-1], "zh"),
        TokenizedDocument(ENGLISH[1][:-1], "en"),
    ]
    return write_shards(
        documents, tmp_path / "held-out", token_bytes=TOKEN_BYTES, eos_id=EOS, fingerprint="test"
    )


@pytest.fixture
def model():
    return LanguageModel(
        ModelConfig(
            vocab_size=8, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=8, d_ff=32, max_seq_len=32
        ),
        seed=1,
    )


def alone(model: LanguageModel, ids: list[int]) -> float:
    """Nats of one document read by itself, without any packing."""
    logits = model(torch.tensor([ids[:-1]]))
    return -logits.log_softmax(-1)[0, np.arange(len(ids) - 1), ids[1:]].sum().item()


def test_a_uniform_guess_over_256_bytes_costs_eight_bits():
    assert TextLoss(nll=10 * math.log(256), n_tokens=10, n_bytes=10).bits_per_byte == pytest.approx(8.0)


def test_languages_add_up_by_bytes_and_not_by_mean():
    losses = {"en": TextLoss(math.log(2) * 10, 5, 10), "zh": TextLoss(math.log(2) * 90, 30, 30)}
    assert bits_per_byte(losses) == pytest.approx({"en": 1.0, "zh": 3.0, "all": 2.5})
    assert summarise_losses(losses)["eval_loss"] == pytest.approx(math.log(2) * 100 / 35)


def test_a_language_without_text_has_no_number():
    assert bits_per_byte({"en": TextLoss(1.0, 1, 1), "zh": TextLoss()}).keys() == {"en", "all"}


@pytest.mark.parametrize("seq_len", [16, 3])
def test_packed_windows_give_each_language_the_loss_of_its_documents_read_alone(shards, model, seq_len):
    losses = loss_by_language(model, shards, batch_size=2, seq_len=seq_len)
    if seq_len == 16:  # no document is cut, so nothing is read without its beginning
        assert losses["en"].nll == pytest.approx(sum(alone(model, ids) for ids in ENGLISH), rel=1e-5)
        assert losses["zh"].nll == pytest.approx(alone(model, CHINESE[0]), rel=1e-5)
    # targets: 2 3 eos 2 eos, and 5 4 5 6 eos
    assert (losses["en"].n_tokens, losses["en"].n_bytes) == (5, 2 + 1 + 0 + 2 + 0)
    assert (losses["zh"].n_tokens, losses["zh"].n_bytes) == (5, 3 + 3 + 3 + 6 + 0)


def test_a_text_scored_in_two_batches_is_the_sum_of_both(shards, model):
    whole = loss_by_language(model, shards, batch_size=4, seq_len=4)
    parts = loss_by_language(model, shards, batch_size=1, seq_len=4)
    assert parts["en"].nll == pytest.approx(whole["en"].nll, rel=1e-6)
