"""One GGUF file of a model and its tokenizer, as llama.cpp and what is built on it read it.

Written a tensor at a time in version 3 of the format (ggml-org/ggml, docs/gguf.md): a header of settings, the
tokenizer among them, then the tensors, each at a multiple of 32 bytes.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from danlu.config import ConfigError
from danlu.model.config import ModelConfig, RopeScaling
from danlu.model.heads import LanguageModel
from danlu.model.hf import layout_of, weights_of
from danlu.model.positions import scale_frequency
from danlu.model.quantize import dense
from danlu.model.tensor_file import settle

GgufFormat = Literal["f16", "bf16", "q8_0", "q4_0"]
Make = Callable[[], Tensor]
ALIGNMENT = 32
PART = 1 << 22  # numbers turned into another format at once
BLOCK = 32  # numbers that share a scale in q8_0 and q4_0
VERSION, QUANTISATION_VERSION = 3, 2
NORMAL, CONTROL = 1, 3  # kinds of token


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """A byte-level BPE tokenizer in the terms of the format."""

    tokens: Sequence[str]  # by id, bytes spelled as GPT-2 spells them
    control: frozenset[int]
    merges: Sequence[tuple[str, str]]
    pattern: str  # llama.cpp's name of how text is cut before merging
    bos: int | None
    eos: int | None  # ends an answer
    pad: int | None
    chat_template: str | None


@dataclass(frozen=True, slots=True)
class Kind:
    """A way in which the numbers of a tensor lie in the file."""

    number: int  # in the header of a tensor
    row_bytes: Callable[[int], int]  # of so many numbers
    encode: Callable[[Tensor], Tensor]  # float32 (…, columns) → what is written


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor of the file, made when its turn comes."""

    name: str
    shape: tuple[int, ...]
    kind: Kind
    make: Make

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape[:-1]) * self.kind.row_bytes(self.shape[-1])


def write_gguf(
    model: LanguageModel, path: Path, vocabulary: Vocabulary, *, form: GgufFormat = "f16", name: str = ""
) -> None:
    """Write `model`, an adapter's update included, with its tokenizer; whole or not at all.

    Norms, biases and positions stay float32; in q4_0 the embedding and the output projection are q8_0.
    """
    if len(vocabulary.tokens) != model.config.vocab_size:
        raise ConfigError(
            f"the tokenizer has {len(vocabulary.tokens)} tokens and the model {model.config.vocab_size}; "
            "use the tokenizer that the model was trained with"
        )
    entries = [*_entries(model, form)]
    settings = _settings(model.config, form, name) | _tokenizer_settings(vocabulary)
    settle(path, _file(settings, entries))


def _file(settings: Mapping[str, Any], entries: Sequence[Entry]) -> Iterator[bytes | memoryview]:
    head = struct.pack("<4sIQQ", b"GGUF", VERSION, len(entries), len(settings))
    head += b"".join(_text(key) + _value(value) for key, value in settings.items())
    offset = 0
    for entry in entries:
        dims = entry.shape[::-1]  # the fastest first
        head += _text(entry.name) + struct.pack(
            f"<I{len(dims)}QIQ", len(dims), *dims, entry.kind.number, offset
        )
        offset += entry.n_bytes + -entry.n_bytes % ALIGNMENT
    yield head + bytes(-len(head) % ALIGNMENT)
    for entry in entries:
        made = entry.make()
        assert tuple(made.shape) == entry.shape, entry.name
        rows = max(PART // made.shape[-1], 1) if made.ndim > 1 else len(made)
        for part in dense(made.detach()).split(rows):
            yield entry.kind.encode(part.float()).contiguous().reshape(-1).view(torch.uint8).numpy().data
        yield bytes(-entry.n_bytes % ALIGNMENT)


def _settings(config: ModelConfig, form: GgufFormat, name: str) -> dict[str, Any]:
    arch = _architecture(config)
    tree: dict[str, Any] = {
        "general.architecture": arch,
        "general.name": name,
        "general.file_type": FILE_TYPES[form],
        f"{arch}.vocab_size": config.vocab_size,
        f"{arch}.context_length": config.max_seq_len,
        f"{arch}.embedding_length": config.d_model,
        f"{arch}.block_count": config.n_layers,
        f"{arch}.feed_forward_length": config.d_ff,
        f"{arch}.attention.head_count": config.n_heads,
        f"{arch}.attention.head_count_kv": config.n_kv_heads,
        f"{arch}.attention.{EPSILONS[config.norm]}": float(config.norm_eps),
    }
    if form in ("q8_0", "q4_0"):
        tree["general.quantization_version"] = QUANTISATION_VERSION
    if config.position == "rope":
        tree |= {
            f"{arch}.attention.key_length": config.head_dim,
            f"{arch}.attention.value_length": config.head_dim,
            f"{arch}.rope.dimension_count": config.head_dim,
            f"{arch}.rope.freq_base": float(config.rope_theta),
        }
    return tree


def _tokenizer_settings(vocabulary: Vocabulary) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": vocabulary.pattern,
        "tokenizer.ggml.tokens": [*vocabulary.tokens],
        "tokenizer.ggml.token_type": [
            CONTROL if i in vocabulary.control else NORMAL for i in range(len(vocabulary.tokens))
        ],
        "tokenizer.ggml.merges": [f"{left} {right}" for left, right in vocabulary.merges],
        "tokenizer.ggml.bos_token_id": vocabulary.bos,
        "tokenizer.ggml.eos_token_id": vocabulary.eos,
        "tokenizer.ggml.padding_token_id": vocabulary.pad,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": vocabulary.chat_template,
    }
    return {key: value for key, value in tree.items() if value is not None}


