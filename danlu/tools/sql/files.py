"""Files that are no SQLite database, as one: read into a SQLite file, which goes when the work is done.

CSV files are read here; Parquet files and DuckDB databases, whose readers are large programs of others, in a process
of its own with caps on memory and time. What is asked then runs on the copy, under the guards of any SQLite file.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from danlu.tools.process import ask_isolated
from danlu.tools.sql import arrow_tables, csv_files
from danlu.tools.sql.tokens import SqlError
from danlu.tools.visible import one_line

MAX_BYTES = 200 * 2**20  # of a Parquet file or a DuckDB database
MEMORY_BYTES = 3 * 2**30  # address space of the process that reads them; much of it is never touched
WALL_S = 120.0
CSV, PARQUET = (".csv", ".tsv"), (".parquet",)


@contextmanager
def opened(path: Path) -> Generator[Path]:
    """The SQLite file that a path stands for: itself, or for as long as it is needed, a copy of other files."""
    files = _files(path)
    duckdb = _is_duckdb(path)
    if not files and not duckdb:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"{path.stem or 'files'}.db"
        if duckdb:
            _copy_duckdb(path, target)
        else:
            _copy_files(files, target)
        yield target


def _files(path: Path) -> list[Path]:
    """The CSV and Parquet files that a path is or holds."""
    if path.is_dir():
        return sorted(each for each in path.iterdir() if each.suffix.lower() in CSV + PARQUET)
    return [path] if path.suffix.lower() in CSV + PARQUET else []


def _is_duckdb(path: Path) -> bool:
    """Whether a file begins as those of DuckDB do: a checksum, then its name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(12)[8:] == b"DUCK"


def _copy_files(files: Sequence[Path], target: Path) -> None:
    taken: dict[str, Path] = {}
    for file in files:
        other = taken.setdefault(file.stem.lower(), file)
        if other is not file:
            names = f"{one_line(other.name)} and {one_line(file.name)}"
            raise SqlError(f"{names} would both be the table {one_line(file.stem, 60)!r}; rename one of them")
    connection = sqlite3.connect(target)
    try:
        for file in files:
            if file.suffix.lower() in CSV:
                csv_files.load(file, connection)
        connection.commit()
    finally:
        connection.close()
    for file in files:
        if file.suffix.lower() in PARQUET:
            _check_size(file, "Parquet files")
            arguments = {"source": str(file.resolve()), "table": file.stem, "target": str(target)}
            _ask(arrow_tables.copy_parquet, file, arguments)


def _copy_duckdb(path: Path, target: Path) -> None:
    if find_spec("duckdb") is None:
        raise SqlError(f"{one_line(str(path))}: a DuckDB database is read with pip install 'danlu[duckdb]'")
    _check_size(path, "DuckDB databases")
    _ask(arrow_tables.copy_duckdb, path, {"source": str(path.resolve()), "target": str(target)})


def _check_size(path: Path, what: str) -> None:
    if not path.is_file():
        raise SqlError(f"{one_line(str(path))}: no such file")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise SqlError(f"{one_line(str(path))}: {size:,} bytes; {what} are read up to {MAX_BYTES:,}")


def _ask(function: arrow_tables.Copier, path: Path, arguments: dict[str, str]) -> None:
    what = f"the reading of {one_line(path.name)}"
    answer = ask_isolated(function, arguments, memory_bytes=MEMORY_BYTES, wall_s=WALL_S, what=what)
    if "error" in answer:
        kind, text = answer["error"]
        told = "it needs more memory than is granted" if "Memory" in kind else text or kind
        raise SqlError(f"{one_line(str(path))}: {one_line(told, 500)}")
