"""A change to a database as a proposal: its SQL, and the rows that it would touch; nothing executes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from danlu.tools.sql.database import Database, Rows, Schema
from danlu.tools.sql.render import expression, named, render
from danlu.tools.sql.syntax import Reader, tokens_of
from danlu.tools.sql.tokens import SqlError
from danlu.tools.sql.tree import (
    Call,
    Expression,
    Group,
    Item,
    Name,
    Nested,
    Query,
    Select,
    Source,
    Star,
    walk,
)
from danlu.tools.visible import one_line

VERBS = ("DELETE", "UPDATE", "INSERT")


@dataclass(frozen=True, slots=True)
class Proposal:
    """What somebody may run with a program of their own, once they have read it."""

    sql: str
    touched: Rows | None  # rows as they are, and for UPDATE their new values; None for INSERT
    n_touched: int


@dataclass(frozen=True, slots=True)
class Write:
    """One DELETE, UPDATE or INSERT as the grammar reads it."""

    verb: str
    table: str
    columns: Sequence[str] = ()
    values: Sequence[Expression] = ()  # of UPDATE, in the order of columns; of INSERT a group a row
    where: Expression | None = None


def is_write(text: str) -> bool:
    """Whether a text begins as a statement that changes rows."""
    words = text.split(maxsplit=2)
    return (
        len(words) > 1
        and words[0].upper() in VERBS
        and (words[0].isupper() or words[1].upper() in ("FROM", "INTO"))
    )


def propose(sql: str, database: Database, schema: Schema) -> Proposal:
    """What a change would touch; SqlError if it is no single, plain change of one table."""
    database.for_sqlite_alone("changes are proposed")
    write = _Writer(tokens_of(sql)).write()
    table = next((each for each in schema.tables if each.name.lower() == write.table.lower()), None)
    if table is None:
        raise SqlError(f"no table {one_line(write.table, 60)!r}")
    known = {name.lower() for name in table.columns}
    for column in write.columns:
        if column.lower() not in known:
            raise SqlError(f"no column {one_line(column, 60)!r} in {one_line(table.name, 60)!r}")
    if write.verb == "INSERT":
        return _inserted(write, database, schema)
    source = (Source("", write.table),)
    counted = Query((Select((Item(Call("count", (Star(),))),), source, write.where),))
    n_touched = database.select(render(counted), schema).rows[0][0]
    items = [Item(Star())] + [
        Item(value, f"{column} → new") for column, value in zip(write.columns, write.values, strict=True)
    ]
    touched = database.select(render(Query((Select(tuple(items), source, write.where),))), schema)
    return Proposal(_rendered(write), touched, int(n_touched or 0))


def deletion(query: Query) -> str:
    """The DELETE of the rows that a SELECT finds, where it finds them in one table by a condition."""
    select = query.selects[0]
    plain = len(query.selects) == 1 and len(select.sources) == 1 and not (select.group or query.commons)
    if not plain or query.limit is not None or not isinstance(select.sources[0].table, str):
        raise SqlError("only rows of one table that a condition tells apart are proposed for deletion")
    if select.where is None:
        raise SqlError("the question names no condition; a deletion of all rows is not proposed")
    return _rendered(Write("DELETE", select.sources[0].table, where=select.where))


def _inserted(write: Write, database: Database, schema: Schema) -> Proposal:
    for row in write.values:
        names = [node for node in walk(row) if isinstance(node, Name | Nested)]
        if names:
            raise SqlError("the values of an INSERT are plain here: numbers, texts and functions of them")
        items = row.items if isinstance(row, Group) else ()
        if len(items) != len(write.columns):
            raise SqlError(f"a row has {len(items)} values for {len(write.columns)} columns")
        database.select(render(Query((Select(tuple(map(Item, items))),))), schema)  # they can be computed
    return Proposal(_rendered(write), None, len(write.values))


def _rendered(write: Write) -> str:
    table = named(write.table)
    where = f" WHERE {expression(write.where)}" if write.where is not None else ""
    if write.verb == "DELETE":
        return f"DELETE FROM {table}{where}"
    if write.verb == "UPDATE":
        pairs = zip(write.columns, write.values, strict=True)
        return f"UPDATE {table} SET {', '.join(f'{named(c)} = {expression(v)}' for c, v in pairs)}{where}"
    columns = ", ".join(map(named, write.columns))
    return f"INSERT INTO {table} ({columns}) VALUES {', '.join(map(expression, write.values))}"


class _Writer(Reader):
    """DELETE FROM t [WHERE …], UPDATE t SET c = …, … [WHERE …], INSERT INTO t (c, …) VALUES (…), …"""

    def write(self) -> Write:
        verb = self.token.keyword
        rules = {"DELETE": self._delete, "UPDATE": self._update, "INSERT": self._insert}
        if verb not in rules:
            raise self.unexpected("DELETE, UPDATE or INSERT")
        self.skip()
        found = rules[verb]()
        self.end()
        return found

    def _delete(self) -> Write:
        self.expect("FROM")
        return Write("DELETE", self.name("a table"), where=self._where())

    def _update(self) -> Write:
        table = self.name("a table")
        self.expect("SET")
        pairs = self.list(self._setting)
        columns, values = zip(*pairs, strict=True)
        return Write("UPDATE", table, columns, values, self._where())

    def _setting(self) -> tuple[str, Expression]:
        column = self.name("a column")
        self.expect("=")
        return column, self.expression()

    def _insert(self) -> Write:
        self.expect("INTO")
        table = self.name("a table")
        self.expect("(")
        columns = self.list(lambda: self.name("a column"))
        self.expect(")")
        self.expect("VALUES")
        return Write("INSERT", table, columns, self.list(self._group))

    def _where(self) -> Expression | None:
        return self.expression() if self.take("WHERE") else None
