"""Data sets of folders: found, read, searched and measured; nothing outside the folders is ever reached."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nicegui", reason="the studio needs NiceGUI: pip install 'danlu[studio]'")

from danlu.data.shards import TokenizedDocument, bytes_per_id, write_shards
from danlu.serve.studio import data_sets
from danlu.serve.studio.data_measures import columns, measure
from danlu.serve.studio.data_records import laid_out
from danlu.serve.studio.data_sets import Catalogue, DataSetError, kind_of, read, search, text_of
from danlu.tokenizer.bpe import Tokenizer


def write(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def numbers(found: Any) -> list[int]:
    return [each.number for each in found]


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    write(tmp_path / "secret.jsonl", {"text": "nobody's business"})
    write(tmp_path / "runs" / "a" / "train.jsonl", *({"text": f"text {i}"} for i in range(200)))
    return Catalogue({"runs": tmp_path / "runs"})


@pytest.mark.parametrize(
    "name",
    [
        *("runs/../secret.jsonl", "runs/a/../../secret.jsonl", "runs//a/train.jsonl", "runs/a/./train.jsonl"),
        *("/etc/passwd", "runs//etc/passwd", "runs", "runs/", "runs/a", "other/a/train.jsonl", ""),
        *("runs/link.jsonl", "runs/folder/secret.jsonl", "runs/circle.jsonl", "runs/a/\x00.jsonl"),
        *("runs/a/train.jsonl/", "runs/none.jsonl", "runs/" + "x" * 5000, "runs/\ud800.jsonl"),
    ],
)
def test_no_name_leads_out_of_the_folders(catalogue: Catalogue, name: str, tmp_path: Path):
    (tmp_path / "runs" / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    (tmp_path / "runs" / "folder").symlink_to(tmp_path)
    (tmp_path / "runs" / "circle.jsonl").symlink_to(tmp_path / "runs" / "circle.jsonl")
    with pytest.raises(DataSetError, match="no data set here is called"):
        catalogue.find(name)
    assert [each.name for each in catalogue.sets()] == ["runs/a/train.jsonl"]


def test_files_of_a_shard_that_lie_elsewhere_are_not_read(catalogue: Catalogue, tmp_path: Path):
    shards = tmp_path / "runs" / "shards"
    shards.mkdir()
    (shards / "index.json").write_text('{"n_documents": 1}')
    (shards / "tokens.bin").symlink_to(tmp_path / "secret.jsonl")
    (tmp_path / "runs" / "a" / "account.json").symlink_to(write(tmp_path / "account.json", {"kept": {}}))
    assert [each.name for each in catalogue.sets()] == ["runs/a/train.jsonl"]
    assert catalogue.account(catalogue.find("runs/a/train.jsonl")) == {}


def test_a_folder_named_by_way_of_its_parent_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "data" / "x.jsonl", {"text": "t"})
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (found,) = Catalogue({"data": Path("../data")}).sets()
    assert (found.name, found.n_records, found.kind) == ("data/x.jsonl", 1, "documents")


def test_a_page_of_records_is_found_wherever_it_lies(catalogue: Catalogue):
    data_set = catalogue.find("runs/a/train.jsonl")
    assert data_set.n_records == 200
    for first in (0, 1, 63, 64, 65, 130, 197):
        wanted = [{"text": f"text {i}"} for i in range(first, min(first + 10, 200))]
        assert [each.tree for each in read(data_set, first, 10)] == wanted
    assert read(data_set, 200, 10) == []


def test_a_file_that_changed_is_counted_anew(catalogue: Catalogue, tmp_path: Path):
    assert catalogue.find("runs/a/train.jsonl").n_records == 200
    path = write(tmp_path / "runs" / "a" / "train.jsonl", {"text": "one"})
    os.utime(path, ns=(1, 1))
    assert catalogue.find("runs/a/train.jsonl").n_records == 1


def test_what_is_no_record_is_shown_as_what_it_is(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(data_sets, "MOST_LINE", 1000)
    path = tmp_path / "runs" / "broken.jsonl"
    long = b'{"text": "' + b"x" * 5000 + b'"}'
    nested = b'{"a":' * 150 + b"1" + b"}" * 150
    path.write_bytes(b"\n".join([b"\xff\xfe no", b"", b"[1]", long, nested, b'{"text": "good"}', b"{}"]))
    found = read(catalogue.find("runs/broken.jsonl"), 0, 10)
    assert numbers(found) == [1, 2, 3, 4, 5, 6]
    assert [bool(each.raw) for each in found] == [True, True, True, False, False, False]
    assert found[0].raw == "\ufffd\ufffd no"
    assert (found[2].n_bytes, found[2].raw[:12]) == (len(long) + 1, '{"text": "xx')
    assert found[4].tree == {"text": "good"}
    assert laid_out(found[3].tree).parts[0].name == "a"


def test_of_a_huge_file_the_beginning_is_looked_at(tmp_path: Path):
    path = write(tmp_path / "x.jsonl", *({"text": "1234567"} for _ in range(100)))  # 20 bytes a line
    lines = data_sets.Lines(path, n_bytes=200)
    assert (lines.n, lines.whole) == (10, False)
    assert len(list(lines.read(0))) == 10
    assert data_sets.Lines(path).whole


def test_a_search_reads_what_is_escaped_and_goes_on_where_it_stopped(catalogue: Catalogue, tmp_path: Path):
    rows = [{"messages": [{"role": "user", "content": "猫" if i % 3 else "DOG"}]} for i in range(30)]
    path = tmp_path / "runs" / "c.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))  # 猫 is \u732b in the file
    data_set = catalogue.find("runs/c.jsonl")
    first = search(data_set, "猫", "", None, 0, 3)
    assert (numbers(first.records), first.after) == ([2, 3, 5], 5)
    rest = search(data_set, "猫", "", None, 5, 100)
    assert numbers(rest.records) == [i + 1 for i in range(5, 30) if i % 3]
    assert rest.after is None
    assert numbers(search(data_set, "dog", "", None, 0, 2).records) == [1, 4]
    assert search(data_set, "messages", "", None, 0, 5).records == []  # a name of a field is no text


def test_a_search_stops_after_some_seconds(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(data_sets, "SEARCH_S", -1.0)
    found = search(catalogue.find("runs/a/train.jsonl"), "199", "", None, 7, 5)
    assert (found.records, found.n_read, found.after) == ([], 0, 7)


def test_what_was_dropped_is_searched_by_its_rule(catalogue: Catalogue, tmp_path: Path):
    rows = [{"rule": "gibberish" if i % 2 else "near duplicate", "text": f"t{i}"} for i in range(6)]
    write(tmp_path / "runs" / "a" / "dropped.ndjson", *rows)
    data_set = catalogue.find("runs/a/dropped.ndjson")
    assert data_set.kind == "dropped"
    assert numbers(search(data_set, "", "gibberish", None, 0, 10).records) == [2, 4, 6]
    assert numbers(search(data_set, "t3", "gibberish", None, 0, 10).records) == [4]
    train = catalogue.find("runs/a/train.jsonl")
    assert catalogue.beside(train, "dropped.ndjson") == "runs/a/dropped.ndjson"
    assert catalogue.beside(train, "../../secret.jsonl") == ""


@pytest.mark.parametrize(
    ("tree", "kind"),
    [
        ({"text": "t", "lang": "en"}, "documents"),
        ({"rule": "short", "text": "t"}, "dropped"),
        ({"messages": [{"role": "user", "content": "q"}]}, "prompts"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "chats"),
        ({"messages": [{"role": "assistant", "content": "a"}], "thumb": True}, "ratings"),
        ({"conversations": []}, "chats"),
        ({"instruction": "i", "output": "o"}, "chats"),
        ({"prompt": "p", "completions": ["a", "b"], "ranks": [1, 2]}, "comparisons"),
        ({"prompt": "p", "chosen": "a", "rejected": "b"}, "comparisons"),
        ({"prompt": "p"}, "prompts"),
        ({"messages": "no list"}, "chats"),
        ({"text": 3}, "other"),
        ({}, "other"),
    ],
)
def test_records_are_told_by_their_fields(tree: dict[str, Any], kind: str):
    assert kind_of(tree) == kind


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["the cat sleeps 猫睡了\n"] * 3, 300)


def test_shards_are_spelled_by_the_tokenizer_that_made_them(
    catalogue: Catalogue, tokenizer: Tokenizer, tmp_path: Path
):
    texts = [("the cat", "en"), ("猫睡了", "zh"), ("the cat sleeps", "en")]
    directory = tmp_path / "runs" / "a" / "shards" / "train"
    write_shards(
        (TokenizedDocument(tokenizer.encode(text), lang) for text, lang in texts),
        directory,
        token_bytes=bytes_per_id(tokenizer),
        eos_id=tokenizer.eos_id,
        fingerprint=tokenizer.fingerprint,
    )
    data_set = catalogue.find("runs/a/shards/train")
    assert (data_set.kind, data_set.n_records) == ("shards", 3)
    assert catalogue.tokenizer(tokenizer.fingerprint) is None
    tokenizer.save(tmp_path / "runs" / "a" / "tokenizer")
    found = catalogue.tokenizer(tokenizer.fingerprint)
    assert found is not None
    (second,) = read(data_set, 1, 1)
    assert text_of(second, found) == "猫睡了<|endoftext|>"
    assert text_of(second).split() == [str(i) for i in second.ids]
    assert numbers(search(data_set, "CAT", "", found, 0, 9).records) == [1, 3]
    measures = measure(data_set, found)
    assert (measures.languages, measures.in_tokens) == ({"en": 2, "zh": 1}, True)
    assert measures.longest == max(len(tokenizer.encode(text)) for text, _ in texts) + 1


@pytest.mark.parametrize(
    "index", ['{"n_documents": 1}', '{"n_documents": 1, "format": 1}', '{"n_documents": 1, "format": 9}']
)
def test_broken_shards_are_told(catalogue: Catalogue, tmp_path: Path, index: str):
    directory = tmp_path / "runs" / "shards"
    directory.mkdir()
    for name in ("tokens.bin", "documents.npy", "token_bytes.npy"):
        (directory / name).write_bytes(b"no")
    (directory / "index.json").write_text(index)
    with pytest.raises(DataSetError) as told:
        read(catalogue.find("runs/shards"), 0, 1)
    assert "runs/shards" in str(told.value)
    assert str(tmp_path) not in str(told.value)


def test_measures_are_what_one_counts_by_hand(catalogue: Catalogue, tmp_path: Path):
    english = "The cat sleeps on the mat and the dog sleeps beside it, as they do on every warm afternoon"
    rows = ["猫睡在垫子上，狗睡在它旁边。", english, english.upper(), f"{english} again.", "abcd", "abc"]
    write(tmp_path / "runs" / "m.jsonl", *({"text": text} for text in rows))
    found = measure(catalogue.find("runs/m.jsonl"), None)
    assert found.n_measured == 6
    assert found.languages == {"en": 5, "zh": 1}
    assert (found.median, found.longest) == (sorted(map(len, rows))[3], len(rows[3]))
    assert [(each.numbers, each.exact) for each in found.repeats] == [([2, 3], True), ([2, 4], False)]
    assert (found.n_exact, found.n_near) == (1, 1)


def test_of_a_large_set_records_all_over_it_are_measured(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("danlu.serve.studio.data_measures.N_MEASURED", 50)
    data_set = catalogue.find("runs/a/train.jsonl")
    assert measure(data_set, None).n_measured == 50
    assert numbers(data_sets.records(data_set, step=4))[:3] == [1, 5, 9]


def test_columns_of_lengths_begin_at_powers_of_two():
    assert columns([0, 1, 1, 2, 3, 4, 7, 16]) == [(0, 1), (1, 2), (2, 2), (4, 2), (8, 0), (16, 1)]
    assert columns([]) == []


def test_a_record_is_laid_out_as_who_said_what():
    tree = {
        "prompt": [{"role": "user", "content": "q"}],
        "completions": ["a", "b"],
        "ranks": [2, 1],
        "id": 7,
        "meta": {"deep": "x" * 300},
    }
    shown = laid_out(tree)
    assert [(p.name, p.speaks, p.rank) for p in shown.parts] == [
        ("user", True, None),
        ("completions[0]", False, 2),
        ("completions[1]", False, 1),
        ("meta", False, None),
    ]
    assert shown.about == "id = 7"
    calls = laid_out({"conversations": [{"from": "gpt", "value": None, "tool_calls": [1]}]})
    assert [(p.name, p.text) for p in calls.parts] == [("assistant", '{"tool_calls": [1]}')]
    (long,) = laid_out({"text": "x" * 7000}).parts
    assert (len(long.text), long.n_left_out) == (6000, 1000)