def _architecture(config: ModelConfig) -> str:
    found = layout_of(config).model_type
    if found not in ARCHITECTURES or config.window is not None:
        what = f"{found} with a sliding window" if config.window is not None else found
        raise ConfigError(
            f"the model is {what}; GGUF is written of {', '.join(ARCHITECTURES)} without sliding windows"
        )
    return found


def _entries(model: LanguageModel, form: GgufFormat) -> Iterator[Entry]:
    """The file's tensors in order."""
    config = model.config
    arch = _architecture(config)
    joined: dict[str, list[tuple[torch.Size, Make]]] = {}
    for ours, weight in weights_of(model):
        joined.setdefault(_theirs(ours, arch), []).append(weight)
    for name, members in joined.items():
        shapes, makes = zip(*members, strict=True)
        shape = (sum(each[0] for each in shapes), *shapes[0][1:])
        make = _turned(_joined(makes), name, config) if arch == "llama" else _joined(makes)
        yield Entry(name, shape, _kind(name, shape, form), make)
    if config.rope_scaling is not None:
        factors = _rope_factors(config, config.rope_scaling)
        yield Entry("rope_freqs.weight", tuple(factors.shape), KINDS["f32"], lambda: factors)


def _theirs(name: str, arch: str) -> str:
    """The name of the tensor that a weight of ours lies in."""
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return re.sub(r"\.attn_[qkv]\.", ".attn_qkv.", name) if arch == "gpt2" else name


def _joined(makes: Sequence[Make]) -> Make:
    return makes[0] if len(makes) == 1 else lambda: torch.cat([dense(make()) for make in makes])


def _turned(make: Make, name: str, config: ModelConfig) -> Make:
    """Llama's queries and keys: there channels 2i and 2i + 1 turn together, here i and i + head_dim / 2."""
    heads = {"attn_q": config.n_heads, "attn_k": config.n_kv_heads}.get(name.split(".")[-2])
    if heads is None:
        return make
    return lambda: dense(make()).unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def _rope_factors(config: ModelConfig, scaling: RopeScaling) -> Tensor:
    """By how much each pair of channels turns slower, (head_dim / 2,)."""
    exponent = torch.arange(0, config.head_dim, 2).float() / config.head_dim
    frequency = 1.0 / config.rope_theta**exponent
    return frequency / scale_frequency(frequency, scaling)


def _kind(name: str, shape: Sequence[int], form: GgufFormat) -> Kind:
    if len(shape) < 2 or name == "position_embd.weight":
        return KINDS["f32"]
    if form in ("q8_0", "q4_0") and shape[-1] % BLOCK:
        return KINDS["f16"]
    coarse = form == "q4_0" and name in ("token_embd.weight", "output.weight")
    return KINDS["q8_0" if coarse else form]


def half(x: Tensor) -> Tensor:
    """float16; what would become infinite is an error."""
    if x.abs().max() > torch.finfo(torch.float16).max:
        raise ConfigError("format f16 cannot hold a weight of this model; use bf16 or q8_0")
    return x.half()


def q8_0(x: Tensor) -> Tensor:
    """Blocks of 32 as a float16 scale and codes from -127 to 127: (rows, bytes) uint8."""
    blocks = x.unflatten(-1, (-1, BLOCK))
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    codes = (blocks / _never_zero(scale)).round().to(torch.int8)
    return torch.cat([_bytes(scale.half()), codes.view(torch.uint8)], -1).flatten(-2)


