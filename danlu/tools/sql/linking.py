"""Which tables, columns and cells the words of a question are about.

A small model that writes SQL need not copy names and values letter by letter if each has a code: two capitals
that are one token. The words of a question have codes W…, X…, Y…, columns C… to F…, tables T…; a question is
shown in lower case, so that no word of it is a code.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from danlu.tools.search.words import STOPWORDS, terms
from danlu.tools.sql.database import Schema, Table
from danlu.tools.sql.tokens import SqlError
from danlu.tools.visible import one_line, visible

WORD = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|\d+(?:[.,:]\d+)*|[^\W_]+|[^\w\s]|_")
NAME_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\da-zA-Z_]+")
MAX_PHRASE = 8  # words of a cell that is looked for
MAX_SHOWN = 48  # columns that a question is answered from; of a larger database the likeliest


def _codes(letters: str) -> tuple[str, ...]:
    return tuple(first + second for first in letters for second in string.ascii_uppercase)


WORD_CODES, TABLE_CODES = _codes("WXY"), _codes("T")
# DESC and the like are longer; of two letters only DO is a word of SQL, and it is none here.
COLUMN_CODES = _codes("CDEF")


@dataclass(frozen=True, slots=True)
class ColumnRef:
    """A column of a table."""

    table: str
    name: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a question, and where it stands in it."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class CellLink:
    """Words that are the content of a cell."""

    first: int  # number of the first word
    last: int
    column: ColumnRef
    cell: str  # as it stands in the database


@dataclass(frozen=True, slots=True)
class Linked:
    """A question beside the part of a schema that it may be about."""

    question: str
    words: Sequence[Word]
    tables: Sequence[Table]
    columns: Sequence[ColumnRef]
    names: Mapping[
        int, Sequence[tuple[str, ColumnRef | str]]
    ]  # last word of a phrase → (= or ~, what it names)
    cells: Sequence[CellLink] = field(default_factory=tuple[CellLink, ...])

    def span(self, first: int, last: int) -> str:
        """The question from one word to another, as it was written."""
        return self.question[self.words[first].start : self.words[last].end]


@dataclass(frozen=True, slots=True)
class Codes:
    """Which code stands for what, in one question."""

    words: Sequence[str]
    tables: Mapping[str, str]  # name → code
    columns: Mapping[ColumnRef, str]


def words_of(question: str) -> list[Word]:
    """Words and signs; each Han character is a word."""
    found = [Word(each[0].lower(), each.start(), each.end()) for each in WORD.finditer(question)]
    if len(found) > len(WORD_CODES):
        raise SqlError(f"the question has {len(found)} words; at most {len(WORD_CODES)} are read")
    if not found:
        raise SqlError("the question has no words")
    return found


def spoken(name: str) -> str:
    """A name as people say it: `homeTown_id` is home town id."""
    return " ".join(part.lower() for part in NAME_PARTS.findall(name)) or one_line(name.lower(), 40)


def link(question: str, schema: Schema, cells: Sequence[CellLink] = ()) -> Linked:
    """What the words of a question name, and the part of the schema that is shown beside it."""
    words = words_of(question)
    flat = [_stem(word.text) for word in words]
    tables = _nearest(schema, flat, cells)
    columns = [ColumnRef(t.name, name, kind) for t in tables for name, kind in t.columns.items()]
    columns = columns[: len(COLUMN_CODES)]
    shown = {column.table for column in columns}
    kept = [cell for cell in cells if cell.column.table in shown]
    return Linked(question, words, tables, columns, _names(flat, tables, columns), kept)


def phrases(words: Sequence[Word], question: str) -> Iterator[tuple[int, int, str]]:
    """Parts of a question that may be a cell, longest first: numbers of the first and last word, the text."""
    for n in range(min(MAX_PHRASE, len(words)), 0, -1):
        for first in range(len(words) - n + 1):
            last = first + n - 1
            text = question[words[first].start : words[last].end]
            if n > 1 or (words[first].text not in STOPWORDS and any(map(str.isalnum, text))):
                yield first, last, text


def chosen_cells(found: Sequence[CellLink]) -> list[CellLink]:
    """Of matches that lie within each other only the longest, and of one phrase at most three columns."""
    kept: list[CellLink] = []
    for each in sorted(found, key=lambda link: link.first - link.last):
        same = [k for k in kept if (k.first, k.last) == (each.first, each.last)]
        inside = any(k.first <= each.first and each.last <= k.last for k in kept if k not in same)
        if not inside and len(same) < 3:
            kept.append(each)
    return kept


def sequential(linked: Linked) -> Codes:
    """The codes in their order, as a model is asked with."""
    return Codes(
        WORD_CODES[: len(linked.words)],
        dict(zip([table.name for table in linked.tables], TABLE_CODES, strict=False)),
        dict(zip(linked.columns, COLUMN_CODES, strict=False)),
    )


def prompt(linked: Linked, codes: Codes) -> str:
    """What a model reads: the tables with their columns, then the question, all with codes and links.

    A code stands behind what it is for: reading from left to right, a model knows at the code what it means,
    and only has to say it again.
    """
    lines: list[str] = []
    for table in linked.tables:
        parts = [f"{spoken(table.name)} {codes.tables[table.name]}"]
        parts += [
            f"{spoken(column.name)} {codes.columns[column]}"
            for column in linked.columns
            if column.table == table.name
        ]
        lines.append(" ".join(parts))
    pieces: list[str] = []
    for number, word in enumerate(linked.words):
        pieces.append(f"{visible(word.text)} {codes.words[number]}")
        for sign, what in linked.names.get(number, ()):
            pieces.append(f"{sign} {codes.tables[what] if isinstance(what, str) else codes.columns[what]}")
        pieces += [f": {codes.columns[cell.column]}" for cell in linked.cells if cell.last == number]
    return "\n".join([*lines, " ".join(pieces)])


def _stems(name: str) -> list[str]:
    return [_stem(part) for part in WORD.findall(spoken(name))]


def _stem(word: str) -> str:
    return (terms(word)[-1:] or [word.lower()])[0]


def _names(
    stems: Sequence[str], tables: Sequence[Table], columns: Sequence[ColumnRef]
) -> dict[int, list[tuple[str, ColumnRef | str]]]:
    """Full names first; then, for words that are in none, the columns whose names hold most of them."""
    found: dict[int, list[tuple[str, ColumnRef | str]]] = {}
    covered: set[int] = set()
    begun: dict[int, int] = {}  # last word of a phrase → first
    everything: list[tuple[ColumnRef | str, list[str]]] = [(each, _stems(each.name)) for each in columns]
    everything += [(table.name, _stems(table.name)) for table in tables]
    for what, parts in sorted(everything, key=lambda pair: -len(pair[1])):
        for first in _places(stems, parts) if parts else ():  # a name may be made of nothing that is a word
            places = range(first, first + len(parts))
            if covered.isdisjoint(places) or begun.get(places[-1]) == first:
                begun[places[-1]] = first
                same = found.setdefault(places[-1], [])
                same += [("=", what)] if len(same) < 4 else []
                covered |= set(places)
    for number, stem in enumerate(stems):
        if number in covered or stem in STOPWORDS or not stem.isalnum():
            continue
        near = [(len(parts), what) for what, parts in everything if stem in parts]
        near.sort(key=lambda pair: pair[0])
        if near:
            found[number] = [("~", what) for _, what in near[:3]]
    return found


def _places(stems: Sequence[str], parts: Sequence[str]) -> Iterator[int]:
    """Where a name begins among the words; one without any letter or sign is nowhere."""
    for first in range(len(stems) - len(parts) + 1):
        if parts and stems[first : first + len(parts)] == list(parts):
            yield first


def _nearest(schema: Schema, stems: Sequence[str], cells: Sequence[CellLink]) -> list[Table]:
    """The tables of a schema, or if it is large, those that the question is about and their neighbours."""
    tables = [table for table in schema.tables if table.columns]
    if not tables:
        raise SqlError("the database has no tables")
    if sum(len(table.columns) for table in tables) <= MAX_SHOWN:
        return tables[: len(TABLE_CODES)]
    asked = {stem for stem in stems if stem not in STOPWORDS}
    scores = {table.name: _score(table, asked, cells) for table in tables}
    near = {
        other.lower(): scores[table.name] / 2
        for table in sorted(tables, key=lambda each: scores[each.name])
        for _, other, _ in table.foreign_keys
    }
    order = sorted(tables, key=lambda each: -max(scores[each.name], near.get(each.name.lower(), 0)))
    kept: set[str] = set()
    room = MAX_SHOWN
    for table in order[: len(TABLE_CODES)]:
        if not kept or len(table.columns) <= room:
            kept.add(table.name)
            room -= len(table.columns)
    return [table for table in tables if table.name in kept]


def _score(table: Table, asked: set[str], cells: Sequence[CellLink]) -> float:
    held = sum(cell.column.table == table.name for cell in cells)
    named = len(asked & set(_stems(table.name)))
    return 2 * named + held + sum(len(asked & set(_stems(name))) > 0 for name in table.columns)
