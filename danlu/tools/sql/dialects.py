"""A SELECT that the grammar has read, in the words of DuckDB or PostgreSQL: same question, same answer.

The grammar speaks SQLite. Where another engine means something else by the same words, others are written;
where it has nothing that means the same, the statement is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from danlu.tools.sql.render import Exact, expression, render
from danlu.tools.sql.syntax import Statement
from danlu.tools.sql.tokens import SqlError, quoted
from danlu.tools.sql.tree import (
    Between,
    Binary,
    Call,
    Case,
    Cast,
    Common,
    Expression,
    Group,
    Item,
    Literal,
    Name,
    Ordering,
    Query,
    Source,
    Star,
    Unary,
    changed,
    walk,
)

MAX_LABEL = 60  # characters; PostgreSQL keeps 63 bytes of a name


@dataclass(frozen=True, slots=True)
class Dialect:
    """What DuckDB and PostgreSQL say differently from each other."""

    name: str
    exact: str  # the type in which halves are rounded away from zero
    trim: str
    formatted: Callable[[Expression, str], Expression]  # a time by a format of strftime
    collations: Mapping[str, str]
    from_the_end: bool  # substr with a negative start counts from the end


def translated(statement: Statement, columns: Mapping[str, Sequence[str]], dialect: Dialect) -> str:
    """The statement for an engine; SqlError names what the engine lacks.

    Args:
        columns: of each table, spelled as the database does.
    """
    spell = _spelling(statement, columns)
    aliases = (f"part {n}" for n in itertools.count(1))
    rules = _Rules(dialect, aliases)
    return render(changed(changed(_labelled(statement.query), spell), rules.change))


def _labelled(query: Query) -> Query:
    """The columns of the answer are called what SQLite calls them."""
    first, *others = query.selects
    items = tuple(
        item
        if item.alias or isinstance(item.expression, Name | Star)
        else replace(item, alias=expression(item.expression)[:MAX_LABEL])
        for item in first.items
    )
    return replace(query, selects=(replace(first, items=items), *others))


def _spelling(statement: Statement, columns: Mapping[str, Sequence[str]]) -> Callable[[Any], Any]:
    """A change that spells names as the database does, for A and a are one name here but two to an engine."""
    used = {table.lower() for table in statement.tables.values()}
    names = [name for table in columns if table.lower() in used for name in (table, *columns[table])]
    names += _made(statement.query)
    known, spelled = set(names), {name.lower(): name for name in reversed(names)}

    def exact(name: str) -> str:
        return Exact(name if name in known else spelled.get(name.lower(), name)) if name else ""

    return lambda node: _respelled(node, exact)


def _respelled(node: Any, exact: Callable[[str], str]) -> Any:
    match node:
        case Name(table, name):
            return Name(exact(table), exact(name))
        case Star(table):
            return Star(exact(table))
        case Item(alias=alias):
            return replace(node, alias=exact(alias))
        case Source(table=table, alias=alias, using=using):
            named = exact(table) if isinstance(table, str) else table
            return replace(node, table=named, alias=exact(alias), using=tuple(map(exact, using)))
        case Common(name, made):
            return replace(node, name=exact(name), columns=tuple(map(exact, made)))
        case _:
            return node


def _made(query: Query) -> Iterator[str]:
    """Names that the statement itself gives."""
    for node in walk(query):
        match node:
            case Item(alias=alias) | Source(alias=alias) if alias:
                yield alias
            case Common(name, made):
                yield from (name, *made)
            case _:
                pass


@dataclass(frozen=True, slots=True)
class _Rules:
    """What becomes of each node once its parts are translated."""

    dialect: Dialect
    aliases: Iterator[str]

    def change(self, node: Any) -> Any:
        match node:
            case Binary():
                return self._binary(node)
            case Between():
                low, high = _bracketed(node.low), _bracketed(node.high)
                return replace(node, operand=_bracketed(node.operand), low=low, high=high)
            case Unary():
                return replace(node, operand=_bracketed(node.operand))
            case Call():
                return self._call(node)
            case Cast():
                return _cast(node)
            case Ordering(nulls=""):  # NULL is the smallest value to SQLite
                return replace(node, nulls="LAST" if node.descending else "FIRST")
            case Source():
                return self._source(node)
            case _:
                return node

    def _binary(self, node: Binary) -> Expression:
        left, right = _bracketed(node.left), _bracketed(node.right)
        match node.operator:
            case "/" | "%" as operator:  # by zero is NULL to SQLite, an error or infinity to others
                divisor = Call("nullif", (right, Literal("0")))
                return Binary(operator, left, divisor)
            case "||":
                return Binary("||", _text(left), _text(right))
            case "LIKE" | "NOT LIKE" as operator:  # knows no capitals in SQLite, and no escape unless told
                escaped = isinstance(node.right, Binary) and node.right.operator == "ESCAPE"
                pattern = node.right if escaped else Binary("ESCAPE", right, Literal("''"))
                return Binary(operator.replace("LIKE", "ILIKE"), _text(left), pattern)
            case "COLLATE":
                return Binary("COLLATE", left, Literal(self._collation(node.right)))
            case "IS" | "IS NOT" as operator if not _is_constant(right):
                distinct = "IS NOT DISTINCT FROM" if operator == "IS" else "IS DISTINCT FROM"
                return Binary(distinct, left, right)
            case operator:
                return Binary("=" if operator == "==" else operator, left, right)

    def _collation(self, node: Expression) -> str:
        wanted = node.text.upper() if isinstance(node, Literal) else ""
        if wanted not in self.dialect.collations:
            raise SqlError(
                f"{self.dialect.name} has no COLLATE {wanted}; compare lower(…) or rtrim(…) instead"
            )
        return self.dialect.collations[wanted]

    def _source(self, node: Source) -> Source:
        bare = node.on is None and not node.using
        if bare and node.join in (",", "JOIN", "INNER JOIN", "CROSS JOIN"):
            node = replace(node, join="CROSS JOIN")
        elif bare and node.join.startswith("LEFT"):
            node = replace(node, on=Literal("TRUE"))
        elif node.join in (",", "CROSS JOIN"):
            node = replace(node, join="JOIN")
        nameless = isinstance(node.table, Query) and not node.alias
        return replace(node, alias=next(self.aliases)) if nameless else node

    def _call(self, node: Call) -> Expression:
        name = node.function.lower()
        if name in AS_THEY_ARE:
            return replace(node, function=name)
        if name in ("min", "max"):
            return _extreme(name, node)
        if name in REWRITTEN:
            return REWRITTEN[name](node)
        if name in ("round", "trim", "substr"):
            return self._differing(name, node)
        if name in TIMES or name in ("strftime", "julianday"):
            return self._time(name, node)
        raise SqlError(f"{self.dialect.name} has no function that means what {name} means in SQLite")

    def _differing(self, name: str, node: Call) -> Expression:
        first, *rest = node.arguments or (Literal("NULL"),)
        if name == "round":
            return Cast(Call("round", (Cast(first, self.dialect.exact), *rest)), "FLOAT8")
        if name == "trim":
            return Call(self.dialect.trim, (_text(first), *rest))
        if any(isinstance(each, Unary) for each in rest) and not self.dialect.from_the_end:
            raise SqlError(f"substr counts from the left in {self.dialect.name}; give it no negative numbers")
        return Call("substr", (_text(first), *rest))

    def _time(self, name: str, node: Call) -> Expression:
        arguments = list(node.arguments)
        form = TIMES.get(name, "")
        if name == "strftime":
            given = arguments.pop(0) if arguments else None
            if not isinstance(given, Literal):
                raise SqlError("the format of strftime is a text here, such as '%Y-%m'")
            form = given.value
        if len(arguments) > 1:
            raise SqlError(f"{self.dialect.name} takes one time in {name}, without modifiers")
        now = not arguments or arguments[0] == Literal("'now'")
        moment = Cast(Literal("CURRENT_TIMESTAMP") if now else arguments[0], "TIMESTAMP")
        if name == "julianday":  # which begins at noon, where others begin at midnight
            days = Call("date_part", (Literal("'julian'"), moment))
            return Group((Binary("-", days, Literal("0.5")),))
        if unknown := [sign for sign in _signs(form) if sign not in PATTERNS]:
            raise SqlError(f"strftime knows {' '.join(PATTERNS)} here, not {unknown[0]!r}")
        return self.dialect.formatted(moment, form)


AS_THEY_ARE = ("count", "sum", "avg", "abs", "coalesce", "nullif")
TIMES = {"date": "%Y-%m-%d", "time": "%H:%M:%S", "datetime": "%Y-%m-%d %H:%M:%S"}
# Of strftime, and what PostgreSQL's to_char calls them.
PATTERNS = {"%Y": "YYYY", "%m": "MM", "%d": "DD", "%H": "HH24", "%M": "MI", "%S": "SS", "%j": "DDD"}


def _signs(form: str) -> list[str]:
    """'%Y-%m' in its parts: a percent sign and what follows it."""
    return ["%" + part[:1] for part in form.split("%")[1:]]


def _bracketed(node: Expression) -> Expression:
    """An operand in brackets, because engines differ in what binds tighter."""
    composed = isinstance(node, Between | Unary) or (isinstance(node, Binary) and node.operator != "ESCAPE")
    return Group((node,)) if composed else node


def _text(node: Expression) -> Expression:
    return Cast(node, "TEXT")


def _is_constant(node: Expression) -> bool:
    return isinstance(node, Literal) and node.text.upper() in ("NULL", "TRUE", "FALSE")


def _cast(node: Cast) -> Cast:
    """SQLite cuts off where others round, and keeps eight bytes where others keep four."""
    if node.type.upper() == "TEXT":
        return node
    number = Cast(node.operand, "FLOAT8")
    return Cast(Call("trunc", (number,)), "BIGINT") if node.type.upper().startswith("INT") else number


def _extreme(name: str, node: Call) -> Expression:
    """Of one argument an aggregate; of several the extreme one, or NULL if one of them is."""
    if len(node.arguments) < 2:
        return replace(node, function=name)
    missing = [Binary("IS", _bracketed(each), Literal("NULL")) for each in node.arguments]
    any_missing: Expression = missing[0]
    for each in missing[1:]:
        any_missing = Binary("OR", any_missing, each)
    extreme = Call("least" if name == "min" else "greatest", node.arguments)
    return Case(None, ((any_missing, Literal("NULL")),), extreme)


def _total(node: Call) -> Expression:
    return Call("coalesce", (Cast(replace(node, function="sum"), "FLOAT8"), Literal("0")))


def _joined(node: Call) -> Expression:
    first, *separator = node.arguments or (Literal("NULL"),)
    return Call("string_agg", (_text(first), *(separator or [Literal("','")])), node.distinct)


def _iif(node: Call) -> Expression:
    if len(node.arguments) != 3:
        raise SqlError("iif takes a condition and two values")
    condition, then, otherwise = node.arguments
    return Case(None, ((condition, then),), otherwise)


def _of_text(name: str) -> Callable[[Call], Expression]:
    return lambda node: Call(name, tuple(map(_text, node.arguments)))


REWRITTEN: Mapping[str, Callable[[Call], Expression]] = {
    "total": _total,
    "group_concat": _joined,
    "iif": _iif,
    "ifnull": lambda node: Call("coalesce", node.arguments),
    "instr": _of_text("strpos"),
    **{name: _of_text(name) for name in ("length", "lower", "upper", "ltrim", "rtrim", "replace")},
}


def _to_char(moment: Expression, form: str) -> Expression:
    pattern = "".join(
        PATTERNS["%" + part[0]] + (quoted(part[1:]) if part[1:] else "") for part in form.split("%")[1:]
    )
    head = form.split("%")[0]
    whole = (quoted(head) if head else "") + pattern
    return Call("to_char", (moment, Literal("'" + whole.replace("'", "''") + "'")))


def _strftime(moment: Expression, form: str) -> Expression:
    return Call("strftime", (moment, Literal("'" + form.replace("'", "''") + "'")))


DUCKDB = Dialect(
    name="DuckDB",
    exact="FLOAT8",
    trim="trim",
    formatted=_strftime,
    collations={"BINARY": "C", "NOCASE": "NOCASE"},
    from_the_end=True,
)
POSTGRESQL = Dialect(
    name="PostgreSQL",
    exact="NUMERIC",
    trim="btrim",
    formatted=_to_char,
    collations={"BINARY": '"C"'},
    from_the_end=False,
)
