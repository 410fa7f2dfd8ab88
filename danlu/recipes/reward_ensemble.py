"""Several reward models as one ensemble: read, checked to speak of the same thing, and measured together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from danlu.adapters.files import find_base, is_adapter, load_adapter, read_adapter
from danlu.config import ConfigError
from danlu.evaluate.judging import Judged, all_pairs
from danlu.evaluate.ranking import Pair, counted_accuracy
from danlu.model.heads import ScoreModel
from danlu.model.hf import load_score_model
from danlu.recipes.reward_report import judge
from danlu.recipes.stage import chat_format_of
from danlu.tokenizer.chat import ChatFormat

N_PARTS = 3  # of the held-out pairs, by how far the members disagree


def load_reward_models(paths: Sequence[Path]) -> list[ScoreModel]:
    """Frozen score models from model or adapter directories, ready for `rl.scoring.ensemble_scores`.

    Raises:
        ConfigError: tokenizers differ, or a model's scores have no zero that the others share.
    """
    if not paths:
        raise ConfigError("no reward model is named; an ensemble needs two or more")
    first = format_of(paths[0]).tokenizer
    models: list[ScoreModel] = []
    for path in paths:
        tokenizer = format_of(path).tokenizer
        if tokenizer.fingerprint != first.fingerprint:
            raise ConfigError(f"{path} has another tokenizer than {paths[0]}; an ensemble shares one")
        model = load_member(path, tokenizer.vocab_size)
        if len(paths) > 1 and float(model.shift) == 0 and float(model.gain) == 1:
            raise ConfigError(
                f"{path}: its scores have no zero that others share, so their deviation would mean nothing; "
                "train each member with the same demonstrations= or reference="
            )
        models.append(model.eval().requires_grad_(False))
    return models


def format_of(path: Path) -> ChatFormat:
    """The chat format of a model directory, or of an adapter's base."""
    return chat_format_of(find_base(read_adapter(path)) if is_adapter(path) else path)


def load_member(path: Path, vocab_size: int) -> ScoreModel:
    """The score model in a model or adapter directory."""
    if not is_adapter(path):
        return load_score_model(path, vocab_size=vocab_size)
    model = load_adapter(path, vocab_size=vocab_size)
    if not isinstance(model, ScoreModel):
        raise ConfigError(f"{path} adapts a language model; the adapter of a score model is needed here")
    return model


def ensemble_report(outs: Sequence[Path], held_out: Sequence[Judged], max_len: int) -> dict[str, Any]:
    """What several models know together that each of them does not.

    Args:
        outs: their run directories.
        held_out: rankings to measure on, as the first of them has judged them; may be empty.
        max_len: tokens of prompt and completion together.

    Returns:
        Accuracy of the mean margin beside each member's own, and by thirds of the pairs, from those that the
        members agree on to those that they disagree on: how far each gives another probability to the order.
    """
    paths = [out / "model" if (out / "model").is_dir() else out / "adapter" for out in outs]
    models, chat_format = load_reward_models(paths), format_of(paths[0])
    found: dict[str, Any] = {"members": [str(path) for path in paths]}
    if not held_out:
        return found
    rankings = [comparison for comparison, _ in held_out]
    longest = min(max_len, models[0].config.max_seq_len)
    strict = [
        [pair for pair in all_pairs(judge(model, rankings, chat_format, longest)) if not pair.tie]
        for model in models
    ]
    pairs, disagreement = joined(strict)
    order = sorted(range(len(pairs)), key=lambda i: disagreement[i])
    cuts = [len(order) * part // N_PARTS for part in range(N_PARTS + 1)]
    return {
        **found,
        **counted_accuracy(pairs),
        "accuracy_of_each": [counted_accuracy(each)["accuracy"] for each in strict],
        "by_disagreement": [
            {
                "disagreement": statistics.fmean(disagreement[i] for i in order[first:last]),
                **counted_accuracy([pairs[i] for i in order[first:last]]),
            }
            for first, last in pairwise(cuts)
            if first < last
        ],
    }


def joined(members: Sequence[Sequence[Pair]]) -> tuple[list[Pair], list[float]]:
    """The same pairs by the mean margin of several models, and how far these disagree.

    Returns:
        The pairs; and of each the standard deviation over models of the probability of its order.
    """
    pairs: list[Pair] = []
    disagreement: list[float] = []
    for of_each in zip(*members, strict=True):
        margins = [pair.margin for pair in of_each]
        pairs.append(replace(of_each[0], margin=statistics.fmean(margins)))
        disagreement.append(statistics.stdev(0.5 + math.tanh(margin / 2) / 2 for margin in margins))
    return pairs, disagreement
