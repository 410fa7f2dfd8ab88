"""The SELECT statements that are admitted: read by a grammar of our own and written anew from its tokens.

The database never sees the text that was given, only the tokens that the grammar has read, so the two cannot
disagree about where a string or a comment ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from danlu.tools.error import ToolError
from danlu.tools.visible import one_line

MAX_CHARACTERS = 10_000
MAX_TOKENS = 1500
MAX_NESTING = 25
MAX_JOINS = 12  # each multiplies the rows to be looked at


class SqlError(ToolError):
    """A statement is not admitted, or a database cannot answer it."""


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # word, name, string, number, operator, end
    text: str  # of a name without its quotes
    place: int  # of its first character, counted from 1

    @property
    def keyword(self) -> str:
        """The word in upper case; nothing for what is quoted."""
        return self.text.upper() if self.kind == "word" else ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a statement names."""

    table: str  # its qualifier, or nothing
    name: str
    place: int


@dataclass(slots=True)
class Statement:
    """A statement that the grammar admits, and the names in it."""

    sql: str = ""
    tables: dict[str, str] = field(default_factory=dict)  # alias or name, in lower case → table
    local: set[str] = field(default_factory=set)  # tables that the statement makes itself
    aliases: set[str] = field(default_factory=set)  # of columns
    columns: list[Column] = field(default_factory=list)


def read(sql: str) -> Statement:
    """Read one SELECT; anything else is an error that says what was found."""
    if len(sql) > MAX_CHARACTERS:
        raise SqlError(f"the statement has {len(sql):,} characters; at most {MAX_CHARACTERS:,} are read")
    tokens = list(_tokens(sql))
    if len(tokens) > MAX_TOKENS:
        raise SqlError(f"the statement has {len(tokens):,} parts; at most {MAX_TOKENS:,} are read")
    if tokens[0].keyword not in ("SELECT", "WITH"):
        raise SqlError(f"only one SELECT is run here; this begins with {one_line(tokens[0].text, 40)!r}")
    reader = _Reader(tokens)
    statement = reader.statement()
    statement.sql = _rewritten([token for token in tokens if token.kind != "end" and token.text != ";"])
    return statement


def quoted(name: str) -> str:
    """A name as SQLite reads it, whatever characters are in it."""
    return '"' + name.replace('"', '""') + '"'


def _tokens(sql: str) -> Iterator[Token]:
    place = 0
    while place < len(sql):
        found = TOKEN.match(sql, place)
        if not found:
            raise SqlError(_no_token(sql, place))
        kind, text = found.lastgroup or "", found[0]
        if kind == "name":
            closing = text[-1]
            text = text[1:-1].replace(closing * 2, closing)
        if kind != "space":
            yield Token(kind, text, place + 1)
        place = found.end()
    yield Token("end", "", len(sql) + 1)


def _no_token(sql: str, place: int) -> str:
    if sql.startswith(("--", "/*"), place):
        return f"character {place + 1}: comments are not read here; leave them out"
    if sql[place] in "'\"`[":
        return f"character {place + 1}: what begins with {sql[place]} never ends"
    return f"character {place + 1}: {one_line(sql[place])!r} has no place in a SELECT"


def _rewritten(tokens: list[Token]) -> str:
    """The tokens with spaces between them, but for brackets, commas and points, which join nothing."""
    pieces: list[str] = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        tight = token.kind == "operator" and token.text in (",", ")", ".")
        opened = before is not None and before.kind == "operator" and before.text in ("(", ".")
        called = before is not None and token.text == "(" and before.text.lower() in FUNCTIONS
        pieces.append("" if before is None or tight or opened or called else " ")
        pieces.append(quoted(token.text) if token.kind == "name" else token.text)
    return "".join(pieces)


