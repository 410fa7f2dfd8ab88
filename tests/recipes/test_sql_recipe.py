"""`danlu sql` as it is typed: SQL, words, changes, files."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import torch

from danlu.cli import main
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.recipes.speaker import Speaker
from danlu.recipes.sql import is_empty, is_select
from danlu.recipes.sql_model import SqlModel
from danlu.recipes.stage import publish
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat
from danlu.tools.sql.database import Rows, Schema, Table
from danlu.tools.sql.linking import link, sequential
from danlu.tools.sql.sketch import sql_of
from danlu.tools.sql.syntax import read


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sql") / "city.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table city (name text, people integer)")
        connection.executemany("insert into city values (?, ?)", [("Paris", 20), ("北京", 40)])
    connection.close()
    return path


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    """A model that has learnt nothing; the grammar alone makes what it writes a statement."""
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(["SELECT CA FROM TA WHERE CB = WA WB"] * 3, 290)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        d_model=32,
        n_layers=2,
        n_heads=2,
        n_kv_heads=1,
        head_dim=16,
        d_ff=64,
        max_seq_len=512,
    )
    return Speaker(LanguageModel(config).eval(), ChatFormat(tokenizer))


def asked(path: Path, *words: str) -> int:
    return main(["sql", str(path), *words, "limits.wall_s=600", "limits.cpu_s=60"])


def test_an_answer_is_explained_drawn_and_advised_on(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "answer.html"
    sql = "SELECT name, people FROM city"
    assert asked(database, sql, "explain=true", "advise=true", f"out={out}") == 0
    shown = capsys.readouterr().out
    assert "Read the rows of city.\nShow name and people." in shown
    assert "████ 40" in shown
    assert "no index and no other wording" in shown
    page = out.read_text(encoding="utf-8")
    assert "<svg" in page
    assert "北京" in page
    assert "<script" not in page


def test_a_picture_is_written_where_a_chart_fits_and_refused_where_none_does(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "answer.png"
    assert asked(database, "SELECT 'a', 1 UNION SELECT 'b', 2", f"out={out}") == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert asked(database, "SELECT name FROM city", f"out={out}") == 2
    assert "no chart fits these rows" in capsys.readouterr().err
    assert asked(database, "SELECT name FROM city", "out=x.pdf") == 2


def test_an_empty_answer_says_why(database: Path, capsys: pytest.CaptureFixture[str]):
    assert asked(database, "SELECT people FROM city WHERE name = 'paris'") == 0
    assert "name holds 'Paris', asked for is 'paris'" in capsys.readouterr().out


def test_a_change_is_proposed_and_not_made(database: Path, capsys: pytest.CaptureFixture[str]):
    before = database.read_bytes()
    assert asked(database, "DELETE FROM city WHERE people < 30") == 0
    shown = capsys.readouterr().out
    assert "Proposed, not executed; it would touch 1 row:\n\nDELETE FROM city WHERE people < 30;" in shown
    assert "Paris" in shown
    assert asked(database, "DROP TABLE city") == 2
    assert database.read_bytes() == before


def test_a_csv_file_is_asked_like_a_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "town.csv").write_text("name,people\nLyon,5\n", encoding="utf-8")
    assert asked(tmp_path / "town.csv", "SELECT people + 1 FROM town") == 0
    assert "6" in capsys.readouterr().out
    assert asked(tmp_path) == 0
    assert capsys.readouterr().out == "town(name TEXT, people INTEGER)\n"


def test_words_are_told_from_sql():
    assert is_select("SELECT x FORM t")  # a slip in SQL is no question
    assert is_select("select name from city")
    assert not is_select("select the largest city")
    assert not is_select("有多少城市？")


def test_nothing_and_a_sum_over_nothing_are_empty():
    assert is_empty(Rows("", ["a"], [], False))
    assert is_empty(Rows("", ["sum(a)"], [[None]], False))
    assert not is_empty(Rows("", ["a"], [[0], [0]], False))


def test_whatever_a_model_writes_is_one_select_over_what_exists(speaker: Speaker):
    schema = Schema([Table("city", {"name": "TEXT", "people": "INT"}, (), ())])
    questions = [link(text, schema) for text in ("How many?", "北京有多少人？", "'; DROP TABLE city --")]
    sketches = SqlModel(speaker).sketches(questions)
    done = 0
    for linked, sketch in zip(questions, sketches, strict=True):
        if sketch:
            done += 1
            statement = read(sql_of(sketch, linked, sequential(linked), schema))
            assert set(statement.tables) == {"city"}
            assert {column.name for column in statement.columns} <= {"name", "people"}
    assert done


def test_a_question_in_words_is_answered_with_its_sql_and_rows(
    speaker: Speaker, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    before = database.read_bytes()
    publish(speaker.model, speaker.chat.tokenizer, tmp_path / "model")
    code = asked(database, "How many people are in Paris?", f"model={tmp_path / 'model'}")
    said = capsys.readouterr()
    assert (code, "SELECT" in said.out) == (0, True) or "found no statement" in said.err
    assert database.read_bytes() == before
