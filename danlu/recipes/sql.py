"""`danlu sql DATABASE QUESTION`: ask a database, in SQL or, with a model, in words; nothing changes it."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from danlu.config import ConfigError
from danlu.recipes.sql_files import as_database, is_files
from danlu.tools.sql import advice, charts, emptiness
from danlu.tools.sql.asking import ask
from danlu.tools.sql.database import Cell, Database, Rows, Schema, SqlLimits
from danlu.tools.sql.engines import is_url
from danlu.tools.sql.explain import Language, explain
from danlu.tools.sql.syntax import read
from danlu.tools.sql.tokens import SqlError
from danlu.tools.sql.writes import deletion, is_write, propose
from danlu.tools.visible import one_line

SUMMARY = 'ask a database or files, safely: danlu sql DATABASE "SELECT …", or in words with model=MODEL'
POSITIONAL = ("database", "question")
HAN = re.compile(r"[\u4e00-\u9fff]")
DELETING = re.compile(r"\s*(?:please\s+)?(?:delete|remove)\s+|\s*(?:请)?(?:删除|删掉|去掉)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlConfig:
    database: str  # SQLite, DuckDB, CSV or Parquet file, folder of the last two, or postgresql://…
    question: str = ""  # a SELECT, a change to be proposed, or with a model words; without it the tables
    model: Path | None = None  # that writes SQL; see bench/text_to_sql.py for how to make one
    explain: bool = False  # say in words what the statement does, step by step
    advise: bool = False  # try indexes and other wordings on a copy, and show what they change
    out: Path | None = None  # .html or .png file for the answer's chart
    limits: SqlLimits = field(default_factory=SqlLimits)

    def __post_init__(self) -> None:
        if self.out is not None and self.out.suffix not in (".html", ".png"):
            raise ConfigError(f"out is {self.out}; it must end in .html or .png")
        if not self.question and (self.explain or self.advise or self.out is not None):
            raise ConfigError("there is no question to explain, advise on or draw; add one")


def run(config: SqlConfig) -> None:
    with opened(config.database) as where:
        database = Database(where, config.limits)
        schema = database.schema()
        if not config.question:
            print(schema.describe() or "no tables")
        elif is_write(config.question):
            show_proposal(config.question, database, schema)
        elif config.model is not None and not is_select(config.question):
            answer_words(config, config.model, database, schema)
        else:
            answer(config, config.question, database, schema)


@contextmanager
def opened(where: str) -> Generator[Path | str]:
    """A database's file or URL; CSV and Parquet files become a SQLite file for as long as it is needed."""
    if not is_url(where) and is_files(Path(where)):
        with as_database(Path(where)) as made:
            yield made
    else:
        yield where


def is_select(text: str) -> bool:
    """Whether a text is meant as SQL: it begins as it does, or can be read as it."""
    if text.lstrip().startswith(("SELECT ", "WITH ")):
        return True
    try:
        read(text)
    except SqlError:
        return False
    return True


def answer_words(config: SqlConfig, model: Path, database: Database, schema: Schema) -> None:
    """Answer a question, or propose the deletion that it asks for."""
    deleting = DELETING.match(config.question)
    words = config.question
    if deleting:
        shown = "列出" if HAN.search(words) else "Show "
        words = shown + words[deleting.end() :]
    sql = written(words, model, database, schema)
    if deleting:
        show_proposal(deletion(read(sql).query), database, schema)
    else:
        print(f"{one_line(sql, 10_000)}\n")
        answer(config, sql, database, schema)


def written(question: str, model: Path, database: Database, schema: Schema) -> str:
    """The statement that a model writes for a question."""
    from danlu.recipes.speaker import load_speaker
    from danlu.recipes.sql_model import Asked, SqlModel

    return SqlModel(load_speaker(model)).sql(Asked(ask(question, database, schema), schema))


def answer(config: SqlConfig, sql: str, database: Database, schema: Schema) -> None:
    """Run a statement, and show its rows and all that was asked for beside them."""
    found = database.select(sql, schema)
    language: Language = "zh" if HAN.search(config.question) and config.question != sql else "en"
    steps = explain(found.sql, language) if config.explain or config.out is not None else []
    if config.explain:
        print("\n".join(steps) + "\n")
    show_rows(found)
    chart = charts.chart_of(found)
    if chart is not None:
        print("\n" + "\n".join(charts.as_text(chart)))
    if is_empty(found):
        print("\n".join(["", *reasons(found.sql, database, schema)]))
    if config.advise:
        print("\n".join(["", *advice.in_words(advice.advise(found.sql, database, schema))]))
    if config.out is not None:
        from danlu.recipes.sql_page import write

        write(config.out, config.question, found, steps, chart)
        print(f"\n{config.out}")


def is_empty(found: Rows) -> bool:
    """No rows, or nothing in the only one, as of a sum over no rows."""
    return not found.rows or (len(found.rows) == 1 and set(found.rows[0]) <= {None, 0})


def reasons(sql: str, database: Database, schema: Schema) -> list[str]:
    try:
        return ["why is this empty?", *emptiness.in_words(emptiness.why_empty(sql, database, schema))]
    except SqlError as error:
        return [f"why this is empty was not found out: {error}"]


def show_proposal(sql: str, database: Database, schema: Schema) -> None:
    proposal = propose(sql, database, schema)
    rows = f"{proposal.n_touched:,} row{'s' * (proposal.n_touched != 1)}"
    print(f"Proposed, not executed; it would touch {rows}:\n\n{one_line(proposal.sql, 10_000)};\n")
    if proposal.touched is not None and proposal.touched.rows:
        show_rows(proposal.touched)


def show_rows(found: Rows) -> None:
    Console(highlight=False).print(_table(found))
    n = len(found.rows)
    print(f"{n} row{'s' * (n != 1)}" + "; there are more" * found.cut)


def _table(found: Rows) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for i, name in enumerate(found.columns):
        numeric = all(isinstance(row[i], int | float | None) for row in found.rows)
        table.add_column(Text(one_line(name)), justify="right" if numeric else "left")
    for row in found.rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    return table


def shown(cell: Cell) -> str:
    return "NULL" if cell is None else one_line(cell) if isinstance(cell, str) else str(cell)
