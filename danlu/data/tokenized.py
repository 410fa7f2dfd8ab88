"""Clean texts to token shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from danlu.data.shards import Shards, TokenizedDocument, bytes_per_id, write_shards
from danlu.data.sources import Document
from danlu.tokenizer.interface import TextTokenizer

BATCH = 1024  # documents encoded in one call


def tokenize_documents(documents: Iterable[Document], tokenizer: TextTokenizer, directory: Path) -> Shards:
    """Encode documents as they come and write them as shards."""
    return write_shards(
        encoded(documents, tokenizer),
        directory,
        token_bytes=bytes_per_id(tokenizer),
        eos_id=tokenizer.eos_id,
        fingerprint=tokenizer.fingerprint,
    )


def encoded(documents: Iterable[Document], tokenizer: TextTokenizer) -> Iterator[TokenizedDocument]:
    """The ids of each document, in the same order."""
    stream = iter(documents)
    while batch := list(islice(stream, BATCH)):
        rows = tokenizer.encode_batch([document.text for document in batch])
        for document, ids in zip(batch, rows, strict=True):
            yield TokenizedDocument(ids, document.lang or "other")
