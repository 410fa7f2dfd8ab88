"""Model directories in the Hugging Face layout: the only place that knows its names.

What is written here loads in `transformers` as it lies. What is read is checked first: the architectures are
a closed list, `auto_map` is ignored, and no tensor may be missing, unknown or of another shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from danlu.config import ConfigError
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.low_rank import dense_weights
from danlu.model.transformer import ModelConfig
from danlu.model.weights import (
    ModelFileError,
    check_tensors,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)

Head = TypeVar("Head", LanguageModel, ScoreModel)
SHIFT_KEY = "reward_shift"  # ours, in config.json: what a score model subtracts from its head's output


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIds:
    """The tokenizer's control tokens that a model directory mentions."""

    pad: int | None = None  # transformers' classifiers read the score at the last token that is not this one
    bos: int | None = None
    stop: tuple[int, ...] = ()  # generation ends at any of these


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A Hugging Face model type, and our choices that it stands for."""

    prefix: str
    bias: Literal["none", "qkv"] = "none"
    qk_norm: bool = False


def save_model(
    model: LanguageModel | ScoreModel,
    path: Path,
    *,
    dtype: Literal["float32", "bfloat16"] = "float32",
    token_ids: TokenIds | None = None,
) -> None:
    """Write model.safetensors, generation_config.json and config.json; tokenizer files are not touched.

    What an adapter adds becomes part of the weights that are written.
    """
    tokens = _token_tree(token_ids or TokenIds())
    tree = _config_tree(model, dtype) | tokens
    path.mkdir(parents=True, exist_ok=True)
    kept = {
        hf_name(ours): weight.detach().to(getattr(torch, dtype)).contiguous()
        for ours, weight in dense_weights(model).items()
    }
    write_tensors(path / "model.safetensors", kept)
    if isinstance(model, LanguageModel):
        write_json(path / "generation_config.json", tokens)
    write_json(path / "config.json", tree)


def load_model(path: Path) -> LanguageModel | ScoreModel:
    """Read a model directory, whichever head it has; the weights come as float32."""
    tree = read_json(path / "config.json")
    family, head = _architecture(path, tree)
    config = _model_config(path / "config.json", tree, family)
    with torch.device("meta"):  # no memory: every weight is about to be replaced
        model = head(config)
    tensors = read_tensors(path)
    if config.tie_embeddings or isinstance(model, ScoreModel):
        tensors.pop("lm_head.weight", None)  # some writers keep the tied copy
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    check_tensors(path, tensors, {hf_name(name): shape for name, shape in shapes.items()})
    state = {name: tensors[hf_name(name)].float() for name in shapes}
    if isinstance(model, ScoreModel):
        state["shift"] = torch.tensor(_shift(path, tree))
    model.load_state_dict(state, strict=False, assign=True)
    if isinstance(model, LanguageModel) and config.tie_embeddings:
        model.lm_head.weight = model.backbone.embedding.weight
    return model


def load_language_model(path: Path, *, vocab_size: int | None = None) -> LanguageModel:
    """Read a directory that must hold a language model, for a tokenizer of `vocab_size` if given."""
    return _expect(LanguageModel, path, vocab_size)


def load_score_model(path: Path, *, vocab_size: int | None = None) -> ScoreModel:
    """Read a directory that must hold a score model, for a tokenizer of `vocab_size` if given."""
    return _expect(ScoreModel, path, vocab_size)


def _expect(head: type[Head], path: Path, vocab_size: int | None) -> Head:
    model = load_model(path)
    if not isinstance(model, head):
        raise ModelFileError(f"{path} holds a {type(model).__name__}; a {head.__name__} is needed here")
    if vocab_size is not None and model.config.vocab_size != vocab_size:
        raise ModelFileError(
            f"{path}: the model knows {model.config.vocab_size} tokens and the tokenizer {vocab_size}; "
            "use the tokenizer that the model was trained with"
        )
    return model


def _architecture(path: Path, tree: Mapping[str, Any]) -> tuple[Family, type[LanguageModel | ScoreModel]]:
    known = {
        family.prefix + suffix: (family, head)
        for family in FAMILIES.values()
        for suffix, head in HEADS.items()
    }
    named = tree.get("architectures")
    name = named[0] if isinstance(named, list) and len(named) == 1 else named
    if not isinstance(name, str) or name not in known:
        raise ModelFileError(
            f"{path / 'config.json'}: architecture {name!r} is not supported; these are: {', '.join(known)}"
        )
    return known[name]


def _model_config(where: Path, tree: Mapping[str, Any], family: Family) -> ModelConfig:
    _refuse_what_differs(where, tree)
    sizes: dict[str, Any] = {ours: _integer(where, tree, theirs) for ours, theirs in SIZES.items()}
    rope = tree.get("rope_parameters") or {}
    try:
        return ModelConfig(
            **sizes,
            n_kv_heads=_integer(where, tree, "num_key_value_heads", sizes["n_heads"]),
            head_dim=_integer(where, tree, "head_dim", sizes["d_model"] // sizes["n_heads"]),
            tie_embeddings=bool(tree.get("tie_word_embeddings", False)),
            norm_eps=float(tree.get("rms_norm_eps", 1e-6)),
            rope_theta=float(rope.get("rope_theta", tree.get("rope_theta", 10_000.0))),
            bias=family.bias,
            qk_norm=family.qk_norm,
        )
    except (ConfigError, TypeError) as error:
        raise ModelFileError(f"{where}: {error}") from error


def _refuse_what_differs(where: Path, tree: Mapping[str, Any]) -> None:
    """A setting that changes the arithmetic as these parts cannot must not be read as if absent."""
    for key, allowed in FIXED.items():
        if tree.get(key, allowed) != allowed:
            raise ModelFileError(f"{where}: {key} is {tree[key]!r}; only {allowed!r} can be read")
    for key in ("rope_parameters", "rope_scaling"):
        rope = tree.get(key) or {}
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind != "default":
            raise ModelFileError(f"{where}: {key} asks for {kind!r}; only plain rope ('default') can be read")


def _integer(where: Path, tree: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = tree.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ModelFileError(f"{where}: {key} is {value!r}; it must be a positive whole number")
    return value


def _shift(path: Path, tree: Mapping[str, Any]) -> float:
    shift = tree.get(SHIFT_KEY, 0.0)
    if not isinstance(shift, int | float):
        raise ModelFileError(f"{path / 'config.json'}: {SHIFT_KEY} is {shift!r}; it must be a number")
    return float(shift)


def _config_tree(model: LanguageModel | ScoreModel, dtype: str) -> dict[str, Any]:
    config = model.config
    choice = {"bias": config.bias, "qk_norm": config.qk_norm}
    kinds = [
        k for k, family in FAMILIES.items() if {"bias": family.bias, "qk_norm": family.qk_norm} == choice
    ]
    if not kinds:
        raise ModelFileError(f"no supported Hugging Face architecture has {choice}; see model/presets.py")
    suffix = next(suffix for suffix, head in HEADS.items() if isinstance(model, head))
    tree: dict[str, Any] = {
        "architectures": [FAMILIES[kinds[0]].prefix + suffix],
        "model_type": kinds[0],
        **{theirs: getattr(config, ours) for ours, theirs in SIZES.items()},
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "tie_word_embeddings": config.tie_embeddings,
        "rms_norm_eps": config.norm_eps,
        # Readers older and newer than transformers 5 look in different places.
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        **FIXED,
        "torch_dtype": dtype,
    }
    if isinstance(model, ScoreModel):
        tree |= {"id2label": {"0": "score"}, "label2id": {"score": 0}, SHIFT_KEY: float(model.shift)}
    return tree


def _token_tree(ids: TokenIds) -> dict[str, Any]:
    return {"bos_token_id": ids.bos, "eos_token_id": list(ids.stop) or None, "pad_token_id": ids.pad}


def hf_name(ours: str) -> str:
    """Their name of a parameter or a layer of ours."""
    for pattern, replacement in RENAMES:
        ours = re.sub(pattern, replacement, ours)
    return ours


FAMILIES = {
    "llama": Family(prefix="Llama"),
    "qwen2": Family(prefix="Qwen2", bias="qkv"),
    "qwen3": Family(prefix="Qwen3", qk_norm=True),
}
HEADS: dict[str, type[LanguageModel | ScoreModel]] = {
    "ForCausalLM": LanguageModel,
    "ForSequenceClassification": ScoreModel,
}
SIZES = {
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "d_ff": "intermediate_size",
    "max_seq_len": "max_position_embeddings",
}
FIXED = {
    "hidden_act": "silu",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "mlp_bias": False,
    "use_sliding_window": False,
}
RENAMES = (
    (r"^backbone\.embedding\.", "model.embed_tokens."),
    (r"^backbone\.norm\.", "model.norm."),
    (r"^backbone\.blocks\.", "model.layers."),
    (r"\.self_attn\.norm\.", ".input_layernorm."),
    (r"\.mlp\.norm\.", ".post_attention_layernorm."),
    (r"\.self_attn\.sublayer\.([qkv])(?=\.|$)", r".self_attn.\1_proj"),
    (r"\.self_attn\.sublayer\.out(?=\.|$)", ".self_attn.o_proj"),
    (r"\.self_attn\.sublayer\.([qk])_norm\.", r".self_attn.\1_norm."),
    (r"\.mlp\.sublayer\.(gate|up)(?=\.|$)", r".mlp.\1_proj"),
    (r"\.mlp\.sublayer\.out(?=\.|$)", ".mlp.down_proj"),
)
