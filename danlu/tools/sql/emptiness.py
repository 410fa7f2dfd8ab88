"""Why a SELECT gives nothing: its conditions are left out one at a time, and the rows counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from danlu.tools.sql.database import Database, Schema
from danlu.tools.sql.render import expression, render
from danlu.tools.sql.syntax import read
from danlu.tools.sql.tokens import SqlError
from danlu.tools.sql.tree import (
    Binary,
    Call,
    Expression,
    Item,
    Literal,
    Name,
    Query,
    Select,
    Source,
    Star,
    all_of,
    conditions,
)
from danlu.tools.visible import one_line


@dataclass(frozen=True, slots=True)
class Without:
    """How many rows there are when one thing is left out of a statement."""

    left_out: str  # as SQL
    n_rows: int
    kind: str = "condition"  # or table, having


@dataclass(frozen=True, slots=True)
class Emptiness:
    """What a statement that gives nothing is without each of its conditions."""

    n_unconditioned: int  # rows when no condition holds anybody back
    without: Sequence[Without]
    near: Sequence[tuple[str, str, str]] = ()  # column, the value asked for, what the column holds instead


def why_empty(sql: str, database: Database, schema: Schema) -> Emptiness:
    """What holds the rows of a statement back; for one SELECT whose tables stand in FROM."""
    query = read(sql).query
    if len(query.selects) != 1 or query.commons:
        raise SqlError("only one plain SELECT is looked into; this one joins several")
    select = query.selects[0]
    if not select.sources:
        raise SqlError("the statement reads no table")

    def count(changed: Select) -> int:
        return _count(replace(query, order=(), limit=None, offset=None), changed, database, schema)

    parts = conditions(select.where)
    without = [
        Without(expression(part), count(replace(select, where=all_of(_but(parts, i)))))
        for i, part in enumerate(parts)
    ]
    if select.having is not None:
        n_rows = count(replace(select, having=None))
        without.append(Without(expression(select.having), n_rows, "having"))
    without += [
        Without(f"{source.join} {source.table} ON {expression(source.on)}", count(loose), "join")
        for source, loose in _loosened(select)
    ]
    plain = replace(select, where=None, having=None)
    return Emptiness(count(plain), without, list(_near(parts, select, database, schema)))


def _loosened(select: Select) -> Iterator[tuple[Source, Select]]:
    """The SELECT with one join at a time keeping the rows that have no partner; conditions left out."""
    for i, source in enumerate(select.sources):
        if source.on is not None and not source.join.startswith("LEFT") and isinstance(source.table, str):
            loose = replace(source, join="LEFT JOIN")
            sources = (*select.sources[:i], loose, *select.sources[i + 1 :])
            yield source, replace(select, sources=sources, where=None, having=None)


def _count(query: Query, select: Select, database: Database, schema: Schema) -> int:
    if select.group or select.distinct:
        inner = replace(query, selects=(select,))
        outer = Select((Item(Call("count", (Star(),))),), (Source("", inner, "found"),))
    else:
        outer = replace(select, items=(Item(Call("count", (Star(),))),), having=None)
    found = database.select(render(Query((outer,))), schema).rows
    return int(found[0][0] or 0)


def _but(parts: Sequence[Expression], i: int) -> list[Expression]:
    return [part for j, part in enumerate(parts) if j != i]


def _near(
    parts: Sequence[Expression], select: Select, database: Database, schema: Schema
) -> Iterator[tuple[str, str, str]]:
    """Texts that are asked for in another case, or with blanks around them, than the column holds them."""
    for part in parts:
        match part:
            case Binary("=", Name() as column, Literal(text) as asked) if text.startswith("'"):
                wanted = Call("lower", (Call("trim", (asked,)),))
                held = Call("lower", (Call("trim", (column,)),))
                items = (Item(column),)
                loose = replace(
                    select,
                    items=items,
                    where=Binary("=", held, wanted),
                    group=(),
                    having=None,
                    distinct=True,
                )
                for (found,) in database.select(render(Query((loose,))), schema).rows[:3]:
                    if str(found) != asked.value:
                        yield expression(column), asked.value, str(found)
            case _:
                pass


def in_words(found: Emptiness) -> list[str]:
    """What was found, one line each."""
    lines = [f"{found.n_unconditioned:,} rows before any condition"]
    for each in found.without:
        rows = f"{each.n_rows:,} row{'s' * (each.n_rows != 1)}"
        what = {"join": "where unmatched rows are kept at", "having": "without HAVING"}.get(
            each.kind, "without"
        )
        lines.append(one_line(f"{rows} {what} {each.left_out}", 300))
    lines += [
        one_line(f"{column} holds {there!r}, asked for is {asked!r}", 300)
        for column, asked, there in found.near
    ]
    if found.without and not any(each.n_rows for each in found.without if each.kind != "join"):
        lines.append("no single condition is to blame: leaving out one is not enough")
    return lines
