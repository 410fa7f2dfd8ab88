"""Text of the user's own: how much there is, an even part of it for a run, and what others make of it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

from danlu.config import ConfigError
from danlu.data.chats import read_chats, read_comparisons
from danlu.data.pipeline import CleaningConfig, write_clean
from danlu.data.records import DataError
from danlu.data.sources import Document, ReadingConfig, documents
from danlu.evaluate.baselines import ngram_bits_per_byte, xz_bits_per_byte
from danlu.recipes import data
from danlu.recipes.embedded import Teacher, TeachingConfig
from danlu.recipes.pretrain import Shape
from danlu.train.checkpoint import replace_file
from danlu.world.corpus import write_corpus

Kind = Literal["world", "mixed", "files"]
K = TypeVar("K", bound=Hashable)

MAX_SEQ_LEN = Shape().max_seq_len
LEAST_WORLD_BYTES = 1_000_000  # less does not tell the smallest world often enough
MOST_HELD_OUT_BYTES = 1_000_000  # more makes measuring slow and the figures no surer
XZ_BYTES = 8_000_000  # of each language's training text that the compressor is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesConfig:
    """What to learn from instead of the embedded world, or beside it.

    A path that does not exist is looked for under the folder that the variable DANLU_DATA names.
    """

    path: tuple[Path, ...] = ()  # texts: files and folders; none is the embedded world alone
    demonstrations: tuple[Path, ...] = ()  # chats; without them the embedded world's people teach
    comparisons: tuple[Path, ...] = ()  # answers as people ranked them
    machine_comparisons: tuple[Path, ...] = ()  # as programs ranked them: learnt from, never measured on
    fields: Mapping[str, str] = field(default_factory=dict[str, str])  # path = its text's field, if another
    max_bytes: int = 1_000_000_000  # of text from each path
    world_share: float = 0.5  # of the bytes that the embedded world writes, if it teaches
    held_out: float = 0.2  # of the prompts of demonstrations and comparisons: only measured on
    max_len: int = 256  # tokens of a chat; longer ones are left out, rankings lose their oldest turns first
    max_new_tokens: int = 64  # of an answer that is sampled
    reading: ReadingConfig = field(default_factory=lambda: ReadingConfig(max_document_bytes=1 << 14))
    cleaning: CleaningConfig = field(default_factory=lambda: CleaningConfig(held_out=0.03))

    def __post_init__(self) -> None:
        if bool(self.demonstrations) != bool(self.comparisons):
            given, missing = ("demonstrations", "comparisons")[:: 1 if self.demonstrations else -1]
            raise ConfigError(f"{given} are set but {missing} are not; set both or neither")
        if self.demonstrations and not self.path:
            raise ConfigError("path is empty; where demonstrations are set it must name texts too")
        if unknown := self.fields.keys() - {str(path) for path in self.path}:
            raise ConfigError(f"fields names {sorted(unknown)}; its keys must be among path")
        if not 0 < self.world_share < 1:
            raise ConfigError(f"world_share is {self.world_share}; it must be above 0 and below 1")
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out is {self.held_out}; it must be above 0 and below 1")
        if not 0 < self.max_new_tokens < self.max_len <= MAX_SEQ_LEN:
            raise ConfigError(
                f"max_len is {self.max_len} and max_new_tokens {self.max_new_tokens}; the second must be "
                f"less than the first, and the first at most {MAX_SEQ_LEN}, for which models are built"
            )

    @property
    def kind(self) -> Kind:
        """Who teaches what: the world all, the world its skills beside the user's text, or files all."""
        return "files" if self.demonstrations else "mixed" if self.path else "world"


