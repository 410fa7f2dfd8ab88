"""How tables hang together, and the joins of a SELECT that only lists them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from danlu.tools.sql.database import Schema, Table
from danlu.tools.sql.tokens import SqlError
from danlu.tools.sql.tree import Binary, Name, Query, Select, Source, Star, changed, walk
from danlu.tools.visible import one_line


@dataclass(frozen=True, slots=True)
class Join:
    """Two columns by which two tables are joined."""

    table: str
    column: str
    other: str
    other_column: str


class JoinGraph:
    """The joins of a schema: declared foreign keys, and where two tables have none, columns of one name."""

    def __init__(self, schema: Schema) -> None:
        self._tables = {table.name.lower(): table for table in schema.tables}
        declared = [join for table in schema.tables for join in self._declared(table)]
        pairs = {frozenset((join.table, join.other)) for join in declared}
        named = [
            join
            for i, table in enumerate(schema.tables)
            for other in schema.tables[i + 1 :]
            if frozenset((table.name, other.name)) not in pairs
            for join in _same_name(table, other)
        ]
        self._declared_from = _from_each(declared)
        self._all_from = _from_each([*declared, *named])

    def connected(self, tables: Sequence[str]) -> list[tuple[str, Join | None]]:
        """The tables in an order in which each is joined to one before it; those between them are added."""
        order: list[tuple[str, Join | None]] = [(tables[0], None)]
        for table in tables[1:]:
            inside = {name for name, _ in order}
            if table not in inside:
                path = self._path(inside, table, self._declared_from) or self._path(
                    inside, table, self._all_from
                )
                if not path:
                    raise SqlError(f"nothing joins {one_line(table, 60)!r} to {one_line(tables[0], 60)!r}")
                order += [(join.other, join) for join in path]
        return order

    def _path(self, inside: set[str], goal: str, edges: Mapping[str, Sequence[Join]]) -> list[Join]:
        """The shortest chain of joins to a table from those that are there; none if there is no chain."""
        reached: dict[str, list[Join]] = {name: [] for name in sorted(inside)}
        waiting = list(reached)
        while waiting:
            here = waiting.pop(0)
            for join in edges.get(here, ()):
                if join.other not in reached:
                    reached[join.other] = [*reached[here], join]
                    waiting.append(join.other)
        return reached.get(goal, [])

    def _declared(self, table: Table) -> Iterator[Join]:
        for column, other_name, other_column in table.foreign_keys:
            other = self._tables.get(other_name.lower())
            if other is None or other.name == table.name:
                continue
            there = other_column or (other.primary_key[0] if other.primary_key else "")
            known = {name.lower(): name for name in other.columns}
            if there.lower() in known:  # a key may point at what is not there
                yield Join(table.name, column, other.name, known[there.lower()])


def connect(query: Query, graph: JoinGraph) -> Query:
    """The query with its listed tables joined, those of its columns added, and short names where they do."""

    def change(node: Any) -> Any:
        if not isinstance(node, Query):
            return node
        single = len(node.selects) == 1
        selects, order = list[Select](), node.order
        for select in node.selects:
            joined = _joined(select, order if single else (), graph)
            if len(joined.sources) == 1:
                joined, order = _unqualified(joined), _unqualified(order) if single else order
            selects.append(joined)
        return replace(node, selects=tuple(selects), order=order)

    return changed(query, change)


def _joined(select: Select, order: object, graph: JoinGraph) -> Select:
    listed = [source.table for source in select.sources if isinstance(source.table, str)]
    used = [node.table for node in walk((select, order), nested=False) if isinstance(node, Name | Star)]
    tables = list(dict.fromkeys(each for each in [*listed, *used] if each))
    if not tables:
        return select
    sources = tuple(
        Source("JOIN" if join else "", table, on=_equality(join) if join else None)
        for table, join in graph.connected(tables)
    )
    return replace(select, sources=sources)


def _equality(join: Join) -> Binary:
    return Binary("=", Name(join.table, join.column), Name(join.other, join.other_column))


def _unqualified(node: Any) -> Any:
    """Names without their tables, queries below left as they are."""
    if isinstance(node, Query):
        return node
    if isinstance(node, Name):
        return replace(node, table="")
    if isinstance(node, tuple):
        return tuple(map(_unqualified, node))
    if hasattr(node, "__dataclass_fields__"):
        return replace(
            node, **{name: _unqualified(getattr(node, name)) for name in node.__dataclass_fields__}
        )
    return node


def _same_name(table: Table, other: Table) -> list[Join]:
    """The best column that both tables have; `name` and the like say nothing."""
    theirs = {name.lower(): name for name in other.columns}
    shared = [name for name in table.columns if name.lower() in theirs and name.lower() not in SAYING_NOTHING]
    keys = {name.lower() for name in (*table.primary_key, *other.primary_key)}
    shared.sort(key=lambda name: (not name.lower().endswith("id"), name.lower() not in keys))
    return [Join(table.name, name, other.name, theirs[name.lower()]) for name in shared[:1]]


def _from_each(joins: Sequence[Join]) -> dict[str, list[Join]]:
    edges: dict[str, list[Join]] = {}
    for join in joins:
        edges.setdefault(join.table, []).append(join)
        back = Join(join.other, join.other_column, join.table, join.column)
        edges.setdefault(join.other, []).append(back)
    return edges


SAYING_NOTHING = {"id", "name", "title", "description", "date", "year", "type", "note", "notes"}
