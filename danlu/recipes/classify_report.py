"""What a fine-tuned classifier is worth: its scores beside what needs no model, on the same examples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from danlu.data.examples import Example
from danlu.evaluate.bag_of_words import BagOfWords
from danlu.evaluate.classification import class_scores, number_scores, overlap_f1, span_scores, tag_scores
from danlu.evaluate.sections.classes import render
from danlu.evaluate.statistics import macro_bootstrap
from danlu.evaluate.word_classifier import (
    WordClassifier,
    WordTags,
    commonest,
    likeliest_sentence,
    word_overlap,
)
from danlu.model.classifiers import Answers
from danlu.recipes.labelled_data import Material
from danlu.recipes.labelling import Prediction
from danlu.train.checkpoint import replace_file
from danlu.train.run import Run

N_MISTAKES = 30
MOST_CHARACTERS = 300  # of a text that is shown
# What a kind of answer is judged by first.
HEADLINE = {"class": "accuracy", "choice": "accuracy", "span": "f1", "tag": "entity_f1"}

Said = Sequence[Any]


def headline_of(answers: Answers) -> str:
    """The name of the score that counts most."""
    return "spearman" if answers.is_number else HEADLINE.get(answers.kind, "accuracy")


def scores(rows: Sequence[Example], said: Said, answers: Answers) -> dict[str, Any]:
    """The scores of some answers."""
    if answers.kind == "span":
        return span_scores([row.answers for row in rows], said)
    if answers.kind == "tag":
        return tag_scores([row.tags for row in rows], said)
    wanted = [str(row.label) for row in rows]
    if answers.is_number:
        return number_scores([float(label) for label in wanted], said)
    if answers.kind == "choice":
        most = max(len(row.choices) for row in rows)
        found = class_scores(wanted, said, [str(i) for i in range(most)])
        return {"n": found["n"], "accuracy": found["accuracy"]}  # the numbers of choices are no classes
    return class_scores(wanted, said, answers.labels)


def grades(rows: Sequence[Example], said: Said, answers: Answers) -> list[float] | None:
    """How right each answer is, where that can be said of one."""
    if answers.kind == "span":
        return [
            max(overlap_f1(each, text) for each in row.answers) for row, text in zip(rows, said, strict=True)
        ]
    if answers.kind == "tag" or answers.is_number:
        return None
    return [float(row.label == each) for row, each in zip(rows, said, strict=True)]


def baselines(material: Material) -> dict[str, Said]:
    """What can be said of the held-out examples without a language model, the strongest first."""
    train, rows, answers = material.train, material.held_out, material.answers
    if answers.kind == "span":
        return {"best sentence": [likeliest_sentence(*row.texts) for row in rows]}
    if answers.kind == "tag":
        words = WordTags.fit([row.texts for row in train], [row.tags for row in train])
        return {"commonest tag": [words.predict(row.texts) for row in rows]}
    if answers.kind == "choice":
        ranks = [[1 if str(i) == row.label else 2 for i in range(len(row.choices))] for row in train]
        bag = BagOfWords.fit([row.choices for row in train], ranks)
        said = [bag.scores(row.choices) for row in rows]
        return {
            "bag of words": [str(each.index(max(each))) for each in said],
            "majority": [commonest([str(row.label) for row in train])] * len(rows),
        }
    if answers.is_number:
        same = [answers.mean] * len(rows)
        pairs = (
            {"word overlap": [word_overlap(*row.texts) for row in rows]} if len(rows[0].texts) == 2 else {}
        )
        return {**pairs, "majority": same}
    wanted = [str(row.label) for row in train]
    bag = WordClassifier.fit(["\n".join(row.texts) for row in train], wanted, answers.labels)
    said = bag.predict(["\n".join(row.texts) for row in rows])
    return {"bag of words": said, "majority": [commonest(wanted)] * len(rows)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A classifier's answers to the held-out examples, and all that is known beside them."""

    material: Material
    predictions: Sequence[Prediction]
    max_len: int
    cut: Mapping[str, int]  # examples that did not fit, in training and held out

    def to_tree(self) -> dict[str, Any]:
        """The report, as plain values."""
        rows, answers = self.material.held_out, self.material.answers
        own = [each.said for each in self.predictions]
        others = baselines(self.material)
        systems = {"fine-tuned": own, **others}
        right = {name: grades(rows, said, answers) for name, said in systems.items()}
        mine, theirs = right["fine-tuned"], right[next(iter(others))]
        return {
            "kind": answers.kind,
            "labels": list(answers.labels),
            **self.material.account(),
            "max_len": self.max_len,
            "cut": dict(self.cut),
            "headline": headline_of(answers),
            "systems": {name: scores(rows, said, answers) for name, said in systems.items()},
            "difference": None
            if mine is None or theirs is None
            else macro_bootstrap([[a - b for a, b in zip(mine, theirs, strict=True)]]).to_tree(),
            "mistakes": mistakes(rows, self.predictions, answers),
        }


