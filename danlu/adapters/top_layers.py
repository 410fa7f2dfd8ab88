"""Training only the last layers: a frozen trunk that policy and reference share, as in an adapter."""

from __future__ import annotations

from danlu.config import ConfigError
from danlu.model.heads import LanguageModel, ScoreModel


def train_top(model: LanguageModel | ScoreModel, n_layers: int) -> None:
    """Freeze all but the last blocks, the norm behind them, and the head unless it is the embedding too."""
    depth = model.config.n_layers
    if not 0 < n_layers < depth:
        raise ConfigError(
            f"top_layers is {n_layers}; it must be at least 1 and below {depth}, the number of layers. "
            "Without it all are trained"
        )
    model.requires_grad_(False)
    head = model.score if isinstance(model, ScoreModel) else model.lm_head
    tied = head.weight is model.backbone.embedding.weight
    for part in (*model.backbone.blocks[-n_layers:], model.backbone.norm, *([] if tied else [head])):
        part.requires_grad_(True)
