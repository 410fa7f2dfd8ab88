"""Bounds on speed, reckoned by hand."""

from __future__ import annotations

import pytest

from danlu.inspect.anatomy import dissect
from danlu.inspect.speed import Machine, attention_flops, bounds, measure_machine, weights_in_products
from danlu.model.config import Experts
from danlu.model.encoder_heads import MaskedLanguageModel
from danlu.model.heads import LanguageModel
from danlu.model.presets import BERT, GPT2, LLAMA, MISTRAL, QWEN3_MOE

SIZE = {"vocab_size": 10, "d_model": 8, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "head_dim": 4}
MACHINE = Machine(bytes_per_s=1e6, flops_per_s={"float32": 1e6, "bfloat16": 4e6})
NORMS = 8 * 5
BLOCK = 8 * 8 * 2 + 8 * 4 * 2  # queries and output, keys and values


def test_bounds_by_hand():
    config = LLAMA(d_ff=16, tie_embeddings=False, **SIZE)
    anatomy = dissect(LanguageModel(config))
    n_weights = NORMS + 2 * (BLOCK + 3 * 8 * 16) + 8 * 10  # the head, and not the embedding
    assert weights_in_products(anatomy, config) == n_weights
    # 4 · heads · head_dim · half of 20 tokens, in two layers.
    assert attention_flops(config, 20) == 4 * 8 * 10 * 2
    found = bounds(anatomy, config, MACHINE, 20)
    cache = 2 * 2 * 4 * 20  # keys and values of two layers
    assert found["float32"].writing == pytest.approx(1e6 / (4 * (n_weights + cache)))
    assert found["bfloat16"].writing == pytest.approx(1e6 / (2 * (n_weights + cache)))
    assert found["float32"].reading == pytest.approx(1e6 / (2 * n_weights + 640))
    assert found["bfloat16"].training == pytest.approx(4e6 / (3 * (2 * n_weights + 640)))


def test_tied_embeddings_work_and_idle_experts_and_positions_do_not():
    tied = LLAMA(d_ff=16, **SIZE)
    assert weights_in_products(dissect(LanguageModel(tied)), tied) == NORMS + 2 * (BLOCK + 384) + 80
    experts = QWEN3_MOE(d_ff=16, experts=Experts(n_experts=5, n_active=2), **SIZE)
    norms_of_heads = 2 * 2 * 4
    assert weights_in_products(dissect(LanguageModel(experts)), experts) == (
        NORMS + norms_of_heads + 2 * (BLOCK + 8 * 5 + 2 * 384) + 80
    )
    learned = GPT2(d_ff=16, **{**SIZE, "n_kv_heads": 2})
    anatomy = dissect(LanguageModel(learned))
    assert weights_in_products(anatomy, learned) == anatomy.n_parameters - 1024 * 8


def test_windows_bound_what_is_seen_and_encoders_see_all_and_write_nothing():
    mistral = MISTRAL(d_ff=16, **SIZE, **{"window": 3})
    assert attention_flops(mistral, 20) == 4 * 8 * 3 * 2
    bert = BERT(d_ff=16, **{**SIZE, "n_kv_heads": 2})
    assert attention_flops(bert, 20) == 4 * 8 * 20 * 2
    assert bounds(dissect(MaskedLanguageModel(bert)), bert, MACHINE, 20)["float32"].writing is None


def test_this_machine_does_something():
    machine = measure_machine()
    assert machine.bytes_per_s > 1e7
    assert min(machine.flops_per_s.values()) > 1e7
