"""A question in words beside a database: the cells that it names, and all that a model is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from danlu.tools.sql.database import Database, Schema
from danlu.tools.sql.linking import CellLink, ColumnRef, Linked, chosen_cells, link, phrases, words_of

LookUp = Callable[[Sequence[str]], Iterable[tuple[str, str, str]]]
"""Table, column and content of the cells that are one of some phrases in lower case."""


def ask(question: str, database: Database, schema: Schema) -> Linked:
    """The question with what it names in this database."""
    return link(question, schema, found_cells(question, schema, lambda each: database.cells(schema, each)))


def found_cells(question: str, schema: Schema, look_up: LookUp) -> list[CellLink]:
    """Parts of a question that are cells, in whatever case."""
    places: dict[str, list[tuple[int, int]]] = {}
    for first, last, text in phrases(words_of(question), question):
        places.setdefault(text.lower(), []).append((first, last))
    types = {(t.name, name): kind for t in schema.tables for name, kind in t.columns.items()}
    links = [
        CellLink(first, last, ColumnRef(table, column, types[table, column]), cell)
        for table, column, cell in look_up(list(places))
        for first, last in places.get(cell.lower(), ())
    ]
    return chosen_cells(links)