def q4_0(x: Tensor) -> Tensor:
    """Blocks of 32 as a float16 scale d and codes c, number = d (c - 8): (rows, bytes) uint8.

    llama.cpp takes the scale that meets the largest number; of some around it, of either sign, this takes the
    one that errs least, each adjusted to its codes by least squares. Files are read in the same way.
    """
    blocks = x.unflatten(-1, (-1, BLOCK))
    place = blocks.abs().argmax(-1, keepdim=True)
    extreme = blocks.gather(-1, place)
    least = torch.full_like(extreme, torch.inf)
    scale, codes = torch.zeros_like(extreme), torch.full_like(blocks, 8.0)
    for reach in REACHES:
        levels = (blocks * reach / _never_zero(extreme)).round().clamp_(-8, 7)
        fitted = (blocks * levels).sum(-1, keepdim=True) / _never_zero(levels.square().sum(-1, keepdim=True))
        fitted = fitted.half().float()
        error = (blocks - fitted * levels).square().sum(-1, keepdim=True)
        better = error < least
        least = torch.where(better, error, least)
        scale, codes = torch.where(better, fitted, scale), torch.where(better, levels + 8, codes)
    low, high = codes.to(torch.uint8).chunk(2, dim=-1)
    return torch.cat([_bytes(scale.half()), low | (high << 4)], -1).flatten(-2)


def _bytes(x: Tensor) -> Tensor:
    return x.contiguous().view(torch.uint8)


def _never_zero(x: Tensor) -> Tensor:
    return torch.where(x == 0, 1.0, x)


def _text(value: str) -> bytes:
    raw = value.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> bytes:
    """A setting with its type before it; whole numbers are unsigned, in lists signed."""
    if not isinstance(value, list):
        number, encode = SCALARS[type(value)]
        return struct.pack("<I", number) + encode(value)
    items: list[Any] = value
    number, encode = ITEMS[type(items[0])] if items else ITEMS[str]
    return struct.pack("<IIQ", ARRAY, number, len(items)) + b"".join(map(encode, items))


Encode = tuple[int, Callable[[Any], bytes]]
ARRAY = 9
SCALARS: dict[type, Encode] = {
    int: (4, lambda value: struct.pack("<I", value)),
    float: (6, lambda value: struct.pack("<f", value)),
    bool: (7, lambda value: struct.pack("<?", value)),
    str: (8, _text),
}
ITEMS: dict[type, Encode] = {int: (5, lambda value: struct.pack("<i", value)), str: (8, _text)}
KINDS = {
    "f32": Kind(0, lambda n: 4 * n, lambda x: x),
    "f16": Kind(1, lambda n: 2 * n, half),
    "q4_0": Kind(2, lambda n: n // BLOCK * 18, q4_0),
    "q8_0": Kind(8, lambda n: n // BLOCK * 34, q8_0),
    "bf16": Kind(30, lambda n: 2 * n, Tensor.bfloat16),
}
FILE_TYPES: dict[GgufFormat, int] = {"f16": 1, "q4_0": 2, "q8_0": 7, "bf16": 32}
ARCHITECTURES = ("llama", "qwen2", "qwen3", "gpt2")  # theirs and ours have one name
EPSILONS = {"rmsnorm": "layer_norm_rms_epsilon", "layernorm": "layer_norm_epsilon"}
REACHES = (-8.0, -8.5, -7.5, -9.0, -7.0, 7.0, 7.5, 6.5)  # codes at which a block's largest number may land
RENAMES = (
    (r"^backbone\.embedding\.", "token_embd."),
    (r"^backbone\.position\.table\.", "position_embd."),
    (r"^backbone\.norm\.", "output_norm."),
    (r"^lm_head\.", "output."),
    (r"^backbone\.blocks\.", "blk."),
    (r"\.self_attn\.norm\.", ".attn_norm."),
    (r"\.self_attn\.sublayer\.([qkv])\.", r".attn_\1."),
    (r"\.self_attn\.sublayer\.([qk])_norm\.", r".attn_\1_norm."),
    (r"\.self_attn\.sublayer\.out\.", ".attn_output."),
    (r"\.mlp\.norm\.", ".ffn_norm."),
    (r"\.mlp\.sublayer\.(gate|up)\.", r".ffn_\1."),
    (r"\.mlp\.sublayer\.out\.", ".ffn_down."),
)
