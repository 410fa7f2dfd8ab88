"""A CSV file as a table of a SQLite file."""

from __future__ import annotations

import csv
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from danlu.tools.sql.tokens import SqlError, quoted
from danlu.tools.visible import one_line

MAX_BYTES = 200 * 2**20
MAX_COLUMNS = 200
MAX_CELL = 100_000  # characters
INTEGER, REAL = re.compile(r"-?(0|[1-9]\d{0,17})"), re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


def load(path: Path, connection: sqlite3.Connection) -> None:
    """Read a file into a table that has its name."""
    names, rows = _read(path)
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    kinds = [_kind(column) for column in columns]
    table = quoted(path.stem)
    declared = ", ".join(f"{quoted(name)} {kind}" for name, kind in zip(names, kinds, strict=True))
    connection.execute(f"create table {table} ({declared})")
    marks = ", ".join("?" * len(names))
    cells = ([each if each != "" else None for each in row] for row in rows)
    connection.executemany(f"insert into {table} values ({marks})", cells)


def check_size(path: Path) -> None:
    """Insist on a file that is there and not too large to be copied."""
    where = one_line(str(path))
    if not path.is_file():
        raise SqlError(f"{where}: no such file")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise SqlError(f"{where}: {size:,} bytes; files are read up to {MAX_BYTES:,}, make a database of it")


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, and rows of as many cells."""
    where = one_line(str(path))
    check_size(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SqlError(f"{where}: byte {error.start} is no UTF-8; save the file as UTF-8") from None
    if "\0" in text:
        raise SqlError(f"{where}: holds a zero byte; this is no CSV file")
    first = text.partition("\n")[0]
    sign = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
    try:
        rows = [row for row in csv.reader(text.splitlines(keepends=True), delimiter=sign) if row]
    except csv.Error as error:
        raise SqlError(f"{where}: {one_line(str(error))}") from None
    if not rows:
        raise SqlError(f"{where}: the file is empty; its first line must name the columns")
    _check(rows, where)
    return _names(rows[0]), rows[1:]


def _check(rows: Sequence[Sequence[str]], where: str) -> None:
    n = len(rows[0])
    if n > MAX_COLUMNS:
        raise SqlError(f"{where}: {n} columns; at most {MAX_COLUMNS} are read")
    for number, row in enumerate(rows, start=1):
        if len(row) != n:
            raise SqlError(f"{where}: row {number} has {len(row)} cells; the first has {n}")
        if max(map(len, row)) > MAX_CELL:
            raise SqlError(f"{where}: row {number} has a cell of more than {MAX_CELL:,} characters")


def _names(row: Sequence[str]) -> list[str]:
    """Names that differ, for columns without one too."""
    names: list[str] = []
    for number, name in enumerate(row, start=1):
        plain = name.strip() or f"column {number}"
        taken = {each.lower() for each in names}
        names.append(plain if plain.lower() not in taken else f"{plain} {number}")
    return names


def _kind(cells: Sequence[str]) -> str:
    filled = [cell for cell in cells if cell]
    for kind, form in (("INTEGER", INTEGER), ("REAL", REAL)):
        if filled and all(form.fullmatch(cell) for cell in filled):
            return kind
    return "TEXT"
