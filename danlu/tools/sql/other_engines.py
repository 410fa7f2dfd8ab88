"""What is asked of databases other than SQLite, whichever it is."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from danlu.tools.sql.confinement import RefusedError, quoted, taken
from danlu.tools.sql.duckdb_file import DuckDb
from danlu.tools.sql.postgres_server import Postgres


class Engine(Protocol):
    """A database other than SQLite, opened under its guards; closing it ends whatever still runs."""

    columns_sql: str  # table, column, type, whether it is of the primary key
    keys_sql: str  # of foreign keys: table, column, other table, its column

    def rows(self, sql: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
        """Names of the columns, and the rows of one SELECT; RefusedError in words for people."""
        ...

    def close(self) -> None: ...


def answer_other(request: dict[str, Any]) -> dict[str, Any]:
    """What is asked of another engine than SQLite."""
    sys.path += request["packages"]
    with contextlib.closing(ENGINES[request["engine"]](request)) as engine:
        if "phrases" in request:
            return {"cells": _cells_of(engine, request)}
        if "sql" not in request:
            return {"tables": _tables_of(engine)}
        return taken(*engine.rows(request["sql"]), request["limits"])


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
    """As for a SQLite file; the first column that cannot be read in time is the last that is tried."""
    phrases = ", ".join(
        "'" + each.replace("'", "''") + "'" for each in request["phrases"] if "\0" not in each
    )
    found: list[list[str]] = []
    for table, column in request["columns"] if phrases else []:
        cell = f"cast({quoted(column)} as text)"
        sql = f"select distinct {cell} from {quoted(table)} where lower({cell}) in ({phrases}) limit 20"
        try:
            found += [[table, column, text] for (text,) in engine.rows(sql)[1]]
        except RefusedError:
            break
    return found


ENGINES = {"duckdb": DuckDb, "postgresql": Postgres}