class OwnText:
    """The texts of `data.path`."""

    def __init__(self, config: SourcesConfig) -> None:
        self.config = config

    @property
    def planned_bytes(self) -> int | None:
        """Bytes of text that a run may read, the world's part included; None if there is no own text."""
        if not self.config.path:
            return None
        own = sum(self.sizes.values())
        return own if self.config.kind == "files" else round(own / (1 - self.config.world_share))

    def check(self) -> None:
        """Read everything once, so that a mistake in it shows now and not hours from now."""
        config = self.config
        for path in config.demonstrations:
            read_chats(data.located(path))
        for path in (*config.comparisons, *config.machine_comparisons):
            read_comparisons(data.located(path))
        _ = self.totals

    @cached_property
    def totals(self) -> dict[Path, int]:
        """Bytes of text by path."""
        return {path: sum(map(size_of, self.read(path))) for path in self.config.path}

    @property
    def sizes(self) -> dict[Path, int]:
        """Bytes of text by path, no more than may be read of each."""
        return {path: min(self.config.max_bytes, total) for path, total in self.totals.items()}

    def read(self, path: Path) -> Iterator[Document]:
        """Every document of a path."""
        name = self.config.fields.get(str(path), self.config.reading.field)
        return documents(data.located(path), replace(self.config.reading, field=name))

    def write(self, folder: Path, wanted_bytes: int) -> None:
        """An even part of every path, one file each; equal parts, as far as they last."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, (path, n_bytes) in enumerate(allotted(self.sizes, wanted_bytes).items()):
            share = n_bytes / max(1, self.totals[path])
            name = path.name.split(".")[0] or "text"
            with (folder / f"{number:02}-{name}.jsonl").open("w", encoding="utf-8", newline="\n") as file:
                for document in evenly(self.read(path), share):
                    file.write(json.dumps({"text": document.text, "lang": document.lang}) + "\n")

    def write_clean(self, raw: Path, clean: Path, wanted_bytes: int) -> None:
        """An even part as it is in `raw`, and cleaned and divided in `clean`."""
        self.write(raw, wanted_bytes)
        cleaning = self.config.cleaning
        share = min(cleaning.held_out, MOST_HELD_OUT_BYTES / max(1, wanted_bytes))
        data.run(data.DataConfig(path=(raw,), out=clean, cleaning=replace(cleaning, held_out=share)))
        if not (clean / "held_out.jsonl").stat().st_size:
            raise DataError(
                f"{', '.join(map(str, self.config.path))}: after cleaning one document is left; there must "
                "be two at least, one of them to measure on. Add text, or cut it into several documents"
            )


class Mixed(Teacher):
    """The embedded world teaches its skills; the user's text is read beside the world's, and measured on."""

    def __init__(
        self, own: OwnText, corpus_bytes: int, teaching: TeachingConfig, seed: int, *, exam_per_cell: int
    ) -> None:
        super().__init__(corpus_bytes, teaching, seed, exam_per_cell=exam_per_cell)
        self.own = own
        self.world_bytes = max(LEAST_WORLD_BYTES, round(own.config.world_share * corpus_bytes))
        self.own_bytes = round((1 - own.config.world_share) * corpus_bytes)

    def write_texts(self, raw: Path, clean: Path) -> None:
        """The world's clean text is trained on too; what is held out is the user's alone."""
        self.own.write_clean(raw / "own", clean, self.own_bytes)
        write_corpus(self.world, raw / "world", self.world_bytes, self.seed)
        write_clean(documents(raw / "world"), raw / "clean_world", CleaningConfig())
        parts = [
            (folder / "train.jsonl").read_text(encoding="utf-8") for folder in (clean, raw / "clean_world")
        ]
        replace_file(clean / "train.jsonl", "".join(parts))

    def references(self, clean: Path) -> dict[str, dict[str, float]]:
        return references(clean)


def references(clean: Path) -> dict[str, dict[str, float]]:
    """Bits per byte of the held-out text by language for a compressor and for counts of bytes.

    The compressor once sees the held-out text alone and once after a part of the training text of that
    language; the counts are of all training text.
    """
    held_out = by_language(documents(clean / "held_out.jsonl"))
    train = clean / "train.jsonl"
    sizes: dict[str, int] = defaultdict(int)
    for document in documents(train):
        sizes[document.lang] += size_of(document)
    alone: dict[str, float] = {}
    primed: dict[str, float] = {}
    for lang, texts in held_out.items():
        own = (document for document in documents(train) if document.lang == lang)
        before = [document.text for document in evenly(own, min(1, XZ_BYTES / max(1, sizes[lang])))]
        alone[lang], primed[lang] = xz_bits_per_byte(texts), xz_bits_per_byte(texts, before)
    return {
        "xz -9": over_all(alone, held_out),
        f"xz -9 after {XZ_BYTES // 1_000_000} MB of the training text": over_all(primed, held_out),
        "byte 5-gram": ngram_bits_per_byte((document.text for document in documents(train)), held_out),
    }


def over_all(rates: Mapping[str, float], texts: Mapping[str, list[str]]) -> dict[str, float]:
    """Rates by language and their mean over all bytes."""
    sizes = {lang: sum(len(text.encode()) for text in each) for lang, each in texts.items()}
    return {**rates, "all": sum(rates[lang] * sizes[lang] for lang in rates) / sum(sizes.values())}


def by_language(stream: Iterable[Document]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = defaultdict(list)
    for document in stream:
        texts[document.lang].append(document.text)
    return dict(texts)


def evenly(stream: Iterable[Document], share: float) -> Iterator[Document]:
    """About this share of the bytes, from all of a stream alike."""
    n_read = n_kept = 0
    for document in stream:
        size = size_of(document)
        n_read += size
        if n_kept + size / 2 <= share * n_read:
            n_kept += size
            yield document


def allotted(sizes: Mapping[K, int], total: int) -> dict[K, int]:
    """Equal parts of a total; what one lacks, the others give."""
    left, parts = total, dict.fromkeys(sizes, 0)
    for n_done, (name, size) in enumerate(sorted(sizes.items(), key=lambda item: item[1])):
        parts[name] = min(size, left // (len(sizes) - n_done))
        left -= parts[name]
    return parts


def size_of(document: Document) -> int:
    return len(document.text.encode("utf-8", "surrogatepass"))
