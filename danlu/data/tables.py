"""CSV and TSV files as records, one a row, under the names of their header."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from danlu.data.records import DataError
from danlu.data.sources import AS_IS, ReadingConfig, Record, numbered_lines

TABLES = (".csv", ".tsv")
DELIMITERS = (",", "\t", ";")


def read_table(path: Path, config: ReadingConfig = AS_IS) -> Iterator[Record]:
    """Every row; a cell may hold line ends if it is quoted. In .tsv files quotes are ordinary characters."""
    lines = (text for _, _, text in numbered_lines(path, config))
    header = next(lines, "")
    if not header.strip():
        raise DataError(f"{path}: is empty; its first line must name the columns")
    is_tsv = path.suffix.lower() == ".tsv"
    delimiter = "\t" if is_tsv else max(DELIMITERS, key=header.count)
    quoting = csv.QUOTE_NONE if is_tsv else csv.QUOTE_MINIMAL
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter, quoting=quoting))]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}:1: column {twice[0]!r} is named twice; each column needs its own name")
    rows = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    line = 2
    try:
        for cells in rows:
            if cells:  # a blank line is none
                yield Record(_fields(path, line, names, cells), str(path), line)
            line = rows.line_num + 2
    except csv.Error as error:
        raise DataError(
            f"{path}:{line}: is no row of a table ({error}); a cell with {delimiter!r}, a quote or a line "
            "end in it must be quoted, and quotes inside it doubled"
        ) from None
    if line == 2:
        raise DataError(f"{path}: has a header and no row below it")


def _fields(path: Path, line: int, names: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(names):
        raise DataError(
            f"{path}:{line}: has {len(cells)} cells where the header names {len(names)} columns, {names}; "
            "a cell that holds the separator must be quoted"
        )
    return dict(zip(names, cells, strict=True))
