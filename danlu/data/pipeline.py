"""Cleaning as a chain of generators: each takes documents and an account, and passes on what it lets through.

Near duplicates can only be told when all texts are known, so what the chain lets through is written aside
first and read again: memory holds signatures, never the corpus.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.config import ConfigError
from danlu.data.account import Account, Record
from danlu.data.dedup import ExactDuplicates, NearDuplicateConfig, NearDuplicates, digest
from danlu.data.language import identify, profile
from danlu.data.pii import mask_private
from danlu.data.quality import QualityConfig, Text, fault
from danlu.data.records import DataError
from danlu.data.repair import REPAIRS, repair
from danlu.data.sources import Document

Documents = Iterator[Document]
Step = Callable[[Iterable[Document], Account], Documents]

ASIDE = "aside.jsonl"
# By this suffix no reader takes what was dropped for a corpus, though it lies in the folder of one.
DROPPED = "dropped.ndjson"
LEAST_LEFT = 0.5  # a text of which a repair leaves less than this share of its characters was all clutter


@dataclass(frozen=True, slots=True, kw_only=True)
class CleaningConfig:
    repairs: tuple[str, ...] = tuple(name for name, _ in REPAIRS)
    quality: QualityConfig = field(default_factory=QualityConfig)
    near_duplicates: NearDuplicateConfig = field(default_factory=NearDuplicateConfig)
    mask_private: bool = True
    repeated_lines: int = 0  # a long line is dropped once it was seen so often; 0 keeps every line
    held_out: float = 0.01  # share of the documents that training never sees
    dropped_chars: int = 1000  # of each dropped text, kept to be looked at; 0 keeps none

    def __post_init__(self) -> None:
        known = [name for name, _ in REPAIRS]
        if unknown := [name for name in self.repairs if name not in known]:
            raise ConfigError(f"repairs: {unknown[0]!r} is unknown; repairs are {known}")
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"held_out is {self.held_out}; it must be in [0, 1)")
        if self.dropped_chars < 0:
            raise ConfigError(f"dropped_chars is {self.dropped_chars}; it must be at least 0")


def clean(documents: Iterable[Document], config: CleaningConfig, account: Account) -> Documents:
    """Documents mended, judged, without exact duplicates and private data."""
    stream: Documents = received(documents, account)
    for step in steps(config):
        stream = step(stream, account)
    return stream


def steps(config: CleaningConfig) -> list[Step]:
    """What a document goes through, in this order."""
    chain: list[Step] = [partial(mended, repairs=config.repairs)]
    if config.repeated_lines:
        chain.append(partial(without_repeated_lines, limit=config.repeated_lines))
    chain += [partial(worth_reading, config=config.quality), without_exact_duplicates]
    return [*chain, without_private_data] if config.mask_private else chain


def received(documents: Iterable[Document], account: Account) -> Documents:
    for document in documents:
        account.receive(document)
        yield document


def mended(documents: Iterable[Document], account: Account, *, repairs: tuple[str, ...]) -> Documents:
    """Mend texts; one of which a repair leaves little was clutter, and goes."""
    for document in documents:
        text, done = repair(document.text, repairs)
        better = document if text == document.text else replace(document, text=text)
        for name in done:
            account.mend(name, better, document.text)
        if done and len(text) < LEAST_LEFT * len(document.text.strip()) and _is_clutter(done, text):
            account.drop(done[-1], document)
        else:
            yield better


def _is_clutter(done: list[str], text: str) -> bool:
    """Lines were taken away, rather than bytes or tags: what is left of an advertisement is no text."""
    return "advertisement" in done or ("boilerplate" in done and not text)


def without_repeated_lines(documents: Iterable[Document], account: Account, *, limit: int) -> Documents:
    """Take out lines of 20 characters or more that came `limit` times before, in whatever document."""
    seen: Counter[bytes] = Counter()
    for document in documents:
        kept = [line for line in document.text.split("\n") if not _came_often(line, seen, limit)]
        text = "\n".join(kept).strip()
        better = replace(document, text=text)
        if text != document.text:
            account.mend("repeated line", better, document.text)
        yield better


def _came_often(line: str, seen: Counter[bytes], limit: int) -> bool:
    if len(line) < 20:
        return False
    key = blake2b(line.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    seen[key] += 1
    return seen[key] > limit


def worth_reading(documents: Iterable[Document], account: Account, *, config: QualityConfig) -> Documents:
    """Name the language, and drop what breaks a rule of quality."""
    for document in documents:
        counts = profile(document.text)
        # Sums on their own are in no language; then the record's word counts.
        lang = identify(document.text, counts) if counts.letters else document.lang or "en"
        rule = fault(Text(document.text, counts, lang), config)
        if rule:
            account.drop(rule, document)
        else:
            yield replace(document, lang=lang)


def without_exact_duplicates(documents: Iterable[Document], account: Account) -> Documents:
    """Let the first of equal texts through."""
    seen = ExactDuplicates()
    for document in documents:
        if seen.is_new(document.text):
            yield document
        else:
            account.drop("exact duplicate", document)


def without_private_data(documents: Iterable[Document], account: Account) -> Documents:
    """Put the kind of private data in its place."""
    for document in documents:
        text, found = mask_private(document.text)
        if found:
            before, document = document.text, replace(document, text=text)
            account.masked.update(found)
            account.mend("private data", document, before)
        yield document


def write_clean(documents: Iterable[Document], out: Path, config: CleaningConfig) -> Account:
    """Clean documents into `out/train.jsonl` and `out/held_out.jsonl`, then write `out/account.json`.

    What was dropped goes into `out/dropped.ndjson`, the beginning of each text with the rule that dropped it.
    Which documents are held out is decided by a hash of their text, so that it stays the same when others
    come or go; each language has at least one. Files take their places when all are whole.
    """
    folder = out / ".partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with (folder / DROPPED).open("w", encoding="utf-8", newline="\n") as dropped:
        account = Account(record=Record(dropped, config.dropped_chars))
        _clean_into(documents, folder, config, account)
    text = json.dumps(account.to_tree(), ensure_ascii=False, indent=1)
    (folder / "account.json").write_text(text + "\n", encoding="utf-8")
    if not account.kept:
        rules = {name: tally.documents for name, tally in account.dropped.items()}
        raise DataError(
            f"cleaning left no document; dropped by rule: {rules}. Loosen the rules, or read other texts"
        )
    for name in ("train.jsonl", "held_out.jsonl", DROPPED, "account.json"):
        (folder / name).replace(out / name)
    shutil.rmtree(folder)
    return account


def _clean_into(
    documents: Iterable[Document], folder: Path, config: CleaningConfig, account: Account
) -> None:
    """Write the two splits into a folder."""
    near = NearDuplicates(config.near_duplicates)
    places: list[float] = []
    langs: list[str] = []
    with (folder / ASIDE).open("w", encoding="utf-8", newline="\n") as file:
        for document in clean(documents, config, account):
            file.write(_line(document))
            near.add(document.text)
            places.append(int.from_bytes(digest(document.text), "little") / 2**64)
            langs.append(document.lang)
    repeats = near.repeats()
    _divide(folder, repeats, choose_held_out(places, langs, repeats, config.held_out), account)


def choose_held_out(
    places: list[float], langs: list[str], repeats: NDArray[np.int64], share: float
) -> NDArray[np.bool_]:
    """Which documents training never sees: those whose place is below `share`, at least one a language.

    Args:
        places: where the hash of each text lies in [0, 1).
        langs: the language of each.
        repeats: -1 for those that repeat no other.
        share: how many to hold out.
    """
    place, lang = np.array(places), np.array(langs)
    chosen = place < share
    for name in set(langs) if share else ():
        own = np.flatnonzero((lang == name) & (repeats < 0))
        if len(own) > 1 and not chosen[own].any():
            chosen[own[np.argmin(place[own])]] = True
    return chosen


def _divide(folder: Path, repeats: NDArray[np.int64], held_out: NDArray[np.bool_], account: Account) -> None:
    """Write what was put aside into its split, near duplicates left out."""
    with (
        (folder / ASIDE).open(encoding="utf-8") as lines,
        (folder / "train.jsonl").open("w", encoding="utf-8", newline="\n") as train,
        (folder / "held_out.jsonl").open("w", encoding="utf-8", newline="\n") as evaluation,
    ):
        repeated_ones = set(repeats[repeats >= 0].tolist())
        sources: dict[int, str] = {}
        rows = zip(lines, repeats.tolist(), held_out.tolist(), strict=True)
        for number, (line, repeated, is_held_out) in enumerate(rows):
            document = Document(**json.loads(line))
            if number in repeated_ones:
                sources[number] = f"{document.source}:{document.line}"
            if repeated >= 0:  # what it repeats came before it
                account.drop("near duplicate", document, of=sources[repeated])
                continue
            account.keep("held_out" if is_held_out else "train", document)
            record = {"text": document.text, "lang": document.lang}
            (evaluation if is_held_out else train).write(json.dumps(record, ensure_ascii=False) + "\n")


def _line(document: Document) -> str:
    """A document put aside, with what its account needs of it."""
    about = {name: document.about[name] for name in ("id", "dirt", "private") if name in document.about}
    fields: Mapping[str, Any] = {
        "text": document.text,
        "source": document.source,
        "line": document.line,
        "lang": document.lang,
        "about": about,
    }
    return json.dumps(fields, ensure_ascii=False) + "\n"
