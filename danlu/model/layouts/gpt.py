"""The layouts of GPT-1, GPT-2 and GPT-Neo, which stands for GPT-3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from danlu.model.config import ModelConfig
from danlu.model.layouts.layout import Layout, decoder_heads, same_settings, sizes_from, sizes_to
from danlu.model.layouts.llama import shortest_pattern
from danlu.model.layouts.settings import Settings

ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
}
ACTIVATIONS_OF_GPT1 = {
    "gelu": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "relu": "relu",
}  # its gelu is the other one
KINDS = {"global": "full", "local": "window"}
SIZES = {
    "vocab_size": "vocab_size",
    "d_model": "n_embd",
    "n_layers": "n_layer",
    "n_heads": "n_head",
    "max_seq_len": "n_positions",
}
NEO_SIZES = {
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "n_layers": "num_layers",
    "n_heads": "num_heads",
    "max_seq_len": "max_position_embeddings",
}
SHAPE = {
    "topology": "decoder",
    "norm": "layernorm",
    "position": "learned",
    "scaled_embedding": False,
    "qk_norm": False,
    "experts": None,
}


def _common(settings: Settings, sizes: dict[str, Any]) -> dict[str, Any]:
    """What the three have in common."""
    return {
        **sizes,
        "n_kv_heads": sizes["n_heads"],
        "head_dim": sizes["d_model"] // sizes["n_heads"],
        "tie_embeddings": settings.flag("tie_word_embeddings", True),
        "norm": "layernorm",
        "norm_eps": settings.number("layer_norm_epsilon", 1e-5),
        "position": "learned",
    }


def _one_size_of_heads(config: ModelConfig) -> bool:
    return config.n_kv_heads == config.n_heads and config.head_dim * config.n_heads == config.d_model


def _name_of(table: dict[str, str], value: str) -> str:
    return next(theirs for theirs, ours in table.items() if ours == value)


def _read_gpt1(settings: Settings) -> ModelConfig:
    sizes = sizes_from(settings, SIZES)
    return ModelConfig(
        **_common(settings, sizes),
        d_ff=4 * sizes["d_model"],
        norm_position="post",
        mlp=settings.choice("afn", ACTIVATIONS_OF_GPT1, "gelu"),
        bias="all",
    )


def _write_gpt1(config: ModelConfig) -> dict[str, Any]:
    return {
        **sizes_to(config, SIZES),
        "afn": _name_of(ACTIVATIONS_OF_GPT1, config.mlp),
        "layer_norm_epsilon": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    }


def _read_gpt2(settings: Settings) -> ModelConfig:
    settings.only(scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    sizes = sizes_from(settings, SIZES)
    return ModelConfig(
        **_common(settings, sizes),
        d_ff=settings.integer("n_inner", 4 * sizes["d_model"]),
        mlp=settings.choice("activation_function", ACTIVATIONS, "gelu_new"),
        bias="all",
        scaled_scores=settings.flag("scale_attn_weights", True),
    )


def _write_gpt2(config: ModelConfig) -> dict[str, Any]:
    return {
        **sizes_to(config, SIZES),
        "n_inner": config.d_ff,
        "activation_function": _name_of(ACTIVATIONS, config.mlp),
        "scale_attn_weights": config.scaled_scores,
        "layer_norm_epsilon": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    }


def _read_gpt_neo(settings: Settings) -> ModelConfig:
    sizes = sizes_from(settings, NEO_SIZES)
    pattern = shortest_pattern(_layer_kinds(settings, sizes["n_layers"]))
    return ModelConfig(
        **_common(settings, sizes),
        d_ff=settings.integer("intermediate_size", 4 * sizes["d_model"]),
        mlp=settings.choice("activation_function", ACTIVATIONS, "gelu_new"),
        bias="all_but_qkv",
        scaled_scores=False,
        attention_pattern=pattern,
        window=settings.integer("window_size", 256) if "window" in pattern else None,
    )


def _layer_kinds(settings: Settings, n_layers: int) -> Sequence[str]:
    """`[[["global", "local"], 12]]` says twelve times global and local; so does a list of 24."""
    groups = settings.get("attention_types", [[["global", "local"], 12]])
    try:
        kinds = [KINDS[kind] for names, n in groups for kind in list(names) * n]
    except (KeyError, TypeError, ValueError) as error:
        raise settings.wrong("attention_types", groups, 'like [[["global", "local"], 12]]') from error
    if len(kinds) != n_layers:
        raise settings.wrong("attention_types", groups, f"about {n_layers} layers, as num_layers says")
    return kinds


def _write_gpt_neo(config: ModelConfig) -> dict[str, Any]:
    kinds = ["local" if window else "global" for window in config.windows]
    return {
        **sizes_to(config, NEO_SIZES),
        "intermediate_size": config.d_ff,
        "activation_function": _name_of(ACTIVATIONS, config.mlp),
        "attention_types": [[kinds, 1]],
        "attention_layers": kinds,
        "window_size": config.window or 256,
        "layer_norm_epsilon": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        **dict.fromkeys(("resid_dropout", "embed_dropout", "attention_dropout"), 0.0),
    }


BLOCKS = (
    (r"^backbone\.blocks\.", "transformer.h."),
    (r"\.self_attn\.norm\.", ".ln_1."),
    (r"\.mlp\.norm\.", ".ln_2."),
    (r"\.self_attn\.sublayer\.out(?=\.|$)", ".attn.c_proj"),
    (r"\.mlp\.sublayer\.up(?=\.|$)", ".mlp.c_fc"),
    (r"\.mlp\.sublayer\.out(?=\.|$)", ".mlp.c_proj"),
)
ENDS = (
    (r"^backbone\.embedding\.", "transformer.wte."),
    (r"^backbone\.position\.table\.", "transformer.wpe."),
    (r"^backbone\.norm\.", "transformer.ln_f."),
)
GPT1_ENDS = (
    (r"^backbone\.embedding\.", "transformer.tokens_embed."),
    (r"^backbone\.position\.table\.", "transformer.positions_embed."),
)
NEO_ATTENTION = (
    (r"\.self_attn\.sublayer\.([qkv])(?=\.|$)", r".attn.attention.\1_proj"),
    (r"\.self_attn\.sublayer\.out(?=\.|$)", ".attn.attention.out_proj"),
)
FUSED = ((r"\.self_attn\.sublayer\.(?P<part>[qkv])(?=\.|$)", ".attn.c_attn"),)
TRANSPOSED = r"\.sublayer\..*\.weight$"
MASKS = r"\.attn\.(attention\.)?(bias|masked_bias)$"  # older files keep the causal mask

GPT1 = Layout(
    model_type="openai-gpt",
    heads=decoder_heads("OpenAIGPT", "LMHeadModel", tags=None, spans=None),
    suits=lambda config: (
        same_settings(config, **SHAPE, norm_position="post", bias="all", scaled_scores=True, window=None)
        and config.mlp in ACTIVATIONS_OF_GPT1.values()
        and config.d_ff == 4 * config.d_model
        and _one_size_of_heads(config)
    ),
    read=_read_gpt1,
    write=_write_gpt1,
    renames=(*GPT1_ENDS, *BLOCKS),
    prefix="transformer.",
    fused=FUSED,
    transposed=TRANSPOSED,
    unread=MASKS,
)
GPT2 = Layout(
    model_type="gpt2",
    heads=decoder_heads("GPT2", "LMHeadModel", tags=()),
    suits=lambda config: (
        same_settings(config, **SHAPE, norm_position="pre", bias="all", window=None)
        and config.mlp in ACTIVATIONS.values()
        and _one_size_of_heads(config)
    ),
    read=_read_gpt2,
    write=_write_gpt2,
    renames=(*ENDS, *BLOCKS),
    prefix="transformer.",
    fused=FUSED,
    transposed=TRANSPOSED,
    unread=MASKS,
)
GPT_NEO = Layout(
    model_type="gpt_neo",
    heads=decoder_heads("GPTNeo", "ForCausalLM", tags=()),
    suits=lambda config: (
        same_settings(config, **SHAPE, norm_position="pre", bias="all_but_qkv", scaled_scores=False)
        and config.mlp in ACTIVATIONS.values()
        and _one_size_of_heads(config)
    ),
    read=_read_gpt_neo,
    write=_write_gpt_neo,
    renames=(*ENDS, *NEO_ATTENTION, *BLOCKS),
    prefix="transformer.",
    unread=MASKS,
)
