"""`danlu index FOLDER`: make the documents of a folder searchable, or bring an index up to date."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from danlu.tools.search.index import Index, SearchError
from danlu.tools.search.reading import READERS, ReadingLimits
from danlu.tools.visible import one_line

SUMMARY = "make a folder of documents searchable: danlu index FOLDER"
POSITIONAL = ("folder",)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexConfig:
    folder: Path  # searched below, too; hidden files are left out
    out: Path | None = None  # the index; by default a hidden file in the folder
    reading: ReadingLimits = field(default_factory=ReadingLimits)


def run(config: IndexConfig) -> None:
    index = Index.of(config.folder, config.out, config.reading)
    changes = index.update()
    for name, why in changes.left_out.items():
        print(f"left out: {one_line(name)} {why}")
    n_documents, n_passages = index.size()
    if not n_documents:
        raise SearchError(f"{config.folder}: no document to index; {', '.join(READERS)} are read")
    print(f"{changes}; {n_documents:,} documents, {n_passages:,} passages in {one_line(str(index.path))}")
