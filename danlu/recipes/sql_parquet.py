"""A Parquet file as a table of a SQLite file; called in a process of its own, which `sql_files` starts.

| Parquet, as Arrow names it | SQLite |
|---|---|
| booleans, integers, decimals of up to 18 digits without places | INTEGER; above 2^63 - 1 an error |
| floats, other decimals | REAL; NaN is NULL |
| dates, times, timestamps | DATE, TIME, DATETIME: texts for SQLite's functions, to microseconds, in UTC |
| binary | BLOB |
| text | TEXT |
| lists, structs, maps | TEXT, as JSON |
| durations | TEXT, as Python writes them |
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from danlu.tools.sql.csv_files import MAX_CELL, MAX_COLUMNS
from danlu.tools.sql.tokens import SqlError, quoted
from danlu.tools.visible import one_line

MAX_ROWS = 2_000_000
MAX_COPY = 2**30  # bytes of the SQLite file
BATCH_ROWS = 1000
EXACT_DIGITS = 18  # of an integer of 64 bits


def load(source: str, target: str, table: str) -> int:
    """Add a Parquet file to a SQLite file as a table; the number of its rows."""
    pa.set_memory_pool(pa.system_memory_pool())  # the others reserve more addresses than the process has
    connection = sqlite3.connect(target)
    try:
        size = connection.execute("pragma page_size").fetchone()[0]
        connection.execute(f"pragma max_page_count = {MAX_COPY // size}")
        with Path(source).open("rb") as raw, pq.ParquetFile(raw) as file:
            n_rows = _copy(file, connection, table)
        connection.commit()
        return n_rows
    except MemoryError:
        raise SqlError("reading it needs more memory than is granted") from None
    except (pa.ArrowException, OSError) as error:
        raise SqlError(f"no Parquet file that can be read: {one_line(str(error))}") from None
    except sqlite3.Error as error:  # the copy is full, or two names differ in nothing but their case
        full = f"the copy would have more than {MAX_COPY:,} bytes"
        raise SqlError(full if "full" in str(error) else one_line(str(error))) from None
    finally:
        connection.close()


def _copy(file: pq.ParquetFile, connection: sqlite3.Connection, table: str) -> int:
    schema, n_rows = file.schema_arrow, file.metadata.num_rows
    if not 0 < len(schema) <= MAX_COLUMNS:
        raise SqlError(f"{len(schema)} columns; 1 to {MAX_COLUMNS} are read")
    if n_rows > MAX_ROWS:
        raise SqlError(f"{n_rows:,} rows; at most {MAX_ROWS:,} are read, make a database of them")
    columns = ", ".join(f"{quoted(each.name)} {declared(each.type)}" for each in schema)
    connection.execute(f"create table {quoted(table)} ({columns})")
    marks = ", ".join("?" * len(schema))
    for batch in file.iter_batches(BATCH_ROWS, use_threads=False):
        cells = [_cells(batch.column(i), name) for i, name in enumerate(schema.names)]
        connection.executemany(
            f"insert into {quoted(table)} values ({marks})", list(zip(*cells, strict=True))
        )
    return n_rows


def declared(kind: pa.DataType) -> str:
    """The SQLite type of an Arrow type."""
    if pa.types.is_dictionary(kind):
        return declared(kind.value_type)
    if pa.types.is_decimal(kind):
        return "INTEGER" if kind.scale == 0 and kind.precision <= EXACT_DIGITS else "REAL"
    return next((name for test, name in DECLARED if test(kind)), "TEXT")


def _cells(column: pa.Array, name: str) -> list[object]:
    name = one_line(name, 60)
    try:
        cells = [plain(each) for each in _to_microseconds(column).to_pylist()]
    except (ValueError, OverflowError) as error:  # no UTF-8, or a year that is none of 1 to 9999
        raise SqlError(f"column {name!r}: {one_line(str(error))}") from None
    for cell in cells:
        if isinstance(cell, int) and not -(2**63) <= cell < 2**63:
            raise SqlError(f"column {name!r} holds {cell}; integers are read up to 2^63 - 1")
        if isinstance(cell, str | bytes) and len(cell) > MAX_CELL:
            raise SqlError(f"column {name!r} has a cell of more than {MAX_CELL:,} characters")
    return cells


def _to_microseconds(column: pa.Array) -> pa.Array:
    """Nanoseconds cut off: the times of Python and SQLite have none."""
    kind = column.type
    if getattr(kind, "unit", "") != "ns":
        return column
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", kind.tz), safe=False)
    return column.cast(pa.time64("us") if pa.types.is_time(kind) else pa.duration("us"), safe=False)


def plain(value: Any) -> object:
    """A value as SQLite holds it."""
    if value is None or isinstance(value, str | bytes | int | float):
        return int(value) if isinstance(value, bool) else value
    if isinstance(value, Decimal):
        whole = value.as_tuple().exponent == 0 and value.adjusted() < EXACT_DIGITS
        return int(value) if whole else float(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return str(value.astimezone(UTC).replace(tzinfo=None))
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


DECLARED: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_boolean, "INTEGER"),
    (pa.types.is_integer, "INTEGER"),
    (pa.types.is_floating, "REAL"),
    (pa.types.is_date, "DATE"),
    (pa.types.is_time, "TIME"),
    (pa.types.is_timestamp, "DATETIME"),
    (pa.types.is_binary, "BLOB"),
    (pa.types.is_large_binary, "BLOB"),
    (pa.types.is_fixed_size_binary, "BLOB"),
)
