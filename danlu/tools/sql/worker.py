"""The process that touches a database: reads one request, answers it, and can do nothing else.

It is started as a file of its own, with the standard library alone, so it starts fast and shares no memory
with whoever asks. Whatever the statement says, the connection is read-only, the authorizer admits reading the
tables and calling the functions named in the request, and memory, steps, rows and bytes are capped.

DuckDB and PostgreSQL, whose packages are loaded when they are asked for, have no authorizer. DuckDB is shut
off from files and from changes to its settings; PostgreSQL gets one cursor in a transaction that only reads.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import json
import resource
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

STEP = 1000  # virtual machine instructions between two looks at the clock
HEADER_BYTES = 100


class RefusedError(Exception):
    """A request that is not served; the text is for whoever made it."""


def main() -> None:
    request: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    try:
        answer = _answer(request)
    except RefusedError as error:
        answer = {"error": str(error)}
    except sqlite3.Error as error:
        answer = {"error": _in_words(error)}
    except MemoryError:
        answer = {"error": "the statement needs more memory than is granted"}
    sys.stdout.buffer.write(json.dumps(answer).encode())


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    limits = request["limits"]
    if request["engine"] in ENGINES:
        return _answer_other(request, limits)
    wal = _check_file(request["path"])
    _confine(limits["memory_bytes"])
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


def _confine(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file of any kind is ever written
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


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
            columns = ", ".join(map(_quoted, index[1]))
            copy.execute(f"create index danlu_tried on {_quoted(index[0])} ({columns})")
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
        name = _quoted(column)
        sql = (
            f"select distinct {name} from {_quoted(table)} where {name} collate nocase in ({marks}) limit 20"
        )
        try:
            cells = connection.execute(sql, request["phrases"]).fetchall()
        except sqlite3.OperationalError:  # out of time, or a view over what is not there any more
            continue
        found += [[table, column, cell] for (cell,) in cells if isinstance(cell, str)]
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _run(connection: sqlite3.Connection, request: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    deadline = time.process_time() + limits["cpu_s"]
    connection.set_progress_handler(lambda: time.process_time() > deadline, STEP)
    connection.set_authorizer(_authorizer(set(request["tables"]), set(request["functions"])))
    cursor = connection.execute(request["sql"])
    return _taken([column[0] for column in cursor.description], cursor, limits)


def _taken(columns: list[str], found: Iterable[Sequence[Any]], limits: dict[str, Any]) -> dict[str, Any]:
    """As many rows as are granted."""
    rows: list[list[Any]] = []
    n_bytes, cut = 0, False
    for row in found:
        cells = [_cell(each, limits["cell_characters"]) for each in row]
        n_bytes += len(json.dumps(cells))
        if len(rows) == limits["rows"] or n_bytes > limits["answer_bytes"]:
            cut = True
            break
        rows.append(cells)
    return {"columns": columns, "rows": rows, "cut": cut}


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


def _cell(value: Any, limit: int) -> Any:
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    value = _plain(value)
    if isinstance(value, str) and len(value) > limit:
        return f"{value[:limit]}… ({len(value):,} characters)"
    return value


def _plain(value: Any) -> Any:
    """A value as SQLite would give it."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, decimal.Decimal):
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return (
        json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def _in_words(error: sqlite3.Error) -> str:
    text = str(error)
    for sign, words in MEANINGS.items():
        if sign in text:
            return words
    return text


MEANINGS = {
    "interrupted": "the statement takes too long; narrow it down, or join on an indexed column",
    "locked": "the database is locked by another program; try again later",
    "malformed": "the database is damaged: its content does not fit its own structure",
    "not a database": "the file is no SQLite database, or it is encrypted",
    "out of memory": "the statement needs more memory than is granted",
    "string or blob too big": "a value on the way is larger than is granted",
    "not authorized": "the statement does something else than reading its tables",
    "prohibited": "the statement reads something it may not",
}


class Engine(Protocol):
    """A database other than SQLite, opened under its guards; closing it ends whatever still runs."""

    columns_sql: str  # table, column, type, whether it is of the primary key
    keys_sql: str  # of foreign keys: table, column, other table, its column

    def rows(self, sql: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
        """Names of the columns, and the rows of one SELECT; RefusedError in words for people."""
        ...

    def close(self) -> None: ...


class DuckDb:
    """A DuckDB file: nothing outside it can be reached, and no setting changed."""

    columns_sql = """
        select c.table_name, c.column_name, c.data_type,
            coalesce(list_contains(k.constraint_column_names, c.column_name), false)
        from duckdb_columns() c left join duckdb_constraints() k
        on k.table_oid = c.table_oid and k.schema_name = 'main' and k.constraint_type = 'PRIMARY KEY'
        and k.database_name = c.database_name
        where c.database_name = current_database() and c.schema_name = 'main' and not c.internal
        order by c.table_name, c.column_index
    """
    keys_sql = """
        select table_name, unnest(constraint_column_names), referenced_table, unnest(referenced_column_names)
        from duckdb_constraints()
        where database_name = current_database() and schema_name = 'main' and constraint_type = 'FOREIGN KEY'
    """
    reserved_bytes = 768 * 2**20  # of address space, for the library's code and the arenas of its threads

    def __init__(self, request: dict[str, Any]) -> None:
        import duckdb

        limits = request["limits"]
        _confine(limits["memory_bytes"] + self.reserved_bytes)
        self._duckdb = duckdb
        settings: dict[str, str | bool | int | float | list[str]] = {
            "enable_external_access": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",  # else a table may be a variable of this program
            "temp_directory": "",
            "threads": "1",
            "memory_limit": f"{limits['memory_bytes'] // 2**10}KiB",
        }
        try:
            self._connection = duckdb.connect(request["path"], read_only=True, config=settings)
            self._connection.execute("set integer_division = true; set lock_configuration = true")
        except duckdb.Error as error:
            raise RefusedError(self._in_words(error)) from None
        self._deadline = time.process_time() + limits["cpu_s"]
        self._closed = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def rows(self, sql: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
        try:
            statements = self._connection.extract_statements(sql)
            if [each.type for each in statements] != [self._duckdb.StatementType.SELECT]:
                raise RefusedError("the statement does something else than reading its tables")
            found = self._connection.execute(statements[0])
        except self._duckdb.Error as error:
            raise RefusedError(self._in_words(error)) from None
        return [column[0] for column in found.description or []], self._fetched()

    def close(self) -> None:
        self._closed.set()
        self._connection.close()

    def _fetched(self) -> Iterator[Sequence[Any]]:
        try:
            while rows := self._connection.fetchmany(100):
                yield from rows
        except self._duckdb.Error as error:
            raise RefusedError(self._in_words(error)) from None

    def _watch(self) -> None:
        """End a statement whose time is over; repeatedly, for one interruption may come between two steps."""
        while not self._closed.wait(0.05):
            if time.process_time() > self._deadline:
                self._connection.interrupt()

    def _in_words(self, error: Exception) -> str:
        for kind, words in (
            (self._duckdb.InterruptException, MEANINGS["interrupted"]),
            (self._duckdb.OutOfMemoryException, MEANINGS["out of memory"]),
            (self._duckdb.PermissionException, MEANINGS["prohibited"]),
        ):
            if isinstance(error, kind):
                return words
        if "Conflicting lock" in str(error) or "Could not set lock" in str(error):
            return MEANINGS["locked"]
        return str(error).partition("\n")[0]


class Postgres:
    """A PostgreSQL server: one transaction that may only read, one cursor, a limit of time."""

    columns_sql = """
        select c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod),
            coalesce(a.attnum = any (k.conkey), false)
        from pg_class c join pg_attribute a on a.attrelid = c.oid
        left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
        and a.attnum > 0 and not a.attisdropped and has_column_privilege(c.oid, a.attnum, 'SELECT')
        order by c.relname, a.attnum
    """
    keys_sql = """
        select t.relname::text, a.attname::text, o.relname::text, b.attname::text
        from pg_constraint c join pg_class t on t.oid = c.conrelid
        cross join lateral unnest(c.conkey, c.confkey) as pair (here, there)
        join pg_attribute a on a.attrelid = c.conrelid and a.attnum = pair.here
        join pg_attribute b on b.attrelid = c.confrelid and b.attnum = pair.there
        join pg_class o on o.oid = c.confrelid
        where c.contype = 'f' and c.connamespace = 'public'::regnamespace
    """

    def __init__(self, request: dict[str, Any]) -> None:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        limits = request["limits"]
        _confine(limits["memory_bytes"])
        self._psycopg = psycopg
        self._cursor: psycopg.ServerCursor[Any] | None = None
        try:
            parts = conninfo_to_dict(request["path"])
        except psycopg.Error:  # its text may hold the password
            raise RefusedError("the URL cannot be read; expected postgresql://user@host/name") from None
        self._password = str(parts.get("password") or "")
        wait_s = max(2, int(limits["wall_s"] / 2))
        try:
            whole = make_conninfo(request["path"], connect_timeout=wait_s, client_encoding="utf-8")
            self._connection = psycopg.connect(whole)
            self._connection.read_only = True
            self._restrict(limits)
        except psycopg.Error as error:
            raise RefusedError(self._in_words(error)) from None

    def _restrict(self, limits: dict[str, Any]) -> None:
        settings = (
            ("statement_timeout", int(limits["cpu_s"] * 1000)),
            ("idle_in_transaction_session_timeout", int(limits["wall_s"] * 1000)),
            ("lock_timeout", max(1, int(limits["busy_s"] * 1000))),
            ("max_parallel_workers_per_gather", 0),
            ("search_path", "pg_catalog, public, pg_temp"),
            ("timezone", "UTC"),
        )
        for name, value in settings:
            self._connection.execute("select set_config(%s, %s, true)", (name, str(value)))
        if self._connection.info.parameter_status("is_superuser") == "on":
            self._connection.execute("set local role pg_read_all_data")  # else it may read the server's files

    def rows(self, sql: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
        self._end_cursor()
        try:
            self._cursor = self._connection.cursor(name="danlu")
            self._cursor.execute(sql.encode())
        except self._psycopg.Error as error:
            raise RefusedError(self._in_words(error)) from None
        return [column.name for column in self._cursor.description or []], self._fetched(self._cursor)

    def close(self) -> None:
        with contextlib.suppress(self._psycopg.Error):
            self._end_cursor()
            self._connection.rollback()
        self._connection.close()

    def _end_cursor(self) -> None:
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None

    def _fetched(self, cursor: Any) -> Iterator[Sequence[Any]]:
        try:
            while rows := cursor.fetchmany(100):
                yield from rows
        except self._psycopg.Error as error:
            raise RefusedError(self._in_words(error)) from None

    def _in_words(self, error: Any) -> str:
        words = {
            "57014": MEANINGS["interrupted"],
            "55P03": MEANINGS["locked"],
            "25006": MEANINGS["not authorized"],
            "42501": MEANINGS["prohibited"],
        }.get(error.sqlstate or "")
        text = words or error.diag.message_primary or str(error)
        return text.replace(self._password, "…") if self._password else text


def _answer_other(request: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    """What is asked of another engine than SQLite."""
    sys.path += request["packages"]
    with contextlib.closing(ENGINES[request["engine"]](request)) as engine:
        if "phrases" in request:
            return {"cells": _cells_of(engine, request)}
        if "sql" not in request:
            return {"tables": _tables_of(engine)}
        return _taken(*engine.rows(request["sql"]), limits)


def _tables_of(engine: Engine) -> list[dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {}
    for table, *column in engine.rows(engine.columns_sql)[1]:
        found = tables.setdefault(table, {"name": table, "columns": [], "keys": []})
        found["columns"].append(column)
    for table, *key in engine.rows(engine.keys_sql)[1]:
        if table in tables:
            tables[table]["keys"].append(key)
    return list(tables.values())


def _cells_of(engine: Engine, request: dict[str, Any]) -> list[list[str]]:
    """As `_cells`; the first column that cannot be read in time is the last that is tried."""
    phrases = ", ".join(
        "'" + each.replace("'", "''") + "'" for each in request["phrases"] if "\0" not in each
    )
    found: list[list[str]] = []
    for table, column in request["columns"] if phrases else []:
        cell = f"cast({_quoted(column)} as text)"
        sql = f"select distinct {cell} from {_quoted(table)} where lower({cell}) in ({phrases}) limit 20"
        try:
            found += [[table, column, text] for (text,) in engine.rows(sql)[1]]
        except RefusedError:
            break
    return found


ENGINES = {"duckdb": DuckDb, "postgresql": Postgres}

if __name__ == "__main__":
    main()
