"""DuckDB and PostgreSQL give what SQLite gives, and as little else: answers, guards, refusals."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from test_guards import SELECTS

from danlu.recipes.sql import SqlConfig, run
from danlu.tools.error import ToolError
from danlu.tools.sql import advice, confinement, duckdb_file, other_engines, postgres_server
from danlu.tools.sql.database import Database, Schema, SqlLimits
from danlu.tools.sql.dialects import translated
from danlu.tools.sql.tokens import SqlError
from danlu.tools.sql.writes import propose

PATIENT = SqlLimits(wall_s=600, cpu_s=60)
POSTGRES = os.environ.get("DANLU_TEST_POSTGRES", "").replace("+psycopg", "")
TABLES = (
    "create table country (code text primary key, name text)",
    'create table "City" (name text, "user" text references country(code), people integer, "Since" text)',
    "create table t (a integer, text text)",
    "insert into country values ('CN', '中国'), ('FR', 'France'), ('XX', null)",
    "insert into \"City\" values ('北京', 'CN', 21893095, null), ('Paris', 'FR', 2102650, '0259-05-01')",
    "insert into \"City\" values ('Lyon', 'FR', 522250, '2043-11-09 10:20:30'), ('a%b_c\\d', null, -7, null)",
    "insert into t values " + ", ".join(f"({i}, 'x{i}')" for i in range(1000)),
)


def filled_sqlite(folder: Path) -> Path:
    with closing(sqlite3.connect(folder / "t.db")) as connection:
        for statement in TABLES:
            connection.execute(statement)
        connection.commit()
    return folder / "t.db"


def filled_duckdb(folder: Path) -> Path:
    duckdb = pytest.importorskip("duckdb")
    with closing(duckdb.connect(str(folder / "t.duckdb"))) as connection:
        for statement in TABLES:
            connection.execute(statement)
    return folder / "t.duckdb"


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled_sqlite(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="module", params=["duckdb", "postgresql"])
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Database]:
    if request.param == "duckdb":
        yield Database(filled_duckdb(tmp_path_factory.mktemp("duckdb")), PATIENT)
        return
    psycopg = pytest.importorskip("psycopg")
    if not POSTGRES:
        pytest.skip("DANLU_TEST_POSTGRES names no PostgreSQL server")
    name = f"danlu_{uuid4().hex}"
    url = POSTGRES.replace("/postgres?", f"/{name}?")
    with psycopg.connect(POSTGRES, autocommit=True) as server:
        server.execute(f"create database {name}")
        with psycopg.connect(url) as connection:
            for statement in TABLES:
                connection.execute(statement)
        yield Database(url, PATIENT)
        server.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="module")
def schema(other: Database) -> Schema:
    return other.schema()


SAME = [
    "SELECT k.name, count(*), sum(c.people) AS Total FROM city c JOIN country k ON c.User = code "
    "GROUP BY k.name HAVING count(*) > 1 ORDER BY total",
    "SELECT name, since FROM City ORDER BY since DESC, name LIMIT 3 OFFSET 1",
    'SELECT name FROM city ORDER BY "user", NAME',
    "SELECT 7 / 2, -7 / 2, 7 % 0, 7 / 0, 7.0 / 2, 1 - -1, NOT 1 = 2, 1 == 1, 'a' || (1 + 1)",
    "SELECT round(2.5), round(-0.125, 2), abs(-3), total(people), avg(people) FROM city WHERE people < 0",
    "SELECT total(people), sum(people), max(people) FROM city WHERE name = 'nowhere'",
    "SELECT max(1, 2, 3), min(2, NULL), coalesce(NULL, 4), ifnull(NULL, 5), iif(1 < 2, 3, 4)",
    "SELECT CAST('12' AS INTEGER), CAST(2.7 AS INT), CAST(-2.7 AS INTEGER), CAST(3 AS TEXT)",
    "SELECT length('北京'), upper('ab'), trim('  x '), trim('xax', 'x'), ltrim('  x'), instr('abc', 'c')",
    "SELECT substr('abcdef', 2, 3), substr('abc', 0, 2), replace('aXa', 'X', 'b'), rtrim('xa', 'a')",
    "SELECT name FROM city WHERE name LIKE 'P%' OR name LIKE '%Y%' ORDER BY 1",
    "SELECT name FROM city WHERE name LIKE 'a!%b%' ESCAPE '!' OR name LIKE '%c\\d' ORDER BY 1",
    "SELECT name FROM city WHERE name NOT LIKE '%a%' AND people BETWEEN 1 AND 9000000 OR people IN (-7)",
    "SELECT count(*) FROM city WHERE user IS 'FR' AND since IS NOT NULL",
    "SELECT count(*) FROM city WHERE user IS NOT 'FR'",
    "SELECT count(*) FROM city, country WHERE user = code",
    "SELECT count(*) FROM city JOIN country LEFT JOIN t ON a = people",
    "SELECT date(since), datetime(since), time(since) FROM city WHERE people = 522250",
    "SELECT julianday('2000-01-01'), strftime('%d.%m.%Y %H''%M', '2020-03-04 05:06:07'), date('2020-12-31')",
    "SELECT date('now') = date(), strftime('%j', '2020-02-01')",
    "WITH f(N) AS (SELECT people FROM city WHERE user = 'FR') SELECT sum(n) FROM f",
    "SELECT n FROM (SELECT name AS n, people FROM city) WHERE people < 0",
    "SELECT code FROM country EXCEPT SELECT user FROM city ORDER BY 1",
    "SELECT group_concat(name) FROM (SELECT name FROM city WHERE user = 'FR' ORDER BY name)",
    "SELECT group_concat(DISTINCT user) FROM city WHERE user = 'FR'",
    "SELECT CASE user WHEN 'FR' THEN 'F' ELSE 'o' END AS Kind, count(*) FROM city GROUP BY kind ORDER BY 1",
    "SELECT name FROM country WHERE EXISTS (SELECT 1 FROM city WHERE user = code AND people > 9000000)",
    "SELECT name FROM city WHERE (user, name) IN (SELECT 'FR', 'Lyon')",
    "SELECT city.* FROM city WHERE NOT people > -(-3) AND name COLLATE BINARY < 'b'",
    "SELECT TRUE, FALSE, NULL, 1e3, .5, 'it''s'",
]


@contextmanager
def opened(database: Database, cpu_s: float = 60.0) -> Generator[other_engines.Engine]:
    """The engine in this process, without the limits that would hold the tests as well."""
    limits = asdict(SqlLimits(cpu_s=cpu_s, wall_s=600))
    place = database.engine.place()
    with pytest.MonkeyPatch.context() as patch:
        for module in (duckdb_file, postgres_server):
            patch.setattr(module, "confine", lambda memory: None)
        engine = other_engines.ENGINES[place["engine"]]({**place, "limits": limits})
    with closing(engine):
        yield engine


def answer(engine: other_engines.Engine, sql: str) -> dict[str, Any]:
    limits = {"rows": 10, "answer_bytes": 10_000, "cell_characters": 100}
    return confinement.taken(*engine.rows(sql), limits)


def test_the_same_question_has_the_same_answer(other: Database, schema: Schema, sqlite: Path):
    dialect = other.engine.dialect
    assert dialect is not None
    columns = {table.name: list(table.columns) for table in schema.tables}
    with opened(other) as engine, closing(sqlite3.connect(sqlite)) as connection:
        for statement in SAME:
            expected = connection.execute(statement)
            found = answer(engine, translated(other.checked(statement, schema), columns, dialect))
            assert found["rows"] == [list(row) for row in expected], statement
            names = [column[0].lower() for column in expected.description]
            assert [each.lower() for each in found["columns"]] == names, statement


def test_the_schema_is_that_of_sqlite(schema: Schema, sqlite: Path):
    def plain(found: Schema) -> dict[str, object]:
        return {
            each.name: (list(each.columns), list(each.primary_key), list(each.foreign_keys))
            for each in found.tables
        }

    assert plain(schema) == plain(Database(sqlite, PATIENT).schema())


def test_a_question_passes_through_the_process(other: Database, schema: Schema):
    found = other.select("SELECT name FROM city WHERE user = 'FR' ORDER BY people", schema)
    assert (found.rows, found.cut) == ([["Lyon"], ["Paris"]], False)
    assert sorted(other.cells(schema, ["paris", "o'", "fr", "\0"])) == [
        ("City", "name", "Paris"),
        ("City", "user", "FR"),
        ("country", "code", "FR"),
    ]
    few = replace(other, limits=SqlLimits(rows=3, wall_s=600))
    found = few.select("SELECT a FROM t ORDER BY a", schema)
    assert ([row[0] for row in found.rows], found.cut) == ([0, 1, 2], True)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT a.a FROM t a, t b, t c ORDER BY a.a + b.a * c.a DESC", "takes too long|memory"),
        ("SELECT typeof(a) FROM t", "has no function that means what typeof means in SQLite"),
        ("SELECT date(text, '+1 day') FROM t", "takes one time in date, without modifiers"),
        ("SELECT strftime('%s', text) FROM t", "strftime knows %Y %m %d %H %M %S %j here, not '%s'"),
        ("SELECT text FROM t ORDER BY text COLLATE RTRIM", "has no COLLATE RTRIM; compare lower"),
        ("SELECT nme FROM country", "no column 'nme'; did you mean 'name'"),
    ],
)
def test_what_an_engine_lacks_or_may_not_do_is_said(
    other: Database, schema: Schema, statement: str, message: str
):
    with pytest.raises(ToolError, match=message):
        replace(other, limits=SqlLimits(cpu_s=0.3, wall_s=600)).select(statement, schema)


def test_advice_and_proposals_are_said_to_be_for_sqlite_alone(other: Database, schema: Schema):
    with pytest.raises(SqlError, match="tried out on a copy for SQLite alone, not for"):
        advice.advise("SELECT a FROM t", other, schema)
    with pytest.raises(SqlError, match="changes are proposed for SQLite alone, not for"):
        propose("DELETE FROM t", other, schema)


REACHING = [
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM request",
    "SELECT getenv('HOME')",
    "COPY t TO '/tmp/danlu'",
    "COPY t TO PROGRAM 'touch /tmp/danlu'",
    "EXPORT DATABASE '/tmp/danlu'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "ATTACH '/tmp/danlu.db'",
    "SET memory_limit = '1TB'",
    "SET enable_external_access = true",
    "SET TRANSACTION READ WRITE",
    "SET ROLE NONE",
    "RESET ROLE",
    "SELECT 1; DROP TABLE t",
    "COMMIT; DROP TABLE t",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT nextval('s')",
    "WITH x AS (INSERT INTO t VALUES (1, '') RETURNING a) SELECT a FROM x",
    "SELECT a FROM t FOR UPDATE",
    "DO $$ BEGIN END $$",
]
HARMLESS = ("SELECT", "VALUES", "/* x */", "PRAGMA table_list", "PRAGMA user", "WITH RECURSIVE", ";")


def test_the_hundred_attempts_are_refused_in_words(other: Database, schema: Schema):
    for statement in [*SELECTS, *REACHING]:
        with pytest.raises(SqlError) as caught:
            print(statement[:200], other.select(statement, schema))
        assert len(str(caught.value)) > 15


def test_behind_the_grammar_the_engine_refuses_the_same(other: Database):
    """The other guards alone; what they let through reads its tables and says how it is made."""
    passed: list[str] = []
    for statement in [*SELECTS, *REACHING]:
        with opened(other, cpu_s=0.3) as engine:
            try:
                answer(engine, statement)
            except confinement.RefusedError:
                continue
        passed.append(statement)
    assert [each for each in passed if each in REACHING] == []
    assert [each for each in passed if not each.startswith(HARMLESS)] == []
    assert [each for each in passed if "INTO" in each or "DELETE" in each or "file" in each] == []
    with opened(other) as engine:
        assert answer(engine, "SELECT count(*) FROM t")["rows"] == [[1000]]


def test_postgresql_keeps_nothing_of_what_a_function_does(other: Database):
    """Version 15 lets a transaction that only reads make a large object; it is rolled back with the rest."""
    if other.engine.kind != "postgresql":
        pytest.skip("DuckDB has no large objects")
    with opened(other) as engine:
        assert len(answer(engine, "SELECT lo_create(0)")["rows"]) <= 1
    with opened(other) as engine:
        assert answer(engine, "SELECT count(*) FROM pg_largeobject_metadata")["rows"] == [[0]]


def test_a_duckdb_file_stays_as_it_is_and_alone(tmp_path: Path):
    path = filled_duckdb(tmp_path)
    before = path.read_bytes()
    assert Database(path, PATIENT).select("SELECT count(*) FROM t").rows == [[1000]]
    with pytest.raises(SqlError):
        Database(path, PATIENT).select("SELECT count(*) FROM u")
    assert (path.read_bytes(), [each.name for each in tmp_path.iterdir()]) == (before, [path.name])


def test_a_duckdb_file_of_another_name_is_said_to_be_one(tmp_path: Path):
    path = filled_duckdb(tmp_path).rename(tmp_path / "t.db")
    with pytest.raises(SqlError, match=r"is a DuckDB database; let its name end in \.duckdb"):
        Database(path, PATIENT).schema()


def test_memory_is_limited_in_duckdb(tmp_path: Path):
    database = Database(filled_duckdb(tmp_path), SqlLimits(memory_bytes=64 * 2**20, wall_s=600, cpu_s=60))
    with pytest.raises(ToolError, match="memory"):
        database.select(
            "SELECT a.a, b.a, c.a FROM t a, t b, t c WHERE c.a < 20 ORDER BY a.a * b.a * c.a, a.text"
        )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://eve:hunter2@127.0.0.1:1/x",
        "postgresql://eve:hunter2@127.0.0.1:port/x",
        "postgres://eve:hunter2@[::1/x",
        "postgresql+psycopg://eve:hunter2@/x?host=/none&nothing=hunter2",
        "mysql://eve:hunter2@localhost/x",
    ],
)
def test_no_error_shows_the_password(url: str):
    pytest.importorskip("psycopg")
    with pytest.raises(SqlError) as caught:
        Database(url, PATIENT).schema()
    assert "hunter2" not in str(caught.value)
    assert len(str(caught.value)) > 15


def test_a_package_that_is_missing_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SqlError, match=r"PostgreSQL needs psycopg: pip install 'danlu\[postgres\]'"):
        Database("postgresql://localhost/x").schema()


def test_the_command_reads_a_duckdb_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = str(filled_duckdb(tmp_path))
    run(SqlConfig(database=path, question="SELECT max(people) FROM city WHERE people < 0", limits=PATIENT))
    assert "-7" in capsys.readouterr().out
