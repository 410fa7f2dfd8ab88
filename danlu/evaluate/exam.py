"""An exam: questions asked once, answers kept with their grades, models compared question by question."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from danlu.data.records import DataError
from danlu.evaluate.statistics import Interval, macro_bootstrap, wilson
from danlu.evaluate.task import Answer, Grade, Message, Q, Question

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Graded:
    """One question, what the model said to it, and what that is worth."""

    question_id: str
    category: str
    language: str
    answer: str
    score: float  # 0 to 1
    messages: tuple[Message, ...] = ()  # what was asked, so that answers can be read without the exam at hand


def run_exam(questions: Sequence[Q], answer: Answer, grade: Grade[Q]) -> list[Graded]:
    """Ask all questions at once (the answerer batches as it likes) and grade what comes back."""
    answers = answer([question.messages for question in questions])
    if len(answers) != len(questions):
        raise ValueError(f"{len(questions)} questions got {len(answers)} answers; each needs exactly one")
    return [
        graded(question, text, grade(question, text))
        for question, text in zip(questions, answers, strict=True)
    ]


def graded(question: Question, answer: str, score: float) -> Graded:
    if not 0 <= score <= 1:
        raise ValueError(f"question {question.id} was graded {score}; a grade is between 0 and 1")
    messages = tuple(dict(message) for message in question.messages)
    return Graded(question.id, question.category, question.lang, answer, float(score), messages)


def macro(results: Sequence[Graded]) -> Interval:
    """Average over category × language cells, each cell counting the same however many questions it has."""
    return macro_bootstrap(list(scores_by(results, cell_of).values()))


def paired_difference(a: Sequence[Graded], b: Sequence[Graded]) -> Interval:
    """How much higher `b` scores than `a` in macro average, from the differences on each question."""
    return macro_bootstrap(list(differences_by(a, b, cell_of).values()))


def paired_by_category(a: Sequence[Graded], b: Sequence[Graded]) -> dict[str, Interval]:
    """The paired difference within each category, its languages counting the same."""
    cells = differences_by(a, b, cell_of)
    categories = dict.fromkeys(category for category, _ in cells)
    return {
        name: macro_bootstrap([values for (category, _), values in cells.items() if category == name])
        for name in categories
    }


def summarise(results: Sequence[Graded]) -> dict[str, Any]:
    """The exam's table as plain values: the macro average, then categories, languages and cells."""
    cells = scores_by(results, cell_of)
    return {
        "n": len(results),
        "macro": macro(results).to_tree(),
        "categories": {name: share(cells, 0, name) for name in dict.fromkeys(c for c, _ in cells)},
        "languages": {name: share(cells, 1, name) for name in dict.fromkeys(l for _, l in cells)},
        "cells": [
            {
                "category": category,
                "language": language,
                "n": len(scores),
                **wilson(sum(scores), len(scores)).to_tree(),
            }
            for (category, language), scores in cells.items()
        ],
    }


def share(cells: Mapping[tuple[str, str], Sequence[float]], axis: int, name: str) -> dict[str, Any]:
    """Mean of the cells of one category or language, with Wilson's interval for that many questions."""
    chosen = [scores for cell, scores in cells.items() if cell[axis] == name]
    n = sum(len(scores) for scores in chosen)
    mean = sum(sum(scores) / len(scores) for scores in chosen) / len(chosen)
    return {"n": n, **wilson(mean * n, n).to_tree()}


def compare(
    results: Mapping[str, Sequence[Graded]], pairs: Sequence[tuple[str, str]] | None = None
) -> dict[str, Any]:
    """Every system's table and the paired differences; by default of each system from the one before it."""
    pairs = list(pairwise(results)) if pairs is None else pairs
    return {
        "systems": {name: summarise(graded) for name, graded in results.items()},
        "differences": [
            {
                "from": a,
                "to": b,
                "macro": paired_difference(results[a], results[b]).to_tree(),
                "categories": {k: v.to_tree() for k, v in paired_by_category(results[a], results[b]).items()},
            }
            for a, b in pairs
        ],
    }


def cell_of(result: Graded) -> tuple[str, str]:
    return result.category, result.language


def scores_by(results: Iterable[Graded], key: Callable[[Graded], K]) -> dict[K, list[float]]:
    found: dict[K, list[float]] = defaultdict(list)
    for result in results:
        found[key(result)].append(result.score)
    return dict(found)


def differences_by(
    a: Sequence[Graded], b: Sequence[Graded], key: Callable[[Graded], K]
) -> dict[K, list[float]]:
    """Score of `b` less score of `a` for each question, grouped."""
    first = {result.question_id: result.score for result in a}
    second = {result.question_id for result in b}
    if lone := sorted(first.keys() ^ second):
        raise ValueError(
            f"the two models did not answer the same questions: {len(lone)} are only in one, "
            f"such as {lone[0]!r}; a paired difference needs one exam for both"
        )
    found: dict[K, list[float]] = defaultdict(list)
    for result in b:
        found[key(result)].append(result.score - first[result.question_id])
    return dict(found)


def save_results(
    results: Mapping[str, Sequence[Graded]],
    folder: Path,
    pairs: Sequence[tuple[str, str]] | None = None,
    *,
    labels: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Write `<system>.jsonl`, one graded answer a line, and `summary.json`; returns the summary.

    Args:
        results: each system's graded answers, in the order in which to show them.
        folder: where to write.
        pairs: which systems to compare, the earlier one first.
        labels: what a category is called, by language, for the report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, answers in results.items():
        lines = (json.dumps(asdict(result), ensure_ascii=False) for result in answers)
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    summary = {**compare(results, pairs), "labels": dict(labels or {})}
    (folder / "summary.json").write_text(json.dumps(summary, ensure_ascii=False, indent=1), encoding="utf-8")
    return summary


def load_results(path: Path) -> list[Graded]:
    """Read one system's graded answers."""
    with path.open(encoding="utf-8") as lines:
        return [parse_graded(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]


def parse_graded(line: str, where: str) -> Graded:
    try:
        record: dict[str, Any] = json.loads(line)
        record["messages"] = tuple(record["messages"])
        return Graded(**record)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{where}: not a graded answer ({error}); danlu evaluate writes such files"
        ) from error
