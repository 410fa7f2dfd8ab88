"""The SELECT statements that are admitted: read by a grammar of our own into a tree, and written anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from danlu.tools.sql.tokens import FUNCTIONS, KEYWORDS, SqlError, Token, cut, rewritten
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
    Nested,
    Ordering,
    Query,
    Select,
    Source,
    Star,
    Unary,
)
from danlu.tools.visible import one_line

MAX_CHARACTERS = 10_000
MAX_TOKENS = 1500
MAX_NESTING = 25
MAX_JOINS = 12  # each multiplies the rows to be looked at
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a statement names."""

    table: str  # its qualifier, or nothing
    name: str
    place: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that the grammar admits, and the names in it."""

    sql: str
    query: Query
    tables: dict[str, str]  # alias or name, in lower case → table
    local: set[str]  # tables that the statement makes itself
    aliases: set[str]  # of columns
    columns: list[Column]


def read(sql: str) -> Statement:
    """Read one SELECT; anything else is an error that says what was found."""
    tokens = tokens_of(sql)
    if tokens[0].keyword not in ("SELECT", "WITH"):
        raise SqlError(f"only one SELECT is run here; this begins with {one_line(tokens[0].text, 40)!r}")
    reader = Reader(tokens)
    query = reader.query()
    reader.end()
    whole = rewritten([token for token in tokens if token.kind != "end" and token.text != ";"])
    found = reader.found
    return Statement(whole, query, found.tables, found.local, found.aliases, found.columns)


def tokens_of(sql: str) -> list[Token]:
    """The tokens of a statement that is not too long to be read."""
    if len(sql) > MAX_CHARACTERS:
        raise SqlError(f"the statement has {len(sql):,} characters; at most {MAX_CHARACTERS:,} are read")
    tokens = list(cut(sql))
    if len(tokens) > MAX_TOKENS:
        raise SqlError(f"the statement has {len(tokens):,} parts; at most {MAX_TOKENS:,} are read")
    return tokens


@dataclass(slots=True)
class Found:
    """The names that a reader has come across."""

    tables: dict[str, str] = field(default_factory=dict[str, str])
    local: set[str] = field(default_factory=set[str])
    aliases: set[str] = field(default_factory=set[str])
    columns: list[Column] = field(default_factory=list[Column])


class Tokens:
    """Tokens that are taken one after the other."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def end(self) -> None:
        """Insist that nothing follows."""
        self.take(";")
        if self.token.kind != "end":
            raise self.unexpected("the end of the one statement that is run")

    @property
    def token(self) -> Token:
        return self._tokens[self._next]

    def ahead(self, n: int) -> str:
        """The operator that stands n tokens on, if one does."""
        token = self._tokens[min(self._next + n, len(self._tokens) - 1)]
        return token.text if token.kind == "operator" else ""

    def skip(self, n: int = 1) -> Token:
        """Go on by n tokens; the first of them."""
        token = self.token
        self._next += n
        return token

    def take(self, *texts: str) -> str:
        """The next token if it is one of these words or operators, which is then behind us."""
        token = self.token
        found = token.keyword or (token.text if token.kind == "operator" else "")
        if not found or found not in texts:
            return ""
        self._next += 1
        return found

    def expect(self, *texts: str) -> str:
        found = self.take(*texts)
        if not found:
            raise self.unexpected(" or ".join(texts))
        return found

    def is_name(self) -> bool:
        return self.token.kind == "name" or (self.token.kind == "word" and self.token.keyword not in KEYWORDS)

    def name(self, what: str) -> str:
        if not self.is_name():
            raise self.unexpected(what)
        return self.skip().text

    def list(self, rule: Callable[[], T]) -> tuple[T, ...]:
        """What a rule reads, once or more, with commas between."""
        found = [rule()]
        while self.take(","):
            found.append(rule())
        return tuple(found)

    def unexpected(self, wanted: str) -> SqlError:
        token = self.token
        found = "the statement ends" if token.kind == "end" else f"found {one_line(token.text, 40)!r}"
        return SqlError(f"character {token.place}: {found} where {wanted} is expected")


