"""Virtual tokens as files: prefix tuning, P-tuning v2 and prompt tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from danlu.adapters.attach import decoder_of
from danlu.adapters.file_form import (
    CONFIG,
    EMBEDDINGS,
    WEIGHTS,
    AdapterFile,
    Form,
    Written,
    head_shapes,
    saved_modules,
)
from danlu.adapters.joint_layers import Model
from danlu.adapters.settings import AdapterConfig, VirtualTokens
from danlu.adapters.virtual_tokens import DeepPrefix, Prompt
from danlu.model.adapted import Part
from danlu.model.weights import check_tensors


def _write_virtual(model: Model, brought: Mapping[str, Any], config: AdapterConfig) -> Written:
    (part,) = brought.values()
    shape = model.config
    is_prompt = isinstance(part, Prompt)
    kv_width = shape.n_kv_heads * shape.head_dim
    tree = {
        "num_virtual_tokens": part.n,
        "num_layers": shape.n_layers,
        "num_attention_heads": shape.n_heads if is_prompt else shape.n_kv_heads,
        "token_dim": shape.d_model if is_prompt else kv_width,
        "num_transformer_submodules": 1,
        **({"prompt_tuning_init": "RANDOM"} if is_prompt else {"prefix_projection": False}),
        "modules_to_save": saved_modules(model),
    }
    return Written({EMBEDDINGS: part.embeddings if is_prompt else part.flat()}, tree)


def _virtual_parts(model: Model, file: AdapterFile) -> dict[str, Part]:
    decoder, kind = decoder_of(model, file.config.kind), file.config.kind
    shape = decoder.config
    prefix_width = 2 * shape.n_layers * shape.n_kv_heads * shape.head_dim
    width = shape.d_model if kind == "prompt" else prefix_width
    shapes = {EMBEDDINGS: torch.Size((file.config.virtual.n, width))} | head_shapes(model, file)
    check_tensors(file.path / WEIGHTS, file.tensors, shapes, f"{CONFIG} and the base")
    trained = file.tensors[EMBEDDINGS].float()
    return {"backbone": Prompt(trained) if kind == "prompt" else DeepPrefix(trained, shape, kind)}


def _prefix_settings(tree: Mapping[str, Any]) -> AdapterConfig:
    return AdapterConfig(kind="prefix", virtual=VirtualTokens(n=int(tree["num_virtual_tokens"])))


def _prompt_settings(tree: Mapping[str, Any]) -> AdapterConfig:
    return AdapterConfig(kind="prompt", virtual=VirtualTokens(n=int(tree["num_virtual_tokens"])))


PREFIX = Form(
    peft_type="PREFIX_TUNING",
    write=_write_virtual,
    parts=_virtual_parts,
    settings=_prefix_settings,
    numbers="num_virtual_tokens must be a number above 0",
    reads=frozenset({"num_virtual_tokens"}),
    # The file holds keys and values, whatever made them; their shape is checked.
    ignored=frozenset(
        {
            "encoder_hidden_size",
            "init_weights",
            "num_attention_heads",
            "num_layers",
            "prefix_projection",
            "token_dim",
        }
    ),
    allowed={"num_transformer_submodules": (1,)},
)
PROMPT = replace(
    PREFIX,
    peft_type="PROMPT_TUNING",
    settings=_prompt_settings,
    ignored=frozenset(
        {
            "num_attention_heads",
            "num_layers",
            "prompt_tuning_init",
            "prompt_tuning_init_text",
            "token_dim",
            "tokenizer_kwargs",
            "tokenizer_name_or_path",
        }
    ),
)
