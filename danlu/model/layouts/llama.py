"""Llama's layout and those that grew from it: Mistral, Qwen 2, Qwen 3 and Qwen 3's mixture of experts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from danlu.model.config import Experts, ModelConfig, RopeScaling
from danlu.model.layouts.layout import Layout, Renames, decoder_heads, same_settings, sizes_from, sizes_to
from danlu.model.layouts.settings import Settings
from danlu.model.tensor_file import ModelFileError

Pattern = tuple[Any, ...]


def _read(settings: Settings, choices: dict[str, Any], windows: Callable[[Settings], Any]) -> ModelConfig:
    settings.only(**FIXED)
    sizes = sizes_from(settings, SIZES)
    theta, scaling = _read_rope(settings, sizes["max_seq_len"])
    window, pattern = windows(settings)
    experts = _read_experts(settings) if choices.get("mlp") == "moe" else None
    if experts is not None:
        sizes["d_ff"] = settings.integer("moe_intermediate_size")
    return ModelConfig(
        **sizes,
        n_kv_heads=settings.integer("num_key_value_heads", sizes["n_heads"]),
        head_dim=settings.integer("head_dim", sizes["d_model"] // sizes["n_heads"]),
        tie_embeddings=settings.flag("tie_word_embeddings", False),
        norm_eps=settings.number("rms_norm_eps", 1e-6),
        rope_theta=theta,
        rope_scaling=scaling,
        experts=experts,
        window=window,
        attention_pattern=pattern,
        **choices,
    )


def _write(config: ModelConfig, write_windows: Callable[[ModelConfig], dict[str, Any]]) -> dict[str, Any]:
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_theta}
    scaling = config.rope_scaling
    if scaling is not None:
        rope |= {
            "rope_type": "llama3",
            **{theirs: getattr(scaling, ours) for ours, theirs in SCALING.items()},
        }
    return {
        **sizes_to(config, SIZES),
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "tie_word_embeddings": config.tie_embeddings,
        "rms_norm_eps": config.norm_eps,
        # Readers older and newer than transformers 5 look in different places.
        "rope_theta": config.rope_theta,
        "rope_parameters": rope,
        **({} if scaling is None else {"rope_scaling": rope}),
        **FIXED,
        **_write_experts(config),
        **write_windows(config),
    }


def _read_rope(settings: Settings, max_seq_len: int) -> tuple[float, RopeScaling | None]:
    """Theta, and the scaling of frequencies."""
    theta, scaling = settings.number("rope_theta", 10_000.0), None
    for key in ("rope_parameters", "rope_scaling"):
        tree = settings.get(key, {})
        if not isinstance(tree, dict):
            raise settings.wrong(key, tree, "a table")
        rope = Settings(settings.where, tree)
        theta = rope.number("rope_theta", theta)
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind not in ("default", "llama3"):
            raise ModelFileError(
                f"{settings.where}: {key} asks for {kind!r}; plain rope ('default') and 'llama3' can be read"
            )
        rope.only(partial_rotary_factor=1.0)
        if kind == "llama3":
            scaling = RopeScaling(
                factor=rope.number("factor", 0.0),
                low_freq_factor=rope.number("low_freq_factor", 1.0),
                high_freq_factor=rope.number("high_freq_factor", 4.0),
                original_max_seq_len=rope.integer("original_max_position_embeddings", max_seq_len),
            )
    return theta, scaling


def _read_experts(settings: Settings) -> Experts:
    settings.only(decoder_sparse_step=1, mlp_only_layers=[])
    n_experts = settings.get("num_experts", settings.get("num_local_experts"))
    if not isinstance(n_experts, int) or n_experts < 1:
        raise settings.wrong("num_experts", n_experts, "a positive whole number")
    return Experts(
        n_experts=n_experts,
        n_active=settings.integer("num_experts_per_tok"),
        renormalise=settings.flag("norm_topk_prob", False),
    )


def _write_experts(config: ModelConfig) -> dict[str, Any]:
    if config.experts is None:
        return {}
    return {
        "moe_intermediate_size": config.d_ff,
        "num_experts": config.experts.n_experts,
        "num_experts_per_tok": config.experts.n_active,
        "norm_topk_prob": config.experts.renormalise,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }


def _no_windows(settings: Settings) -> tuple[None, Pattern]:
    settings.only(use_sliding_window=False)
    return None, ("full",)


def _mistral_windows(settings: Settings) -> tuple[int | None, Pattern]:
    if "sliding_window" in settings.tree and settings.tree["sliding_window"] is None:
        return None, ("full",)
    return settings.integer("sliding_window", 4096), ("window",)


def _qwen_windows(settings: Settings) -> tuple[int | None, Pattern]:
    """Which layers have a window: a list says it, or else the number of the first that has one."""
    if not settings.flag("use_sliding_window", False):
        return None, ("full",)
    n_layers = settings.integer("num_hidden_layers")
    window = settings.get("sliding_window")
    if not isinstance(window, int):
        raise ModelFileError(
            f"{settings.where}: use_sliding_window is true and sliding_window is {window!r}; "
            "it must be a positive whole number"
        )
    kinds = settings.get("layer_types")
    if kinds is None:
        first = settings.integer("max_window_layers", 28)
        kinds = ["full_attention" if i < first else "sliding_attention" for i in range(n_layers)]
    if not isinstance(kinds, list) or len(kinds) != n_layers or set(kinds) - KINDS.keys():
        raise settings.wrong("layer_types", kinds, f"a list of {n_layers} of {sorted(KINDS)}")
    pattern = shortest_pattern([KINDS[kind] for kind in kinds])
    return (window if "window" in pattern else None), pattern


def _moe_windows(settings: Settings) -> tuple[int | None, Pattern]:
    if not settings.flag("use_sliding_window", False):
        return None, ("full",)
    return settings.integer("sliding_window", 4096), ("window",)


def _write_qwen_windows(config: ModelConfig) -> dict[str, Any]:
    if config.window is None:
        return {}
    names = {ours: theirs for theirs, ours in KINDS.items()}
    kinds = ["full" if window is None else "window" for window in config.windows]
    first = kinds.index("window")
    return {
        "use_sliding_window": True,
        "sliding_window": config.window,
        "layer_types": [names[kind] for kind in kinds],
        "max_window_layers": first,
    }


def _write_moe_windows(config: ModelConfig) -> dict[str, Any]:
    return {} if config.window is None else {"use_sliding_window": True, "sliding_window": config.window}


def shortest_pattern(kinds: Sequence[Any]) -> Pattern:
    """The shortest beginning that, over and over, gives the whole."""
    for n in range(1, len(kinds) + 1):
        if all(kind == kinds[i % n] for i, kind in enumerate(kinds)):
            return tuple(kinds[:n])
    raise ValueError("a model has no layers")


KINDS = {"full_attention": "full", "sliding_attention": "window"}
SIZES = {
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "d_ff": "intermediate_size",
    "max_seq_len": "max_position_embeddings",
}
SCALING = {
    "factor": "factor",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "original_max_seq_len": "original_max_position_embeddings",
}
FIXED = {"hidden_act": "silu", "attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False}
RENAMES = (
    (r"^backbone\.embedding\.", "model.embed_tokens."),
    (r"^backbone\.norm\.", "model.norm."),
    (r"^backbone\.blocks\.", "model.layers."),
    (r"\.self_attn\.norm\.", ".input_layernorm."),
    (r"\.mlp\.norm\.", ".post_attention_layernorm."),
    (r"\.self_attn\.sublayer\.([qkv])(?=\.|$)", r".self_attn.\1_proj"),
    (r"\.self_attn\.sublayer\.out(?=\.|$)", ".self_attn.o_proj"),
    (r"\.self_attn\.sublayer\.([qk])_norm\.", r".self_attn.\1_norm."),
    (r"\.mlp\.sublayer\.router(?=\.|$)", ".mlp.gate"),
    (r"\.mlp\.sublayer\.(experts\.\d+\.)?(gate|up)(?=\.|$)", r".mlp.\1\2_proj"),
    (r"\.mlp\.sublayer\.(experts\.\d+\.)?out(?=\.|$)", r".mlp.\1down_proj"),
)
SHAPE = {  # what all of them share
    "topology": "decoder",
    "norm": "rmsnorm",
    "norm_position": "pre",
    "position": "rope",
    "scaled_embedding": False,
    "scaled_scores": True,
}


def _layout(
    model_type: str,
    prefix: str,
    choices: dict[str, Any],
    windows: Callable[[Settings], tuple[int | None, Pattern]] = _no_windows,
    write_windows: Callable[[ModelConfig], dict[str, Any]] = lambda config: {},
    *,
    patterns: Sequence[Pattern] | None = (("full",),),
    spans: Renames = ((r"^model\.", "transformer."),),
) -> Layout:
    """`patterns` are the windowed layers that it can express, None is any; `spans` renames for spans."""
    wanted = {"mlp": "swiglu", "bias": "none", "qk_norm": False} | choices
    return Layout(
        model_type=model_type,
        heads=decoder_heads(prefix, "ForCausalLM", spans=spans),
        suits=lambda config: (
            same_settings(config, **SHAPE, **wanted)
            and (patterns is None or config.attention_pattern in patterns)
        ),
        read=partial(_read, choices=choices, windows=windows),
        write=partial(_write, write_windows=write_windows),
        renames=RENAMES,
        prefix="model.",
        unread=r"\.rotary_emb\.inv_freq$",
    )


LLAMA = _layout("llama", "Llama", {})
MISTRAL = _layout(
    "mistral",
    "Mistral",
    {},
    _mistral_windows,
    lambda config: {"sliding_window": config.window},
    patterns=[("window",)],
    spans=(),
)
QWEN2 = _layout("qwen2", "Qwen2", {"bias": "qkv"}, _qwen_windows, _write_qwen_windows, patterns=None)
QWEN3 = _layout("qwen3", "Qwen3", {"qk_norm": True}, _qwen_windows, _write_qwen_windows, patterns=None)
QWEN3_MOE = _layout(
    "qwen3_moe",
    "Qwen3Moe",
    {"qk_norm": True, "mlp": "moe"},
    _moe_windows,
    _write_moe_windows,
    patterns=[("full",), ("window",)],
)
