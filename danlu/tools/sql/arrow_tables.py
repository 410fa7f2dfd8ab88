"""Tables that arrive as Arrow batches, from Parquet files and from DuckDB, copied into a SQLite file.

| Arrow | SQLite |
|---|---|
| boolean, integers; decimals without places and of at most 18 digits | INTEGER; above 2^63 - 1 an error |
| floats, other decimals | REAL; NaN is NULL |
| text, also as a dictionary | TEXT |
| dates, times, timestamps | DATE, TIME, DATETIME: texts as SQLite's functions read them, to microseconds, in UTC |
| binary | BLOB |
| lists, structs, maps | TEXT, as JSON |
| durations and intervals | TEXT, as Python writes them |
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from danlu.tools.sql.tokens import SqlError, quoted
from danlu.tools.visible import one_line

MAX_ROWS = 2_000_000  # of all tables
MAX_COLUMNS = 200
MAX_TABLES = 500
MAX_CELL = 100_000  # characters or bytes
MAX_COPY = 2**30  # bytes of the SQLite file
BATCH_ROWS = 1000
EXACT_DIGITS = 18  # of an integer of 64 bits
Copier = Callable[[str, str], None] | Callable[[str, str, str], None]

# DuckDB touches its one file, read-only, and nothing else: no other files, no network, no extensions.
LOCKED = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "temp_directory": "",
    "memory_limit": "512MB",
    "threads": 1,
    "lock_configuration": True,
}


@dataclass(frozen=True, slots=True)
class Keys:
    """What a table declares beside its columns."""

    primary: Sequence[str] = ()
    foreign: Sequence[tuple[Sequence[str], str, Sequence[str]]] = ()  # columns, other table, its columns


def copy_parquet(source: str, table: str, target: str) -> None:
    """Add a Parquet file to a SQLite file as a table."""
    pa.set_memory_pool(pa.system_memory_pool())  # the others reserve more addresses than this process has
    try:
        with Path(source).open("rb") as opened, pq.ParquetFile(opened) as file:
            batches = file.iter_batches(BATCH_ROWS, use_threads=False)
            with _Copy(target) as copy:
                copy.add(table, file.schema_arrow, batches, Keys())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise SqlError(f"is no Parquet file that can be read: {one_line(str(error))}") from None


def copy_duckdb(source: str, target: str) -> None:
    """Copy the tables of a DuckDB database, not its views, into a SQLite file."""
    import duckdb

    try:
        with duckdb_connection(source) as connection, _Copy(target) as copy:
            tables = connection.execute(
                "select schema_name, table_name from duckdb_tables() where not internal and not temporary order by all"
            ).fetchall()
            if len(tables) > MAX_TABLES:
                raise SqlError(f"{len(tables):,} tables; at most {MAX_TABLES} are read")
            for schema, table in tables:
                name = table if schema == "main" else f"{schema}.{table}"
                rows = connection.sql(f"select * from {quoted(schema)}.{quoted(table)}")
                batches = rows.to_arrow_reader(BATCH_ROWS)
                copy.add(name, batches.schema, batches, _keys(connection, schema, table))
    except duckdb.Error as error:
        raise SqlError(f"DuckDB cannot read it: {one_line(str(error), 300)}") from None


def duckdb_connection(source: str) -> Any:
    """A DuckDB database opened so that no statement can write, read other files or change a setting."""
    import duckdb

    return duckdb.connect(source, read_only=True, config=LOCKED)


def _keys(connection: Any, schema: str, table: str) -> Keys:
    found = connection.execute(
        "select constraint_type, constraint_column_names, referenced_table, referenced_column_names "
        "from duckdb_constraints() where schema_name = ? and table_name = ?",
        [schema, table],
    ).fetchall()
    primary = [columns for kind, columns, _, _ in found if kind == "PRIMARY KEY"]
    foreign = [(columns, other, there) for kind, columns, other, there in found if kind == "FOREIGN KEY"]
    return Keys(primary[0] if primary else (), foreign)


class _Copy:
    """A SQLite file that tables are added to, all of it or nothing."""

    def __init__(self, target: str) -> None:
        self._connection = sqlite3.connect(target)
        self._connection.execute(f"pragma max_page_count = {MAX_COPY // 4096}")
        self._rows = 0

    def __enter__(self) -> _Copy:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._connection.commit()
        self._connection.close()

    def add(self, table: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], keys: Keys) -> None:
        """One table with its rows."""
        names: list[str] = schema.names
        if not names:
            raise SqlError(f"the table {one_line(table, 60)!r} has no columns")
        if len(names) > MAX_COLUMNS:
            raise SqlError(f"{one_line(table, 60)} has {len(names)} columns; at most {MAX_COLUMNS} are read")
        self._create(table, schema, keys)
        sql = f"insert into {quoted(table)} values ({', '.join('?' * len(names))})"
        for batch in batches:
            self._rows += batch.num_rows
            if self._rows > MAX_ROWS:
                raise SqlError(f"more than {MAX_ROWS:,} rows; make a SQLite database of what is asked about")
            columns = [_cells(batch.column(i), f"{table}.{name}") for i, name in enumerate(names)]
            self._do(sql, zip(*columns, strict=True))

    def _create(self, table: str, schema: pa.Schema, keys: Keys) -> None:
        parts = [f"{quoted(each.name)} {declared(each.type)}" for each in schema]
        if keys.primary:
            parts.append(f"primary key ({_names(keys.primary)})")
        parts += [
            f"foreign key ({_names(here)}) references {quoted(other)} ({_names(there)})"
            for here, other, there in keys.foreign
        ]
        self._do(f"create table {quoted(table)} ({', '.join(parts)})")

    def _do(self, sql: str, rows: Iterable[Sequence[object]] | None = None) -> None:
        try:
            self._connection.execute(sql) if rows is None else self._connection.executemany(sql, rows)
        except OverflowError:
            raise SqlError("an integer is above 2^63 - 1, the largest that SQLite holds") from None
        except sqlite3.Error as error:  # two columns whose names differ in case alone, a name with a zero byte
            full = f"the copy would have more than {MAX_COPY:,} bytes"
            raise SqlError(full if "full" in str(error) else f"SQLite: {error}") from None


def _names(columns: Sequence[str]) -> str:
    return ", ".join(map(quoted, columns))


def declared(kind: pa.DataType) -> str:
    """The SQLite type of an Arrow type."""
    if pa.types.is_dictionary(kind):
        return declared(kind.value_type)
    for name, tests in DECLARED.items():
        if any(test(kind) for test in tests):
            return name
    if pa.types.is_decimal(kind):
        return "INTEGER" if kind.scale == 0 and kind.precision <= EXACT_DIGITS else "REAL"
    return "TEXT"


def _cells(column: pa.Array, name: str) -> list[object]:
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":  # Python's times end at microseconds
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_time64(kind) and kind.unit == "ns":
        column = column.cast(pa.time64("us"), safe=False)
    try:
        cells = [plain(each) for each in column.to_pylist()]
    except (ValueError, OverflowError) as error:  # no UTF-8, or a date beyond the years 1 to 9999
        raise SqlError(f"{one_line(name)}: a value cannot be read: {one_line(str(error))}") from None
    if any(isinstance(each, str | bytes) and len(each) > MAX_CELL for each in cells):
        raise SqlError(f"{one_line(name)}: a cell is longer than {MAX_CELL:,} characters")
    return cells


def plain(value: Any) -> str | bytes | int | float | None:
    """A value of Python as SQLite holds it."""
    match value:
        case bool():
            return int(value)
        case None | str() | bytes() | int() | float():
            return value
        case Decimal():
            exact = value.is_finite() and value.as_tuple().exponent == 0
            return int(value) if exact and value.adjusted() < EXACT_DIGITS else float(value)
        case datetime():
            return str(value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value)
        case date() | time():
            return str(value)
        case list() | dict():
            return json.dumps(value, ensure_ascii=False, default=str)
        case _:
            return str(value)


DECLARED: dict[str, tuple[Callable[[pa.DataType], bool], ...]] = {
    "INTEGER": (pa.types.is_boolean, pa.types.is_integer),
    "REAL": (pa.types.is_floating,),
    "DATE": (pa.types.is_date,),
    "TIME": (pa.types.is_time,),
    "DATETIME": (pa.types.is_timestamp,),
    "BLOB": (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary),
}
