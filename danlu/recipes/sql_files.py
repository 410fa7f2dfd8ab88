"""CSV and Parquet files as a database: read into a SQLite file, which goes when the work is done.

Parquet's reader is a large program of others, so it runs in a process of its own, with caps on memory and
time.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from danlu.tools.process import ask_isolated
from danlu.tools.sql import csv_files
from danlu.tools.sql.tokens import SqlError
from danlu.tools.visible import one_line

MEMORY_BYTES = 2 * 2**30  # of addresses, of which pyarrow takes half before it has read anything
WALL_S = 120.0
CSV, PARQUET = (".csv", ".tsv"), (".parquet",)


def is_files(path: Path) -> bool:
    """Whether a path is a CSV or Parquet file, or a folder that holds some."""
    return bool(_files(path))


@contextmanager
def as_database(path: Path) -> Generator[Path]:
    """A SQLite file with a table for each file, named after it, for as long as it is needed."""
    files = _files(path)
    _check_names(files)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"{path.stem or 'files'}.db"
        for file in files:
            if file.suffix.lower() in PARQUET:
                _load_parquet(file, target)
            else:
                _load_csv(file, target)
        yield target


def _files(path: Path) -> list[Path]:
    found = sorted(path.iterdir()) if path.is_dir() else [path]
    return [each for each in found if each.suffix.lower() in CSV + PARQUET]


def _check_names(files: Sequence[Path]) -> None:
    taken: dict[str, Path] = {}
    for file in files:
        other = taken.setdefault(file.stem.lower(), file)
        if other is not file:
            names = f"{one_line(other.name)} and {one_line(file.name)}"
            raise SqlError(f"{names} would be tables of one name; rename one of them")


def _load_csv(file: Path, target: Path) -> None:
    connection = sqlite3.connect(target)
    try:
        csv_files.load(file, connection)
        connection.commit()
    finally:
        connection.close()


def _load_parquet(file: Path, target: Path) -> None:
    from danlu.recipes import sql_parquet  # pyarrow takes a while to load

    where = one_line(str(file))
    csv_files.check_size(file)
    arguments = {"source": str(file.resolve()), "target": str(target), "table": file.stem}
    what = f"the reading of {one_line(file.name)}"
    answer = ask_isolated(sql_parquet.load, arguments, memory_bytes=MEMORY_BYTES, wall_s=WALL_S, what=what)
    if "error" in answer:
        kind, text = answer["error"]
        raise SqlError(f"{where}: {one_line(text or kind, 500)}")
