"""What `danlu classify` learns from and is measured on: read, divided, and told."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from danlu.config import ConfigError
from danlu.data.examples import (
    Example,
    Examples,
    Kind,
    are_numbers,
    as_number,
    balance,
    check_labels,
    contradictions,
    label_set,
    overlap,
    read_examples,
    split,
)
from danlu.data.records import DataError
from danlu.data.sources import ReadingConfig
from danlu.model.classifiers import Answers

MOST_SHOWN = 30  # labels whose share is printed


@dataclass(frozen=True, slots=True, kw_only=True)
class FileConfig:
    """How a file of examples is read."""

    columns: Mapping[str, str] = field(default_factory=dict)  # what ours are called there: text = "review"
    encoding: str = "utf-8"

    @property
    def reading(self) -> ReadingConfig:
        return ReadingConfig(encoding=self.encoding)

    def read(self, path: Path, *, labelled: bool = True) -> Examples:
        return read_examples(path, self.columns, labelled=labelled, config=self.reading)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamplesConfig:
    """How examples are understood and divided."""

    task: Literal["auto", "class", "similarity", "choice", "span", "tag"] = "auto"  # told from the columns
    target: Literal["auto", "labels", "number"] = "auto"  # numbers that are not all whole are measured
    held_out_share: float = 0.1  # of the data, where no file is held out

    def __post_init__(self) -> None:
        if not 0 < self.held_out_share < 1:
            raise ConfigError(f"held_out_share is {self.held_out_share}; it must be above 0 and below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Examples to learn from and to be measured on."""

    train: list[Example]
    held_out: list[Example]
    answers: Answers

    @property
    def kind(self) -> Kind:
        return self.answers.kind

    def account(self) -> dict[str, Any]:
        """Counts that a reader of the results should know."""
        named = bool(self.answers.labels)
        return {
            "n_train": len(self.train),
            "n_held_out": len(self.held_out),
            "balance": balance(self.train) if named else {},
            "held_out_balance": balance(self.held_out) if named else {},
            "in_both": overlap(self.train, self.held_out),
            "contradictions": contradictions(self.train) if named and self.kind != "tag" else 0,
        }


def gather(
    data: Path, held_out: Path | None, file: FileConfig, config: ExamplesConfig, seed: int
) -> Material:
    """Read the files, or divide the one there is; whatever cannot be learnt or measured is an error."""
    found = file.read(data)
    kind = _kind(data, found.kind, config)
    if held_out is not None:
        others = file.read(held_out)
        if others.kind != found.kind:
            raise DataError(f"{held_out}: holds examples for {others.kind!r}, but {data} for {found.kind!r}")
        train, measured = found.rows, others.rows
    elif len(found) < 2:
        raise DataError(f"{data}: holds one example; two or more are needed, to learn from and to measure on")
    else:
        order = np.random.default_rng(seed).permutation(len(found)).tolist()
        train, measured = split(found.rows, config.held_out_share, order)
    return Material(train=train, held_out=measured, answers=_answers(kind, train, measured, config))


def _kind(data: Path, found: Kind, config: ExamplesConfig) -> Kind:
    if config.task in ("auto", found):
        return found
    if config.task == "similarity" and found == "class":
        return "similarity"
    raise ConfigError(f"task is {config.task!r}, but by its columns {data} holds examples for {found!r}")


def _answers(kind: Kind, train: list[Example], held_out: list[Example], config: ExamplesConfig) -> Answers:
    if kind in ("choice", "span"):
        return Answers(kind=kind)
    labels = label_set(train)
    if kind != "tag" and (config.target == "number" or (config.target == "auto" and are_numbers(labels))):
        values = [_number(row) for row in (*train, *held_out)][: len(train)]
        return Answers(kind=kind, mean=statistics.fmean(values), deviation=statistics.pstdev(values) or 1.0)
    if len(labels) < 2:
        raise DataError(
            f"{train[0].where}: the training examples all have the label {train[0].label!r}; two are needed"
        )
    check_labels(labels, held_out)
    return Answers(kind=kind, labels=labels)


def _number(row: Example) -> float:
    value = None if row.label is None else as_number(row.label)
    if value is None:
        raise DataError(f"{row.where}: the label is {row.label!r}; with target=number it must be a number")
    return value


def show_material(screen: Console, material: Material) -> None:
    """What there is to learn, and how evenly the labels are spread."""
    told = material.account()
    screen.print(
        f"{told['n_train']:,} examples to learn from, {told['n_held_out']:,} to measure on: "
        f"{_described(material)}"
    )
    if told["balance"]:
        table = Table("label", "training", "share", "held out", box=None, pad_edge=False)
        total = sum(told["balance"].values())
        for label, n in list(told["balance"].items())[:MOST_SHOWN]:
            held_out = told["held_out_balance"].get(label, 0)
            table.add_row(label, f"{n:,}", f"{100 * n / total:.1f} %", f"{held_out:,}")
        screen.print(table)
        if len(told["balance"]) > MOST_SHOWN:
            screen.print(f"and {len(told['balance']) - MOST_SHOWN} labels more")
    if told["in_both"]:
        screen.print(
            f"warning: {told['in_both']:,} held-out examples stand in the training file too; what is "
            "measured on them is memory"
        )
    if told["contradictions"]:
        screen.print(f"warning: {told['contradictions']:,} texts have more than one label in training")


def _described(material: Material) -> str:
    answers, two = material.answers, len(material.train[0].texts) == 2
    if answers.kind == "span":
        return "answers in passages"
    if answers.kind == "choice":
        return "choices"
    if answers.kind == "tag":
        return f"words with {len(answers.labels)} tags"
    what = "pairs of texts" if two else "texts"
    if answers.is_number:
        return f"{what} with a number (mean {answers.mean:.3g}, deviation {answers.deviation:.3g})"
    return f"{what} with {len(answers.labels)} labels"
