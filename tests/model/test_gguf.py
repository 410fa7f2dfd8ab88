"""GGUF files: read back by the format's own package, and run by llama.cpp where that is installed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Regex, pre_tokenizers
from torch import Tensor
from torch.testing import assert_close

from danlu.adapters.attach import adapted_layers, attach
from danlu.adapters.settings import AdapterConfig
from danlu.config import ConfigError
from danlu.model.adapted import dense_weight
from danlu.model.config import RopeScaling
from danlu.model.gguf import GgufFormat, Vocabulary, q4_0, q8_0, write_gguf
from danlu.model.heads import LanguageModel
from danlu.model.hf import save_model
from danlu.model.presets import GPT2, GPT3, LLAMA, MISTRAL, QWEN2, QWEN3
from danlu.model.quantize import Quantisation, quantise
from danlu.recipes.model_files import vocabulary_of
from danlu.tokenizer.bpe import PATTERNS, Pattern, Tokenizer

gguf: Any = pytest.importorskip("gguf", reason="pip install 'danlu[dev]' brings the reader")

TEXTS = [
    "The old bridge is red. 老桥是红色的。",
    "Who's there? It's 12 o'clock. 现在是十二点。",
    "a  b\n\n c",
]
SIZES: dict[str, Any] = {
    "d_model": 64,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "head_dim": 16,
    "d_ff": 96,
    "max_seq_len": 64,
}
SCALING = RopeScaling(factor=4.0, original_max_seq_len=32)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS * 4, 320)


def vocabulary(tokenizer: Tokenizer, folder: Path, model: LanguageModel) -> Vocabulary:
    save_model(model, folder)
    tokenizer.save(folder)
    return vocabulary_of(folder)


def model(tokenizer: Tokenizer, preset: Any = QWEN3, **changed: Any) -> LanguageModel:
    found = LanguageModel(preset(vocab_size=tokenizer.vocab_size, **SIZES | changed), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in found.parameters():  # norms and biases too
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return found.eval()


def written(
    found: LanguageModel, tokenizer: Tokenizer, folder: Path, form: GgufFormat = "f16"
) -> tuple[Path, Any]:
    path = folder / "model.gguf"
    write_gguf(found, path, vocabulary(tokenizer, folder, found), form=form, name="tiny")
    return path, gguf.GGUFReader(path)


def tensors(reader: Any) -> dict[str, Tensor]:
    """Every tensor as its numbers."""
    return {
        each.name: torch.from_numpy(gguf.quants.dequantize(each.data, each.tensor_type).copy())
        for each in reader.tensors
    }


def setting(reader: Any, key: str) -> Any:
    return reader.fields[key].contents()


@pytest.mark.parametrize("form", ["f16", "bf16", "q8_0", "q4_0"])
def test_the_formats_own_reader_finds_every_number(form: GgufFormat, tokenizer: Tokenizer, tmp_path: Path):
    found = model(tokenizer)
    _, reader = written(found, tokenizer, tmp_path, form)
    theirs = tensors(reader)
    ours = dict(found.named_parameters())
    assert len(theirs) == len(ours)
    pairs = {
        "token_embd.weight": "backbone.embedding.weight",
        "output_norm.weight": "backbone.norm.weight",
        "blk.1.attn_norm.weight": "backbone.blocks.1.self_attn.norm.weight",
        "blk.1.attn_q.weight": "backbone.blocks.1.self_attn.sublayer.q.weight",
        "blk.0.attn_k.weight": "backbone.blocks.0.self_attn.sublayer.k.weight",
        "blk.0.attn_v.weight": "backbone.blocks.0.self_attn.sublayer.v.weight",
        "blk.0.attn_q_norm.weight": "backbone.blocks.0.self_attn.sublayer.q_norm.weight",
        "blk.0.attn_output.weight": "backbone.blocks.0.self_attn.sublayer.out.weight",
        "blk.1.ffn_norm.weight": "backbone.blocks.1.mlp.norm.weight",
        "blk.1.ffn_gate.weight": "backbone.blocks.1.mlp.sublayer.gate.weight",
        "blk.1.ffn_up.weight": "backbone.blocks.1.mlp.sublayer.up.weight",
        "blk.0.ffn_down.weight": "backbone.blocks.0.mlp.sublayer.out.weight",
    }
    share = {"f16": 2**-11, "bf16": 2**-8, "q8_0": 0.5 / 127 + 2**-11, "q4_0": 0.17}[form]
    for name, our_name in pairs.items():
        weight = ours[our_name].detach()
        exact = weight.ndim == 1
        allowed = 0.0 if exact else share * float(weight.abs().max())
        assert_close(theirs[name], weight, atol=allowed, rtol=0)
    kinds = {each.name: each.tensor_type.name for each in reader.tensors}
    assert kinds["blk.0.ffn_up.weight"] == form.upper()
    assert kinds["blk.0.ffn_norm.weight"] == "F32"
    assert kinds["token_embd.weight"] == ("Q8_0" if form == "q4_0" else form.upper())


def test_settings_and_tokenizer(tokenizer: Tokenizer, tmp_path: Path):
    _, reader = written(model(tokenizer), tokenizer, tmp_path, "q8_0")
    assert setting(reader, "general.architecture") == "qwen3"
    assert setting(reader, "general.name") == "tiny"
    assert setting(reader, "general.file_type") == gguf.LlamaFileType.MOSTLY_Q8_0
    assert setting(reader, "qwen3.attention.head_count_kv") == 2
    assert setting(reader, "qwen3.attention.key_length") == 16
    assert setting(reader, "qwen3.rope.freq_base") == 1_000_000.0
    assert setting(reader, "qwen3.attention.layer_norm_rms_epsilon") == pytest.approx(1e-6)
    assert setting(reader, "tokenizer.ggml.model") == "gpt2"
    assert setting(reader, "tokenizer.ggml.pre") == "qwen2"
    tokens = setting(reader, "tokenizer.ggml.tokens")
    assert len(tokens) == tokenizer.vocab_size
    assert tokens[tokenizer.im_end_id] == "<|im_end|>"
    kinds = setting(reader, "tokenizer.ggml.token_type")
    assert {i for i, kind in enumerate(kinds) if kind == gguf.TokenType.CONTROL} == tokenizer.control_ids
    merges = json.loads(tokenizer.to_json())["model"]["merges"]
    assert setting(reader, "tokenizer.ggml.merges") == [f"{left} {right}" for left, right in merges]
    assert "add_generation_prompt" in setting(reader, "tokenizer.chat_template")
    assert setting(reader, "tokenizer.ggml.add_bos_token") is False


def test_every_tensor_begins_at_a_multiple_of_32(tokenizer: Tokenizer, tmp_path: Path):
    path, reader = written(model(tokenizer, d_ff=32), tokenizer, tmp_path, "q4_0")
    assert all(each.data_offset % 32 == 0 for each in reader.tensors)
    assert path.stat().st_size % 32 == 0


@pytest.mark.parametrize(("encode", "name"), [(q8_0, "Q8_0"), (q4_0, "Q4_0")])
def test_blocks_are_no_worse_than_the_formats_own(encode: Any, name: str):
    kind = gguf.GGMLQuantizationType[name]
    x = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    x[3] = 0.0
    ours = gguf.quants.dequantize(encode(x).numpy(), kind)
    theirs = gguf.quants.dequantize(gguf.quants.quantize(x.numpy(), kind), kind)
    error = [float(np.square(each - x.numpy()).sum()) for each in (ours, theirs)]
    assert error[0] <= error[1] * (1.0001 if name == "Q8_0" else 0.9)
    assert not ours[3].any()


def test_llamas_queries_and_keys_turn_neighbouring_channels(tokenizer: Tokenizer, tmp_path: Path):
    found = model(tokenizer, LLAMA, rope_scaling=SCALING, tie_embeddings=False)
    _, reader = written(found, tokenizer, tmp_path)
    theirs, q = tensors(reader), found.backbone.blocks[0].self_attn.sublayer.q.weight.detach()
    assert_close(theirs["blk.0.attn_q.weight"][16 + 2 * 3], q[16 + 3].half().float())
    assert_close(theirs["blk.0.attn_q.weight"][16 + 2 * 3 + 1], q[16 + 8 + 3].half().float())
    assert_close(theirs["output.weight"], found.lm_head.weight.detach().half().float())
    factors = theirs["rope_freqs.weight"]
    assert factors.shape == (8,)
    assert float(factors[0]) == 1.0  # turns often within 32 positions
    assert float(factors[-1]) == 4.0  # hardly turns


def test_gpt2_keeps_queries_keys_and_values_as_one(tokenizer: Tokenizer, tmp_path: Path):
    found = model(tokenizer, GPT2, n_kv_heads=4)
    _, reader = written(found, tokenizer, tmp_path)
    theirs, attention = tensors(reader), found.backbone.blocks[1].self_attn.sublayer
    joined = torch.cat([layer.weight for layer in (attention.q, attention.k, attention.v)]).detach()
    assert_close(theirs["blk.1.attn_qkv.weight"], joined.half().float())
    biases = torch.cat([layer.bias for layer in (attention.q, attention.k, attention.v)]).detach()
    assert torch.equal(theirs["blk.1.attn_qkv.bias"], biases)
    assert torch.equal(theirs["position_embd.weight"], found.backbone.position.table.weight)


def test_adapters_and_quantised_weights_are_written_as_numbers(tokenizer: Tokenizer, tmp_path: Path):
    found = model(tokenizer)
    quantise(found, Quantisation(bits=8))
    attach(found, AdapterConfig(kind="lora", rank=2), seed=1)
    for layer in adapted_layers(found).values():
        torch.nn.init.normal_(
            layer.adapters["default"].lora_b, std=0.3, generator=torch.Generator().manual_seed(2)
        )
    vocab = vocabulary(tokenizer, tmp_path / "plain", model(tokenizer))
    write_gguf(found, tmp_path / "model.gguf", vocab)
    theirs = tensors(gguf.GGUFReader(tmp_path / "model.gguf"))
    down = found.backbone.blocks[1].mlp.sublayer.out
    assert_close(
        theirs["blk.1.ffn_down.weight"], dense_weight(down).detach().half().float(), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize(
    ("preset", "changed", "message"),
    [
        (MISTRAL, {"window": 8, "attention_pattern": ("window",)}, "mistral with a sliding window"),
        (GPT3, {"n_kv_heads": 4, "window": 8, "attention_pattern": ("full", "window")}, "gpt_neo"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(
    preset: Any, changed: dict[str, Any], message: str, tokenizer: Tokenizer, tmp_path: Path
):
    found = LanguageModel(preset(vocab_size=tokenizer.vocab_size, **SIZES | changed))
    vocab = vocabulary(tokenizer, tmp_path / "plain", model(tokenizer))
    with pytest.raises(ConfigError, match=message):
        write_gguf(found, tmp_path / "model.gguf", vocab)
    assert not list(tmp_path.glob("model.gguf*"))


def test_a_weight_too_large_for_float16_leaves_no_file(tokenizer: Tokenizer, tmp_path: Path):
    found = model(tokenizer)
    with torch.no_grad():
        found.backbone.blocks[1].mlp.sublayer.out.weight[0, 0] = 1e6
    vocab = vocabulary(tokenizer, tmp_path / "plain", found)
    with pytest.raises(ConfigError, match="format f16 cannot hold"):
        write_gguf(found, tmp_path / "model.gguf", vocab)
    assert not list(tmp_path.glob("model.gguf*"))
    write_gguf(found, tmp_path / "model.gguf", vocab, form="bf16")


def test_a_tokenizer_of_another_model_is_refused(tokenizer: Tokenizer, tmp_path: Path):
    vocab = vocabulary(tokenizer, tmp_path / "plain", model(tokenizer))
    other = LanguageModel(QWEN3(vocab_size=tokenizer.vocab_size + 8, **SIZES))
    with pytest.raises(ConfigError, match=r"the tokenizer has .* tokens and the model"):
        write_gguf(other, tmp_path / "model.gguf", vocab)


# From here on against llama.cpp itself.

PROMPTS = [
    *TEXTS,
    "I'll say it's 他们的 WE'LL 'tis don't",
    "tab\there  two spaces\r\n\n　全角空格 and 123,456.7",
    "emoji 😀👍🏽 café naïve ｆｕｌｌ ①②",
    "<|im_end|> is text here",
]


def run_in(path: Path) -> Any:
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    # Types 0: its cache of keys and values in float32 too; by default it rounds them to float16.
    return llama_cpp.Llama(
        str(path), n_ctx=64, logits_all=True, verbose=False, n_threads=1, type_k=0, type_v=0
    )


def logits_of(llama: Any, ids: list[int]) -> Tensor:
    llama.reset()
    llama.eval(ids)
    return torch.tensor(llama.scores[: len(ids)].copy())


@pytest.mark.parametrize("pattern", ["qwen2", "deepseek-v3"])
def test_llama_cpp_cuts_text_into_the_same_tokens(pattern: Pattern, tmp_path: Path):
    tokenizer = Tokenizer.train(PROMPTS * 4, 420, pattern)
    path, _ = written(model(tokenizer), tokenizer, tmp_path)
    llama = run_in(path)
    for text in PROMPTS:
        assert llama.tokenize(text.encode(), add_bos=False, special=False) == tokenizer.encode(text), text
        assert llama.detokenize(tokenizer.encode(text)).decode() == text
    marked = llama.tokenize(b"<|im_start|>user<|im_end|>", add_bos=False, special=True)
    assert marked == [tokenizer.im_start_id, *tokenizer.encode("user"), tokenizer.im_end_id]


def test_the_one_letter_that_our_pattern_cuts_otherwise():
    """llama.cpp spells the contractions of `qwen2` out in ASCII; here case is folded, and ſ folds to s."""
    split = pre_tokenizers.Split(Regex(PATTERNS["qwen2"][0]), behavior="isolated")
    letters = [chr(i) for i in range(0x80, 0x30000) if chr(i).isalpha()]
    pieces = [piece for piece, _ in split.pre_tokenize_str("".join(f"1'{letter}b" for letter in letters))]
    assert [piece for piece in pieces if len(piece) == 2 and piece[0] == "'"] == ["'ſ"]


@pytest.mark.parametrize(
    ("preset", "changed"),
    [
        (QWEN3, {}),
        (QWEN2, {"tie_embeddings": False}),
        (LLAMA, {}),
        (LLAMA, {"rope_scaling": SCALING}),
        (GPT2, {"n_kv_heads": 4}),
    ],
    ids=["qwen3", "qwen2", "llama", "llama3.1", "gpt2"],
)
def test_llama_cpp_computes_the_same_logits(
    preset: Any, changed: dict[str, Any], tokenizer: Tokenizer, tmp_path: Path
):
    found = model(tokenizer, preset, **changed)
    path, _ = written(found, tokenizer, tmp_path)
    ids = torch.randint(0, 256, (40,), generator=torch.Generator().manual_seed(0)).tolist()
    with torch.no_grad():
        ours = found(torch.tensor([ids]))[0]
    assert_close(logits_of(run_in(path), ids), ours, atol=1e-2, rtol=0)


@pytest.mark.parametrize(("form", "allowed"), [("q8_0", 0.005), ("q4_0", 0.03)])
def test_llama_cpp_reads_quantised_files_almost_as_well(
    form: GgufFormat, allowed: float, tokenizer: Tokenizer, tmp_path: Path
):
    found = model(tokenizer)
    path, _ = written(found, tokenizer, tmp_path, form)
    ids = [i for text in TEXTS for i in tokenizer.encode(text)][:60]
    targets = torch.tensor(ids[1:])
    with torch.no_grad():
        ours = torch.nn.functional.cross_entropy(found(torch.tensor([ids]))[0, :-1], targets)
    theirs = torch.nn.functional.cross_entropy(logits_of(run_in(path), ids)[:-1], targets)
    assert math.exp(float(theirs - ours)) == pytest.approx(1.0, abs=allowed)
