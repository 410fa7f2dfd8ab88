"""Labelled examples from the field's files, and what is said where one cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from danlu.data.examples import (
    Example,
    are_numbers,
    balance,
    check_labels,
    contradictions,
    joined_words,
    label_set,
    overlap,
    read_examples,
    split,
)
from danlu.data.records import DataError
from danlu.data.sources import ReadingConfig


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def lines(path: Path, *rows: Any) -> Path:
    return write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def row(text: str, label: str | None = None, **more: Any) -> Example:
    return Example(where="here", texts=(text,), label=label, **more)


def test_a_table_with_quotes_commas_and_line_ends_in_a_cell(tmp_path: Path):
    path = write(tmp_path / "a.csv", 'text,label\n"好，""很好""\n第二行",1\n\nbad,0\n')
    found = read_examples(path)
    assert found.kind == "class"
    assert [(each.texts, each.label, each.where) for each in found.rows] == [
        (('好，"很好"\n第二行',), "1", f"{path}:2"),
        (("bad",), "0", f"{path}:5"),
    ]


def test_a_byte_order_mark_and_chinese_names_of_columns(tmp_path: Path):
    path = write(tmp_path / "a.csv", "评论;标签\n很好;正\n", "utf-8-sig")
    assert read_examples(path).rows[0].label == "正"


def test_tsv_keeps_its_quotes(tmp_path: Path):
    path = write(tmp_path / "a.tsv", 'sentence\tlabel\n"oh\t1\n')
    assert read_examples(path).rows[0].texts == ('"oh',)


def test_an_encoding_of_old_spreadsheets_is_named(tmp_path: Path):
    path = write(tmp_path / "a.csv", "文本,标签\n很好,正\n", "gb18030")
    with pytest.raises(DataError, match="reads well as gb18030: set encoding='gb18030'"):
        read_examples(path)
    assert read_examples(path, config=ReadingConfig(encoding="gb18030")).rows[0].texts == ("很好",)


@pytest.mark.parametrize(
    ("record", "kind", "texts", "label"),
    [
        ({"premise": "a", "hypothesis": "b", "label": "yes"}, "class", ("a", "b"), "yes"),
        ({"s1": "a", "s2": "b", "score": 3.8}, "class", ("a", "b"), "3.8"),
        ({"question": "q", "choices": ["x", "y"], "answer": "y"}, "choice", ("q",), "1"),
        ({"content": "q", "candidates": ["x", "y"], "answer": 0}, "choice", ("q",), "0"),
        ({"prompt": "q", "choices": "x|y|z", "answer": "C"}, "choice", ("q",), "2"),
        (
            {"question": "q", "context": "abc", "answers": {"text": ["b"], "answer_start": [1]}},
            "span",
            ("q", "abc"),
            None,
        ),
        ({"text": "t", "label": True}, "class", ("t",), "true"),
    ],
)
def test_shapes_are_told_by_their_columns(tmp_path: Path, record: Any, kind: str, texts: Any, label: Any):
    found = read_examples(lines(tmp_path / "a.jsonl", record))
    assert (found.kind, found.rows[0].texts, found.rows[0].label) == (kind, texts, label)


def test_squads_nesting_and_an_answer_that_comes_twice(tmp_path: Path):
    answers = [{"text": "北京", "answer_start": 5}]
    paragraph = {
        "context": "北京很大，北京很老。",
        "qas": [{"question": "哪里很老？", "id": "1", "answers": answers}],
    }
    tree = {"version": "1", "data": [{"title": "t", "paragraphs": [paragraph]}]}
    found = read_examples(write(tmp_path / "a.json", json.dumps(tree)))
    assert (found.rows[0].start, found.rows[0].answers) == (5, ("北京",))


def test_words_and_tags_a_line(tmp_path: Path):
    path = write(tmp_path / "a.conll", "-DOCSTART- O\n\nIn IN O\nParis NNP B-LOC\n\n北 B-LOC\n京 I-LOC\n")
    found = read_examples(path)
    assert [(each.texts, each.tags, each.where) for each in found.rows] == [
        (("In", "Paris"), ("O", "B-LOC"), f"{path}:3"),
        (("北", "京"), ("B-LOC", "I-LOC"), f"{path}:6"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "body,label\nx,1\n",
            r"no column holds the text; its columns are \['body', 'label'\].*columns.text=body",
        ),
        (
            "text,stars\nx,1\n",
            r"no column holds the label; its columns are \['stars', 'text'\].*columns.label=stars",
        ),
        ("text,label\nx\n", r":2: has 1 cells where the header names 2 columns"),
        ("text,label\n,1\n", r":2: column 'text' is empty"),
        ("text,label\n  ,1\n", r":2: holds an empty text"),
        ("text,label\nx,\n", r":2: column 'label' is empty"),
        ("text,text\nx,1\n", r"column 'text' is named twice"),
        ('text,label\n"x,1\n', r":2: is no row of a table"),
        ("text,label\n", r"has a header and no row below it"),
        ("", r"is empty; its first line must name the columns"),
    ],
)
def test_a_bad_table_is_told(tmp_path: Path, content: str, message: str):
    with pytest.raises(DataError, match=message):
        read_examples(write(tmp_path / "a.csv", content))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "q", "choices": ["x"], "answer": 0}, "two texts or more"),
        ({"prompt": "q", "choices": ["x", "y"], "answer": 2}, "its number from 0 to 1"),
        ({"question": "q", "context": "abc", "answers": ["z"]}, "'z' does not stand in its passage"),
        (
            {"question": "q", "context": "abc", "answers": {"text": ["b"], "answer_start": [0]}},
            "at character 0",
        ),
        ({"tokens": ["a", "b"], "tags": ["O"]}, "2 words have 1 tags"),
        ({"tokens": ["a"], "tags": ["LOC"]}, "'LOC' is not BIO"),
        ({"text": 3, "label": "x"}, "text is int 3; it must be text"),
        ({"text": "t", "label": ["x"]}, "the label is list"),
    ],
)
def test_a_bad_record_is_told(tmp_path: Path, record: Any, message: str):
    with pytest.raises(DataError, match=message):
        read_examples(lines(tmp_path / "a.jsonl", record))


def test_columns_may_be_named(tmp_path: Path):
    path = write(tmp_path / "a.csv", "id,body,stars\n7,fine,5\n")
    found = read_examples(path, {"text": "body", "label": "stars"})
    assert (found.rows[0].texts, found.rows[0].label) == (("fine",), "5")
    with pytest.raises(DataError, match=r"has no column 'bdy', which file.columns.text names"):
        read_examples(path, {"text": "bdy"})
    with pytest.raises(DataError, match=r"columns\.txt is no column of ours"):
        read_examples(path, {"txt": "body"})


def test_labels_are_sorted_as_people_count():
    rows = [row("a", "10"), row("b", "9"), row("c", "x")]
    assert label_set(rows) == ("9", "10", "x")
    assert not are_numbers(["1", "2.0"])
    assert are_numbers(["1", "2.5"])
    assert not are_numbers(["1", "2.5", "x"])
    assert balance([*rows, row("d", "x")]) == {"x": 2, "10": 1, "9": 1}


def test_a_label_that_was_never_taught_is_an_error():
    with pytest.raises(
        DataError, match="here: the label 'c' occurs in the held-out examples, never in training"
    ):
        check_labels(("a", "b"), [row("t", "a"), row("u", "c")])


def test_the_split_holds_out_a_share_of_every_label_and_never_the_same_text_twice():
    rows = [row(f"a{i // 2}", "a") for i in range(40)] + [row(f"b{i}", "b") for i in range(10)]
    train, held_out = split(rows, 0.2, [*reversed(range(50))])
    assert balance(held_out) == {"a": 8, "b": 2}
    assert balance(train) == {"a": 32, "b": 8}
    assert overlap(train, held_out) == 0
    assert overlap(train, train[:3]) == 3


def test_a_rare_label_stays_in_training():
    rows = [row(f"a{i}", "a") for i in range(9)] + [row("b", "b")]
    train, held_out = split(rows, 0.5, range(10))
    assert balance(train) == {"a": 5, "b": 1}
    assert balance(held_out) == {"a": 4}


def test_texts_with_two_labels_are_counted():
    assert contradictions([row("a", "x"), row("a", "y"), row("b", "x"), row("b", "x")]) == 1


def test_words_are_joined_as_they_are_written():
    assert joined_words(["In", "Paris", "北", "京", "we", "met"]) == [
        "In",
        " Paris",
        "北",
        "京",
        "we",
        " met",
    ]
