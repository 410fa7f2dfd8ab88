"""Labelled examples from JSONL, CSV and the field's other files: texts, pairs, choices, questions, tags.

What a file is about is told from the names of its columns; the common ones are known in English and Chinese.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal, cast

from danlu.data.records import DataError
from danlu.data.sources import AS_IS, RECORDS, ReadingConfig, Record, numbered_lines, records, shown
from danlu.data.tables import TABLES, read_table

Kind = Literal["class", "similarity", "choice", "span", "tag"]
TAGGED = (".conll", ".bio")
KINDS_OF_FILE = (*TABLES, *RECORDS, ".json", *TAGGED)
HAN = re.compile(r"[㐀-䶿一-鿿豈-﫿]")

# Our names, and what they are called elsewhere; the first that a file has is taken.
ALIASES: dict[str, tuple[str, ...]] = {
    "text_a": ("text_a", "premise", "sentence1", "s1", "question1", "前提", "句子1"),
    "text_b": ("text_b", "hypothesis", "sentence2", "s2", "question2", "假设", "句子2"),
    "choices": ("choices", "candidates", "options", "选项"),
    "context": ("context", "passage", "paragraph", "原文"),
    "tokens": ("tokens", "words"),
    "tags": ("tags", "ner_tags"),
    "question": ("question", "问题"),
    "text": ("text", "sentence", "review", "content", "comment", "prompt", "文本", "内容", "评论", "句子"),
    "label": ("label", "class", "category", "sentiment", "score", "标签", "类别", "情感", "分数"),
    "answer": ("answer", "答案"),
    "answers": ("answers", "answer", "答案"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example of any kind, and where it was read."""

    where: str
    texts: tuple[str, ...]  # a text; two texts; a prompt; a question and its passage; words
    choices: tuple[str, ...] = ()
    label: str | None = None  # a class, a number, or which choice; None = nobody said
    answers: tuple[str, ...] = ()  # texts in the passage that are right, the first with `start`
    start: int = -1  # character of the passage
    tags: tuple[str, ...] = ()  # BIO, of each word


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of a file; of what kind they are, its columns tell."""

    kind: Kind
    rows: list[Example]

    def __len__(self) -> int:
        return len(self.rows)


def read_examples(
    path: Path,
    names: Mapping[str, str] | None = None,
    *,
    labelled: bool = True,
    config: ReadingConfig = AS_IS,
) -> Examples:
    """The examples of a .csv, .tsv, .jsonl, .parquet, .json (SQuAD), .conll or .bio file.

    Args:
        names: what our columns are called there, for instance {"text": "review_body"}.
        labelled: whether each must have its answer.
        config: the encoding.
    """
    if unknown := sorted((names or {}).keys() - ALIASES.keys()):
        raise DataError(f"file.columns.{unknown[0]} is no column of ours; these are: {', '.join(ALIASES)}")
    found = _recognise(path, _records(path, config), names or {}, labelled)
    if not found.rows:
        raise DataError(f"{path}: holds no example")
    return found


def _records(path: Path, config: ReadingConfig) -> Iterator[Record]:
    if path.is_file():
        suffix = path.suffix.lower()
        if suffix in TABLES:
            return read_table(path, config)
        if suffix in TAGGED:
            return _conll(path, config)
        if suffix == ".json":
            return _squad(path)
        if not path.name.lower().endswith(RECORDS):
            raise DataError(
                f"{path}: is of a kind that cannot be read here; expected {', '.join(KINDS_OF_FILE)}"
            )
    return records(path, config)


def _recognise(path: Path, found: Iterator[Record], names: Mapping[str, str], labelled: bool) -> Examples:
    first = next(found)
    columns = {ours: theirs for ours, theirs in _columns(first, names).items() if theirs in first.fields}
    kind, needed, convert = _form(path, columns, list(first.fields), labelled)
    rows: list[Example] = []
    for record in chain([first], found):
        where = f"{record.source}:{record.line}"
        fields = {ours: record.fields.get(theirs) for ours, theirs in columns.items()}
        for name in needed:
            if fields[name] is None or fields[name] == "":
                raise DataError(f"{where}: column {columns[name]!r} is empty; every row needs it")
        rows.append(convert(where, fields))
        for text in rows[-1].texts:
            if not text.strip():
                raise DataError(f"{where}: holds an empty text; give it one or take the row out")
    return Examples(kind, rows)


def _columns(first: Record, names: Mapping[str, str]) -> dict[str, str]:
    """Their name of each of our columns that the record has."""
    for ours, theirs in names.items():
        if theirs not in first.fields:
            raise DataError(
                f"{first.source}: has no column {theirs!r}, which file.columns.{ours} names; "
                f"its columns are {sorted(first.fields)}"
            )
    taken = set(names.values())
    found = dict(names)
    for ours, aliases in ALIASES.items():
        there = [alias for alias in aliases if alias in first.fields and alias not in taken]
        if ours not in found and there:
            found[ours] = there[0]
    return found


Convert = Callable[[str, Mapping[str, Any]], Example]


def _form(
    path: Path, columns: Mapping[str, str], present: Sequence[str], labelled: bool
) -> tuple[Kind, list[str], Convert]:
    """What kind of examples have such columns, which of these must be filled, and how they are read."""
    for kind, inputs, answer, convert in FORMS:
        if all(name in columns for name in inputs):
            if labelled and answer not in columns:
                raise DataError(
                    f"{path}: no column holds the {answer}; its columns are {sorted(present)}. If one of "
                    f"them does, name it: file.columns.{answer}={_guess(present, columns)}"
                )
            return kind, [*inputs, *([answer] if labelled else [])], convert
    raise DataError(
        f"{path}: no column holds the text; its columns are {sorted(present)}. Known are "
        f"{', '.join(ALIASES['text'])}, or text_a and text_b, choices, context, tokens; if another holds it, "
        f"name it: file.columns.text={_guess(present, columns)}"
    )


def _guess(present: Sequence[str], columns: Mapping[str, str]) -> str:
    return next((name for name in present if name not in columns.values()), "NAME")


def _one(where: str, fields: Mapping[str, Any]) -> Example:
    return Example(where=where, texts=(_text(where, fields, "text"),), label=_label(where, fields))


def _pair(where: str, fields: Mapping[str, Any]) -> Example:
    texts = _text(where, fields, "text_a"), _text(where, fields, "text_b")
    return Example(where=where, texts=texts, label=_label(where, fields))


def _choice(where: str, fields: Mapping[str, Any]) -> Example:
    name = "question" if "question" in fields else "text"
    choices: Any = fields["choices"]
    if isinstance(choices, str):
        choices = [each.strip() for each in choices.split("|")]
    if not isinstance(choices, list) or len(cast(list[Any], choices)) < 2 or not all(map(_is_text, choices)):
        raise DataError(
            f"{where}: choices are {shown(choices)}; they must be two texts or more, a list or joined by '|'"
        )
    texts = tuple(cast(list[str], choices))
    number = None if fields.get("answer") in (None, "") else _number_of(where, fields["answer"], texts)
    label = None if number is None else str(number)
    return Example(where=where, texts=(_text(where, fields, name),), choices=texts, label=label)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _number_of(where: str, answer: Any, choices: Sequence[str]) -> int:
    """The right choice, counted from 0: by its text, its letter or its number."""
    if isinstance(answer, str):
        told = answer.strip()
        if told in choices:
            return choices.index(told)
        letter = ord(told.upper()) - ord("A") if len(told) == 1 and told.isascii() and told.isalpha() else -1
        answer = letter if letter >= 0 else int(told) if told.isdecimal() else answer
    if type(answer) is int and 0 <= answer < len(choices):
        return answer
    raise DataError(
        f"{where}: the answer is {shown(answer)}; it must be one of the {len(choices)} choices, its letter, "
        f"or its number from 0 to {len(choices) - 1}"
    )


def _question(where: str, fields: Mapping[str, Any]) -> Example:
    question, passage = _text(where, fields, "question"), _text(where, fields, "context")
    given: Any = fields.get("answers")
    if given in (None, "", []):
        return Example(where=where, texts=(question, passage))
    answers, starts = _answers(where, given)
    start = starts[0] if starts else passage.find(answers[0])
    if start < 0 or passage[start : start + len(answers[0])] != answers[0]:
        raise DataError(
            f"{where}: the answer {answers[0]!r} does not stand in its passage"
            + (f" at character {start}" if starts else "")
            + "; an answer is a part of it, letter by letter"
        )
    return Example(where=where, texts=(question, passage), answers=tuple(answers), start=start)


def _answers(where: str, given: Any) -> tuple[list[str], list[int]]:
    """Texts and where they start: SQuAD's two forms, a list of texts, or a text."""
    listed: Any = [given] if isinstance(given, str) else given
    if isinstance(listed, Mapping):
        listed = [dict(zip(listed, row, strict=False)) for row in zip(*listed.values(), strict=False)]
    if isinstance(listed, list) and listed:
        rows = cast(list[Any], listed)
        if all(isinstance(each, str) for each in rows):
            return [str(each) for each in rows], []
        if all(isinstance(each, Mapping) and isinstance(each.get("text"), str) for each in rows):
            starts = [each.get("answer_start") for each in rows]
            return [each["text"] for each in rows], starts if all(type(s) is int for s in starts) else []
    raise DataError(
        f"{where}: answers are {shown(given)}; they must be texts, or {{'text': …, 'answer_start': …}}. "
        "Questions without an answer are not supported"
    )


