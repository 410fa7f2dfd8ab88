"""A SELECT as a tree: what the grammar reads, and what explaining, varying and writing a statement walk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number or constant as it is written in SQL: 'it''s', 2.5, NULL."""

    text: str

    @property
    def value(self) -> str:
        """What it stands for, without quotes."""
        return self.text[1:-1].replace("''", "'") if self.text.startswith("'") else self.text


@dataclass(frozen=True, slots=True)
class Name:
    """A column; `table` is its qualifier or nothing."""

    table: str
    name: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Star:
    """All columns, of one table or of all."""

    table: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A function of some arguments; count(*) has a star for its one."""

    function: str
    arguments: tuple[Expression, ...]
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Unary:
    operator: str  # NOT, -, +
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands and what stands between them: AND, =, NOT LIKE, IN, IS NOT, ||, ESCAPE, COLLATE …"""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Between:
    operand: Expression
    low: Expression
    high: Expression
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """What stands in brackets: one expression, or the members of a set."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Nested:
    """A query in brackets, or whether it has any rows."""

    query: Query
    exists: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    subject: Expression | None
    branches: tuple[tuple[Expression, Expression], ...]
    otherwise: Expression | None


@dataclass(frozen=True, slots=True)
class Cast:
    operand: Expression
    type: str


Expression = Literal | Name | Star | Call | Unary | Binary | Between | Group | Nested | Case | Cast


@dataclass(frozen=True, slots=True)
class Item:
    """One column of the result."""

    expression: Expression
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """One table or query of FROM, and how it is joined to those before it."""

    join: str  # "" for the first, else "," or "LEFT JOIN" and the like
    table: str | Query
    alias: str = ""
    on: Expression | None = None
    using: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Select:
    items: tuple[Item, ...]
    sources: tuple[Source, ...] = ()
    where: Expression | None = None
    group: tuple[Expression, ...] = ()
    having: Expression | None = None
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Ordering:
    expression: Expression
    descending: bool = False
    nulls: str = ""  # FIRST or LAST


@dataclass(frozen=True, slots=True)
class Common:
    """A query with a name of its own, from WITH."""

    name: str
    columns: tuple[str, ...]
    query: Query


@dataclass(frozen=True, slots=True)
class Query:
    """One SELECT, or several joined by UNION, INTERSECT, EXCEPT."""

    selects: tuple[Select, ...]
    operators: tuple[str, ...] = ()  # one fewer than selects
    order: tuple[Ordering, ...] = ()
    limit: Expression | None = None
    offset: Expression | None = None
    commons: tuple[Common, ...] = ()


def walk(node: object, *, nested: bool = True) -> Iterator[object]:
    """A node and all below it, from the outside in; without `nested`, queries below it are passed over."""
    yield node
    if isinstance(node, tuple):
        for each in node:
            yield from _below(each, nested)
    elif is_dataclass(node):
        for each in fields(node):
            yield from _below(getattr(node, each.name), nested)


def _below(node: object, nested: bool) -> Iterator[object]:
    if isinstance(node, tuple) or (is_dataclass(node) and (nested or not isinstance(node, Query))):
        yield from walk(node, nested=nested)


def changed(node: Any, change: Callable[[Any], Any]) -> Any:
    """A tree in which each node is what `change` makes of it, its parts first."""
    if isinstance(node, tuple):
        return tuple(changed(each, change) for each in node)
    if not is_dataclass(node) or isinstance(node, type):
        return node
    parts = {each.name: changed(getattr(node, each.name), change) for each in fields(node)}
    return change(replace(node, **parts))


def conditions(expression: Expression | None) -> list[Expression]:
    """The parts of a condition that must all hold."""
    if expression is None:
        return []
    if isinstance(expression, Binary) and expression.operator == "AND":
        return [*conditions(expression.left), *conditions(expression.right)]
    if isinstance(expression, Group) and len(expression.items) == 1:
        inner = conditions(expression.items[0])
        return inner if len(inner) > 1 else [expression]
    return [expression]


def all_of(parts: list[Expression]) -> Expression | None:
    """The condition that all parts hold."""
    whole: Expression | None = None
    for part in parts:
        held = Group((part,)) if isinstance(part, Binary) and part.operator == "OR" else part
        whole = held if whole is None else Binary("AND", whole, held)
    return whole
