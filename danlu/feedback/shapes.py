"""The shapes that other programs train on, made from our own records.

What a shape cannot say is left out and counted, never bent: a pair knows no tie, a Human/Assistant transcript
no system message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import permutations
from typing import Any

from danlu.feedback.exchange import OURS, Tree

LeftOut = Counter[str]  # why, and how often
SPEAKERS = {"user": "Human", "assistant": "Assistant"}
TURNS = tuple(f"\n\n{speaker}:" for speaker in SPEAKERS.values())


def answers(record: Tree, left_out: LeftOut) -> Iterator[Tree]:
    """All answers to a prompt with their ranks, in the manner of UltraFeedback: `prompt`, `answers`."""
    ranked = zip(record["completions"], record["ranks"], strict=True)
    yield {
        "prompt": record["prompt"],
        "answers": [{"text": text, "rank": rank} for text, rank in ranked],
        **_besides(record),
    }


def pairs(record: Tree, left_out: LeftOut) -> Iterator[Tree]:
    """`prompt`, `chosen`, `rejected` as messages, for every two answers of different rank."""
    for chosen, rejected in _ordered(record, left_out):
        yield {
            "prompt": record["prompt"],
            "chosen": [_said(chosen)],
            "rejected": [_said(rejected)],
            **_besides(record),
        }


def hh(record: Tree, left_out: LeftOut) -> Iterator[Tree]:
    """`chosen` and `rejected` as whole Human/Assistant transcripts (Bai et al. 2022)."""
    for chosen, rejected in _ordered(record, left_out):
        texts = [transcript([*record["prompt"], _said(each)]) for each in (chosen, rejected)]
        if None in texts:
            left_out["pairs that a Human/Assistant transcript cannot say"] += 1
        else:
            yield {"chosen": texts[0], "rejected": texts[1], **_besides(record)}


def kto(record: Tree, left_out: LeftOut) -> Iterator[Tree]:
    """`prompt`, `completion` and whether it was liked, for KTO (Ethayarajh et al. 2024)."""
    *prompt, answer = record["messages"]
    grade = record.get("grade") or {"up": 1, "down": -1}.get(record.get("thumb", ""), 0)
    if grade:
        yield {"prompt": prompt, "completion": [answer], "label": grade > 0, **_besides(record)}
    else:
        left_out["grades of 0, neither liked nor disliked"] += 1


def transcript(messages: list[Mapping[str, Any]]) -> str | None:
    """Messages as a Human/Assistant transcript; None where one would not read back as the same messages."""
    speakers = [SPEAKERS.get(message["role"]) for message in messages]
    alternating = speakers == [list(SPEAKERS.values())[i % 2] for i in range(len(speakers))]
    texts = [message["content"] for message in messages]
    plain = all(set(message) == {"role", "content"} for message in messages)
    if (
        not alternating
        or not plain
        or any(text != text.strip() or any(t in text for t in TURNS) for text in texts)
    ):
        return None
    return "".join(f"\n\n{speaker}: {text}" for speaker, text in zip(speakers, texts, strict=True))


def _ordered(record: Tree, left_out: LeftOut) -> Iterator[tuple[str, str]]:
    """Every two answers of different rank, the better one first."""
    ranked = list(zip(record["completions"], record["ranks"], strict=True))
    for (chosen, better), (rejected, worse) in permutations(ranked, 2):
        if better < worse:
            yield chosen, rejected
    left_out["ties, which a pair cannot say"] += sum(a[1] == b[1] for a, b in permutations(ranked, 2)) // 2


def _said(text: str) -> Tree:
    return {"role": "assistant", "content": text}


def _besides(record: Tree) -> Tree:
    """Who judged, and the fields with which a record came from another program."""
    about = record.get(OURS, {}).get("judgement", {}).get("about", {})
    return {**about, **({"annotator": record["annotator"]} if "annotator" in record else {})}


# From which of our records each is made.
OF_COMPARISONS: Mapping[str, Callable[[Tree, LeftOut], Iterator[Tree]]] = {
    "pairs": pairs,
    "hh": hh,
    "answers": answers,
}
OF_RATINGS: Mapping[str, Callable[[Tree, LeftOut], Iterator[Tree]]] = {"kto": kto}
