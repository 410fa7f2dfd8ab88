"""`danlu ask FOLDER QUESTION`: sentences that answer it, each with its place, or that there are none."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from danlu.tools.search.answer import AnsweringConfig, ask
from danlu.tools.search.index import Index
from danlu.tools.search.reading import ReadingLimits
from danlu.tools.visible import one_line

SUMMARY = "find an answer in a folder of documents, with citations: danlu ask FOLDER QUESTION"
POSITIONAL = ("folder", "question")


@dataclass(frozen=True, slots=True, kw_only=True)
class AskConfig:
    folder: Path
    question: str
    index: Path | None = None  # by default the hidden file in the folder
    answering: AnsweringConfig = field(default_factory=AnsweringConfig)
    reading: ReadingLimits = field(default_factory=ReadingLimits)


def run(config: AskConfig) -> None:
    """The index is brought up to date first, so the answer is about the folder as it is."""
    index = Index.of(config.folder, config.index, config.reading)
    index.update()
    answer = ask(index, config.question, config.answering)
    for number, citation in enumerate(answer.citations, start=1):
        print(f"[{number}] “{one_line(citation.quote, 500)}”\n    {citation.place}")
    if not answer.citations:
        missing = f"; not in them at all: {', '.join(answer.missing)}" if answer.missing else ""
        print(f"Nothing in the documents supports an answer{one_line(missing)}.")
