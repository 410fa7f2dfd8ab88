"""`danlu sql DATABASE SELECT`: run one SELECT on a SQLite file that cannot be changed by it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from danlu.tools.sql.database import Cell, Database, Rows, SqlLimits
from danlu.tools.visible import one_line

SUMMARY = 'ask a SQLite database, safely: danlu sql DATABASE "SELECT …", or without a SELECT its tables'
POSITIONAL = ("database", "select")


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlConfig:
    database: Path
    select: str = ""  # without it the tables are shown
    limits: SqlLimits = field(default_factory=SqlLimits)


def run(config: SqlConfig) -> None:
    database = Database(config.database, config.limits)
    if not config.select:
        print(database.schema().describe() or "no tables")
        return
    found = database.select(config.select)
    console = Console(highlight=False)
    console.print(_table(found))
    n = len(found.rows)
    print(f"{n} row{'s' * (n != 1)}" + "; there are more" * found.cut)


def _table(found: Rows) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for i, name in enumerate(found.columns):
        numeric = all(isinstance(row[i], int | float | None) for row in found.rows)
        table.add_column(Text(one_line(name)), justify="right" if numeric else "left")
    for row in found.rows:
        table.add_row(*(Text(_shown(cell)) for cell in row))
    return table


def _shown(cell: Cell) -> str:
    return "NULL" if cell is None else one_line(cell) if isinstance(cell, str) else str(cell)