def _tagged(where: str, fields: Mapping[str, Any]) -> Example:
    words, tags = (_listed(where, fields, name) for name in ("tokens", "tags"))
    if tags and len(tags) != len(words):
        raise DataError(f"{where}: {len(words)} words have {len(tags)} tags; each word needs one")
    for tag in tags:
        if tag != "O" and not re.match(r"[BI]-.", tag):
            raise DataError(f"{where}: the tag {tag!r} is not BIO; it must be O, B-NAME or I-NAME")
    return Example(where=where, texts=words, tags=tags)


def _listed(where: str, fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value: Any = fields.get(name)
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list) or not value or not all(map(_is_text, cast(list[Any], value))):
        raise DataError(
            f"{where}: {name} are {shown(value)}; they must be a list of texts, none of them empty"
        )
    return tuple(cast(list[str], value))


def _text(where: str, fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise DataError(f"{where}: {name} is {shown(value)}; it must be text")
    return value


def _label(where: str, fields: Mapping[str, Any]) -> str | None:
    value = fields.get("label")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        value = str(value).lower() if isinstance(value, bool) else None
    if value is None or not str(value).strip():
        raise DataError(f"{where}: the label is {shown(fields['label'])}; it must be a word or a number")
    return str(value).strip()


# Kind, the columns it is known by, the column of its answer.
FORMS: tuple[tuple[Kind, tuple[str, ...], str, Convert], ...] = (
    ("tag", ("tokens",), "tags", _tagged),
    ("span", ("context", "question"), "answers", _question),
    ("choice", ("choices", "question"), "answer", _choice),
    ("choice", ("choices", "text"), "answer", _choice),
    ("class", ("text_a", "text_b"), "label", _pair),
    ("class", ("text",), "label", _one),
)


def _conll(path: Path, config: ReadingConfig) -> Iterator[Record]:
    """Sentences of a file with a word and its tag a line, first and last column, blank lines between."""
    words: list[str] = []
    tags: list[str] = []
    first = 1
    for number, _, line in numbered_lines(path, config):
        cells = line.split()
        if cells and not line.startswith("-DOCSTART-"):
            if len(cells) < 2:
                raise DataError(f"{path}:{number}: holds {line.strip()!r}; a line must be a word and its tag")
            first = first if words else number
            words.append(cells[0])
            tags.append(cells[-1])
        elif words:
            yield Record({"tokens": words, "tags": tags}, str(path), first)
            words, tags = [], []
    if words:
        yield Record({"tokens": words, "tags": tags}, str(path), first)
    elif first == 1:
        raise DataError(f"{path}: is empty; expected a word and its tag a line")


def _squad(path: Path) -> Iterator[Record]:
    """Questions of a file in SQuAD's nesting, which CMRC 2018 and DRCD have too; counted from 1."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        passages = [passage for article in tree["data"] for passage in article["paragraphs"]]
        rows = [
            {"context": passage["context"], "question": asked["question"], "answers": asked["answers"]}
            for passage in passages
            for asked in passage["qas"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: is not in SQuAD's form ({error!r}); expected data, paragraphs, context, qas, question "
            "and answers, or one JSON object a line in a .jsonl file"
        ) from None
    if not rows:
        raise DataError(f"{path}: holds no question")
    yield from (Record(row, str(path), number) for number, row in enumerate(rows, start=1))


def label_set(rows: Sequence[Example]) -> tuple[str, ...]:
    """Every label that occurs, numbers by size, words by the alphabet."""
    found = {label for row in rows for label in (row.tags or (row.label,)) if label is not None}
    return tuple(sorted(found, key=lambda label: (as_number(label) is None, as_number(label) or 0.0, label)))


def as_number(label: str) -> float | None:
    """What a label amounts to as a number."""
    try:
        value = float(label)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def are_numbers(labels: Iterable[str]) -> bool:
    """Whether labels measure something: all are numbers, and at least one is not whole."""
    values = [as_number(label) for label in labels]
    return None not in values and any(value != int(value) for value in values if value is not None)


def check_labels(known: Sequence[str], held_out: Sequence[Example]) -> None:
    """Insist that nothing is asked for that was never taught."""
    for row in held_out:
        for label in row.tags or (row.label,):
            if label not in known:
                raise DataError(
                    f"{row.where}: the label {label!r} occurs in the held-out examples, never in training, "
                    f"where there are {', '.join(known)}; correct it, or add examples of it there"
                )


def split(rows: Sequence[Example], share: float, order: Sequence[int]) -> tuple[list[Example], list[Example]]:
    """Training and held-out examples, of each label its share; equal inputs stay on one side.

    Args:
        rows: at least two of them.
        share: of the examples to hold out, above 0 and below 1.
        order: a permutation of the rows, which decides who is held out.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for number in order:
        groups.setdefault((*rows[number].texts, *rows[number].choices), []).append(number)
    by_label: dict[str | None, list[list[int]]] = {}
    for members in groups.values():
        row = rows[members[0]]
        # Of choices and tags the label is no class of the example.
        by_label.setdefault(None if row.choices else row.label, []).append(members)
    held_out: set[int] = set()
    classes = [*by_label.values()] if len(by_label) < len(groups) / 4 else [[*groups.values()]]
    for found in classes:
        n = min(round(share * len(found)), len(found) - 1)
        held_out |= {number for members in found[:n] for number in members}
    if not held_out:  # a handful of examples
        largest = max(classes, key=len)
        if len(largest) < 2:
            raise DataError(
                f"{rows[0].where}: there are too few different texts to hold any out; give more, or held_out="
            )
        held_out = set(largest[0])
    train = [row for number, row in enumerate(rows) if number not in held_out]
    return train, [rows[number] for number in sorted(held_out)]


def overlap(train: Sequence[Example], held_out: Sequence[Example]) -> int:
    """How many held-out examples stand in the training set word for word."""
    known = {(row.texts, row.choices) for row in train}
    return sum((row.texts, row.choices) in known for row in held_out)


def contradictions(rows: Sequence[Example]) -> int:
    """How many different inputs occur with more than one label."""
    labels: dict[tuple[tuple[str, ...], tuple[str, ...]], set[str | None]] = {}
    for row in rows:
        labels.setdefault((row.texts, row.choices), set()).add(row.label)
    return sum(len(found) > 1 for found in labels.values())


def balance(rows: Sequence[Example]) -> dict[str, int]:
    """Examples (words, where words are tagged) of each label, the commonest first."""
    counts = Counter(label for row in rows for label in (row.tags or (row.label,)) if label is not None)
    return dict(counts.most_common())


def joined_words(words: Sequence[str]) -> list[str]:
    """Each word with the blank that stands before it in running text, of which Chinese has none."""
    pieces = [words[0]]
    for before, word in pairwise(words):
        blank = "" if HAN.match(word) or HAN.search(before[-1]) else " "
        pieces.append(blank + word)
    return pieces
