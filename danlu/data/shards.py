"""Token shards: a corpus as one flat file of ids, read by memory map, and where each document lies in it.

A shard directory holds `tokens.bin` (little-endian uint16 or uint32), `documents.npy` (for each document the
number of its tokens and its language), `token_bytes.npy` (how many bytes of text each id of the vocabulary
stands for, so that bits per byte needs no tokenizer) and `index.json` (counts, checksums, the tokenizer's
fingerprint). It is written beside its place and renamed, so that a reader sees a whole one or none.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from danlu.data.records import DataError
from danlu.tokenizer.interface import TextTokenizer

FORMAT = 1
LARGEST_UINT16_VOCABULARY = 1 << 16
BLOCK_TOKENS = 1 << 20

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TokenizedDocument:
    """The ids of one document, and its language."""

    ids: Sequence[int]
    lang: str = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shards:
    """An opened shard directory; `tokens` stays on disk."""

    directory: Path
    tokens: NDArray[Any]  # (n_tokens,) memory map
    starts: Ids  # (n_documents + 1,): document i is tokens[starts[i] : starts[i + 1]], its last token eos_id
    langs: NDArray[np.int64]  # (n_documents,): index into languages
    languages: tuple[str, ...]
    token_bytes: Ids  # (vocab_size,): bytes of text of each id; 0 for control ids
    eos_id: int
    fingerprint: str

    def __len__(self) -> int:
        return len(self.langs)

    @property
    def n_tokens(self) -> int:
        return int(self.starts[-1])

    def document(self, index: int) -> list[int]:
        """The ids of one document, its closing eos_id included."""
        return self.tokens[self.starts[index] : self.starts[index + 1]].tolist()

    def of_language(self, lang: str | None) -> Ids:
        """The documents of one language, or all, by index."""
        if lang is None:
            return np.arange(len(self))
        if lang not in self.languages:
            raise DataError(f"{self.directory}: holds no language {lang!r}; it holds {list(self.languages)}")
        return np.flatnonzero(self.langs == self.languages.index(lang))

    def count_bytes(self, ids: NDArray[Any]) -> int:
        """How many bytes of text some ids stand for."""
        return int(self.token_bytes[ids].sum())

    @property
    def n_bytes(self) -> dict[str, int]:
        """Bytes of text by language."""
        counts = dict.fromkeys(self.languages, 0)
        for first in range(0, len(self), 4096):
            last = min(first + 4096, len(self))
            block = self.token_bytes[self.tokens[self.starts[first] : self.starts[last]]]
            ends = np.concatenate([[0], np.cumsum(block)])[self.starts[first : last + 1] - self.starts[first]]
            for lang, n in zip(self.langs[first:last].tolist(), np.diff(ends).tolist(), strict=True):
                counts[self.languages[lang]] += n
        return counts


def write_shards(
    documents: Iterable[TokenizedDocument],
    directory: Path,
    *,
    token_bytes: Sequence[int],
    eos_id: int,
    fingerprint: str,
) -> Shards:
    """Write documents as they come, each closed by eos_id, replacing what stood in `directory`.

    Args:
        documents: ids below the vocabulary's size; empty documents are left out.
        token_bytes: bytes of text of every id of the vocabulary, 0 for control ids.
        eos_id: appended to each document that does not end with it.
        fingerprint: of the tokenizer that made the ids.
    """
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    writer = _Writer(vocab_size=len(token_bytes), eos_id=eos_id)
    with (partial / "tokens.bin").open("wb") as file:
        writer.write(documents, file)
    np.save(partial / "documents.npy", np.array(writer.rows, dtype=np.int64).reshape(-1, 2))
    np.save(partial / "token_bytes.npy", np.array(token_bytes, dtype=np.int64))
    index = {
        "format": FORMAT,
        "dtype": writer.dtype.name,
        "n_tokens": writer.n_tokens,
        "n_documents": len(writer.rows),
        "languages": list(writer.languages),
        "eos_id": eos_id,
        "vocab_size": len(token_bytes),
        "tokenizer_fingerprint": fingerprint,
        "sha256": {
            "tokens.bin": writer.digest.hexdigest(),
            "documents.npy": _sha256(partial / "documents.npy"),
            "token_bytes.npy": _sha256(partial / "token_bytes.npy"),
        },
    }
    (partial / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    shutil.rmtree(directory, ignore_errors=True)
    partial.replace(directory)
    return open_shards(directory, fingerprint=fingerprint, verify=False)


def bytes_per_id(tokenizer: TextTokenizer) -> list[int]:
    """How many bytes of text each id of a tokenizer stands for; 0 for control ids."""
    return [len(tokenizer.decode_bytes([i])) for i in range(tokenizer.vocab_size)]


def open_shards(directory: Path, *, fingerprint: str | None = None, verify: bool = True) -> Shards:
    """Open a shard directory by memory map.

    Args:
        directory: what `write_shards` wrote.
        fingerprint: of the tokenizer that will read the ids; None skips the comparison.
        verify: compare checksums too (about a second per GB), not only sizes.
    """
    index = _read_index(directory)
    found = index["tokenizer_fingerprint"]
    if fingerprint is not None and found != fingerprint:
        raise DataError(
            f"{directory}: was written with tokenizer {found[:12]}, but the tokenizer in use is "
            f"{fingerprint[:12]}; tokenize the corpus again with the tokenizer in use"
        )
    dtype = np.dtype(index["dtype"]).newbyteorder("<")
    expected = index["n_tokens"] * dtype.itemsize
    _check_size(directory / "tokens.bin", expected)
    if verify:
        _check_digests(directory, index["sha256"])
    rows = np.load(directory / "documents.npy", allow_pickle=False)
    tokens = np.memmap(directory / "tokens.bin", dtype=dtype, mode="r") if expected else np.zeros(0, dtype)
    return Shards(
        directory=directory,
        tokens=tokens,
        starts=np.concatenate([[0], np.cumsum(rows[:, 0])]),
        langs=rows[:, 1],
        languages=tuple(index["languages"]),
        token_bytes=np.load(directory / "token_bytes.npy", allow_pickle=False),
        eos_id=index["eos_id"],
        fingerprint=found,
    )


class _Writer:
    """Gathers ids into blocks and remembers where documents end."""

    def __init__(self, vocab_size: int, eos_id: int) -> None:
        self.vocab_size, self.eos_id = vocab_size, eos_id
        self.dtype = np.dtype(np.uint16 if vocab_size <= LARGEST_UINT16_VOCABULARY else np.uint32)
        self.rows: list[tuple[int, int]] = []
        self.languages: dict[str, int] = {}
        self.digest = hashlib.sha256()
        self.n_tokens = 0

    def write(self, documents: Iterable[TokenizedDocument], file: BinaryIO) -> None:
        block: list[int] = []
        for document in documents:
            if not document.ids:
                continue
            before = len(block)
            block.extend(document.ids)
            if block[-1] != self.eos_id:
                block.append(self.eos_id)
            lang = self.languages.setdefault(document.lang, len(self.languages))
            self.rows.append((len(block) - before, lang))
            if len(block) >= BLOCK_TOKENS:
                self._flush(block, file)
        self._flush(block, file)

    def _flush(self, block: list[int], file: BinaryIO) -> None:
        if not block:
            return
        largest, smallest = max(block), min(block)
        if largest >= self.vocab_size or smallest < 0:
            wrong = largest if largest >= self.vocab_size else smallest
            raise DataError(
                f"token id {wrong} is outside the vocabulary; ids must be in [0, {self.vocab_size})"
            )
        data = np.array(block, dtype=self.dtype.newbyteorder("<")).tobytes()
        file.write(data)
        self.digest.update(data)
        self.n_tokens += len(block)
        block.clear()


def _read_index(directory: Path) -> dict[str, Any]:
    path = directory / "index.json"
    if not path.is_file():
        raise DataError(f"{directory}: has no index.json; a shard directory is made by tokenizing a corpus")
    try:
        index = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{error.lineno}: is not JSON ({error.msg}); tokenize the corpus again"
        ) from None
    if index.get("format") != FORMAT:
        raise DataError(f"{path}: has format {index.get('format')}; this version reads format {FORMAT}")
    return index


def _check_size(path: Path, expected: int) -> None:
    found = path.stat().st_size if path.is_file() else 0
    if found != expected:
        raise DataError(
            f"{path}: has {found} bytes where its index says {expected}: it is truncated or foreign; "
            "tokenize the corpus again"
        )


def _check_digests(directory: Path, digests: dict[str, str]) -> None:
    for name, digest in digests.items():
        if not (directory / name).is_file() or _sha256(directory / name) != digest:
            raise DataError(
                f"{directory / name}: is missing or differs from its checksum in index.json; "
                "tokenize the corpus again"
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
