from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from danlu.tools.sql.database import Database, SqlLimits
from danlu.tools.sql.syntax import read
from danlu.tools.sql.tokens import SqlError


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Database:
    path = tmp_path_factory.mktemp("sql") / "city #1?.db"  # a name with signs that a URI gives a meaning to
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        create table country (code text primary key, name text);
        create table city
            (name text, country text references country(code), people integer, "since when" text);
        insert into country values ('CN', '中国'), ('FR', 'France');
        insert into city values ('北京', 'CN', 21893095, null);
        insert into city values ('Paris', 'FR', 2102650, '259 BC'), ('Lyon', 'FR', 522250, '43 BC');
        create view large as select name from city where people > 1000000;
        create virtual table searched using fts5(x);
        """
    )
    connection.close()
    return Database(path, SqlLimits(wall_s=600))


def test_the_schema_shows_tables_columns_and_where_they_point(city: Database):
    assert city.schema().describe() == (
        'city(name TEXT, country TEXT → country.code, people INTEGER, "since when" TEXT)\n'
        "country(code TEXT, name TEXT)\n"
        "large(name TEXT)"
    )


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("SELECT name FROM city ORDER BY people DESC LIMIT 2", [["北京"], ["Paris"]]),
        (
            "SELECT k.name, count(*), sum(c.people) AS total FROM city c JOIN country k ON country = code "
            "GROUP BY k.code HAVING count(*) > 1 ORDER BY total",
            [["France", 2, 2624900]],
        ),
        ("select name from large where name in (select name from city where country = 'CN')", [["北京"]]),
        ("SELECT max(people) - min(people) FROM city WHERE people BETWEEN 1 AND 5000 * 1000", [[1580400]]),
        ("SELECT \"since when\" FROM city WHERE [since when] IS NOT NULL AND name LIKE 'P%'", [["259 BC"]]),
        (
            "SELECT CASE WHEN people > 1e6 THEN 'big' ELSE 'small' END FROM city WHERE NOT name = '北京'",
            [["big"], ["small"]],
        ),
        ("WITH f AS (SELECT people FROM city WHERE country = 'FR') SELECT avg(people) FROM f", [[1312450.0]]),
        ("SELECT code FROM country EXCEPT SELECT country FROM city WHERE people < 1000000", [["CN"]]),
        (
            "SELECT city.* FROM city WHERE EXISTS (SELECT 1 FROM country WHERE code = country AND code<'D')",
            [["北京", "CN", 21893095, None]],
        ),
        ("SELECT upper(name) || '!' FROM city WHERE CAST(people AS TEXT) = '522250'", [["LYON!"]]),
        ("SELECT 'it''s', -2 + +3, NULL", [["it's", 1, None]]),
    ],
)
def test_a_select_gives_its_rows(city: Database, statement: str, rows: list[list[object]]):
    assert city.select(statement).rows == rows


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT nme FROM city", "character 8: no column 'nme'; did you mean 'name'"),
        ('SELECT "nme" FROM city', "no column 'nme'"),
        ("SELECT name FROM ctiy", "no table 'ctiy'; did you mean 'city'"),
        ("SELECT c.code FROM city c", "no column 'code'"),
        ("SELECT k.code FROM city c", "'k' is no table of this statement"),
        ("SELECT x FROM searched", "no table 'searched'"),
        ("DELETE FROM city", "only one SELECT is run here; this begins with 'DELETE'"),
        ("SELECT name FROM city; SELECT 1", "found 'SELECT' where the end of the one statement"),
        ("SELECT hex(name) FROM city", "the function 'hex' is not admitted; functions are abs"),
    ],
)
def test_a_wrong_statement_is_refused_with_the_reason(city: Database, statement: str, message: str):
    with pytest.raises(SqlError, match=message):
        city.select(statement, city_schema(city))


def city_schema(city: Database):
    if not CACHE:
        CACHE.append(city.schema())
    return CACHE[0]


CACHE = []


def test_a_statement_is_written_anew_from_its_tokens():
    assert (
        read("select  count( * ),a . b\nfrom `t` where x='--' ;").sql
        == "select count(*), a.b from \"t\" where x = '--'"
    )


def test_files_that_are_no_database_are_refused_with_the_reason(tmp_path: Path):
    content = {"empty.db": b"", "text.db": b"hello", "cut.db": b"SQLite format 3\0", "dir.db": None}
    (tmp_path / "circle.db").symlink_to("circle.db")
    with (tmp_path / "huge.db").open("wb") as file:
        file.truncate(2 * 2**30)  # two GiB of holes
    for name, raw in content.items():
        (tmp_path / name).mkdir() if raw is None else (tmp_path / name).write_bytes(raw)
    for name, message in {
        "empty.db": "the file is empty",
        "text.db": "no SQLite database",
        "cut.db": "no SQLite database",
        "dir.db": "no such file but a folder",
        "none.db": "no such file",
        "circle.db": "no such file",
        "huge.db": "no SQLite database",
    }.items():
        with pytest.raises(SqlError, match=message):
            Database(tmp_path / name, SqlLimits(wall_s=600)).schema()


def test_a_damaged_database_and_a_locked_one_are_said_to_be_so(tmp_path: Path):
    path = tmp_path / "t.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("create table t (a)")
    connection.executemany("insert into t values (?)", [("x" * 100,)] * 500)
    database = Database(path, SqlLimits(busy_s=0.1, wall_s=600))
    schema = database.schema()
    connection.execute("begin exclusive")
    with pytest.raises(SqlError, match="locked by another program"):
        database.select("SELECT a FROM t", schema)
    connection.execute("rollback")
    connection.close()
    raw = bytearray(path.read_bytes())
    raw[4096:8192] = b"\xff" * 4096
    path.write_bytes(raw)
    with pytest.raises(SqlError, match="damaged"):
        database.select("SELECT a FROM t", schema)
