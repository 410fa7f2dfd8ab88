"""A tree of SQL as text again, for people and for the grammar to read once more."""

from __future__ import annotations

from functools import singledispatch

from danlu.tools.sql.tokens import KEYWORDS, WORD, quoted
from danlu.tools.sql.tree import (
    Between,
    Binary,
    Call,
    Case,
    Cast,
    Expression,
    Group,
    Literal,
    Name,
    Nested,
    Ordering,
    Query,
    Select,
    Source,
    Star,
    Unary,
)


def render(query: Query) -> str:
    """The statement; brackets of the text it was read from are kept, none are added."""
    parts: list[str] = []
    if query.commons:
        made = [
            f"{named(each.name)}{_columns(each.columns)} AS ({render(each.query)})" for each in query.commons
        ]
        parts.append(f"WITH {', '.join(made)}")
    for operator, select in zip(["", *query.operators], query.selects, strict=True):
        parts += [operator] * bool(operator) + [_select(select)]
    if query.order:
        parts.append("ORDER BY " + ", ".join(map(_ordering, query.order)))
    if query.limit is not None:
        parts.append(f"LIMIT {expression(query.limit)}")
    if query.offset is not None:
        parts.append(f"OFFSET {expression(query.offset)}")
    return " ".join(parts)


class Exact(str):
    """A name that is quoted wherever it stands: engines tell A from a, and have words of their own."""


def named(name: str) -> str:
    """A name as it must be written in a statement."""
    plain = WORD.fullmatch(name) and name.upper() not in KEYWORDS and not isinstance(name, Exact)
    return name if plain else quoted(name)


@singledispatch
def expression(node: Expression) -> str:
    """An expression as text."""
    raise TypeError(f"{type(node).__name__} is no expression")


@expression.register
def _(node: Literal) -> str:
    return node.text


@expression.register
def _(node: Name) -> str:
    name = quoted(node.name) if node.quoted else named(node.name)
    return f"{named(node.table)}.{name}" if node.table else name


@expression.register
def _(node: Star) -> str:
    return f"{named(node.table)}.*" if node.table else "*"


@expression.register
def _(node: Call) -> str:
    return f"{node.function}({'DISTINCT ' * node.distinct}{_list(node.arguments)})"


@expression.register
def _(node: Unary) -> str:
    return f"{node.operator}{' ' * (node.operator == 'NOT')}{expression(node.operand)}"


@expression.register
def _(node: Binary) -> str:
    return f"{expression(node.left)} {node.operator} {expression(node.right)}"


@expression.register
def _(node: Between) -> str:
    word = "NOT BETWEEN" if node.negated else "BETWEEN"
    return f"{expression(node.operand)} {word} {expression(node.low)} AND {expression(node.high)}"


@expression.register
def _(node: Group) -> str:
    return f"({_list(node.items)})"


@expression.register
def _(node: Nested) -> str:
    return f"{'EXISTS ' * node.exists}({render(node.query)})"


@expression.register
def _(node: Case) -> str:
    parts = ["CASE"] + ([expression(node.subject)] if node.subject is not None else [])
    parts += [f"WHEN {expression(when)} THEN {expression(then)}" for when, then in node.branches]
    parts += [f"ELSE {expression(node.otherwise)}"] if node.otherwise is not None else []
    return " ".join([*parts, "END"])


@expression.register
def _(node: Cast) -> str:
    return f"CAST({expression(node.operand)} AS {node.type})"


def _select(select: Select) -> str:
    items = [
        expression(each.expression) + (f" AS {named(each.alias)}" if each.alias else "")
        for each in select.items
    ]
    parts = [f"SELECT {'DISTINCT ' * select.distinct}{', '.join(items)}"]
    if select.sources:
        parts.append("FROM " + "".join(map(_source, select.sources)))
    if select.where is not None:
        parts.append(f"WHERE {expression(select.where)}")
    if select.group:
        parts.append(f"GROUP BY {_list(select.group)}")
    if select.having is not None:
        parts.append(f"HAVING {expression(select.having)}")
    return " ".join(parts)


def _source(source: Source) -> str:
    joined = {"": "", ",": ", "}.get(source.join, f" {source.join} ")
    table = named(source.table) if isinstance(source.table, str) else f"({render(source.table)})"
    alias = f" AS {named(source.alias)}" if source.alias else ""
    on = f" ON {expression(source.on)}" if source.on is not None else ""
    using = f" USING ({', '.join(map(named, source.using))})" if source.using else ""
    return f"{joined}{table}{alias}{on}{using}"


def _ordering(ordering: Ordering) -> str:
    nulls = f" NULLS {ordering.nulls}" if ordering.nulls else ""
    return f"{expression(ordering.expression)}{' DESC' * ordering.descending}{nulls}"


def _columns(names: tuple[str, ...]) -> str:
    return f"({', '.join(map(named, names))})" if names else ""


def _list(items: tuple[Expression, ...]) -> str:
    return ", ".join(map(expression, items))
