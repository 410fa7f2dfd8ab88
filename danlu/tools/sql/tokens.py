"""The words that SQL is made of: cutting a text into tokens, and writing tokens down again.

The database never sees the text that was given, only the tokens that were read here, so the two cannot
disagree about where a string or a comment ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from danlu.tools.error import ToolError
from danlu.tools.visible import one_line


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


def quoted(name: str) -> str:
    """A name as SQLite reads it, whatever characters are in it."""
    return '"' + name.replace('"', '""') + '"'


def cut(sql: str) -> Iterator[Token]:
    """The tokens of a text, and one that marks its end."""
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


def rewritten(tokens: Sequence[Token]) -> str:
    """The tokens with spaces between them, but for brackets, commas and points, which join nothing."""
    pieces: list[str] = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        tight = token.kind == "operator" and token.text in (",", ")", ".")
        opened = before is not None and before.kind == "operator" and before.text in ("(", ".")
        called = before is not None and token.text == "(" and before.text.lower() in FUNCTIONS
        pieces.append("" if before is None or tight or opened or called else " ")
        pieces.append(quoted(token.text) if token.kind == "name" else token.text)
    return "".join(pieces)


WORD = re.compile(r"[^\W\d]\w*")
TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+)"
    r"|(?P<string>'(?:[^'\x00]|'')*')"
    r'|(?P<name>"(?:[^"\x00]|"")+"|`(?:[^`\x00]|``)+`|\[[^\]\x00]+\])'
    r"|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![A-Za-z_]))"
    rf"|(?P<word>{WORD.pattern})"
    r"|(?P<operator>\|\||<=|>=|<>|!=|==|(?!--|/\*)[-+*/%<>=(),.;])"
)
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
