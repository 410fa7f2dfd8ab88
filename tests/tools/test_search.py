from __future__ import annotations

import math
import os
import sqlite3
import zipfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.tools.search.answer import Answer, ask, locate, verify
from danlu.tools.search.index import Index, SearchError, passages
from danlu.tools.search.reading import ReadingLimits, read_document
from danlu.tools.search.words import border_pairs, content_terms, sentences, terms


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "town.md").write_text(
        "# Town\n\nThe library was founded in 1921. It has two floors.\n\nThe bridge is old.\n"
    )
    (folder / "学校.txt").write_text(
        "北京大学创办于1898年。它位于北京海淀区。\n\n清华大学创办于1911年。\n", encoding="utf-8"
    )
    (folder / "prices.csv").write_text("name,price\ntea,3\ncoffee,5\n")
    (folder / "museum.html").write_text(
        "<title>x</title><script>closed()</script><p>The museum opens&nbsp;at nine.</p>"
    )
    return folder


def quotes(answer: Answer) -> list[tuple[str, str, int]]:
    return [(each.quote, each.document, each.line) for each in answer.citations]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("When was the library founded?", ("The library was founded in 1921.", "town.md", 3)),
        ("北京大学是哪一年创办的？", ("北京大学创办于1898年。", "学校.txt", 1)),
        ("清华大学什么时候创办？", ("清华大学创办于1911年。", "学校.txt", 3)),
        ("How much is coffee?", ("name: coffee; price: 5", "prices.csv", 3)),
        ("When does the museum open?", ("The museum opens at nine.", "museum.html", 1)),
    ],
)
def test_an_answer_is_a_sentence_with_its_place(folder: Path, question: str, found: tuple[str, str, int]):
    index = Index.of(folder)
    index.update()
    assert quotes(ask(index, question))[0] == found


@pytest.mark.parametrize("question", ["When was the harbour built?", "谁发明了电灯？", "Who wrote Hamlet?"])
def test_where_nothing_supports_an_answer_there_is_none(folder: Path, question: str):
    index = Index.of(folder)
    index.update()
    assert quotes(ask(index, question)) == []


def test_a_document_that_comes_changes_or_goes_changes_the_next_answer(folder: Path):
    index = Index.of(folder)
    assert str(index.update()) == "4 added, 0 changed, 0 removed, 0 unchanged, 0 left out"
    (folder / "harbour.txt").write_text("The harbour was built in 1850.")
    assert str(index.update()) == "1 added, 0 changed, 0 removed, 4 unchanged, 0 left out"
    assert quotes(ask(index, "When was the harbour built?"))[0][0] == "The harbour was built in 1850."
    (folder / "harbour.txt").write_text("The harbour was built in 1860.")
    assert str(index.update()) == "0 added, 1 changed, 0 removed, 4 unchanged, 0 left out"
    assert quotes(ask(index, "When was the harbour built?"))[0][0] == "The harbour was built in 1860."
    os.utime(folder / "harbour.txt", (1, 1))
    assert str(index.update()) == "0 added, 0 changed, 0 removed, 5 unchanged, 0 left out"
    (folder / "harbour.txt").unlink()
    assert str(index.update()) == "0 added, 0 changed, 1 removed, 4 unchanged, 0 left out"
    assert quotes(ask(index, "When was the harbour built?")) == []


def test_bm25_by_hand(tmp_path: Path):
    for name, text in {"a": "red red apple", "b": "red pear", "c": "green pear tree house"}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    index = Index.of(tmp_path)
    index.update()
    idf = math.log(
        1 + (3 - 2 + 0.5) / (2 + 0.5)
    )  # "red" is in 2 of 3 passages of 3, 2 and 4 terms: 3 on average
    expected = {
        "a.txt": idf * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 3 / 3)),
        "b.txt": idf * 1 * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / 3)),
    }
    found = index.search(["red"])
    assert [each.document for each in found] == ["a.txt", "b.txt"]
    assert {each.document: each.score for each in found} == pytest.approx(expected)


