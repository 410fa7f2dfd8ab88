"""A reward model against the truth: how often it orders two answers as a perfect judge would."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, cast

from danlu.evaluate.ranking import Pair, counted_accuracy, summarise_pairs
from danlu.model.hf import load_score_model
from danlu.recipes.stage import chat_format_of
from danlu.rl.scoring import score_sequences
from danlu.tokenizer.chat import ChatFormat, Message
from danlu.world.annotators import SAME
from danlu.world.judging import kind_of_difference, true_score
from danlu.world.question import Question


def noise_free_agreement(
    reward_model: Path, asked: Sequence[Question], completions: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Accuracy with its interval, by kind of difference and by language, and calibration.

    Pairs count whose worth differs by `SAME` or more: people without noise would call the others a tie.
    `conduct` is the accuracy on those that can be told apart without knowing the right value, `at_any_gap`
    the accuracy where the near ties count as well.

    Args:
        reward_model: model directory.
        asked: questions that no ranking was about.
        completions: several answers to each of them.
    """
    chat_format = chat_format_of(reward_model)
    model = load_score_model(reward_model, vocab_size=chat_format.tokenizer.vocab_size).eval()
    rows = [
        answered(chat_format, question, text)
        for question, texts in zip(asked, completions, strict=True)
        for text in texts
    ]
    unit = float(model.gain)  # rankings, and so probabilities, are about scores before it
    scores = iter(score / unit for score in score_sequences(model, rows, chat_format.tokenizer.pad_id))
    pairs: list[Pair] = []
    at_any_gap: list[Pair] = []
    for question, texts in zip(asked, completions, strict=True):
        here = [next(scores) for _ in texts]
        pairs += pairs_by_truth(question, texts, here, SAME)
        at_any_gap += pairs_by_truth(question, texts, here, 0.0)
    conduct = [pair for pair in pairs if pair.kind != "fact" and not pair.tie]
    uneven = [pair for pair in at_any_gap if not pair.tie]
    parts = {"conduct": counted_accuracy(conduct), "at_any_gap": counted_accuracy(uneven)}
    return {**summarise_pairs(pairs), **parts}


def pairs_by_truth(
    question: Question, texts: Sequence[str], scores: Sequence[float], same: float
) -> list[Pair]:
    """All pairs of one question's answers; a tie where worth is equal or differs by less than `same`."""
    worth = [true_score(question, text) for text in texts]
    pairs: list[Pair] = []
    for i, j in combinations(range(len(texts)), 2):
        better, worse = (i, j) if worth[i] >= worth[j] else (j, i)
        gap = round(worth[better] - worth[worse], 4)
        pairs.append(
            Pair(
                prompt=question.id,
                margin=scores[better] - scores[worse],
                tie=gap == 0 or gap < same,
                kind=kind_of_difference(question, texts[i], texts[j]),
                language=question.lang,
            )
        )
    return pairs


def answered(chat_format: ChatFormat, question: Question, text: str) -> list[int]:
    """The conversation with this answer, up to where the answer ends and is scored."""
    prompt = chat_format.prompt(cast(Sequence[Message], question.messages))
    return [*prompt, *chat_format.tokenizer.encode(text), chat_format.tokenizer.im_end_id]
