"""A reward model against the truth: how often it orders two answers as a perfect judge would."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from danlu.evaluate.ranking import Pair, pairs_of, summarise_pairs
from danlu.model.hf import load_score_model
from danlu.recipes.stage import chat_format_of
from danlu.rl.scoring import score_sequences
from danlu.tokenizer.chat import ChatFormat, Message
from danlu.world.annotators import noise_free_ranks
from danlu.world.judging import kind_of_difference
from danlu.world.question import Question


def noise_free_agreement(
    reward_model: Path, asked: Sequence[Question], completions: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Accuracy with its interval, by kind of difference and by language, and calibration.

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
    scores = iter(score_sequences(model, rows, chat_format.tokenizer.pad_id))
    pairs: list[Pair] = []
    for question, texts in zip(asked, completions, strict=True):
        pairs += pairs_by_truth(question, texts, [next(scores) for _ in texts])
    return summarise_pairs(pairs)


def pairs_by_truth(question: Question, texts: Sequence[str], scores: Sequence[float]) -> list[Pair]:
    """All pairs of one question's answers, ranked by what they are worth; equal worth is a tie."""

    def kind(i: int, j: int) -> str:
        return kind_of_difference(question, texts[i], texts[j])

    ranks = noise_free_ranks(question, texts)
    return list(pairs_of(question.id, scores, ranks, language=question.lang, kind=kind))


def answered(chat_format: ChatFormat, question: Question, text: str) -> list[int]:
    """The conversation with this answer, up to where the answer ends and is scored."""
    prompt = chat_format.prompt(cast(Sequence[Message], question.messages))
    return [*prompt, *chat_format.tokenizer.encode(text), chat_format.tokenizer.im_end_id]
