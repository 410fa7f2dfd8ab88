"""A model for a larger vocabulary, or with eyes: what it knows of the old tokens stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from danlu.model.config import ModelConfig, PatchConfig
from danlu.model.heads import LanguageModel
from danlu.model.patches import PatchEncoder


def with_new_tokens(
    model: LanguageModel, parts: Sequence[Sequence[int]], *, n_known: int | None = None
) -> LanguageModel:
    """The model with further tokens, each of which begins as the mean of the tokens that it replaces.

    So a text in new tokens is read much like before, while vectors drawn by chance would be noise in it, and
    in the output projection would take probability from everything else (Hewitt 2021).

    Args:
        model: is used up: the new model has its weights.
        parts: of each new token, in the order of their ids, the ids that it was written with so far. One that
            replaces nothing, such as a control token, has none, and begins as the mean of all.
        n_known: rows that stand for tokens; further ones only fill the table, and are dropped. None is all.
    """
    n_known = model.config.vocab_size if n_known is None else n_known
    if not parts and n_known == model.config.vocab_size:
        return model
    config = replace(model.config, vocab_size=n_known + len(parts))
    tables = {"backbone.embedding.weight", "lm_head.weight"}
    state = {
        name: _with_means(weight[:n_known], parts) if name in tables else weight
        for name, weight in model.state_dict().items()
    }
    return _made(config, state)


def with_eye(model: LanguageModel, pictures: PatchConfig, *, seed: int) -> LanguageModel:
    """The model with a fresh encoder of pictures, and one more token, the last, that marks their places.

    Args:
        model: is used up: the new model has its weights.
        pictures: sizes of the encoder.
        seed: of its weights.
    """
    if model.config.pictures is not None:
        raise ValueError("the model has an encoder of pictures already")
    grown = with_new_tokens(model, [()])
    config = replace(grown.config, pictures=pictures, marker_id=grown.config.vocab_size - 1)
    eye = PatchEncoder(pictures, config.d_model)
    eye.draw(seed)
    drawn = {f"backbone.eye.{name}": weight for name, weight in eye.state_dict().items()}
    return _made(config, grown.state_dict() | drawn)


def _made(config: ModelConfig, state: Mapping[str, Tensor]) -> LanguageModel:
    """A model of just these weights."""
    with torch.device("meta"):  # no memory: every weight is about to be replaced
        made = LanguageModel(config)
    made.load_state_dict(state, assign=True)
    if config.tie_embeddings:
        made.lm_head.weight = made.backbone.embedding.weight
    return made


def _with_means(table: Tensor, parts: Sequence[Sequence[int]]) -> Tensor:
    """A table with a row more for each of `parts`, (vocab, d_model)."""
    new = [table[list(ids) or slice(None)].mean(0, keepdim=True) for ids in parts]
    return torch.cat((table, *new))
