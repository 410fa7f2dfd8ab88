"""The layout of the 2017 encoder-decoder: Marian's, in which open translation models are published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from danlu.model.config import ModelConfig
from danlu.model.layouts.layout import Head, Layout, same_settings, sizes_from
from danlu.model.layouts.settings import Settings
from danlu.model.translation import TranslationModel

ACTIVATIONS = {
    "relu": "relu",
    "swish": "silu",
    "silu": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
}
SIZES = {"vocab_size": "vocab_size", "d_model": "d_model", "max_seq_len": "max_position_embeddings"}
BOTH_SIDES = {"n_layers": "layers", "n_heads": "attention_heads", "d_ff": "ffn_dim"}
SHAPE: Mapping[str, Any] = {
    "topology": "encoder-decoder",
    "norm": "layernorm",
    "norm_position": "post",
    "norm_eps": 1e-5,  # theirs has no setting for it
    "position": "sinusoidal",
    "bias": "all",
    "qk_norm": False,
    "scaled_scores": True,
    "window": None,
    "tie_embeddings": True,
}


def _read(settings: Settings) -> ModelConfig:
    settings.only(
        share_encoder_decoder_embeddings=True,
        tie_word_embeddings=True,
        normalize_before=False,
        normalize_embedding=False,
        add_final_layer_norm=False,
    )
    sizes = sizes_from(settings, SIZES)
    for ours, theirs in BOTH_SIDES.items():
        sizes[ours] = settings.integer(f"encoder_{theirs}")
        settings.only(**{f"decoder_{theirs}": sizes[ours]})
    settings.only(decoder_vocab_size=sizes["vocab_size"])
    return ModelConfig(
        **SHAPE,
        **sizes,
        n_kv_heads=sizes["n_heads"],
        head_dim=sizes["d_model"] // sizes["n_heads"],
        scaled_embedding=settings.flag("scale_embedding", False),
        mlp=settings.choice("activation_function", ACTIVATIONS, "gelu"),
    )


def _write(config: ModelConfig) -> dict[str, Any]:
    both = {
        f"{side}_{theirs}": getattr(config, ours)
        for ours, theirs in BOTH_SIDES.items()
        for side in ("encoder", "decoder")
    }
    return {
        **{theirs: getattr(config, ours) for ours, theirs in SIZES.items()},
        **both,
        "activation_function": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == config.mlp),
        "scale_embedding": config.scaled_embedding,
        "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
        "forced_eos_token_id": None,
        "dropout": 0.0,
    }


MARIAN = Layout(
    model_type="marian",
    heads=(
        Head(
            name="MarianMTModel",
            kind=TranslationModel,
            build=lambda config, *_: TranslationModel(config),
        ),
    ),
    suits=lambda config: (
        same_settings(config, **SHAPE)
        and config.mlp in ACTIVATIONS.values()
        and config.n_kv_heads == config.n_heads
        and config.head_dim * config.n_heads == config.d_model
    ),
    read=_read,
    write=_write,
    renames=(
        (r"^backbone\.embedding\.", "model.shared."),
        (r"^backbone\.blocks\.", "model.decoder.layers."),
        (r"^backbone\.encoder_blocks\.", "model.encoder.layers."),
        (r"\.self_attn\.norm\.", ".self_attn_layer_norm."),
        (r"\.cross_attn\.norm\.", ".encoder_attn_layer_norm."),
        (r"\.cross_attn\.sublayer\.", ".encoder_attn."),
        (r"\.self_attn\.sublayer\.", ".self_attn."),
        (r"_attn\.(q|k|v|out)(?=\.|$)", r"_attn.\1_proj"),
        (r"\.mlp\.norm\.", ".final_layer_norm."),
        (r"\.mlp\.sublayer\.up(?=\.|$)", ".fc1"),
        (r"\.mlp\.sublayer\.out(?=\.|$)", ".fc2"),
        (r"^logits_bias$", "final_logits_bias"),
    ),
    prefix="model.",
    buffers=("logits_bias",),
    # Positions are computed, and the embedding lies in `shared`.
    unread=r"^model\.(en|de)coder\.embed_(positions|tokens)\.weight$",
)