def test_a_citation_that_is_not_there_is_caught(folder: Path):
    index = Index.of(folder)
    index.update()
    citation = locate(index, "town.md", "It has two floors.")
    verify(index, citation)
    for wrong in (
        {"quote": "It has ten floors."},
        {"start": citation.start + 1},
        {"line": 4},
        {"quote": ""},
        {"document": "x"},
    ):
        with pytest.raises(SearchError):
            verify(index, replace(citation, **wrong))
    with pytest.raises(SearchError, match="does not contain 'It has three floors"):
        locate(index, "town.md", "It has three floors.")


def test_words_are_found_in_both_languages():
    assert terms("The Libraries' ＧＰＴ-4 北京大学") == [
        "the",
        "library",
        "gpt",
        "4",
        *"北京大学",
        "北京",
        "京大",
        "大学",
    ]
    assert content_terms("When was the library founded?") == ["library", "founded"]
    assert content_terms("北京大学是哪一年成立的？") == ["北京", "京大", "大学", "成立"]


def test_a_pair_on_the_border_of_two_words_does_not_speak_against_a_passage(folder: Path):
    known = {"北京", "京大", "大学", "校址", "校史", "桑树"}
    # 学校 lies between two known pairs; of 桑多港 no pair is known, so each of them stays.
    assert border_pairs("北京大学校址", known.__contains__) == {"学校"}
    assert border_pairs("桑多港校史", known.__contains__) == set()
    assert border_pairs("大学校", known.__contains__) == set()  # nothing follows it
    (folder / "车站.txt").write_text("火车站于1903年建成，年份已经核对。\n", encoding="utf-8")
    index = Index.of(folder)
    index.update()
    assert not index.occurs("站建")
    assert not index.occurs("成年")
    (citation,) = ask(index, "火车站建成年份？").citations
    assert citation.document == "车站.txt"
    assert citation.support == 1.0


@given(text=st.text("ab 。.!?\n”中文"))
def test_sentences_and_passages_keep_every_character_that_shows(text: str):
    for cut in (sentences, passages):
        places = list(cut(text))
        assert all(start < end for start, end in places)
        assert all(before[1] <= after[0] for before, after in pairwise(places))
        inside = "".join(text[slice(*place)] for place in places)
        assert "".join(inside.split()) == "".join(text.split())


def test_word_documents_and_encodings_are_read(tmp_path: Path):
    runs = "<w:p><w:r><w:t>灯塔是</w:t></w:r><w:r><w:t>白的。</w:t></w:r></w:p>"
    body = f"{runs}<w:p><w:r><w:t>So it is.</w:t></w:r></w:p>"
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
        archive.writestr("word/document.xml", f"<w:document {space}><w:body>{body}</w:body></w:document>")
    for encoding in ("utf-8-sig", "utf-16", "gb18030"):
        (tmp_path / f"{encoding}.txt").write_text("灯塔是白的。", encoding=encoding)
    limits = ReadingLimits()
    assert read_document(tmp_path / "a.docx", limits) == "灯塔是白的。\n\nSo it is."
    for encoding in ("utf-8-sig", "utf-16", "gb18030"):
        assert read_document(tmp_path / f"{encoding}.txt", limits) == "灯塔是白的。"


def test_a_file_that_is_no_index_is_not_touched(folder: Path, tmp_path: Path):
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("create table document (name)")
    connection.close()
    (tmp_path / "text.db").write_text("hello, this is no database at all" * 20)
    for path, message in ((other, "no index of ours"), (tmp_path / "text.db", "not a database")):
        before = path.read_bytes()
        with pytest.raises(SearchError, match=message):
            Index.of(folder, path).update()
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("question", "message"),
    [("", "nothing to look for"), ("的？", "nothing to look for"), ("x" * 2001, "at most 2,000")],
)
def test_a_question_about_nothing_is_refused(folder: Path, question: str, message: str):
    with pytest.raises(SearchError, match=message):
        ask(Index.of(folder), question)
