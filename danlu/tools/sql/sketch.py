"""SELECT in codes: what a model writes instead of names, values and joins, and the SQL that it stands for.

    SELECT CB FROM TA WHERE CC = WE WF

TA is a table, CB and CC are columns, WE WF the words of the question from one to the other. Tables are only
listed; by which columns they are joined the schema says. A grammar admits nothing else, so whatever a model
writes is one SELECT over tables and columns that exist.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from danlu.tools.sql.database import Schema
from danlu.tools.sql.joins import JoinGraph, connect
from danlu.tools.sql.linking import Codes, ColumnRef, Linked
from danlu.tools.sql.render import render
from danlu.tools.sql.syntax import read
from danlu.tools.sql.tokens import SqlError, quoted

TOKEN = re.compile(r"'[^']*'|\S+")
NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
# {0} stands for the codes of tables, {1} for those of columns.
RULES = """
start: "SELECT" body (SET " SELECT" body)?
SET: " UNION" | " INTERSECT" | " EXCEPT"
body: " DISTINCT"? item (" ," item){{0,5}} " FROM" table{{1,4}} (" WHERE" any)? grouped? ordered?
grouped: " GROUP BY" column (" ," column){{0,2}} (" HAVING" any)?
ordered: " ORDER BY" order (" ," order){{0,2}} (" LIMIT" value)?
order: operand (" ASC" | " DESC")?
item: operand (ARITHMETIC operand)? | " *"
operand: column | call
call: " COUNT ( *" " )" | FUNCTION " (" " DISTINCT"? column (ARITHMETIC column)? " )"
FUNCTION: " COUNT" | " SUM" | " AVG" | " MIN" | " MAX"
ARITHMETIC: " +" | " -" | " /"
any: condition ((" AND" | " OR") condition){{0,5}}
condition: operand COMPARISON (value | nested | operand)
         | operand " NOT"? " IN" nested
         | operand " NOT"? " LIKE" value
         | operand " BETWEEN" value " AND" value
         | operand " IS" " NOT"? " NULL"
         | " (" condition ((" AND" | " OR") condition){{1,5}} " )"
COMPARISON: " =" | " !=" | " <=" | " >=" | " <" | " >"
nested: " (" " SELECT" body " )"
value: span | / -?[0-9]{{1,9}}(\\.[0-9]{{1,4}})?/ | / '[^'\\n]{{0,40}}'/
table: {0}
column: {1}
"""


def grammar(codes: Codes) -> str:
    """The sketches that these codes allow, in Lark's notation. A span ends no sooner than it begins."""
    tables, columns = (
        " | ".join(f'" {code}"' for code in each.values()) for each in (codes.tables, codes.columns)
    )
    n = len(codes.words)
    lines = [RULES.format(tables, columns), "span: " + " | ".join(f"s{i}" for i in range(n))]
    lines += [f's{i}: " {code}" e{i}' for i, code in enumerate(codes.words)]
    lines += [f'e{i}: " {code}"' + f" | e{i + 1}" * (i + 1 < n) for i, code in enumerate(codes.words)]
    return "\n".join(lines)


def sql_of(sketch: str, linked: Linked, codes: Codes, schema: Schema) -> str:
    """The statement that a sketch stands for; SqlError if its tables cannot be joined."""
    listed = " ".join(_written(TOKEN.findall(sketch), linked, codes))
    return render(connect(read(listed).query, JoinGraph(schema)))


def _written(tokens: Sequence[str], linked: Linked, codes: Codes) -> list[str]:
    """The tokens of a statement whose tables are not joined yet."""
    tables = {code: name for name, code in codes.tables.items()}
    columns = {code: column for column, code in codes.columns.items()}
    places = {code: i for i, code in enumerate(codes.words)}
    written: list[str] = []
    column, counted, comparison, first = None, False, "", None
    for before, token in zip(["", *tokens], tokens, strict=False):
        if token in tables:
            written += [","] * (before in tables) + [quoted(tables[token])]
        elif token in columns:
            named = columns[token]
            column, counted = None if counted else named, False
            written.append(f"{quoted(named.table)}.{quoted(named.name)}")
        elif token not in places:
            comparison = token if token in COMPARISONS else comparison
            counted = token in COUNTING or (counted and token in ("(", "DISTINCT"))
            column = None if token == "*" else column
            written.append(token)
        elif first is None:
            first = places[token]
        else:
            written.append(_value(linked, first, places[token], column, comparison))
            first = None
    if first is not None:
        raise SqlError("a value of the sketch has no end")
    return written


def _value(linked: Linked, first: int, last: int, column: ColumnRef | None, comparison: str) -> str:
    """Words of the question as a literal: the cell that they are, a number, or a text."""
    for cell in linked.cells:
        if (cell.first, cell.last, cell.column) == (first, last, column) and comparison != "LIKE":
            return _text(cell.cell) if not is_number(cell.cell, column) else cell.cell
    text = linked.span(first, last)
    if comparison == "LIKE":
        return _text(f"%{text}%")
    if is_number(text, column):
        return text.replace(",", "")
    return _text(text) + " COLLATE NOCASE" * (comparison in ("=", "!="))


def is_number(text: str, column: ColumnRef | None) -> bool:
    """Whether a text is compared as a number: it is one, and the column holds no texts."""
    holds_texts = column is not None and bool(re.search("CHAR|TEXT|CLOB", column.type.upper()))
    return not holds_texts and NUMBER.fullmatch(text) is not None


def _text(text: str) -> str:
    return "'" + text.replace("\0", "").replace("'", "''") + "'"


COUNTING = {"COUNT", "SUM", "AVG"}  # what they give is a number, whatever the column holds
COMPARISONS = {"=", "!=", "<", ">", "<=", ">=", "LIKE", "BETWEEN", "IN"}
