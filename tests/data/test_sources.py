from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danlu.data.records import DataError
from danlu.data.sources import ReadingConfig, documents, records


def texts(path, **config):
    return [document.text for document in documents(path, ReadingConfig(**config))]


def test_a_folder_is_read_recursively_in_a_stable_order_whatever_the_kind(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.md").write_text("# 一\n", encoding="utf-8")
    (tmp_path / "a.jsonl").write_text(
        '{"text": "two", "lang": "en", "id": 7}\n\n{"text": "三"}\n', encoding="utf-8"
    )
    with gzip.open(tmp_path / "c.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write('{"text": "four"}\n')
    pq.write_table(pa.table({"text": ["five", "六"]}), tmp_path / "d.parquet")
    (tmp_path / "e.txt").write_text("\ufeffseven\n", encoding="utf-8")
    (tmp_path / "README.md").write_text("about this folder")
    (tmp_path / ".hidden.txt").write_text("no")
    (tmp_path / "f.txt").write_text("")
    assert texts(tmp_path) == ["two", "三", "# 一\n", "four", "five", "六", "seven\n"]
    first, second = list(documents(tmp_path))[:2]
    assert (first.line, first.lang, first.about["id"]) == (1, "en", 7)
    assert (second.line, second.lang) == (3, "")


def test_a_long_text_file_becomes_documents_cut_at_line_ends(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\nthree\n")
    read = list(documents(tmp_path / "a.txt", ReadingConfig(max_document_bytes=6)))
    assert [(document.text, document.line) for document in read] == [("one\ntwo\n", 1), ("three\n", 3)]


def test_a_text_field_may_be_named_and_may_be_a_list_of_lines(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"modern": ["一", "二"]}) + "\n")
    assert texts(tmp_path, field="modern") == ["一\n二"]


def test_another_encoding_can_be_named(tmp_path):
    (tmp_path / "a.txt").write_bytes("你好，世界。\n".encode("gb18030"))
    assert texts(tmp_path, encoding="gb18030") == ["你好，世界。\n"]


LONG = b'{"text": "' + b"x" * 300 + b'"}\n'
CHINESE = "你好，世界。\n".encode("gb18030")
TO_GB18030 = "it reads well as gb18030: set encoding='gb18030' or convert it to UTF-8"
BAD_FILES = {
    "wrongly encoded": ("a.txt", CHINESE, rf"a\.txt:1: byte 0 \(0xc4\) is not utf-8; {TO_GB18030}"),
    "wrongly encoded later": ("a.txt", b"abc\n" + CHINESE, r"a\.txt:2: byte 4 \(0xc4\)"),
    "utf-16": ("a.txt", "你好".encode("utf-16"), r"begins like utf-16: convert it to UTF-8"),
    "binary": ("a.txt", bytes(range(254, 0, -1)) * 4, r"a\.txt:1: byte 0 .* looks like a binary file"),
    "zeros": ("a.txt", b"ab\0\0\n", r"a\.txt:1: byte 2 is 0x00, so this is a binary file"),
    "broken json": ("a.jsonl", b'{"text": "a"}\n{"text": "b"\n', r"a\.jsonl:2: is not JSON at column 13"),
    "no object": ("a.jsonl", b'["a"]\n', r'a\.jsonl:1: holds list \["a"\]; each line must be one JSON'),
    "deep json": ("a.jsonl", b"[" * 100_000 + b"\n", r"a\.jsonl:1: is JSON nested too deeply"),
    "unknown field": ("a.jsonl", b'{"content": "a"}\n', r"1: has no field 'text' .*; set field='content'"),
    "missing field": ("a.jsonl", b'{"text": "a"}\n{"n": 1}\n', r"2: has no field 'text' but \['n'\]; each"),
    "text not a string": ("a.jsonl", b'{"text": 5}\n', r"1: field 'text' is int 5; it must be text"),
    "text missing": ("a.jsonl", b'{"text": null}\n', r"a\.jsonl:1: field 'text' is NoneType null"),
    "long line": ("a.jsonl", b'{"text": "a"}\n' + LONG, r"2: the line is longer than 200 bytes; cut it"),
    "no gzip": ("a.jsonl.gz", b'{"text": "a"}\n', r"a\.jsonl\.gz:1: the gzip stream is broken"),
    "cut gzip": ("a.jsonl.gz", gzip.compress(LONG * 9)[:-9], r"the gzip stream is broken or truncated"),
    "no parquet": ("a.parquet", b"PAR1nothing", r"a\.parquet: is no readable Parquet file"),
    "empty": ("a.jsonl", b"\n", r"every file is empty"),
    "foreign kind": ("a.pdf", b"%PDF", r"holds no file to read but 1 × \.pdf; expected \.txt, \.md"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_say_where_what_and_what_would_be_right(tmp_path, name):
    filename, content, message = BAD_FILES[name]
    (tmp_path / filename).write_bytes(content)
    limit = 200 if name == "long line" else 1 << 20
    with pytest.raises(DataError, match=message):
        list(documents(tmp_path, ReadingConfig(max_line_bytes=limit)))


def test_a_parquet_file_without_the_field_names_those_it_has(tmp_path):
    pq.write_table(pa.table({"body": ["a"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(
        DataError, match=r"a\.parquet:1: has no field 'text' but \['body', 'n'\]; set field='body'"
    ):
        list(documents(tmp_path))


def test_a_missing_path_an_empty_folder_and_a_foreign_file_are_errors(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: does not exist"):
        list(documents(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"holds no file to read but nothing"):
        list(documents(tmp_path))
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(DataError, match=r"a\.docx: is of a kind that cannot be read here"):
        list(documents(tmp_path / "a.docx"))
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"a\.txt: is of a kind that cannot be read here; expected \.jsonl"):
        list(records(tmp_path / "a.txt"))


def test_an_unknown_encoding_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="encoding 'utf-9' is unknown"):
        texts(tmp_path, encoding="utf-9")


def test_a_line_of_a_gigabyte_is_refused_without_being_held(tmp_path):
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(DataError, match=r"a\.jsonl:1: the line is longer than 1048576 bytes"):
        list(documents(path, ReadingConfig(max_line_bytes=1 << 20)))
