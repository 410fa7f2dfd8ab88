"""Several reward-model directories as one ensemble: read, and checked to speak of the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from danlu.config import ConfigError
from danlu.model.heads import ScoreModel
from danlu.model.hf import load_score_model
from danlu.recipes.stage import chat_format_of


def load_reward_models(paths: Sequence[Path]) -> list[ScoreModel]:
    """Frozen score models, ready for `rl.scoring.ensemble_scores`.

    Raises:
        ConfigError: tokenizers differ, or a model's scores have no zero that the others share.
    """
    if not paths:
        raise ConfigError("no reward model is named; an ensemble needs two or more")
    first = chat_format_of(paths[0]).tokenizer
    models: list[ScoreModel] = []
    for path in paths:
        tokenizer = chat_format_of(path).tokenizer
        if tokenizer.fingerprint != first.fingerprint:
            raise ConfigError(f"{path} has another tokenizer than {paths[0]}; an ensemble shares one")
        model = load_score_model(path, vocab_size=tokenizer.vocab_size).eval().requires_grad_(False)
        if len(paths) > 1 and float(model.shift) == 0 and float(model.gain) == 1:
            raise ConfigError(
                f"{path}: its scores have no zero that others share, so their deviation would mean nothing; "
                "train each member with the same demonstrations= or reference="
            )
        models.append(model)
    return models
