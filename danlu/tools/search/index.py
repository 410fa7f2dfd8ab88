"""The index: documents, their passages and the terms in them, in one SQLite file; BM25 over it.

    score(q, p) = Σ_t idf(t) · tf (k₁ + 1) / (tf + k₁ (1 − b + b · |p| / mean))
    idf(t) = ln(1 + (N − n_t + ½) / (n_t + ½))

(Robertson and Zaragoza 2009, section 3.2; the idf of Lucene, which is never negative.)
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from danlu.tools.error import ToolError
from danlu.tools.search.reading import DocumentError, ReadingLimits, documents, read_document
from danlu.tools.search.words import sentences, terms
from danlu.tools.visible import one_line, whole_unicode

K1, B = 1.2, 0.75
PASSAGE_CHARACTERS = 400  # sentences are gathered up to here
LONGEST_PASSAGE = 1200  # a sentence beyond this is cut
FORMAT = "1"  # of the file; another one is built anew
FILE_NAME = ".danlu-index.db"


class SearchError(ToolError):
    """An index cannot be made or read."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a document, and how well it fits a question."""

    document: str  # path below the folder
    start: int  # in characters of the document's text
    end: int
    score: float


@dataclass(slots=True)
class Changes:
    """What an update of an index did."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    left_out: dict[str, str] = field(default_factory=dict)  # document → why

    def __str__(self) -> str:
        return (
            f"{self.added} added, {self.changed} changed, {self.removed} removed, "
            f"{self.unchanged} unchanged, {len(self.left_out)} left out"
        )


@dataclass(frozen=True, slots=True)
class Index:
    """An index on disk and the folder that it is of."""

    folder: Path
    path: Path
    limits: ReadingLimits = field(default_factory=ReadingLimits)

    @classmethod
    def of(cls, folder: Path, path: Path | None = None, limits: ReadingLimits | None = None) -> Index:
        """The index of a folder; it lies inside it under a hidden name unless a path is given."""
        if not folder.is_dir():
            raise SearchError(f"{one_line(str(folder))}: no such folder")
        return cls(folder, path or folder / FILE_NAME, limits or ReadingLimits())

    def update(self) -> Changes:
        """Bring the index up to the folder: only what is new or has changed is read."""
        changes = Changes()
        with self._open() as connection:
            known = {name: (stamp, digest) for name, stamp, digest in connection.execute(STAMPS)}
            for path in documents(self.folder):
                name = whole_unicode(path.relative_to(self.folder).as_posix())
                self._take_up(connection, path, name, known.pop(name, None), changes)
            for name in known:
                _remove(connection, name)
                changes.removed += 1
        return changes

    def _take_up(
        self,
        connection: sqlite3.Connection,
        path: Path,
        name: str,
        before: tuple[str, str] | None,
        changes: Changes,
    ) -> None:
        found = path.stat()
        stamp = f"{found.st_size} {found.st_mtime_ns}"
        if before and before[0] == stamp:
            changes.unchanged += 1
            return
        try:
            text = read_document(path, self.limits)
        except (DocumentError, OSError) as error:
            changes.left_out[name] = (
                error.strerror or "cannot be read" if isinstance(error, OSError) else str(error)
            )
            _remove(connection, name)
            return
        digest = hashlib.sha256(text.encode()).hexdigest()
        if before and before[1] == digest:
            connection.execute("update document set stamp = ? where name = ?", (stamp, name))
            changes.unchanged += 1
            return
        _remove(connection, name)
        _add(connection, name, stamp, digest, text)
        changes.changed += bool(before)
        changes.added += not before

    def search(self, question_terms: Sequence[str], limit: int = 8) -> list[Passage]:
        """The passages that fit best, best first."""
        with self._open() as connection:
            n, mean = connection.execute("select count(*), avg(length) from passage").fetchone()
            rows: Counter[int] = Counter()
            for term in dict.fromkeys(question_terms):
                weight = _idf(n, _count(connection, term))
                for passage, score in connection.execute(SCORES, {"term": term, "mean": mean or 1.0}):
                    rows[passage] += weight * score
            best = sorted(rows.items(), key=lambda each: (-each[1], each[0]))[:limit]
            return [_passage(connection, number, score) for number, score in best]

    def weights(self, question_terms: Sequence[str]) -> dict[str, float]:
        """How much each term says: its idf; a term that occurs nowhere has the largest."""
        with self._open() as connection:
            (n,) = connection.execute("select count(*) from passage").fetchone()
            return {term: _idf(n, _count(connection, term)) for term in question_terms}

    def occurs(self, term: str) -> bool:
        """Whether any passage has this term."""
        with self._open() as connection:
            return _count(connection, term) > 0

    def text(self, document: str) -> str:
        """The text of a document as it was read."""
        with self._open() as connection:
            row = connection.execute("select text from document where name = ?", (document,)).fetchone()
        if row is None:
            raise SearchError(f"{one_line(document)}: no such document in the index")
        return row[0]

    def size(self) -> tuple[int, int]:
        """Documents and passages."""
        with self._open() as connection:
            (n_documents,) = connection.execute("select count(*) from document").fetchone()
            (n_passages,) = connection.execute("select count(*) from passage").fetchone()
        return n_documents, n_passages

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        """A connection in one transaction; a file of another format is emptied first."""
        try:
            connection = sqlite3.connect(self.path, timeout=5, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise SearchError(f"{one_line(str(self.path))}: cannot be opened: {error}") from None
        try:
            connection.execute("pragma trusted_schema = off")
            connection.execute("pragma foreign_keys = on")
            connection.execute("begin")
            _prepare(connection)
            yield connection
            connection.execute("commit")
        except sqlite3.DatabaseError as error:
            raise SearchError(f"{one_line(str(self.path))}: {error}; delete it and index again") from None
        finally:
            connection.close()


def _prepare(connection: sqlite3.Connection) -> None:
    tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
    if tables and "danlu_index" not in tables:
        raise SearchError("the file is a database, but no index of ours; name another one")
    if "danlu_index" in tables:
        if connection.execute("select format from danlu_index").fetchone() == (FORMAT,):
            return
        for table in ("posting", "passage", "document", "danlu_index"):
            connection.execute(f"drop table if exists {table}")
    for statement in SCHEMA:
        connection.execute(statement)
    connection.execute("insert into danlu_index values (?)", (FORMAT,))


def _add(connection: sqlite3.Connection, name: str, stamp: str, digest: str, text: str) -> None:
    row = connection.execute(
        "insert into document (name, stamp, digest, text) values (?, ?, ?, ?)", (name, stamp, digest, text)
    )
    for start, end in passages(text):
        counts = Counter(terms(text[start:end]))
        place = connection.execute(
            "insert into passage (document, start, stop, length) values (?, ?, ?, ?)",
            (row.lastrowid, start, end, counts.total()),
        ).lastrowid
        connection.executemany(
            "insert into posting (term, passage, count) values (?, ?, ?)",
            [(term, place, count) for term, count in counts.items()],
        )


def _remove(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("delete from document where name = ?", (name,))


def passages(text: str) -> Iterator[tuple[int, int]]:
    """Neighbouring sentences gathered into stretches of a few hundred characters; an empty line ends one."""
    start = end = -1
    for first, last in _short_sentences(text):
        apart = start >= 0 and "\n\n" in text[end:first]
        if start >= 0 and (apart or last - start > PASSAGE_CHARACTERS):
            yield start, end
            start = -1
        start, end = (first if start < 0 else start), last
    if start >= 0:
        yield start, end


def _short_sentences(text: str) -> Iterator[tuple[int, int]]:
    for first, last in sentences(text):
        for begin in range(first, last, LONGEST_PASSAGE):
            yield begin, min(last, begin + LONGEST_PASSAGE)


def _count(connection: sqlite3.Connection, term: str) -> int:
    (count,) = connection.execute("select count(*) from posting where term = ?", (term,)).fetchone()
    return count


def _idf(n: int, with_term: int) -> float:
    return math.log(1 + (n - with_term + 0.5) / (with_term + 0.5))


def _passage(connection: sqlite3.Connection, number: int, score: float) -> Passage:
    row = connection.execute(
        "select name, start, stop from passage join document on document.id = document where passage.id = ?",
        (number,),
    ).fetchone()
    return Passage(row[0], row[1], row[2], score)


SCHEMA = (
    "create table danlu_index (format text)",
    "create table document (id integer primary key, name text unique, stamp text, digest text, text text)",
    "create table passage (id integer primary key, document integer references document on delete cascade,"
    " start integer, stop integer, length integer)",
    "create table posting (term text, passage integer references passage on delete cascade, count integer,"
    " primary key (term, passage)) without rowid",
    "create index passage_document on passage (document)",
    "create index posting_passage on posting (passage)",
)
STAMPS = "select name, stamp, digest from document"
SCORES = (
    f"select posting.passage, count * {K1 + 1} / (count + {K1} * ({1 - B} + {B} * length / :mean))"
    " from posting join passage on passage.id = posting.passage where term = :term"
)
