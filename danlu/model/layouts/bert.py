"""BERT's layout: masked words, the next sentence, classes, choices, tags, spans."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from danlu.model.classifiers import Answers, SpanClassifier, TokenClassifier
from danlu.model.config import ModelConfig
from danlu.model.encoder_heads import EncoderClassifier, MaskedLanguageModel
from danlu.model.layouts.layout import (
    SPAN,
    Head,
    Layout,
    answers_of,
    same_settings,
    sizes_from,
    sizes_to,
    span_reader,
    tagger,
)
from danlu.model.layouts.settings import Settings

ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "relu": "relu"}
SIZES = {
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "d_ff": "intermediate_size",
    "max_seq_len": "max_position_embeddings",
    "n_token_types": "type_vocab_size",
}
SHAPE = {
    "topology": "encoder",
    "norm": "layernorm",
    "norm_position": "post",
    "position": "learned",
    "bias": "all",
    "scaled_embedding": False,
    "qk_norm": False,
    "scaled_scores": True,
    "window": None,
    "tie_embeddings": True,
}


def _read(settings: Settings) -> ModelConfig:
    settings.only(position_embedding_type="absolute", is_decoder=False, add_cross_attention=False)
    settings.only(tie_word_embeddings=True)
    sizes = sizes_from(settings, SIZES)
    return ModelConfig(
        **sizes,
        n_kv_heads=sizes["n_heads"],
        head_dim=sizes["d_model"] // sizes["n_heads"],
        topology="encoder",
        norm="layernorm",
        norm_position="post",
        norm_eps=settings.number("layer_norm_eps", 1e-12),
        position="learned",
        mlp=settings.choice("hidden_act", ACTIVATIONS, "gelu"),
        bias="all",
    )


def _write(config: ModelConfig) -> dict[str, Any]:
    return {
        **sizes_to(config, SIZES),
        "hidden_act": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == config.mlp),
        "layer_norm_eps": config.norm_eps,
        "tie_word_embeddings": True,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


def _masked(config: ModelConfig, settings: Settings, names: Collection[str]) -> MaskedLanguageModel:
    """Files of a masked language model may hold the head for the next sentence all the same."""
    return MaskedLanguageModel(config, next_sentence=any("seq_relationship" in name for name in names))


def _classifier(config: ModelConfig, settings: Settings, names: Collection[str]) -> EncoderClassifier:
    return EncoderClassifier(config, answers_of(settings))


def _chooser(config: ModelConfig, settings: Settings, names: Collection[str]) -> EncoderClassifier:
    return EncoderClassifier(config, Answers(kind="choice"))


BERT = Layout(
    model_type="bert",
    heads=(
        Head(
            name="BertForPreTraining",
            kind=MaskedLanguageModel,
            build=_masked,
            suits=lambda model: model.pooler is not None,
        ),
        Head(name="BertForMaskedLM", kind=MaskedLanguageModel, build=_masked),
        Head(
            name="BertForMultipleChoice",
            kind=EncoderClassifier,
            build=_chooser,
            suits=lambda model: model.answers.kind == "choice",
        ),
        Head(name="BertForSequenceClassification", kind=EncoderClassifier, build=_classifier),
        Head(name="BertForTokenClassification", kind=TokenClassifier, build=tagger),
        Head(name="BertForQuestionAnswering", kind=SpanClassifier, build=span_reader, renames=(SPAN,)),
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
        (r"^backbone\.embedding\.", "bert.embeddings.word_embeddings."),
        (r"^backbone\.position\.table\.", "bert.embeddings.position_embeddings."),
        (r"^backbone\.token_type\.", "bert.embeddings.token_type_embeddings."),
        (r"^backbone\.embedding_norm\.", "bert.embeddings.LayerNorm."),
        (r"^backbone\.blocks\.", "bert.encoder.layer."),
        (r"\.self_attn\.norm\.", ".attention.output.LayerNorm."),
        (r"\.self_attn\.sublayer\.q(?=\.|$)", ".attention.self.query"),
        (r"\.self_attn\.sublayer\.k(?=\.|$)", ".attention.self.key"),
        (r"\.self_attn\.sublayer\.v(?=\.|$)", ".attention.self.value"),
        (r"\.self_attn\.sublayer\.out(?=\.|$)", ".attention.output.dense"),
        (r"\.mlp\.norm\.", ".output.LayerNorm."),
        (r"\.mlp\.sublayer\.up(?=\.|$)", ".intermediate.dense"),
        (r"\.mlp\.sublayer\.out(?=\.|$)", ".output.dense"),
        (r"^pooler\.", "bert.pooler.dense."),
        (r"^transform\.", "cls.predictions.transform.dense."),
        (r"^transform_norm\.", "cls.predictions.transform.LayerNorm."),
        (r"^lm_head\.bias$", "cls.predictions.bias"),
        (r"^next_sentence\.", "cls.seq_relationship."),
    ),
    prefix="bert.",
    # The output projection's weight and bias are copies of others.
    unread=r"^cls\.predictions\.decoder\.|\.position_ids$",
    aliases=((r"\.gamma$", ".weight"), (r"\.beta$", ".bias")),
)
