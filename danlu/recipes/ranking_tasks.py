"""Rankings that people make elsewhere: a file of tasks goes out, a file of rankings comes back.

A task is `{"id", "prompt", "completions"}`, and a ranking the same with `ranks` (one integer for each
completion, 1 is best, equal is a tie) and perhaps `annotator`. What comes back is matched by what it says, so
completions may stand in another order, and several people may rank the same task.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.data.chats import Comparison, read_comparisons
from danlu.data.dedup import digest
from danlu.data.records import DataError
from danlu.data.sources import records
from danlu.tokenizer.chat import Message

Record = dict[str, Any]
SHOWN = 5  # tasks that an error names


@dataclass(frozen=True, slots=True)
class Ranking:
    """A ranking, and the record that it was read from."""

    comparison: Comparison
    record: Record

    def lot(self, salt: str) -> float:
        """The lot of its prompt."""
        return lot_of(self.comparison.prompt, salt)


def lot_of(messages: Sequence[Message], salt: str) -> float:
    """A number in [0, 1) that depends on the first question and `salt` alone: it sorts prompts into groups.

    All that is said about a prompt shares it, whichever round and file it stands in.
    """
    first = next(turn["content"] for turn in messages if turn["role"] == "user")
    return int.from_bytes(digest(f"{salt} {first}"), "little") / 2**64


def read_rankings(path: Path) -> list[Ranking]:
    """Every ranking in a file or folder, with all that its record says."""
    pairs = zip(read_comparisons(path), records(path), strict=True)
    return [Ranking(comparison, dict(record.fields)) for comparison, record in pairs]


def read_ranked(path: Path, tasks: Sequence[Record], least: float) -> list[Ranking]:
    """The rankings in a file, each of which must be of a task.

    Args:
        path: what came back.
        tasks: what went out.
        least: share of the tasks that must have been ranked.
    """
    names = {content(task["prompt"], task["completions"]): str(task["id"]) for task in tasks}
    found = read_rankings(path)
    missing = dict.fromkeys(names.values())
    for ranking in found:
        comparison = ranking.comparison
        name = names.get(content(comparison.prompt, comparison.completions))
        if name is None:
            raise DataError(
                f"{comparison.where}: its prompt and completions are those of no task that went out; "
                "completions may change places, and nothing else"
            )
        missing.pop(name, None)
    if len(missing) > (1 - least) * len(tasks):
        named = ", ".join(repr(name) for name in list(missing)[:SHOWN])
        share = math.floor(100 * (1 - len(missing) / len(tasks))) / 100
        raise DataError(
            f"{path}: {len(missing)} of {len(tasks)} tasks are not ranked, such as {named}. Rank them, or go "
            f"on without them by rankings.least_ranked={share:g}"
        )
    return found


def content(prompt: Sequence[Message], completions: Sequence[str]) -> str:
    """What a task is about, whatever the order of its completions."""
    turns = [(message["role"], message["content"]) for message in prompt]
    return json.dumps([turns, sorted(completions)], ensure_ascii=False)


def distinct(completions: Sequence[str]) -> list[str]:
    """Completions that say something, each once."""
    return [text for text in dict.fromkeys(text.strip() for text in completions) if text]


def instructions(number: int, tasks: Path, n_tasks: int, expected: Path) -> str:
    """What people are asked to do."""
    return (
        f"Round {number} waits for people. {n_tasks} tasks are in\n  {tasks}\n"
        'Each line holds a prompt and its completions. Add "ranks" to it, one whole number for each '
        'completion (1 is best, equal numbers are a tie), and if you like "annotator", who ranked. '
        f"Write the lines to\n  {expected}\nThen the same command goes on."
    )