class _Reader:
    """Recursive descent; each rule of the grammar is a method."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._nesting = 0
        self._joins = 0
        self._found = Statement()
        self._special = {"EXISTS": self._exists, "CASE": self._case, "CAST": self._cast}

    def statement(self) -> Statement:
        self._query()
        self._take(";")
        if self._token.kind != "end":
            raise self._unexpected("the end of the one statement that is run")
        return self._found

    def _query(self) -> None:
        """[WITH name AS (query), …] SELECT … [UNION SELECT …] [ORDER BY …] [LIMIT …]."""
        self._deeper()
        if self._take("WITH"):
            self._list(self._common_table)
        self._select()
        while self._take("UNION", "INTERSECT", "EXCEPT"):
            self._take("ALL")
            self._select()
        if self._take("ORDER"):
            self._expect("BY")
            self._list(self._ordering)
        if self._take("LIMIT"):
            self._expression()
            if self._take("OFFSET", ","):
                self._expression()
        self._nesting -= 1

    def _common_table(self) -> None:
        name = self._name("a name")
        self._found.local.add(name.lower())
        if self._take("("):
            self._list(self._alias)
            self._expect(")")
        self._expect("AS")
        self._expect("(")
        self._query()
        self._expect(")")

    def _select(self) -> None:
        self._expect("SELECT")
        self._take("DISTINCT", "ALL")
        self._list(self._result)
        if self._take("FROM"):
            self._sources()
        if self._take("WHERE"):
            self._expression()
        if self._take("GROUP"):
            self._expect("BY")
            self._list(self._expression)
        if self._take("HAVING"):
            self._expression()

    def _result(self) -> None:
        if self._take("*"):
            return
        if self._token.kind in NAMES and self._ahead(1) == "." and self._ahead(2) == "*":
            self._found.columns.append(Column(self._token.text, "*", self._token.place))
            self._next += 3
            return
        self._expression()
        if self._take("AS") or self._is_name():
            self._alias()

    def _sources(self) -> None:
        self._source()
        while self._joined():
            self._joins += 1
            if self._joins > MAX_JOINS:
                raise SqlError(f"the statement joins more than {MAX_JOINS + 1} tables")
            self._source()
            if self._take("ON"):
                self._expression()
            elif self._take("USING"):
                self._expect("(")
                self._list(self._column_name)
                self._expect(")")

    def _joined(self) -> bool:
        if self._take(","):
            return True
        kind = self._take("NATURAL") or self._take("LEFT", "INNER", "CROSS")
        if kind in ("LEFT", "NATURAL"):
            self._take("OUTER", "LEFT", "INNER")
        if kind:
            self._expect("JOIN")
            return True
        return bool(self._take("JOIN"))

    def _source(self) -> None:
        if self._take("("):
            self._query()
            self._expect(")")
            self._take("AS")
            if self._is_name():
                self._found.local.add(self._name("a name").lower())
            return
        table = self._name("a table")
        if self._token.text in (".", "("):
            raise SqlError(f"character {self._token.place}: a table is named by its name alone")
        alias = self._name("a name") if self._take("AS") or self._is_name() else table
        self._found.tables[alias.lower()] = table
        self._found.tables.setdefault(table.lower(), table)

    def _ordering(self) -> None:
        self._expression()
        self._take("ASC", "DESC")
        if self._take("NULLS"):
            self._expect("FIRST", "LAST")

    def _expression(self) -> None:
        """Operands joined by operators; SQLite's own precedence applies to what was read."""
        self._deeper()
        self._operand()
        while self._operator():
            pass
        self._nesting -= 1

    def _operator(self) -> bool:
        """The next operator with its right side; False where the expression ends."""
        if self._take("IS"):
            self._take("NOT")
            self._operand()
            return True
        negated = self._take("NOT")
        if self._take("IN"):
            self._group()
        elif self._take("BETWEEN"):
            self._range()
        elif self._take("LIKE"):
            self._operand()
            if self._take("ESCAPE"):
                self._operand()
        elif negated:
            raise self._unexpected("IN, BETWEEN or LIKE")
        elif self._take(*OPERATORS):
            self._operand()
        else:
            return False
        return True

    def _range(self) -> None:
        """What follows BETWEEN; its AND is no operator."""
        self._operand()
        while self._take(*ARITHMETIC):
            self._operand()
        self._expect("AND")
        self._operand()

    def _operand(self) -> None:
        while self._take("NOT", "-", "+"):
            pass
        if self._token.kind in ("string", "number") or self._token.keyword in LITERALS:
            self._next += 1
        elif rule := self._special.get(self._token.keyword):
            rule()
        elif self._token.text == "(" and self._token.kind == "operator":
            self._group()
        elif self._token.kind == "word" and self._ahead(1) == "(":
            self._call()
        else:
            self._column()
        if self._take("COLLATE"):
            self._expect("NOCASE", "BINARY", "RTRIM")

    def _group(self) -> None:
        """(query) or (expression, …), also empty."""
        self._expect("(")
        if self._token.keyword in ("SELECT", "WITH"):
            self._query()
        elif self._token.text != ")":
            self._list(self._expression)
        self._expect(")")

    def _exists(self) -> None:
        self._expect("EXISTS")
        self._group()

    def _case(self) -> None:
        self._expect("CASE")
        if self._token.keyword != "WHEN":
            self._expression()
        self._expect("WHEN")
        self._branch()
        while self._take("WHEN"):
            self._branch()
        if self._take("ELSE"):
            self._expression()
        self._expect("END")

    def _branch(self) -> None:
        self._expression()
        self._expect("THEN")
        self._expression()

    def _cast(self) -> None:
        self._expect("CAST")
        self._expect("(")
        self._expression()
        self._expect("AS")
        self._expect(*TYPES)
        self._expect(")")

    def _call(self) -> None:
        token = self._token
        if token.text.lower() not in FUNCTIONS:
            raise SqlError(
                f"character {token.place}: the function {one_line(token.text, 40)!r} is not admitted; "
                + _known()
            )
        self._next += 2
        if not self._take("*"):
            self._take("DISTINCT")
            if self._token.text != ")":
                self._list(self._expression)
        self._expect(")")

    def _column(self) -> None:
        place, first = self._token.place, self._name("a value or a column")
        if self._take("."):
            self._found.columns.append(Column(first, self._name("a column"), place))
        else:
            self._found.columns.append(Column("", first, place))

    def _column_name(self) -> None:
        place = self._token.place
        self._found.columns.append(Column("", self._name("a column"), place))

    def _alias(self) -> None:
        self._found.aliases.add(self._name("a name").lower())

    def _list(self, rule: Callable[[], None]) -> None:
        rule()
        while self._take(","):
            rule()

    def _deeper(self) -> None:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise SqlError(f"the statement is nested deeper than {MAX_NESTING} levels")

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _ahead(self, n: int) -> str:
        """The operator that stands n tokens on, if one does."""
        token = self._tokens[min(self._next + n, len(self._tokens) - 1)]
        return token.text if token.kind == "operator" else ""

    def _take(self, *texts: str) -> str:
        """The next token if it is one of these words or operators, which is then behind us."""
        token = self._token
        found = token.keyword or (token.text if token.kind == "operator" else "")
        if not found or found not in texts:
            return ""
        self._next += 1
        return found

    def _expect(self, *texts: str) -> None:
        if not self._take(*texts):
            raise self._unexpected(" or ".join(texts))

    def _is_name(self) -> bool:
        return self._token.kind == "name" or (
            self._token.kind == "word" and self._token.keyword not in KEYWORDS
        )

    def _name(self, what: str) -> str:
        if not self._is_name():
            raise self._unexpected(what)
        self._next += 1
        return self._tokens[self._next - 1].text

    def _unexpected(self, wanted: str) -> SqlError:
        token = self._token
        found = "the statement ends" if token.kind == "end" else f"found {one_line(token.text, 40)!r}"
        return SqlError(f"character {token.place}: {found} where {wanted} is expected")


