"""Answers from documents: sentences cited word for word with their place, or that nothing was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from danlu.config import ConfigError
from danlu.tools.search.index import Index, Passage, SearchError
from danlu.tools.search.words import border_pairs, content_terms, sentences, terms
from danlu.tools.visible import one_line

MAX_QUESTION = 2000  # characters
LONGEST_QUOTE = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweringConfig:
    n_passages: int = 8  # looked at
    n_citations: int = 3  # shown at most
    support: float = 0.6  # least share of the question's weight that a passage must contain

    def __post_init__(self) -> None:
        if not 0 < self.support <= 1:
            raise ConfigError(f"support is {self.support}; it must be above 0 and at most 1")
        for name in ("n_passages", "n_citations"):
            if not 1 <= getattr(self, name) <= 100:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be from 1 to 100")


@dataclass(frozen=True, slots=True)
class Citation:
    """A quotation and where it stands: `document`, line, and characters of its text."""

    document: str
    line: int
    start: int
    end: int
    quote: str
    support: float  # share of the question's weight that its passage contains

    @property
    def place(self) -> str:
        """`notes/a.txt, line 3, characters 40 to 82`."""
        return f"{one_line(self.document)}, line {self.line}, characters {self.start} to {self.end}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the documents say; no citations mean that nothing in them supports an answer."""

    question: str
    citations: Sequence[Citation]
    missing: Sequence[str]  # terms of the question that occur in no document


def ask(index: Index, question: str, config: AnsweringConfig | None = None) -> Answer:
    """The sentences that answer a question best, each checked to stand where it is said to stand."""
    config = config or AnsweringConfig()
    if len(question) > MAX_QUESTION:
        raise SearchError(f"the question has {len(question):,} characters; at most {MAX_QUESTION:,} are read")
    borders = border_pairs(question, index.occurs)
    wanted = [term for term in content_terms(question) if term not in borders]
    if not wanted:
        raise SearchError("the question names nothing to look for; write what it is about")
    weights = index.weights(wanted)
    found: list[Citation] = []
    for passage in index.search(wanted, config.n_passages):
        citation = _cite(index, passage, weights)
        if citation.support >= config.support and not any(_overlap(citation, each) for each in found):
            verify(index, citation)
            found.append(citation)
    missing = [term for term in wanted if not index.occurs(term)]
    return Answer(question, found[: config.n_citations], missing)


def verify(index: Index, citation: Citation) -> None:
    """Raise unless a quotation stands in its document, character for character, at its place."""
    text = index.text(citation.document)
    if not citation.quote or text[citation.start : citation.end] != citation.quote:
        raise SearchError(f"{citation.place}: the quotation does not stand there")
    if text.count("\n", 0, citation.start) + 1 != citation.line:
        raise SearchError(f"{citation.place}: this is not the line of the quotation")


def locate(index: Index, document: str, quote: str) -> Citation:
    """The citation of a quotation that a model gives; one that is not in the document is an error."""
    start = index.text(document).find(quote) if quote.strip() else -1
    if start < 0:
        raise SearchError(f"{one_line(document)} does not contain {one_line(quote, 80)!r}")
    return _citation(index, document, start, start + len(quote), 1.0)


def _cite(index: Index, passage: Passage, weights: Mapping[str, float]) -> Citation:
    """The sentence of a passage that has most of the question, with the share that the whole passage has."""
    text = index.text(passage.document)
    inside = text[passage.start : passage.end]
    places = [(passage.start + first, passage.start + last) for first, last in sentences(inside)]
    start, end = max(places, key=lambda place: _weight(text[slice(*place)], weights))
    if end - start > LONGEST_QUOTE:
        start, end = _window(text, start, end, weights)
    return _citation(index, passage.document, start, end, _weight(inside, weights) / sum(weights.values()))


def _window(text: str, start: int, end: int, weights: Mapping[str, float]) -> tuple[int, int]:
    """The stretch of a long sentence that has most of the question."""
    begins = range(start, end - LONGEST_QUOTE + 1, LONGEST_QUOTE // 4)
    best = max(begins, key=lambda begin: _weight(text[begin : begin + LONGEST_QUOTE], weights))
    return best, best + LONGEST_QUOTE


def _citation(index: Index, document: str, start: int, end: int, support: float) -> Citation:
    text = index.text(document)
    return Citation(document, text.count("\n", 0, start) + 1, start, end, text[start:end], support)


def _weight(text: str, weights: Mapping[str, float]) -> float:
    return sum(weights[term] for term in set(terms(text)) & weights.keys())


def _overlap(one: Citation, other: Citation) -> bool:
    return one.document == other.document and one.start < other.end and other.start < one.end
