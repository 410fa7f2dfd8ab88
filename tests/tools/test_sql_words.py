"""Questions in words: what they name, the prompt, the sketch and the SQL that it stands for."""

from __future__ import annotations

import sqlite3

import pytest
from hostile import HOSTILE
from llguidance import LLMatcher, LLTokenizer

from danlu.tools.error import ToolError
from danlu.tools.sql.asking import ask
from danlu.tools.sql.database import Database, Schema, SqlLimits, Table
from danlu.tools.sql.linking import (
    COLUMN_CODES,
    MAX_SHOWN,
    WORD_CODES,
    ColumnRef,
    Linked,
    link,
    prompt,
    sequential,
    spoken,
)
from danlu.tools.sql.render import render
from danlu.tools.sql.sketch import grammar, sql_of
from danlu.tools.sql.sketching import NoSketchError, sketch_of
from danlu.tools.sql.syntax import read
from danlu.tools.sql.tokens import KEYWORDS, SqlError
from danlu.tools.visible import whole_unicode

PATIENT = SqlLimits(wall_s=600)
SCHEMA = Schema(
    [
        Table("country", {"code": "TEXT", "name": "TEXT"}, ["code"], ()),
        Table(
            "city",
            {"cityName": "TEXT", "country": "TEXT", "people": "INTEGER"},
            (),
            [("country", "country", "code")],
        ),
        Table("mayor", {"name": "TEXT", "cityName": "TEXT"}, (), ()),
    ]
)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Database:
    path = tmp_path_factory.mktemp("words") / "city.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            """
            create table country (code text primary key, name text);
            create table city (cityName text, country text references country(code), people integer);
            create table mayor (name text, cityName text);
            insert into country values ('CN', '中国'), ('FR', 'France');
            insert into city values ('北京', 'CN', 21893095);
            insert into city values ('Paris', 'FR', 2102650), ('Lyon', 'FR', 522250);
            insert into mayor values ('Anne O''Hara', 'Paris');
            """
        )
    connection.close()
    return Database(path, PATIENT)


def sketched(question: str, sql: str) -> str:
    linked = link(question, SCHEMA)
    return sketch_of(read(sql).query, linked, sequential(linked))


def restored(question: str, sketch: str) -> str:
    linked = link(question, SCHEMA)
    return sql_of(sketch, linked, sequential(linked), SCHEMA)


def test_codes_are_no_words_of_sql_and_differ():
    codes = [*WORD_CODES, *COLUMN_CODES, *(f"T{letter}" for letter in "ABC")]
    assert len(set(codes)) == len(codes)
    assert not set(codes) & KEYWORDS


@pytest.mark.parametrize(
    ("name", "said"),
    [("homeTown_id", "home town id"), ("HTTPCode", "http code"), ("人口", "人口"), ("year2020", "year 2020")],
)
def test_names_are_said_as_people_say_them(name: str, said: str):
    assert spoken(name) == said


def test_full_names_are_linked_and_parts_of_names_where_no_full_name_stands():
    linked = link("How many people live in each city name?", SCHEMA)
    names = {linked.words[at].text: found for at, found in linked.names.items()}
    assert names["people"] == [("=", ColumnRef("city", "people", "INTEGER"))]
    assert names["name"] == [("=", ColumnRef(t, "cityName", "TEXT")) for t in ("city", "mayor")]
    assert "how" not in names


def test_the_prompt_shows_tables_and_words_with_their_codes(city: Database):
    linked = ask("How many people has paris?", city, city.schema())
    assert prompt(linked, sequential(linked)) == (
        "city TA city name CA country CB people CC\n"
        "country TB code CD name CE\n"
        "mayor TC name CF city name CG\n"
        "how WA many WB people WC = CC has WD paris WE : CA : CG ? WF"
    )


def test_a_cell_is_written_as_it_stands_in_the_database(city: Database):
    linked = ask("How many people has PARIS?", city, city.schema())
    sql = sql_of("SELECT CC FROM TA WHERE CA = WE WE", linked, sequential(linked), city.schema())
    assert sql == "SELECT people FROM city WHERE cityName = 'Paris'"
    assert city.select(sql).rows == [[2102650]]


@pytest.mark.parametrize(
    ("question", "sql", "sketch", "again"),
    [
        (
            "people of Lyon?",
            "SELECT people FROM city WHERE cityName = 'lyon'",
            "SELECT CE FROM TB WHERE CC = WC WC",
            "SELECT people FROM city WHERE cityName = 'Lyon' COLLATE NOCASE",
        ),
        (
            "countries with more than 2 cities",
            "SELECT T2.name FROM city AS T1 JOIN country AS T2 ON T1.country = T2.code "
            "GROUP BY T2.code HAVING count(*) > 2",
            "SELECT CB FROM TA TB GROUP BY CA HAVING COUNT ( * ) > WE WE",
            "SELECT country.name FROM country JOIN city ON country.code = city.country "
            "GROUP BY country.code HAVING COUNT(*) > 2",
        ),
        (
            "the largest city",
            'SELECT cityName FROM city WHERE people = (SELECT max(people) FROM city) AND country != "FR"',
            "SELECT CC FROM TB WHERE CE = ( SELECT MAX ( CE ) FROM TB ) AND CD != 'FR'",
            "SELECT cityName FROM city WHERE people = (SELECT MAX(people) FROM city) AND country != 'FR'",
        ),
        (
            "cities in FR whose people are 7 and whose name is Lyon",  # as the question says them
            "SELECT country FROM city WHERE cityName = 'Lyon' AND people = 7 AND country = 'FR'",
            "SELECT CD FROM TB WHERE CD = WC WC AND CE = WG WG AND CC = WL WL",
            "SELECT country FROM city WHERE country = 'FR' COLLATE NOCASE AND people = 7 "
            "AND cityName = 'Lyon' COLLATE NOCASE",
        ),
        (
            "names with an",
            "SELECT DISTINCT name FROM mayor WHERE name LIKE '%an%' ORDER BY name DESC LIMIT 3",
            "SELECT DISTINCT CF FROM TC WHERE CF LIKE WC WC ORDER BY CF DESC LIMIT 3",
            "SELECT DISTINCT name FROM mayor WHERE name LIKE '%an%' ORDER BY name DESC LIMIT 3",
        ),
        (
            "codes without a city",
            "SELECT code FROM country EXCEPT SELECT country FROM city",
            "SELECT CA FROM TA EXCEPT SELECT CD FROM TB",
            "SELECT code FROM country EXCEPT SELECT country FROM city",
        ),
    ],
)
def test_sql_becomes_a_sketch_and_a_sketch_becomes_sql(question: str, sql: str, sketch: str, again: str):
    assert sketched(question, sql) == sketch
    assert restored(question, sketch) == again


def test_a_table_that_only_a_column_names_is_joined_and_tables_between_are_added():
    sql = restored("x", "SELECT CF , CB FROM TC")  # a mayor's country: over city, by the name of the city
    assert sql == (
        "SELECT mayor.name, country.name FROM mayor JOIN city ON mayor.cityName = city.cityName "
        "JOIN country ON city.country = country.code"
    )


def test_tables_that_nothing_joins_are_an_error():
    schema = Schema([Table("a", {"x": ""}, (), ()), Table("b", {"y": ""}, (), ())])
    linked = link("x and y", schema)
    with pytest.raises(SqlError, match="nothing joins 'b' to 'a'"):
        sql_of("SELECT CA , CB FROM TA TB", linked, sequential(linked), schema)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a.people FROM city a JOIN city b ON a.people = b.people",
        "SELECT people FROM city LIMIT 3",
        "SELECT people FROM city WHERE cityName LIKE 'P%'",
        "WITH f AS (SELECT people FROM city) SELECT people FROM f",
        "SELECT upper(cityName) FROM city",
    ],
)
def test_what_a_sketch_cannot_say_is_refused(sql: str):
    with pytest.raises(NoSketchError):
        sketched("x", sql)


def admits(linked: Linked, sketch: str) -> bool:
    """Whether the grammar of a question admits a sketch to its end."""
    tokenizer = LLTokenizer("byte")
    matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_lark(grammar(sequential(linked))), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    tokens = tokenizer.tokenize_str(sketch)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


@pytest.mark.parametrize(
    ("sketch", "admitted"),
    [
        ("SELECT CE FROM TB WHERE CC = WC WC", True),
        ("SELECT COUNT ( * ) FROM TB", True),
        ("SELECT CB FROM TA TB GROUP BY CA HAVING COUNT ( * ) > 2", True),
        ("SELECT CC FROM TB WHERE CE = ( SELECT MAX ( CE ) FROM TB ) AND CD != 'FR'", True),
        ("SELECT CA FROM TA EXCEPT SELECT CD FROM TB", True),
        ("SELECT CE FROM TB WHERE CC = WC", False),  # a span has an end
        ("SELECT CE FROM TB WHERE CC = WC WA", False),  # which is not before its beginning
        ("SELECT CZ FROM TB", False),  # no such column
        ("SELECT CE FROM TD", False),
        ("DELETE FROM TB", False),
        ("SELECT CE FROM TB ; SELECT CE FROM TB", False),
        ("SELECT CE", False),
    ],
)
def test_the_grammar_admits_one_select_over_what_exists(sketch: str, admitted: bool):
    assert admits(link("people of Lyon?", SCHEMA), sketch) == admitted


def test_of_a_large_schema_the_tables_that_are_named_are_shown():
    tables = [Table(f"t{i}", {f"c{i}_{j}": "" for j in range(9)}, (), ()) for i in range(30)]
    wanted = Table("harbour", {"depth": "", "owner": ""}, (), [("owner", "t7", "c7_0")])
    linked = link("How deep is the harbour of which depth?", Schema([*tables, wanted]))
    shown = [table.name for table in linked.tables]
    assert "harbour" in shown
    assert "t7" in shown  # its neighbour
    assert len(linked.columns) <= MAX_SHOWN


def test_hostile_questions_bring_no_code_and_stay_one_text(city: Database):
    schema = city.schema()
    for text in HOSTILE:
        if text != whole_unicode(text) or "\0" in text:
            continue
        try:
            linked = ask(text, city, schema) if len(text) < 40 else link(text, schema)
        except ToolError:
            continue
        codes = sequential(linked)
        n = len(linked.words)
        sql = sql_of(f"SELECT CA FROM TA WHERE CA = WA {codes.words[n - 1]}", linked, codes, schema)
        statement = read(sql)
        assert statement.tables == {"city": "city"}
        assert [column.name for column in statement.columns] == ["cityName", "cityName"]


def test_hostile_names_bring_no_code():
    usable = [each for each in HOSTILE if each == whole_unicode(each) and "\0" not in each]
    for name in usable:
        schema = Schema([Table(name, {name + "x": ""}, (), ())])
        linked = link("how many?", schema)
        shown = prompt(linked, sequential(linked))
        assert shown.count("\n") == 1
        named = shown.split("\n")[0].removesuffix(" CA")
        assert not set(named.replace(" TA ", " ").split()) & {*WORD_CODES, *COLUMN_CODES}
        sql = sql_of("SELECT CA FROM TA", linked, sequential(linked), schema)
        assert render(read(sql).query) == sql


def test_too_long_a_question_is_refused():
    with pytest.raises(SqlError, match="100 words; at most 78"):
        link("a " * 100, SCHEMA)
    with pytest.raises(SqlError, match="no words"):
        link(" ", SCHEMA)
