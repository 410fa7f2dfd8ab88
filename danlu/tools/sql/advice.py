"""What would make a SELECT cheaper: an index or another wording, tried out on a copy in memory.

Evidence is SQLite's own plan (EXPLAIN QUERY PLAN) and the number of steps its machine takes, before and
after. The file itself is never touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from danlu.tools.sql.database import Database, Schema
from danlu.tools.sql.render import named, render
from danlu.tools.sql.tree import (
    Between,
    Binary,
    Call,
    Expression,
    Group,
    Literal,
    Name,
    Query,
    Select,
    changed,
    conditions,
    walk,
)

WORTH_IT = 0.8  # of the steps before; what saves less is not suggested
MAX_TRIED = 6


@dataclass(frozen=True, slots=True)
class Run:
    """How SQLite runs a statement."""

    plan: Sequence[str]
    steps: int  # of its virtual machine, in hundreds
    n_rows: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Something that was tried, and what it changed."""

    sql: str  # CREATE INDEX, or the statement in other words
    after: Run


@dataclass(frozen=True, slots=True)
class Advice:
    before: Run
    suggestions: Sequence[Suggestion]  # the best first; none if nothing helped


def advise(sql: str, database: Database, schema: Schema) -> Advice:
    """Try indexes and other wordings of a statement on a copy, and keep what helps."""
    database.for_sqlite_alone("indexes and wordings are tried out on a copy")
    statement = database.checked(sql, schema)
    indexes = list(dict.fromkeys(_indexes(statement.query, schema)))[:MAX_TRIED]
    wordings = [render(each) for each in _reworded(statement.query)]
    tried = [(statement.sql, index) for index in indexes] + [(each, None) for each in wordings]
    before, *after = [Run(*run) for run in database.plans(schema, [(statement.sql, None), *tried])]
    kept = [
        Suggestion(_create(*index) if index else said, run)
        for (said, index), run in zip(tried, after, strict=True)
        if run.steps < WORTH_IT * before.steps and run.n_rows == before.n_rows
    ]
    return Advice(before, sorted(kept, key=lambda each: each.after.steps))


def _create(table: str, columns: tuple[str, ...]) -> str:
    name = "_".join(re.sub(r"\W", "", part) for part in (table, *columns)) + "_index"
    return f"CREATE INDEX {named(name)} ON {named(table)} ({', '.join(map(named, columns))})"


def _indexes(query: Query, schema: Schema) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Tables with columns that are compared, joined or sorted by: those that must be equal come first."""
    for select in (node for node in walk(query) if isinstance(node, Select)):
        tables = {
            (source.alias or source.table).lower(): source.table
            for source in select.sources
            if isinstance(source.table, str)
        }
        parts = [*conditions(select.where)]
        for source in select.sources:
            parts += conditions(source.on)
        equal, other = list[Name](), list[Name]()
        for part in parts:
            if isinstance(part, Binary | Between):
                sides = [part.left, part.right] if isinstance(part, Binary) else [part.operand]
                is_equal = isinstance(part, Binary) and part.operator in ("=", "==", "IN")
                (equal if is_equal else other).extend(side for side in sides if isinstance(side, Name))
        other += [each.expression for each in query.order if isinstance(each.expression, Name)]
        yield from _of_each(tables, equal, other, schema)


def _of_each(
    tables: dict[str, str], equal: Sequence[Name], other: Sequence[Name], schema: Schema
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for alias, name in tables.items():
        table = next((each for each in schema.tables if each.name.lower() == name.lower()), None)
        if table is None:
            continue
        known = {column.lower(): column for column in table.columns}

        def mine(found: Sequence[Name], alias: str = alias, known: dict[str, str] = known) -> list[str]:
            names = [each.name.lower() for each in found if each.table.lower() in ("", alias)]
            return [known[each] for each in dict.fromkeys(names) if each in known]

        first, then = mine(equal), mine(other)
        if first:
            yield table.name, tuple(first[:3])
        for column in then[:2]:
            yield table.name, (*[each for each in first[:2] if each != column], column)


def _reworded(query: Query) -> Iterator[Query]:
    """The statement with conditions that keep SQLite from an index said in another way."""
    other = changed(query, lambda node: _plainer(node) if isinstance(node, Binary) else node)
    if other != query:
        yield other


def _plainer(node: Binary) -> Expression:
    """strftime('%Y', x) = '2020' as a range; x = 1 OR x = 2 as a set."""
    match node:
        case Binary("=", Call(function, (Literal("'%Y'"), Name() as column)), Literal() as year) if (
            function.lower() == "strftime" and re.fullmatch(r"\d{4}", year.value)
        ):
            first, after = (Literal(f"'{int(year.value) + n:04d}-01-01'") for n in (0, 1))
            return Binary("AND", Binary(">=", column, first), Binary("<", column, after))
        case Binary("OR", Binary("=", left, Literal() as one), Binary("=", right, Literal() as two)) if (
            left == right and isinstance(left, Name)
        ):
            return Binary("IN", left, Group((one, two)))
        case _:
            return node


def in_words(advice: Advice) -> list[str]:
    """The evidence, one line each."""
    lines = [f"now: {advice.before.steps:,} hundred steps", *(f"  {line}" for line in advice.before.plan)]
    if not advice.suggestions:
        return [*lines, "no index and no other wording that was tried makes it much cheaper"]
    for each in advice.suggestions:
        lines += [f"with {each.sql}", f"  {each.after.steps:,} hundred steps"]
        lines += [f"  {line}" for line in each.after.plan]
    return lines
