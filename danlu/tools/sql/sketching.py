"""SQL that people wrote as a sketch: names become codes, and values words of the question."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import singledispatchmethod

from danlu.tools.sql.linking import Codes, ColumnRef, Linked
from danlu.tools.sql.tokens import SqlError
from danlu.tools.sql.tree import (
    Between,
    Binary,
    Call,
    Expression,
    Group,
    Literal,
    Name,
    Nested,
    Ordering,
    Query,
    Select,
    Star,
    Unary,
    all_of,
    conditions,
    walk,
)

Scope = dict[str, str]  # alias or name of a table in lower case → the table


class NoSketchError(SqlError):
    """A statement that a sketch cannot say."""


def sketch_of(query: Query, linked: Linked, codes: Codes) -> str:
    """The sketch of a statement; NoSketchError says what in it has none."""
    return " ".join(_Writer(linked, codes).query(query))


class _Writer:
    def __init__(self, linked: Linked, codes: Codes) -> None:
        self._linked, self._codes = linked, codes
        self._tables = {table.name.lower(): table.name for table in linked.tables}
        self._columns = {(each.table, each.name.lower()): each for each in linked.columns}
        self._scopes: list[Scope] = []

    def query(self, query: Query) -> Iterator[str]:
        if query.commons or query.offset is not None or len(query.selects) > 2:
            raise NoSketchError("WITH, OFFSET and more than two SELECTs have no sketch")
        if len(query.selects) == 2 and (query.order or query.limit):
            raise NoSketchError("an ordering of two SELECTs has no sketch")
        for operator, select in zip(["", *query.operators], query.selects, strict=True):
            if operator.endswith("ALL"):
                raise NoSketchError("UNION ALL has no sketch")
            yield from [operator] * bool(operator)
            self._scopes.append(self._scope(select))
            yield from self._select(select)
            yield from self._ordered(query)
            self._scopes.pop()

    def _scope(self, select: Select) -> Scope:
        scope: Scope = {}
        for source in select.sources:
            if not isinstance(source.table, str) or source.table.lower() not in self._tables:
                raise NoSketchError("FROM names something else than a table")
            table = self._tables[source.table.lower()]
            if table in scope.values() or source.join.startswith("LEFT"):
                raise NoSketchError("a table joined to itself, or by LEFT JOIN, has no sketch")
            scope[(source.alias or source.table).lower()] = table
        return scope

    def _select(self, select: Select) -> Iterator[str]:
        yield from ["SELECT", *["DISTINCT"] * select.distinct]
        yield from self._listed([each.expression for each in select.items])
        yield "FROM"
        yield from sorted(self._codes.tables[table] for table in self._scopes[-1].values())
        where = [part for part in conditions(select.where) if not self._joins(part)]
        # In the order in which the question says them: to write them is to read the question once.
        where.sort(key=self._mention)
        if (whole := all_of(where)) is not None:
            yield from ["WHERE", *self._said(whole)]
        if select.group:
            yield from ["GROUP", "BY", *self._listed(select.group)]
        if select.having is not None:
            yield from ["HAVING", *self._said(select.having)]

    def _ordered(self, query: Query) -> Iterator[str]:
        if query.order:
            yield from ["ORDER", "BY", *self._orderings(query.order)]
            if query.limit is not None:
                yield from ["LIMIT", *self._said(query.limit)]
        elif query.limit is not None:
            raise NoSketchError("LIMIT without ORDER BY has no sketch")

    def _orderings(self, order: tuple[Ordering, ...]) -> Iterator[str]:
        for i, each in enumerate(order):
            yield from [","] * bool(i)
            yield from self._said(each.expression)
            yield from ["DESC"] * each.descending

    def _listed(self, expressions: list[Expression] | tuple[Expression, ...]) -> Iterator[str]:
        for i, each in enumerate(expressions):
            yield from [","] * bool(i)
            yield from self._said(each)

    def _mention(self, part: Expression) -> int:
        """The number of the first word of a condition's value; past the last word where it is not said."""
        values = [each.value for each in walk(part) if isinstance(each, Literal)]
        places = [place[0] for value in values if (place := place_of(value, self._linked))]
        return min(places, default=len(self._linked.words))

    def _joins(self, part: Expression) -> bool:
        """Whether a condition only says how two tables of this SELECT are joined."""
        if not (isinstance(part, Binary) and part.operator in ("=", "==")):
            return False
        sides = [part.left, part.right]
        found = [self._column(side, own=True) for side in sides if isinstance(side, Name)]
        return len(found) == 2 and None not in found and len({each.table for each in found if each}) == 2

    def _column(self, name: Name, *, own: bool = False) -> ColumnRef | None:
        """The column that a name means, in this SELECT or in one around it."""
        for scope in [self._scopes[-1]] if own else reversed(self._scopes):
            tables = [scope[name.table.lower()]] if name.table.lower() in scope else []
            for table in tables if name.table else scope.values():
                if column := self._columns.get((table, name.name.lower())):
                    return column
        return None

    @singledispatchmethod
    def _said(self, node: Expression) -> Iterator[str]:
        raise NoSketchError(f"{type(node).__name__} has no sketch")

    @_said.register
    def _(self, node: Literal) -> Iterator[str]:
        yield from self._value(node.value, node.text)

    @_said.register
    def _(self, node: Name) -> Iterator[str]:
        if (column := self._column(node)) is not None:
            yield self._codes.columns[column]
        elif node.quoted:  # SQLite's old way of writing a text
            yield from self._value(node.name, "'" + node.name.replace("'", "''") + "'")
        else:
            raise NoSketchError(f"no column {node.name!r}")

    @_said.register
    def _(self, node: Star) -> Iterator[str]:
        if node.table:
            raise NoSketchError("all columns of one table have no sketch")
        yield "*"

    @_said.register
    def _(self, node: Call) -> Iterator[str]:
        if node.function.upper() not in FUNCTIONS or len(node.arguments) != 1:
            raise NoSketchError(f"{node.function} has no sketch")
        yield from [node.function.upper(), "(", *["DISTINCT"] * node.distinct]
        yield from [*self._said(node.arguments[0]), ")"]

    @_said.register
    def _(self, node: Unary) -> Iterator[str]:
        if node.operator == "-" and isinstance(node.operand, Literal):
            yield from self._value(f"-{node.operand.text}", f"-{node.operand.text}")
            return
        raise NoSketchError(f"{node.operator} has no sketch")

    @_said.register
    def _(self, node: Binary) -> Iterator[str]:
        operator = OPERATORS.get(node.operator, node.operator)
        if operator.endswith("IN") and not isinstance(node.right, Nested):
            raise NoSketchError("a set of values has no sketch")
        if operator == "COLLATE":
            raise NoSketchError("COLLATE has no sketch")
        right = self._pattern(node.right) if operator.endswith("LIKE") else self._said(node.right)
        yield from [*self._said(node.left), *operator.split(), *right]

    @_said.register
    def _(self, node: Between) -> Iterator[str]:
        if node.negated:
            raise NoSketchError("NOT BETWEEN has no sketch")
        yield from [*self._said(node.operand), "BETWEEN", *self._said(node.low), "AND"]
        yield from self._said(node.high)

    @_said.register
    def _(self, node: Group) -> Iterator[str]:
        if len(node.items) != 1:
            raise NoSketchError("a set of values has no sketch")
        yield from ["(", *self._said(node.items[0]), ")"]

    @_said.register
    def _(self, node: Nested) -> Iterator[str]:
        if node.exists:
            raise NoSketchError("EXISTS has no sketch")
        yield from ["(", *self.query(node.query), ")"]

    def _pattern(self, node: Expression) -> Iterator[str]:
        """What LIKE looks for; a word of the question stands for any text that contains it."""
        text = node.value if isinstance(node, Literal) else node.name if isinstance(node, Name) else ""
        inner = re.fullmatch(r"%([^%_]+)%", text)
        if not inner:
            raise NoSketchError("this pattern has no sketch")
        return self._value(inner[1], "")

    def _value(self, value: str, literal: str) -> Iterator[str]:
        """Words of the question if the value stands there, else the literal itself."""
        if place := place_of(value, self._linked):
            yield from (self._codes.words[each] for each in place)
        elif re.fullmatch(r"-?\d{1,9}(\.\d{1,4})?|'[^'\n]{0,40}'", literal):
            yield literal
        else:
            raise NoSketchError(f"{value!r} does not stand in the question")


def place_of(value: str, linked: Linked) -> tuple[int, int] | None:
    """The number of the first and the last word of a value in its question, in whatever case."""
    wanted = value.strip().lower()
    for first, word in enumerate(linked.words):
        if not wanted.startswith(word.text):
            continue
        for last in range(first, len(linked.words)):
            said = linked.span(first, last).lower()
            if said == wanted:
                return first, last
            if len(said) > len(wanted):
                break
    return None


FUNCTIONS = {"COUNT", "SUM", "AVG", "MIN", "MAX"}
OPERATORS = {"==": "=", "<>": "!="}
