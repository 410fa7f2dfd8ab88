"""One question to one database: checked against its tables, run under guards, answered with rows."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from danlu.config import ConfigError
from danlu.tools.process import ask_process
from danlu.tools.sql.dialects import translated
from danlu.tools.sql.engines import Engine, engine_of
from danlu.tools.sql.render import named
from danlu.tools.sql.syntax import Column, Statement, read
from danlu.tools.sql.tokens import FUNCTIONS, SqlError
from danlu.tools.visible import one_line, whole_unicode

WORKER = Path(__file__).parent / "worker.py"
# What SQLite calls operators by in its authorizer.
OPERATOR_FUNCTIONS = ("like",)
MAX_PHRASES = 500  # that cells are compared with

Cell = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlLimits:
    rows: int = 200
    answer_bytes: int = 100_000
    cell_characters: int = 1000
    value_bytes: int = 1_000_000  # of any value on the way
    memory_bytes: int = 512 * 2**20  # of the process, interpreter included
    cpu_s: float = 5.0
    wall_s: float = 20.0  # waiting for a disk or a lock included
    busy_s: float = 0.5  # waiting for a lock

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value <= 0:
                raise ConfigError(f"{name} is {value}; it must be above 0")


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view."""

    name: str
    columns: Mapping[str, str]  # name → declared type
    primary_key: Sequence[str]
    foreign_keys: Sequence[tuple[str, str, str]]  # column, other table, its column


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database holds, as far as a question may reach."""

    tables: Sequence[Table]

    def describe(self) -> str:
        """One line a table, for people and models: `city(name TEXT, country TEXT → country.code)`."""
        return "\n".join(_describe(table) for table in self.tables)


@dataclass(frozen=True, slots=True)
class Rows:
    """What a SELECT gave."""

    sql: str  # the statement as it was read; other engines than SQLite run it in words of their own
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    cut: bool  # there are more rows than are shown


@dataclass(frozen=True, slots=True)
class Database:
    """A SQLite or DuckDB file, or the URL of a PostgreSQL database; never written to."""

    path: Path | str
    limits: SqlLimits = field(default_factory=SqlLimits)

    def schema(self) -> Schema:
        """Tables and views with their columns."""
        return Schema([_table(each) for each in self._ask({})["tables"]])

    def select(self, sql: str, schema: Schema | None = None) -> Rows:
        """Run one SELECT; a statement that does or names anything else is an error.

        Args:
            schema: what `schema` gave before, to spare asking again.
        """
        schema = schema or self.schema()
        statement = self.checked(sql, schema)
        dialect = self.engine.dialect
        columns = {table.name: list(table.columns) for table in schema.tables}
        sql = translated(statement, columns, dialect) if dialect else statement.sql
        found = self._ask({"sql": sql, **self._granted(schema)})
        return Rows(statement.sql, found["columns"], found["rows"], found["cut"])

    @property
    def engine(self) -> Engine:
        return engine_of(self.path)

    def for_sqlite_alone(self, what: str) -> None:
        """Refuse what is not offered on other engines."""
        if self.engine.dialect:
            raise SqlError(f"{what} for SQLite alone, not for {self.engine.dialect.name}")

    def checked(self, sql: str, schema: Schema) -> Statement:
        """A statement that the grammar admits and whose names exist."""
        statement = read(sql)
        check_names(statement, schema)
        return statement

    def plans(
        self, schema: Schema, tried: Sequence[tuple[str, tuple[str, Sequence[str]] | None]]
    ) -> list[tuple[list[str], int, int]]:
        """Plan, steps in hundreds, and rows of each statement, run on a copy in memory with an index or none.

        Args:
            schema: of this database.
            tried: statements that `checked` has passed, each with a table and the columns of its index.
        """
        found = self._ask({"plans": [list(each) for each in tried], **self._granted(schema)})["plans"]
        return [(plan, steps, n_rows) for plan, steps, n_rows in found]

    def cells(self, schema: Schema, phrases: Sequence[str]) -> list[tuple[str, str, str]]:
        """Table, column and content of the cells that are one of some phrases; numbers are not looked for."""
        columns = [
            (table.name, name)
            for table in schema.tables
            for name, kind in table.columns.items()
            if not re.search("INT|REAL|FLOA|DOUB|DECIMAL|NUMERIC|BLOB|DATE|TIME", kind.upper())
        ]
        asked = [phrase for phrase in phrases[:MAX_PHRASES] if phrase == whole_unicode(phrase)]
        request = {"phrases": asked, "columns": columns, "tables": [t.name.lower() for t in schema.tables]}
        return [(table, column, cell) for table, column, cell in self._ask(request)["cells"]]

    def _granted(self, schema: Schema) -> dict[str, list[str]]:
        # A view reads other tables in its turn; all of them are ordinary ones.
        tables = [table.name.lower() for table in schema.tables]
        return {"tables": tables, "functions": [*FUNCTIONS, *OPERATOR_FUNCTIONS]}

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        engine = self.engine
        whole = {**engine.place(), **request, "limits": asdict(self.limits)}
        answer = ask_process(WORKER, whole, wall_s=self.limits.wall_s, what="the statement")
        if "error" in answer:
            raise SqlError(f"{one_line(engine.shown)}: {one_line(answer['error'], 500)}")
        return answer


def check_names(statement: Statement, schema: Schema) -> None:
    """Every table and column of a statement exists; SQLite would take a misspelt \"name\" for a text."""
    known = {table.name.lower(): table for table in schema.tables}
    for name in statement.tables.values():
        if name.lower() not in known and name.lower() not in statement.local:
            raise SqlError(
                f"no table {one_line(name, 60)!r}; {_suggest(name, [t.name for t in schema.tables])}"
            )
    for column in statement.columns:
        _check_column(column, statement, known)


def _check_column(column: Column, statement: Statement, known: Mapping[str, Table]) -> None:
    qualifier, name = column.table.lower(), column.name.lower()
    if qualifier and qualifier not in statement.tables and qualifier not in statement.local:
        raise SqlError(
            f"character {column.place}: {one_line(column.table, 60)!r} is no table of this statement"
        )
    origin = statement.tables.get(qualifier, "").lower()
    read_here = [origin] if origin in known else [table.lower() for table in statement.tables.values()]
    columns = [each for table in read_here if table in known for each in known[table].columns]
    made_here = set() if origin in known else statement.aliases
    if name != "*" and name not in {each.lower() for each in columns} | made_here:
        raise SqlError(
            f"character {column.place}: no column {one_line(column.name, 60)!r}; "
            + _suggest(column.name, columns)
        )


def _suggest(name: str, known: Sequence[str]) -> str:
    lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), list(lower), n=1)
    if close:
        return f"did you mean {one_line(lower[close[0]], 60)!r}?"
    return "there are " + (", ".join(one_line(each, 60) for each in known[:20]) or "none")


def _table(tree: Mapping[str, Any]) -> Table:
    return Table(
        name=tree["name"],
        columns={name: kind for name, kind, _ in tree["columns"]},
        primary_key=[name for name, _, key in tree["columns"] if key],
        foreign_keys=[(here, other, there or "") for here, other, there in tree["keys"]],
    )


def _describe(table: Table) -> str:
    pointed = {here: f" → {other}.{there}" for here, other, there in table.foreign_keys}
    parts = [
        one_line(f"{named(name)} {kind}".rstrip() + pointed.get(name, ""), 200)
        for name, kind in table.columns.items()
    ]
    return f"{one_line(named(table.name))}({', '.join(parts)})"
