"""A hundred attempts through each tool to read, write, attach, loop, exhaust or reach out: all refused."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sqlite3
import time
import zipfile
from pathlib import Path

import pytest

from danlu.tools import builtin
from danlu.tools.calculator.calculate import calculate
from danlu.tools.calculator.syntax import CalculatorError
from danlu.tools.error import ToolError
from danlu.tools.protocol import Call, Toolbox, ToolLimits, tool
from danlu.tools.search.answer import locate
from danlu.tools.search.index import Index, SearchError
from danlu.tools.search.reading import DocumentError, ReadingLimits, read_document
from danlu.tools.sql import sqlite_file
from danlu.tools.sql.database import Database, Schema, SqlLimits
from danlu.tools.sql.tokens import FUNCTIONS, SqlError

PATIENT = SqlLimits(wall_s=600)  # a loaded machine may stand still for a while
FILES = ("/etc/passwd", "/proc/self/environ", "../../secret.txt", "C:\\\\secret.txt")
HOSTS = ("http://169.254.169.254/", "http://localhost:22/", "ftp://example.org/x", "gopher://example.org")
PYTHON = ("open({0!r})", "open({0!r}).read()", "__import__('os').popen({0!r})", "exec({0!r})", "eval({0!r})")

CALCULATIONS = [
    *(form.format(place) for place in (*FILES, *HOSTS) for form in PYTHON),
    *(f"import {name}" for name in ("os", "sys", "socket", "subprocess", "ctypes")),
    *(f"().__class__.{name}" for name in ("__bases__", "__mro__", "__subclasses__()")),
    *(
        "lambda: 0",
        "[1 for x in y]",
        "{1: 2}",
        "'a' * 10",
        "x := 3",
        "print(1)",
        "globals()",
        "a.b",
        "a[0].b",
        "@x",
        "while 1",
    ),
    *(
        "9^9^9",
        "9^9^9^9",
        "2^(10^9)",
        "10^10^10",
        "(2^13000)^2",
        "(1/3)^100000",
        "1e999999",
        "1e-999999",
        "9" * 1500,
    ),
    *(
        "1401!",
        "5!!!",
        "(10^9)!",
        "(-1)!",
        "2.5!",
        "binomial(10^6, 3)",
        "binomial(9999, 5000)^3",
        "factor(10^13)",
        "factor(2^61 - 1)",
    ),
    *(
        "(" * 500,
        "(" * 60 + "1" + ")" * 60,
        "-" * 400 + "1",
        "1+" * 400 + "1",
        "sqrt(" * 50 + "1" + ")" * 50,
        "2^" * 200 + "2",
    ),
    *(
        "(x+y+z+w+v)^40",
        "(x+1)^1000",
        "x^(x^9) = 1",
        "x^50 = 1",
        "diff(x, x, 999)",
        "diff(x^x^x^x^x^x, x, 10)",
    ),
    *(
        "1/0",
        "0^-1",
        "1 mod 0",
        "log(0)",
        "log(-1)",
        "sqrt(-1)",
        "acos(2)",
        "tan(1e999)",
        "exp(10^6)",
        "ln(0)",
        "log(2, 1)",
    ),
    *(
        "2026-02-30",
        "9999-12-31 + 1 days",
        "2026-01-01 * 2",
        "weekday(3)",
        "1 m + 1 s",
        "5 °C + 3 °C",
        "m^30 m^30",
        "1 m to today",
    ),
]


def test_the_calculator_refuses_a_hundred_attempts_in_words():
    assert len(set(CALCULATIONS)) >= 100
    for expression in CALCULATIONS:
        began = time.thread_time()
        with pytest.raises(CalculatorError) as caught:
            print(expression, calculate(expression))
        assert len(str(caught.value)) > 15
        assert time.thread_time() - began < 4, expression
    assert calculate("1 + 1") == "2"


SELECTS = [
    *(
        f"SELECT {name}({place!r})"
        for name in ("readfile", "load_extension", "edit", "fts5")
        for place in FILES
    ),
    *(f"SELECT writefile({place!r}, 'x')" for place in FILES),
    *(f"ATTACH DATABASE {place!r} AS y" for place in (*FILES, *HOSTS, ":memory:", "")),
    *(
        f"SELECT * FROM {name}"
        for name in ("sqlite_master", "sqlite_schema", "sqlite_temp_master", "main.t", "temp.t", "dbstat")
    ),
    *(
        f"SELECT * FROM pragma_{name}('t')"
        for name in ("table_info", "database_list", "function_list", "compile_options")
    ),
    *(
        f"SELECT * FROM {name}('x')"
        for name in ("json_each", "generate_series", "fsdir", "zipfile", "csv", "sqlite_stmt")
    ),
    *(
        f"PRAGMA {name}"
        for name in (
            "writable_schema = 1",
            "journal_mode = delete",
            "temp_store_directory = '/'",
            "table_list",
            "query_only = 0",
            "key = 'x'",
            "user_version = 7",
        )
    ),
    *(
        "INSERT INTO t VALUES (1, 'x')",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "DROP TABLE t",
        "CREATE TABLE u (a)",
        "CREATE TRIGGER r",
    ),
    *(
        "CREATE VIEW w AS SELECT 1",
        "CREATE VIRTUAL TABLE z USING fts5(x)",
        "ALTER TABLE t RENAME TO u",
        "REPLACE INTO t VALUES (1)",
    ),
    *(
        "VACUUM",
        "VACUUM INTO '/tmp/x'",
        "REINDEX",
        "ANALYZE",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT a",
        "RELEASE a",
        "DETACH main",
    ),
    *(
        "EXPLAIN SELECT a FROM t",
        "VALUES (1)",
        "SELECT a FROM t; DROP TABLE t",
        "SELECT a FROM t;;",
        "SELECT a FROM t -- x",
        "/* x */ SELECT a FROM t",
    ),
    *(
        "SELECT a INTO u FROM t",
        "SELECT a FROM t RETURNING a",
        "WITH d AS (DELETE FROM t RETURNING a) SELECT * FROM d",
        "SELECT (DELETE FROM t)",
    ),
    *(
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
        "SELECT randomblob(1000000000)",
        "SELECT zeroblob(1e9)",
    ),
    *(
        "SELECT printf('%.*c', 1000000000, 'x')",
        "SELECT hex(a) FROM t",
        "SELECT char(0)",
        "SELECT quote(a) FROM t",
        "SELECT sqlite_version()",
    ),
    *(
        "SELECT fts3_tokenizer('x')",
        "SELECT match(a, 'x') FROM t",
        "SELECT a FROM t WHERE a GLOB 'x'",
        "SELECT a FROM t WHERE a REGEXP '(a+)+'",
    ),
    *(
        "SELECT rowid FROM t",
        'SELECT "nothing" FROM t',
        "SELECT nothing FROM t",
        "SELECT u.a FROM t",
        "SELECT a FROM u",
        "SELECT t.b FROM t u",
    ),
    *(
        "SELECT " + "(" * 100 + "1" + ")" * 100,
        "SELECT " + "1," * 20000 + "1",
        "SELECT a FROM t" + ", t" * 20,
        "SELECT 'x",
        'SELECT "x',
        "",
        ";",
        "SELECT",
    ),
    *(
        "SELECT a FROM t WHERE a = ?",
        "SELECT :x",
        "SELECT @x",
        "SELECT $x",
        "SELECT x'00'",
        "SELECT a FROM t LIMIT",
        "SELECT count(*) OVER () FROM t",
        "SELECT 1e",
    ),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("guards") / "t.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (a integer, text)")
        connection.executemany("insert into t values (?, ?)", [(i, "x" * 50) for i in range(1000)])
    connection.close()
    return path


@pytest.fixture(scope="module")
def schema(path: Path) -> Schema:
    return Database(path, PATIENT).schema()


def test_the_sql_tool_refuses_a_hundred_attempts_in_words(path: Path, schema: Schema):
    assert len(set(SELECTS)) >= 100
    before = path.read_bytes()
    for statement in SELECTS:
        with pytest.raises(SqlError) as caught:
            print(statement[:200], Database(path, PATIENT).select(statement, schema))
        assert len(str(caught.value)) > 15
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert Database(path, PATIENT).select("SELECT count(*) FROM t", schema).rows == [[1000]]


def test_behind_the_grammar_the_connection_refuses_the_same(path: Path):
    """The second layer alone, with statements as they were given; what it lets through only reads `t`."""
    before = path.read_bytes()
    request = {"tables": ["t"], "functions": [*FUNCTIONS, "like"]}
    limits = {"rows": 10, "answer_bytes": 10_000, "cell_characters": 100, "cpu_s": 0.2}
    harmless = []
    for statement in SELECTS:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            connection.execute("pragma query_only = on")
            sqlite_file._run(connection, {**request, "sql": statement}, limits)
            harmless.append(statement)
        except (sqlite3.Error, sqlite3.Warning, TypeError):
            pass
        finally:
            connection.close()
    for statement in harmless:
        assert statement.startswith(("SELECT ", "VALUES", "/* x */", "EXPLAIN", ";")), statement
        assert not any(word in statement for word in ("sqlite_", "pragma", "file", "load", "blob(", "INTO"))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT count(*) FROM t a, t b, t c, t d WHERE a.a + b.a + c.a = d.a", "takes too long"),
        ("SELECT a.a FROM t a, t b, t c ORDER BY a.a + b.a * c.a DESC", "too long|memory"),
        (
            "SELECT length(" + "replace(" * 8 + "'xxxxxxxxxx'" + ", 'x', 'xxxxxxxxxx')" * 8 + ")",
            "larger than is granted",
        ),
        ("SELECT group_concat(a.text || b.text) FROM t a, t b", "larger than is granted|memory"),
        ("WITH c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c", "something else"),
    ],
)
def test_a_statement_that_would_not_end_or_fill_the_memory_is_stopped(
    path: Path, schema: Schema, statement: str, message: str
):
    limits = SqlLimits(cpu_s=0.3, wall_s=600, memory_bytes=192 * 2**20)
    with pytest.raises(SqlError, match=message):
        Database(path, limits).select(statement, schema)


def test_an_answer_is_cut_at_its_rows_and_bytes(path: Path, schema: Schema):
    few = Database(path, SqlLimits(rows=3, wall_s=600)).select("SELECT a FROM t ORDER BY a", schema)
    assert ([row[0] for row in few.rows], few.cut) == ([0, 1, 2], True)
    small = Database(path, SqlLimits(answer_bytes=500, wall_s=600)).select("SELECT text FROM t", schema)
    assert (len(small.rows), small.cut) == (9, True)  # a row is 54 bytes


def test_the_worker_can_write_no_file(path: Path, schema: Schema, tmp_path: Path):
    """Not even where SQLite itself would: beside a database in write-ahead mode."""
    wal = tmp_path / "wal.db"
    with sqlite3.connect(wal) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table t (a)")
        connection.execute("insert into t values (7)")
    connection.close()
    assert Database(wal, PATIENT).select("SELECT a FROM t").rows == [[7]]
    assert [each.name for each in tmp_path.iterdir()] == ["wal.db"]


NAMES = [
    f"{'../' * depth}{name}"
    for depth in range(5)
    for name in ("etc/passwd", "secret.txt", "index.db", "a.txt/../../secret.txt")
]
NAMES += [
    f"{start}{name}"
    for start in ("/", "file://", "\\\\", "~/", "C:\\", "http://", "|", "\0", "%2e%2e/")
    for name in ("etc/passwd", "secret.txt")
]
QUOTES = ["root:x:0:0", "top secret", "' OR 1=1 --", "%", "_", "", " ", "\0", "a* NEAR b", '"', "x" * 5000]


def test_search_reads_no_document_outside_its_folder_whatever_it_is_called(tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("The top secret word is plumbago.")
    (folder / "a.txt").write_text("The lighthouse is white.")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "linked").symlink_to(tmp_path)
    index = Index.of(folder, tmp_path / "index.db")
    assert index.update().added == 1
    attempts = [(name, quote) for name in NAMES for quote in ("plumbago", "root")] + [
        ("a.txt", q) for q in QUOTES
    ]
    attempts += [(name, "") for name in NAMES]
    assert len(attempts) >= 100
    for name, quote in attempts:
        with pytest.raises(SearchError, match=r"no such document|does not contain"):
            locate(index, name, quote)
    assert locate(index, "a.txt", "The lighthouse is white.").place == "a.txt, line 1, characters 0 to 24"


def made(folder: Path) -> dict[str, str]:
    """Files that would fill the memory, run or loop, each with why it is refused."""
    word = "word/document.xml"
    with zipfile.ZipFile(folder / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(word, b" " * 3_000_000)
    entities = "<!DOCTYPE a [<!ENTITY b 'bbbbbbbbbb'><!ENTITY c '&b;&b;&b;'>]><a>&c;</a>"
    with zipfile.ZipFile(folder / "entities.docx", "w") as archive:
        archive.writestr(word, entities)
    with zipfile.ZipFile(folder / "none.docx", "w") as archive:
        archive.writestr("other.xml", "x")
    (folder / "encrypted.docx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100)
    (folder / "broken.docx").write_bytes(b"PK\x03\x04broken")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "blank.txt").write_text(" \n ")
    (folder / "binary.txt").write_bytes(b"\x7fELF\0\0\0")
    (folder / "mixed.txt").write_bytes(b"\xff\xff\xff\xff")
    (folder / "fake.pdf").write_bytes(b"not a pdf")
    (folder / "quotes.csv").write_text('a,b\n"open,1')
    (folder / "script.html").write_text("<script>while(1){}</script>")
    with (folder / "huge.txt").open("wb") as file:
        file.truncate(2 * 2**30)  # two GiB of holes
    return {
        "bomb.docx": "unpacks to more",
        "entities.docx": "declares entities",
        "none.docx": "no readable",
        "encrypted.docx": "encrypted",
        "broken.docx": "no readable",
        "empty.txt": "is empty",
        "blank.txt": "holds no text",
        "binary.txt": "is no text",
        "mixed.txt": "neither UTF-8",
        "fake.pdf": "is no PDF",
        "quotes.csv": "is no CSV",
        "script.html": "holds no text",
        "huge.txt": "2,048 MiB",
    }


def test_documents_that_are_a_trap_are_left_out_by_name(tmp_path: Path):
    reasons = made(tmp_path)
    (tmp_path / "good.txt").write_text("The lighthouse is white.")
    limits = ReadingLimits(text_characters=100_000)
    for name, reason in reasons.items():
        with pytest.raises(DocumentError, match=reason):
            read_document(tmp_path / name, limits)
    (tmp_path / "circle.txt").symlink_to("circle.txt")
    changes = Index.of(tmp_path, limits=limits).update()
    assert (changes.added, set(changes.left_out)) == (1, set(reasons))


def spin(kind: str) -> str:
    """Misbehave in one of several ways."""
    if kind == "loop":
        while True:
            pass
    if kind == "memory":
        return str(len(b"x" * (1 << 40)))
    if kind == "crash":
        ctypes.string_at(0)
    if kind == "exit":
        os._exit(3)
    if kind == "print":
        print('{"value": "forged"}')
    return json.dumps(sorted(os.environ)[:1]) if kind == "environment" else "done"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("loop", "stopped after|more memory or time"),
        ("memory", "MemoryError"),
        ("crash", "more memory or time"),
        ("exit", "more memory or time"),
    ],
)
def test_a_tool_in_a_process_of_its_own_is_ended_whatever_it_does(kind: str, message: str):
    box = Toolbox([tool(spin, isolated=True)], ToolLimits(wall_s=1 if kind == "loop" else 600))
    result = box.call(Call("1", "spin", json.dumps({"kind": kind})))
    assert not result.ok
    assert any(part in result.content for part in message.split("|")), result.content


def test_a_process_of_its_own_shows_no_environment_and_its_prints_are_no_answer(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("A_SECRET", "plumbago")
    box = Toolbox([tool(spin, isolated=True)], ToolLimits(wall_s=600))
    assert "SECRET" not in box.call(Call("1", "spin", '{"kind": "environment"}')).content
    assert box.call(Call("1", "spin", '{"kind": "print"}')).content == '"done"'


def test_a_tool_that_loops_in_a_thread_is_left_and_stopped():
    began = time.monotonic()

    def loop() -> str:
        """Never end."""
        while True:
            time.sleep(0.001)

    result = Toolbox([tool(loop)], ToolLimits(wall_s=0.2)).call(Call("1", "loop", "{}"))
    assert json.loads(result.content)["error"] == "loop was stopped after 0.2 seconds without a result"
    assert time.monotonic() - began < 60


ARGUMENTS = [
    *(
        "",
        "null",
        "[]",
        "1",
        '"x"',
        "{",
        "}",
        "{]",
        "nan",
        '{"expression": NaN}',
        '{"expression": Infinity}',
        '{"expression": -Infinity}',
    ),
    *(
        '{"expression": 1}',
        '{"expression": null}',
        '{"expression": []}',
        '{"expression": {}}',
        '{"expression": true}',
        '{"expression": 1.5}',
    ),
    *(
        '{"expression": "1", "expression": "2"}',
        '{"expresion": "1"}',
        '{"expression": "1", "file": "x"}',
        '{"__class__": "x"}',
        "{}",
    ),
    *(
        "[" * 1000,
        '{"a":' * 1000,
        '{"expression": "' + "9" * 30_000 + '"}',
        '{"expression": "' + "(" * 100 + '"}',
        "\x00",
        "\ufeff{}",
    ),
    *(
        "{'expression': '1'}",
        '{"expression": "1",}',
        '{"expression": "1"} x',
        "// x\n{}",
        '{"expression": "\\x41"}',
        '{"expression": 1e999}',
    ),
    *(json.dumps({"expression": each}) for each in CALCULATIONS[:70]),
]


def test_a_hundred_calls_with_wrong_arguments_are_results_that_say_so():
    assert len(ARGUMENTS) >= 100
    box = Toolbox([builtin.calculator()], ToolLimits(wall_s=600))
    for arguments in ARGUMENTS:
        result = box.call(Call("1", "calculator", arguments))
        assert not result.ok, arguments
        assert len(json.loads(result.content)["error"]) > 15
    assert box.call(Call("1", "calculator", '{"expression": "1 + 1"}')).content == '"2"'


def test_no_tool_opens_a_connection(
    path: Path, schema: Schema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object):
        raise AssertionError("a tool reaches for the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    (tmp_path / "a.html").write_text("<p>The lighthouse is white.<img src=http://example.org/x.png>")
    box = Toolbox(
        [builtin.calculator(), builtin.search(Index.of(tmp_path)), builtin.database(Database(path, PATIENT))],
        ToolLimits(wall_s=600),
    )
    for host in HOSTS:
        box.call(Call("1", "calculator", json.dumps({"expression": host})))
        box.call(Call("1", "search", json.dumps({"question": f"lighthouse {host}"})))
    with pytest.raises(ToolError):
        Database(Path("http://example.org/t.db")).schema()