class Reader(Tokens):
    """Recursive descent; each rule of the grammar is a method."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self._nesting = 0
        self._joins = 0
        self.found = Found()
        self._special: dict[str, Callable[[], Expression]] = {
            "EXISTS": self._exists,
            "CASE": self._case,
            "CAST": self._cast,
        }

    def query(self) -> Query:
        """[WITH name AS (query), …] SELECT … [UNION SELECT …] [ORDER BY …] [LIMIT …]."""
        self._deeper()
        commons = self.list(self._common_table) if self.take("WITH") else ()
        selects, operators = [self._select()], list[str]()
        while operator := self.take("UNION", "INTERSECT", "EXCEPT"):
            operators.append(operator + " ALL" * bool(self.take("ALL")))
            selects.append(self._select())
        order: tuple[Ordering, ...] = ()
        if self.take("ORDER"):
            self.expect("BY")
            order = self.list(self._ordering)
        limit, offset = self._limit()
        self._nesting -= 1
        return Query(tuple(selects), tuple(operators), order, limit, offset, commons)

    def _limit(self) -> tuple[Expression | None, Expression | None]:
        if not self.take("LIMIT"):
            return None, None
        first = self.expression()
        between = self.take("OFFSET", ",")
        if not between:
            return first, None
        second = self.expression()
        return (first, second) if between == "OFFSET" else (second, first)

    def _common_table(self) -> Common:
        name = self.name("a name")
        self.found.local.add(name.lower())
        columns: tuple[str, ...] = ()
        if self.take("("):
            columns = self.list(self._alias)
            self.expect(")")
        self.expect("AS")
        self.expect("(")
        query = self.query()
        self.expect(")")
        return Common(name, columns, query)

    def _select(self) -> Select:
        self.expect("SELECT")
        distinct = self.take("DISTINCT", "ALL") == "DISTINCT"
        items = self.list(self._result)
        sources = self._sources() if self.take("FROM") else ()
        where = self.expression() if self.take("WHERE") else None
        group: tuple[Expression, ...] = ()
        if self.take("GROUP"):
            self.expect("BY")
            group = self.list(self.expression)
        having = self.expression() if self.take("HAVING") else None
        return Select(items, sources, where, group, having, distinct)

    def _result(self) -> Item:
        if self.take("*"):
            return Item(Star())
        if self.token.kind in NAMES and self.ahead(1) == "." and self.ahead(2) == "*":
            table = self.skip(3)
            self.found.columns.append(Column(table.text, "*", table.place))
            return Item(Star(table.text))
        expression = self.expression()
        return Item(expression, self._alias() if self.take("AS") or self.is_name() else "")

    def _sources(self) -> tuple[Source, ...]:
        sources = [self._source("")]
        while join := self._joined():
            self._joins += 1
            if self._joins > MAX_JOINS:
                raise SqlError(f"the statement joins more than {MAX_JOINS + 1} tables")
            sources.append(self._source(join))
        return tuple(sources)

    def _joined(self) -> str:
        """How the next table is joined; nothing where there is none."""
        if self.take(","):
            return ","
        kinds = [kind] if (kind := self.take("NATURAL") or self.take("LEFT", "INNER", "CROSS")) else []
        if kinds and kinds[0] in ("LEFT", "NATURAL"):
            kinds += [more] if (more := self.take("OUTER", "LEFT", "INNER")) else []
        if kinds:
            self.expect("JOIN")
            return " ".join([*kinds, "JOIN"])
        return self.take("JOIN")

    def _source(self, join: str) -> Source:
        if self.take("("):
            table: str | Query = self.query()
            self.expect(")")
            self.take("AS")
            alias = self.name("a name") if self.is_name() else ""
            self.found.local |= {alias.lower()} if alias else set()
        else:
            table, alias = self._table()
        on, using = None, ()
        if join and self.take("ON"):
            on = self.expression()
        elif join and self.take("USING"):
            self.expect("(")
            using = self.list(self._column_name)
            self.expect(")")
        return Source(join, table, alias, on, using)

    def _table(self) -> tuple[str, str]:
        """A table and its alias."""
        table = self.name("a table")
        if self.token.text in (".", "("):
            raise SqlError(f"character {self.token.place}: a table is named by its name alone")
        alias = self.name("a name") if self.take("AS") or self.is_name() else ""
        self.found.tables[(alias or table).lower()] = table
        self.found.tables.setdefault(table.lower(), table)
        return table, alias

    def _ordering(self) -> Ordering:
        expression = self.expression()
        descending = self.take("ASC", "DESC") == "DESC"
        nulls = self.expect("FIRST", "LAST") if self.take("NULLS") else ""
        return Ordering(expression, descending, nulls)

    def expression(self, level: int = 0) -> Expression:
        """Operands joined by operators, those of `LEVELS[level]` and of all that bind tighter."""
        if level == len(LEVELS):
            return self._operand()
        self._deeper(level == 0)
        if level == COMPARING:
            left = self._compared()
        else:
            left = self.expression(level + 1)
            while operator := self.take(*LEVELS[level]):
                left = Binary(operator, left, self.expression(level + 1))
        self._nesting -= level == 0
        return left

    def _compared(self) -> Expression:
        """[NOT …] a sum, and what it is compared with."""
        if self.take("NOT"):
            self._deeper()
            negated = Unary("NOT", self._compared())
            self._nesting -= 1
            return negated
        left = self.expression(COMPARING + 1)
        while (right := self._comparison(left)) is not None:
            left = right
        return left

    def _comparison(self, left: Expression) -> Expression | None:
        """`left` with the comparison that follows it; None where none does."""
        if self.take("IS"):
            operator = "IS NOT" if self.take("NOT") else "IS"
            return Binary(operator, left, self.expression(COMPARING + 1))
        negation = "NOT " * bool(self.take("NOT"))
        if self.take("IN"):
            return Binary(f"{negation}IN", left, self._group())
        if self.take("BETWEEN"):
            low = self.expression(COMPARING + 1)
            self.expect("AND")
            return Between(left, low, self.expression(COMPARING + 1), bool(negation))
        if self.take("LIKE"):
            pattern = self.expression(COMPARING + 1)
            if self.take("ESCAPE"):
                pattern = Binary("ESCAPE", pattern, self.expression(COMPARING + 1))
            return Binary(f"{negation}LIKE", left, pattern)
        if negation:
            raise self.unexpected("IN, BETWEEN or LIKE")
        operator = self.take(*LEVELS[COMPARING])
        return Binary(operator, left, self._right()) if operator else None

    def _right(self) -> Expression:
        """The right side of =, < and the like, which NOT may open."""
        return self._compared() if self.token.keyword == "NOT" else self.expression(COMPARING + 1)

    def _operand(self) -> Expression:
        if sign := self.take("-", "+"):
            self._deeper()
            signed = Unary(sign, self._operand())
            self._nesting -= 1
            return signed
        operand = self._plain()
        if self.take("COLLATE"):
            operand = Binary("COLLATE", operand, Literal(self.expect("NOCASE", "BINARY", "RTRIM")))
        return operand

    def _plain(self) -> Expression:
        token = self.token
        if token.kind in ("string", "number") or token.keyword in LITERALS:
            return Literal(self.skip().text)
        if rule := self._special.get(token.keyword):
            return rule()
        if token.text == "(" and token.kind == "operator":
            return self._group()
        if token.kind == "word" and self.ahead(1) == "(":
            return self._call()
        return self._column()

    def _group(self) -> Expression:
        """(query) or (expression, …), also empty."""
        self.expect("(")
        if self.token.keyword in ("SELECT", "WITH"):
            inner: Expression = Nested(self.query())
        else:
            empty = self.token.kind == "operator" and self.token.text == ")"
            inner = Group(() if empty else self.list(self.expression))
        self.expect(")")
        return inner

    def _exists(self) -> Expression:
        self.expect("EXISTS")
        group = self._group()
        return Nested(group.query, exists=True) if isinstance(group, Nested) else Unary("EXISTS ", group)

    def _case(self) -> Expression:
        self.expect("CASE")
        subject = self.expression() if self.token.keyword != "WHEN" else None
        self.expect("WHEN")
        branches = [self._branch()]
        while self.take("WHEN"):
            branches.append(self._branch())
        otherwise = self.expression() if self.take("ELSE") else None
        self.expect("END")
        return Case(subject, tuple(branches), otherwise)

    def _branch(self) -> tuple[Expression, Expression]:
        when = self.expression()
        self.expect("THEN")
        return when, self.expression()

    def _cast(self) -> Expression:
        self.expect("CAST")
        self.expect("(")
        operand = self.expression()
        self.expect("AS")
        kind = self.expect(*TYPES)
        self.expect(")")
        return Cast(operand, kind)

    def _call(self) -> Expression:
        token = self.skip(2)
        if token.text.lower() not in FUNCTIONS:
            known = ", ".join(sorted(FUNCTIONS))
            raise SqlError(
                f"character {token.place}: the function {one_line(token.text, 40)!r} is not admitted; "
                f"functions are {known}"
            )
        distinct = False
        arguments: tuple[Expression, ...] = ()
        if self.take("*"):
            arguments = (Star(),)
        else:
            distinct = bool(self.take("DISTINCT"))
            if self.token.text != ")":
                arguments = self.list(self.expression)
        self.expect(")")
        return Call(token.text, arguments, distinct)

    def _column(self) -> Expression:
        place, quotes = self.token.place, self.token.kind == "name"
        first = self.name("a value or a column")
        table, name = (first, self.name("a column")) if self.take(".") else ("", first)
        self.found.columns.append(Column(table, name, place))
        return Name(table, name, quotes and not table)

    def _column_name(self) -> str:
        place, name = self.token.place, self.name("a column")
        self.found.columns.append(Column("", name, place))
        return name

    def _alias(self) -> str:
        name = self.name("a name")
        self.found.aliases.add(name.lower())
        return name

    def _deeper(self, counts: bool = True) -> None:
        self._nesting += counts
        if self._nesting > MAX_NESTING:
            raise SqlError(f"the statement is nested deeper than {MAX_NESTING} levels")


NAMES = ("word", "name")
LITERALS = {"NULL", "TRUE", "FALSE", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP"}
# Operators from the loosest to the tightest, as SQLite binds them.
LEVELS = (
    ("OR",),
    ("AND",),
    ("=", "==", "<>", "!=", "<", "<=", ">", ">="),
    ("+", "-"),
    ("*", "/", "%"),
    ("||",),
)
COMPARING = 2
TYPES = ("INTEGER", "INT", "REAL", "FLOAT", "TEXT", "NUMERIC")