def mistakes(
    rows: Sequence[Example], predictions: Sequence[Prediction], answers: Answers
) -> list[dict[str, Any]]:
    """The surest wrong answers; of numbers the furthest off, of tags the first."""
    wrong: list[tuple[float, dict[str, Any]]] = []
    for row, found in zip(rows, predictions, strict=True):
        wanted, said, doubt = compare(row, found, answers)
        if doubt is not None:
            text = " ‖ ".join(row.texts) if answers.kind != "tag" else " ".join(row.texts)
            shown = {"text": text[:MOST_CHARACTERS], "wanted": wanted, "said": said}
            wrong.append((doubt, {**shown, "probability": found.probability}))
    return [each for _, each in sorted(wrong, key=lambda pair: pair[0])[:N_MISTAKES]]


def compare(row: Example, found: Prediction, answers: Answers) -> tuple[str, str, float | None]:
    """What was wanted, what was said, and what a mistake is sorted by; None where it is right."""
    if answers.kind == "span":
        best = max(overlap_f1(each, found.said) for each in row.answers)
        return row.answers[0], found.said, None if best > 0 else -found.probability
    if answers.kind == "tag":
        return " ".join(row.tags), " ".join(found.said), None if list(row.tags) == found.said else 0.0
    if answers.is_number:
        off = abs(float(str(row.label)) - found.said)
        return str(row.label), f"{found.said:.2f}", -off if off > answers.deviation else None
    wanted, said = str(row.label), str(found.said)
    right = wanted == said
    if answers.kind == "choice":
        wanted, said = row.choices[int(wanted)], row.choices[int(said)]
    return wanted, said, None if right else -found.probability


def write_report(run: Run, name: str, tree: Mapping[str, Any]) -> None:
    """`report.json` and `report.html` in the run directory."""
    replace_file(run.path / "report.json", json.dumps(tree, ensure_ascii=False, indent=1, allow_nan=False))
    replace_file(run.path / "report.html", render(name, tree, curve_of(run)))


def curve_of(run: Run) -> dict[str, list[tuple[float, float]]]:
    """What was logged, as points over the updates."""
    path = run.path / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found: dict[str, list[tuple[float, float]]] = {}
    for logged in map(json.loads, lines):
        for key, value in logged.items():
            if key in ("label", "words", "held_out"):
                found.setdefault(key, []).append((logged["step"], value))
    return found


def show_report(screen: Console, tree: Mapping[str, Any]) -> None:
    """The result, a line a system, and every class."""
    name = tree["headline"]
    table = Table("", name.replace("_", " "), "95 % interval", box=None, pad_edge=False)
    for system, found in tree["systems"].items():
        each = found[name]
        table.add_row(
            system, f"{100 * each['mean']:.1f} %", f"{100 * each['low']:.1f} to {100 * each['high']:.1f}"
        )
    screen.print(table)
    own = tree["systems"]["fine-tuned"]
    classes = own.get("classes", {})
    if 0 < len(classes) <= N_MISTAKES:
        table = Table("class", "examples", "precision", "recall", "F1", box=None, pad_edge=False)
        for label, each in classes.items():
            shares = (f"{100 * each[key]:.1f}" for key in ("precision", "recall", "f1"))
            table.add_row(label, f"{each['n']:,}", *shares)
        screen.print(table)
    cut = tree["cut"]
    if cut["train"] or cut["held_out"]:
        screen.print(
            f"{cut['train']:,} training and {cut['held_out']:,} held-out examples were longer than "
            f"{tree['max_len']} tokens and cut; max_len= reads more, keep=end keeps their end"
        )
