"""Attention as it is seen, against transformers' eager attention; and what is made of it by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from danlu.adapters.attach import attach
from danlu.adapters.settings import AdapterConfig, VirtualTokens
from danlu.inspect.attention import (
    LayerWeights,
    aligned,
    difference,
    heads_between,
    self_attention,
    translation_attention,
    watched,
    weights_of,
)
from danlu.model.attention import attend_both_ways, attend_within
from danlu.model.heads import LanguageModel
from danlu.model.hf import read_model
from danlu.model.presets import LLAMA

VOCAB = 96
BY_LLAMA: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}
BY_GPT: dict[str, Any] = {
    "vocab_size": VOCAB,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 64,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": None,
}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "GPT-1": ("OpenAIGPT", "OpenAIGPTLMHeadModel", BY_GPT),
    "GPT-2": ("GPT2", "GPT2LMHeadModel", BY_GPT),
    "Llama": ("Llama", "LlamaForCausalLM", BY_LLAMA),
    "Qwen 3": ("Qwen3", "Qwen3ForCausalLM", BY_LLAMA),
    "Mistral, sliding window": ("Mistral", "MistralForCausalLM", BY_LLAMA | {"sliding_window": 6}),
    "GPT-3's bands, as GPT-Neo": (
        "GPTNeo",
        "GPTNeoForCausalLM",
        {
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "num_layers": 4,
            "num_heads": 4,
            "max_position_embeddings": 64,
            "attention_types": [[["global", "local"], 2]],
            "window_size": 5,
            "initializer_range": 0.3,
            "bos_token_id": None,
            "eos_token_id": None,
        },
    ),
    "BERT": (
        "Bert",
        "BertForMaskedLM",
        {
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "intermediate_size": 56,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 64,
            "initializer_range": 0.3,
        },
    ),
}


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_weights_are_those_of_transformers(name: str, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    family, kind, settings = MODELS[name]
    torch.manual_seed(3)
    config = getattr(transformers, f"{family}Config")(**settings, attn_implementation="eager")
    theirs = getattr(transformers, kind)(config).eval()
    theirs.save_pretrained(tmp_path)
    ids = torch.randint(1, VOCAB, (19,), generator=torch.Generator().manual_seed(5)).tolist()
    wanted = theirs(torch.tensor([ids]), output_attentions=True).attentions
    seen = self_attention(read_model(tmp_path).eval(), ids)
    assert [(each.stack, each.kind, each.layer) for each in seen] == [
        ("", "self", layer) for layer in range(len(wanted))
    ]
    for layer, each in zip(wanted, seen, strict=True):
        assert_close(each.weights, layer[0], atol=1e-5, rtol=0)


def small() -> LanguageModel:
    return LanguageModel(
        LLAMA(vocab_size=40, d_model=16, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=8, d_ff=24)
    )


@torch.no_grad()
def test_being_watched_changes_nothing_and_ends():
    model, ids = small(), torch.arange(9)[None]
    before = model(ids)
    with watched(model) as seen:
        assert torch.equal(model(ids), before)
    model(ids)
    assert len(seen) == 2


def test_several_rows_at_once_are_refused():
    with watched(small()) as seen, pytest.raises(ValueError, match="2 rows are read at once"):
        raise AssertionError(small_read_two(seen))


def small_read_two(seen: list[LayerWeights]) -> Tensor:
    model = small()
    with watched(model):
        return model(torch.zeros(2, 3, dtype=torch.int64))


def test_weights_worked_by_hand():
    q = torch.tensor([[[[1.0], [2.0]]]])
    k = torch.tensor([[[[0.0], [3.0]]]])
    causal = weights_of(attend_within(None), q, k, scale=1.0)
    assert_close(causal, torch.tensor([[[[1.0, 0.0], [0.002473, 0.997527]]]]), atol=1e-6, rtol=0)
    both_ways = weights_of(attend_both_ways(None), q, k, scale=0.5)
    # exp(1.5) = 4.481689, exp(3) = 20.085537
    assert_close(both_ways, torch.tensor([[[[0.182426, 0.817574], [0.047426, 0.952574]]]]), atol=1e-6, rtol=0)


def layer(*heads: list[list[float]], number: int = 0) -> LayerWeights:
    return LayerWeights(stack="", kind="self", layer=number, weights=torch.tensor(heads))


def test_heads_are_ranked_by_how_much_some_tokens_look_at_others():
    first = layer([[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]], [[1, 0, 0], [0, 1, 0], [0.6, 0.3, 0.1]])
    second = layer([[1, 0, 0], [1, 0, 0], [0.5, 0.25, 0.25]], number=1)
    ranked = heads_between([first, second], [2], [0, 1])
    assert [each.name for each in ranked] == ["0.1", "1.0", "0.0"]
    assert [each.score for each in ranked] == pytest.approx([0.9, 0.75, 0.5])
    mean = heads_between([first], [1, 2], [0])  # (0.5 + 0.2) / 2 and (0 + 0.6) / 2
    assert [(each.name, each.score) for each in mean] == [
        ("0.0", pytest.approx(0.35)),
        ("0.1", pytest.approx(0.3)),
    ]


@torch.no_grad()
def test_encoder_decoder_and_cross_attention_are_those_of_transformers(tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    sizes = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 56))
    }
    config = transformers.MarianConfig(
        vocab_size=VOCAB,
        d_model=32,
        max_position_embeddings=64,
        init_std=0.15,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=1,
        attn_implementation="eager",
        **sizes,
    )
    theirs = transformers.MarianMTModel(config).eval()
    theirs.save_pretrained(tmp_path)
    generator = torch.Generator().manual_seed(5)
    source, target = (torch.randint(2, VOCAB, (1, n), generator=generator) for n in (11, 7))
    wanted = theirs(input_ids=source, decoder_input_ids=target, output_attentions=True)
    parts = {
        ("encoder", "self"): wanted.encoder_attentions,
        ("decoder", "self"): wanted.decoder_attentions,
        ("decoder", "cross"): wanted.cross_attentions,
    }
    seen = translation_attention(read_model(tmp_path).eval(), source[0].tolist(), target[0].tolist())
    assert len(seen) == 6
    for each in seen:
        assert_close(each.weights, parts[each.stack, each.kind][each.layer][0], atol=1e-5, rtol=0)
    names = {each.name for each in heads_between(seen, [0], [0])}
    assert {"encoder 1.3", "decoder 0.0", "decoder cross 1.2"} <= names
    texts = {(each.stack, each.kind): each.texts for each in seen}
    assert texts["decoder", "cross"] == ("text", "source")
    assert texts["encoder", "self"] == ("source", "source")


@torch.no_grad()
def test_what_a_prefix_takes_is_missing_from_the_weights():
    model = small()
    attach(model, AdapterConfig(kind="prefix", virtual=VirtualTokens(n=3)))
    ids = torch.arange(9)[None]
    before = model(ids)
    with watched(model) as seen:
        assert torch.equal(model(ids), before)
    assert [each.weights.shape for each in seen] == [(2, 9, 9)] * 2
    for each in seen:
        sums = each.weights.sum(-1)
        assert ((sums > 0) & (sums < 1)).all()


@pytest.mark.parametrize(
    ("first", "second", "pairs"),
    [
        ([1, 2, 3], [1, 9, 3], [(0, 0), (1, 1), (2, 2)]),  # one word for another
        ([1, 2, 3], [1, 3], [(0, 0), (2, 1)]),  # a word less
        ([1, 2, 3, 4], [1, 8, 9, 7, 4], [(0, 0), (3, 4)]),  # three for two: nobody stands for anybody
    ],
)
def test_tokens_that_stand_for_each_other(first: list[int], second: list[int], pairs: list[tuple[int, int]]):
    assert aligned(first, second) == pairs


def test_a_difference_is_taken_over_tokens_that_both_texts_have():
    first = layer([[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]])
    second = layer([[1, 0], [0.6, 0.4]])
    found = difference([first], [second], {"text": [7, 8, 9]}, {"text": [7, 9]})
    assert found.pairs == {"text": [(0, 0), (2, 1)]}
    assert_close(found.layers[0].weights, torch.tensor([[[0.0, 0.0], [0.4, -0.1]]]))
    assert found.ranked()[0].score == pytest.approx(0.125)  # (0 + 0.5) / 2, over two tokens


@torch.no_grad()
def test_in_a_decoder_nothing_before_the_first_difference_moves():
    model = small()
    ids, changed = [3, 4, 5, 6], [3, 4, 5, 7]
    read = [self_attention(model, each) for each in (ids, changed)]
    found = difference(*read, {"text": ids}, {"text": changed})
    for each in found.layers:
        assert torch.equal(each.weights[:, :3], torch.zeros(2, 3, 4))
        assert each.weights[:, 3].abs().max() > 0
