"""Where a reward model's scores have their zero and their unit: neither follows from rankings."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from danlu.data.chats import Chat, read_chats
from danlu.data.records import DataError
from danlu.data.sft import render_chat
from danlu.model.heads import ScoreModel
from danlu.rl.collect import evaluating
from danlu.rl.scoring import score_sequences
from danlu.tokenizer.chat import ChatFormat

MEASURED_ON = 1000  # chats that fix the zero and the unit, about: the mean of more is no surer


def normalise(
    model: ScoreModel, chat_format: ChatFormat, *, demonstrations: Path | None, reference: Path | None
) -> None:
    """Give scores the zero, or the zero and the unit, that one of two files of chats asks for."""
    if demonstrations is not None:
        centre(model, read_chats(demonstrations), chat_format)
    if reference is not None:
        standardise(model, read_chats(reference), chat_format, reference)


def centre(model: ScoreModel, demonstrations: Sequence[Chat], chat_format: ChatFormat) -> float:
    """Shift scores so that people's own answers score zero on average (Ouyang et al. 2022, section 3.5)."""
    scores = scores_of(model, demonstrations, chat_format)
    model.shift += sum(scores) / len(scores) / model.gain
    return float(model.shift)


def standardise(model: ScoreModel, answers: Sequence[Chat], chat_format: ChatFormat, where: Path) -> None:
    """Give scores mean 0 and deviation 1 on a policy's own answers (Ziegler et al. 2019, section 2.1)."""
    scores = scores_of(model, answers, chat_format)
    spread = statistics.pstdev(scores)
    if spread == 0:
        raise DataError(f"{where}: every answer scores {scores[0]:.3g}; answers must differ to give a unit")
    model.shift += statistics.fmean(scores) / model.gain
    model.gain /= spread


def scores_of(model: ScoreModel, chats: Sequence[Chat], chat_format: ChatFormat) -> list[float]:
    """The score of the last answer of about `MEASURED_ON` chats, from all places alike."""
    every = max(1, len(chats) // MEASURED_ON)
    rendered = [render_chat(chat, chat_format) for chat in chats[::every]]
    ids = [ids[: max(i for i, learnt in enumerate(mask) if learnt) + 1] for ids, mask in rendered]
    with evaluating(model):  # an adapter may drop out
        return score_sequences(model, ids, chat_format.tokenizer.pad_id)