def _known() -> str:
    return "functions are " + ", ".join(sorted(FUNCTIONS))


TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+)"
    r"|(?P<string>'(?:[^'\x00]|'')*')"
    r'|(?P<name>"(?:[^"\x00]|"")+"|`(?:[^`\x00]|``)+`|\[[^\]\x00]+\])'
    r"|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![A-Za-z_]))"
    r"|(?P<word>[^\W\d]\w*)"
    r"|(?P<operator>\|\||<=|>=|<>|!=|==|(?!--|/\*)[-+*/%<>=(),.;])"
)
NAMES = ("word", "name")
LITERALS = {"NULL", "TRUE", "FALSE", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP"}
ARITHMETIC = ("+", "-", "*", "/", "%", "||")
OPERATORS = (*ARITHMETIC, "=", "==", "<>", "!=", "<", "<=", ">", ">=", "AND", "OR")
TYPES = ("INTEGER", "INT", "REAL", "FLOAT", "TEXT", "NUMERIC")
FUNCTIONS = frozenset(
    (
        *(
            "count",
            "sum",
            "avg",
            "min",
            "max",
            "total",
            "group_concat",
            "abs",
            "round",
            "length",
            "lower",
            "upper",
        ),
        *(
            "trim",
            "ltrim",
            "rtrim",
            "substr",
            "instr",
            "replace",
            "coalesce",
            "ifnull",
            "nullif",
            "iif",
            "typeof",
        ),
        *("date", "time", "datetime", "julianday", "strftime"),
    )
)
# Every word with a meaning of its own: it names nothing unless it is quoted.
_KEYWORDS = """
ALL ALTER ANALYZE AND AS ASC ATTACH BEGIN BETWEEN BY CASE CAST COLLATE COMMIT CREATE CROSS
DELETE DESC DETACH DISTINCT DROP ELSE END ESCAPE EXCEPT EXISTS EXPLAIN FALSE FROM FULL
GLOB GROUP HAVING IN INDEXED INNER INSERT INTERSECT INTO IS JOIN LEFT LIKE LIMIT MATCH
NATURAL NOT NULL NULLS OFFSET ON OR ORDER OUTER OVER PRAGMA RECURSIVE REGEXP REINDEX
RELEASE RIGHT ROLLBACK SAVEPOINT SELECT SET THEN TRUE UNION UPDATE USING VACUUM VALUES
WHEN WHERE WINDOW WITH
"""
KEYWORDS = frozenset(_KEYWORDS.split())
