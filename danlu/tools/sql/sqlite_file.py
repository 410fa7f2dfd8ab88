"""A SQLite file under its guards: read-only, with an authorizer that admits reading tables and functions.

The functions are those that the request names.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from danlu.tools.sql.confinement import MEANINGS, RefusedError, confine, quoted, taken

STEP = 1000  # virtual machine instructions between two looks at the clock
HEADER_BYTES = 100


def answer_sqlite(request: dict[str, Any]) -> dict[str, Any]:
    """What is asked of a file: its tables, cells, plans or the rows of a statement."""
    try:
        return _answer(request, request["limits"])
    except sqlite3.Error as error:
        return {"error": _in_words(error)}


def _answer(request: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    wal = _check_file(request["path"])
    confine(limits["memory_bytes"])
    with_wal = wal and _has_content(request["path"] + "-wal")
    # Without a log to read, a WAL database is opened as unchangeable: SQLite would create files beside it.
    flags = "mode=ro" + "&immutable=1" * (wal and not with_wal)
    connection = sqlite3.connect(f"{request['uri']}?{flags}", uri=True, timeout=limits["busy_s"])
    connection.text_factory = _text
    _configure(connection, limits)
    if "plans" in request:
        return {"plans": _plans(connection, request, limits)}
    if "phrases" in request:
        return {"cells": _cells(connection, request, limits)}
    if "sql" not in request:
        return {"tables": _tables(connection)}
    return _run(connection, request, limits)


def _check_file(path: str) -> bool:
    """Whether a file is a database in write-ahead mode; one that is no database is refused."""
    with open(path, "rb") as file:
        header = file.read(HEADER_BYTES)
    if not header:
        raise RefusedError("the file is empty")
    if header[8:12] == b"DUCK":
        raise RefusedError("the file is a DuckDB database; let its name end in .duckdb")
    if len(header) < HEADER_BYTES or not header.startswith(b"SQLite format 3\0"):
        raise RefusedError("the file is no SQLite database")
    return header[18] == 2


def _has_content(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return bool(file.read(1))
    except FileNotFoundError:
        return False


def _configure(connection: sqlite3.Connection, limits: dict[str, Any]) -> None:
    # The heap limit ends a statement with an error of its own before the process runs out of memory.
    connection.execute(f"pragma hard_heap_limit = {limits['memory_bytes'] // 4}")
    for pragma in ("trusted_schema = off", "query_only = on", "temp_store = memory", "cell_size_check = on"):
        connection.execute(f"pragma {pragma}")
    for category, value in (
        (sqlite3.SQLITE_LIMIT_LENGTH, limits["value_bytes"]),
        (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 100_000),
        (sqlite3.SQLITE_LIMIT_COLUMN, 500),
        (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 500),
        (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 30),
        (sqlite3.SQLITE_LIMIT_FUNCTION_ARG, 50),
        (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 500),
        (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
        (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
    ):
        connection.setlimit(category, value)


def _tables(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Ordinary tables and views with their columns; virtual tables run code of their own and are left out."""
    rows = connection.execute("select name, type from pragma_table_list where schema = 'main'").fetchall()
    return [
        {"name": name, "kind": kind, **_columns(connection, name)}
        for name, kind in sorted(rows)
        if kind in ("table", "view") and not name.lower().startswith("sqlite_")
    ]


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, Any]:
    try:
        columns = connection.execute("select name, type, pk from pragma_table_info(?)", (table,)).fetchall()
        keys = connection.execute(
            'select "from", "table", "to" from pragma_foreign_key_list(?)', (table,)
        ).fetchall()
    except sqlite3.OperationalError:  # a view over what is not there any more
        return {"columns": [], "keys": []}
    return {"columns": columns, "keys": keys}


def _plans(connection: sqlite3.Connection, request: dict[str, Any], limits: dict[str, Any]) -> list[Any]:
    """Plan, steps in hundreds, and number of rows of statements, each on a copy with an index of its own."""
    n_pages, page = (
        connection.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "page_size")
    )
    if n_pages * page > limits["memory_bytes"] // 8:
        raise RefusedError("the database is too large to be tried out on a copy in memory")
    copy = sqlite3.connect(":memory:")
    connection.backup(copy)
    copy.text_factory = _text
    authorizer = _authorizer(set(request["tables"]), set(request["functions"]))
    deadline = time.process_time() + limits["cpu_s"]
    found: list[Any] = []
    for sql, index in request["plans"]:
        if index:
            columns = ", ".join(map(quoted, index[1]))
            copy.execute(f"create index danlu_tried on {quoted(index[0])} ({columns})")
        copy.set_authorizer(authorizer)
        found.append(_measured(copy, sql, deadline))
        copy.set_authorizer(None)
        if index:
            copy.execute("drop index danlu_tried")
    return found


def _measured(copy: sqlite3.Connection, sql: str, deadline: float) -> Any:
    plan = [row[3] for row in copy.execute(f"explain query plan {sql}")]
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return time.process_time() > deadline

    copy.set_progress_handler(count, 100)
    n_rows = sum(1 for _ in copy.execute(sql))
    copy.set_progress_handler(None, 0)
    return plan, steps, n_rows


def _cells(
    connection: sqlite3.Connection, request: dict[str, Any], limits: dict[str, Any]
) -> list[list[str]]:
    """Table, column and content of each cell that is one of some phrases, in whatever ASCII case.

    Columns that the time does not suffice for are left out.
    """
    deadline = time.process_time() + limits["cpu_s"]
    connection.set_progress_handler(lambda: time.process_time() > deadline, STEP)
    connection.set_authorizer(_authorizer(set(request["tables"]), set()))
    marks = ", ".join("?" * len(request["phrases"]))
    found: list[list[str]] = []
    for table, column in request["columns"]:
        name = quoted(column)
        sql = f"select distinct {name} from {quoted(table)} where {name} collate nocase in ({marks}) limit 20"
        try:
            cells = connection.execute(sql, request["phrases"]).fetchall()
        except sqlite3.OperationalError:  # out of time, or a view over what is not there any more
            continue
        found += [[table, column, cell] for (cell,) in cells if isinstance(cell, str)]
    return found


def _run(connection: sqlite3.Connection, request: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    deadline = time.process_time() + limits["cpu_s"]
    connection.set_progress_handler(lambda: time.process_time() > deadline, STEP)
    connection.set_authorizer(_authorizer(set(request["tables"]), set(request["functions"])))
    cursor = connection.execute(request["sql"])
    return taken([column[0] for column in cursor.description], cursor, limits)


def _authorizer(tables: set[str], functions: set[str]) -> Any:
    """What a prepared statement may do: select, read these tables, call these functions."""

    def decide(action: int, first: str | None, second: str | None, *_: Any) -> int:
        if action == sqlite3.SQLITE_SELECT:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and (first or "").lower() in tables:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in functions:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    return decide


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def _in_words(error: sqlite3.Error) -> str:
    text = str(error)
    for sign, words in MEANINGS.items():
        if sign in text:
            return words
    return text
