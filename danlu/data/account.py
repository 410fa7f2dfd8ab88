"""The account of a cleaning: what went in, what was mended, what was dropped by which rule, what came out.

Where the documents say themselves what is wrong with them (the built-in world's do), the cleaning is graded
against that too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import IO, Any

from rich.table import Column, Table

from danlu.data.pii import mask_private
from danlu.data.sources import Document

N_EXAMPLES = 3
EXAMPLE_LENGTH = 160

# What each rule and repair is a treatment of; every other rule drops junk.
TREATS: Mapping[str, tuple[str, ...]] = {
    "exact duplicate": ("exact_duplicate", "near_duplicate"),
    "near duplicate": ("exact_duplicate", "near_duplicate"),
    "boilerplate": ("boilerplate",),
    "mojibake": ("mojibake",),
    "broken characters": ("mojibake",),
    "markup": ("markup",),
    "advertisement": ("advertisement",),
    "private data": ("private_data",),
}
JUNK = ("junk",)
DUPLICATES = ("exact_duplicate", "near_duplicate")


@dataclass(slots=True)
class Tally:
    """How often a rule applied, to how much text, and the first few cases."""

    documents: int = 0
    bytes: int = 0
    examples: list[str] = field(default_factory=list)

    def count(self, n_bytes: int, example: str) -> None:
        self.documents += 1
        self.bytes += n_bytes
        if len(self.examples) < N_EXAMPLES:
            self.examples.append(mask_private(example[:EXAMPLE_LENGTH])[0])


@dataclass(slots=True)
class Fate:
    """What a document says is wrong with it, and what became of it."""

    dirt: str  # empty: it says that nothing is
    of: str  # the document that it repeats
    treatments: set[str] = field(default_factory=set)
    dropped: bool = False
    leaks: bool = False  # private data is left in it


@dataclass(frozen=True, slots=True)
class Record:
    """Every dropped document, a JSON line each, to be looked at afterwards."""

    file: IO[str]
    n_chars: int  # of a text that are kept, private data masked; 0 writes nothing

    def add(self, rule: str, document: Document, of: str) -> None:
        if self.n_chars:
            # Masked before it is cut: half a number would be no number any more.
            text, _ = mask_private(document.text)
            fields = {
                "rule": rule,
                "text": text[: self.n_chars],
                "n_chars": len(document.text),
                "source": document.source,
                "line": document.line,
                "lang": document.lang,
                "of": of,
            }
            row = {name: value for name, value in fields.items() if value != ""}
            self.file.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n")


@dataclass(slots=True)
class Account:
    """Kept while documents pass; every drop and every repair is told to it."""

    record: Record | None = None  # where each dropped document is written down
    read: dict[str, Tally] = field(default_factory=dict)  # by source
    dropped: dict[str, Tally] = field(default_factory=dict)  # by rule
    mended: dict[str, Tally] = field(default_factory=dict)  # by repair; bytes are those taken away
    masked: Counter[str] = field(default_factory=Counter)  # by kind of private data
    kept: dict[str, Tally] = field(default_factory=dict)  # by split and language
    fates: dict[str, Fate] = field(default_factory=dict)  # by document id

    def receive(self, document: Document) -> None:
        """A document comes in."""
        _tally(self.read, document.source).count(_size(document.text), "")
        if "dirt" in document.about:
            self.fates[_id(document)] = Fate(document.about["dirt"] or "", document.about.get("of") or "")

    def drop(self, rule: str, document: Document, *, of: str = "") -> None:
        """A rule takes a document out; `of` says which it repeats, as far as that is known."""
        if self.record is not None:
            self.record.add(rule, document, of)
        _tally(self.dropped, rule).count(_size(document.text), document.text)
        self._treat(rule, document)
        if fate := self.fates.get(_id(document)):
            fate.dropped = True

    def mend(self, repair: str, document: Document, before: str) -> None:
        """A repair changed a document; `document` is what it came to be."""
        saved = _size(before) - _size(document.text)
        _tally(self.mended, repair).count(saved, f"{before[:60]} → {document.text[:60]}")
        self._treat(repair, document)

    def keep(self, split: str, document: Document) -> None:
        """A document goes out."""
        _tally(self.kept, f"{split} {document.lang}").count(_size(document.text), "")
        if fate := self.fates.get(_id(document)):
            fate.leaks = any(item in document.text for item in document.about.get("private") or ())

    def _treat(self, rule: str, document: Document) -> None:
        if fate := self.fates.get(_id(document)):
            fate.treatments.update(TREATS.get(rule, JUNK))

    def to_tree(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        groups = {"read": self.read, "dropped": self.dropped, "mended": self.mended, "kept": self.kept}
        tree: dict[str, Any] = {name: _plain(group) for name, group in groups.items()}
        return tree | {"masked": dict(self.masked), "grade": grade(self.fates) if self.fates else None}

    def table(self) -> Table:
        """For the terminal."""
        # Examples give way on a narrow terminal, numbers do not.
        columns = [Column("", no_wrap=True), *(Column(name, no_wrap=True) for name in ("documents", "bytes"))]
        example = Column("for example", no_wrap=True, overflow="ellipsis", ratio=1)
        table = Table(*columns, example, title="What was read, mended, dropped and kept", expand=True)
        read = [sum(getattr(tally, name) for tally in self.read.values()) for name in ("documents", "bytes")]
        table.add_row("read", *(f"{n:,}" for n in read), "", end_section=True)
        for verb, group in (("mended", self.mended), ("dropped", self.dropped), ("kept", self.kept)):
            ordered = sorted(group.items(), key=lambda item: -item[1].documents)
            for i, (name, tally) in enumerate(ordered):
                shown = " ".join((tally.examples or [""])[0].split())[:40]
                last = i == len(ordered) - 1
                row = (f"{verb}: {name}", f"{tally.documents:,}", f"{tally.bytes:,}", shown)
                table.add_row(*row, end_section=last)
        for kind, n in self.masked.most_common():
            table.add_row(f"masked: {kind}", f"{n:,}", "", "")
        return table


def grade(fates: Mapping[str, Fate]) -> dict[str, Any]:
    """Recall and precision by kind of dirt, and how many clean documents were lost.

    Recall is the share of documents with this dirt that were dropped or mended; precision the share of dirty
    documents among those that got the treatment meant for it (a dirty document may need several).
    """
    kinds = sorted({fate.dirt for fate in fates.values()} - {""})
    survivors = {fate.of for fate in fates.values() if fate.of and not fate.dropped}
    graded = {kind: _grade_kind(kind, fates, survivors) for kind in kinds}
    clean = {name: fate for name, fate in fates.items() if not fate.dirt}
    # A text whose only copy left is its duplicate is not lost.
    lost = [name for name, fate in clean.items() if fate.dropped and name not in survivors]
    touched = sum(bool(fate.treatments) for fate in clean.values())
    return {
        "by_kind": graded,
        "clean": {"documents": len(clean), "lost": len(lost), "mended_or_lost": touched},
    }


def _grade_kind(kind: str, fates: Mapping[str, Fate], survivors: Set[str]) -> dict[str, float]:
    dirty = [fate for fate in fates.values() if fate.dirt == kind]
    handled = sum(_is_handled(fate, fates) for fate in dirty)
    treated = {name: fate for name, fate in fates.items() if kind in fate.treatments}
    # Of a text and its duplicate the one that comes second is dropped, whichever that is.
    right = sum(bool(fate.dirt) or name in survivors for name, fate in treated.items())
    return {
        "documents": len(dirty),
        "recall": handled / len(dirty),
        "precision": right / len(treated) if treated else 1.0,
    }


def _is_handled(fate: Fate, fates: Mapping[str, Fate]) -> bool:
    if fate.dropped:
        return True
    if fate.dirt in DUPLICATES:
        return fate.of in fates and fates[fate.of].dropped
    if fate.dirt == "private_data":
        return not fate.leaks
    return fate.dirt in fate.treatments


def grade_table(graded: Mapping[str, Any]) -> Table:
    """The grades for the terminal."""
    clean = graded["clean"]
    share = clean["lost"] / max(1, clean["documents"])
    table = Table("dirt", "documents", "recall", "precision", title=f"Clean documents lost: {share:.2%}")
    for kind, row in graded["by_kind"].items():
        recall, precision = (f"{row[name]:.1%}" for name in ("recall", "precision"))
        table.add_row(kind, f"{row['documents']:,}", recall, precision)
    return table


def _tally(group: dict[str, Tally], name: str) -> Tally:
    return group.setdefault(name, Tally())


def _plain(group: Mapping[str, Tally]) -> dict[str, Any]:
    return {
        name: {
            "documents": tally.documents,
            "bytes": tally.bytes,
            "examples": [e for e in tally.examples if e],
        }
        for name, tally in group.items()
    }


def _id(document: Document) -> str:
    return str(document.about.get("id") or f"{document.source}:{document.line}")


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
