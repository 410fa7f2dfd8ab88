"""What a trained model has to beat on the same text: a compressor, and counts of bytes."""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]
Counts = NDArray[np.int64]

SYMBOL_BITS = 8
N_SYMBOLS = 256  # the bytes of text; 0, which no text holds, ends a document
CHUNK = 1 << 23  # positions counted at a time, to bound the memory


def xz_bits_per_byte(texts: Sequence[str], before: Sequence[str] = ()) -> float:
    """Bits that `xz -9` needs for a byte of some texts, written one after the other.

    With texts `before` them it is what the file grows by when they are added to those: the compressor then
    knows that text as a model knows what it was trained on, as far back as its dictionary of 64 MiB reaches.
    """
    known, added = joined(before), joined(texts)
    without = len(lzma.compress(known, preset=9)) if known else 0
    return 8 * (len(lzma.compress(known + added, preset=9)) - without) / n_bytes(texts)


def joined(texts: Iterable[str]) -> bytes:
    return b"".join(text.encode() + b"\n" for text in texts)


def n_bytes(texts: Iterable[str]) -> int:
    return sum(len(text.encode()) for text in texts)


@dataclass(frozen=True, slots=True)
class Level:
    """What one order of the model counted: n-grams as numbers, newest byte lowest, sorted."""

    grams: Codes
    counts: Counts  # of each n-gram: occurrences at the highest order, different predecessors below it
    contexts: Codes
    totals: Counts  # of each context
    followers: Counts  # different bytes after each context
    discount: float


class ByteNgrams:
    """Interpolated Kneser-Ney model of bytes (Chen and Goodman 1999, section 4.1.6), one discount an order.

    The end of a document is predicted like a byte. A context never reaches into the document before.
    """

    def __init__(self, texts: Iterable[str], order: int = 5) -> None:
        if not 1 <= order <= 8:
            raise ValueError(f"order is {order}; it must be from 1 to 8, so that an n-gram fits into 64 bits")
        self.order = order
        grams, counts = count(texts, order)
        self.levels: list[Level] = [level(grams, counts)]
        for shorter in range(order - 1, 0, -1):
            grams, counts = merged(grams & mask(shorter), np.ones(len(grams), dtype=np.int64))
            self.levels.insert(0, level(grams, counts))

    def bits(self, text: str) -> float:
        """Bits of a whole document, its end included."""
        return float(-np.log2(self.probabilities(codes(text, self.order))).sum())

    def probabilities(self, grams: Codes) -> NDArray[np.float64]:
        """The probability of the newest byte of each n-gram after the others, (n,)."""
        result = np.full(len(grams), 1 / N_SYMBOLS)
        for order, counted in enumerate(self.levels, start=1):
            gram = grams & mask(order)
            context = gram >> np.uint64(SYMBOL_BITS)
            total = looked_up(counted.contexts, counted.totals, context)
            seen = np.maximum(looked_up(counted.grams, counted.counts, gram) - counted.discount, 0)
            left = counted.discount * looked_up(counted.contexts, counted.followers, context)
            known = total > 0
            result[known] = (seen[known] + left[known] * result[known]) / total[known]
        return result


def ngram_bits_per_byte(
    train: Iterable[str], held_out: Mapping[str, Sequence[str]], order: int = 5
) -> dict[str, float]:
    """Bits per byte of each language's held-out texts, and of all, under counts of the training texts."""
    model = ByteNgrams(train, order)
    bits = {lang: sum(map(model.bits, texts)) for lang, texts in held_out.items()}
    sizes = {lang: n_bytes(texts) for lang, texts in held_out.items()}
    rates = {lang: bits[lang] / sizes[lang] for lang in bits}
    return {**rates, "all": sum(bits.values()) / sum(sizes.values())}


def codes(text: str, order: int) -> Codes:
    """The n-gram that ends at each byte of a document and at its end; zeros stand before its beginning."""
    data = np.frombuffer(bytes(order - 1) + text.encode() + b"\0", dtype=np.uint8).astype(np.uint64)
    n = len(data) - order + 1
    grams = np.zeros(n, dtype=np.uint64)
    for i in range(order):
        grams = (grams << np.uint64(SYMBOL_BITS)) | data[i : i + n]
    return grams


def mask(order: int) -> np.uint64:
    """Ones where the newest `order` bytes of an n-gram stand."""
    return np.uint64((1 << SYMBOL_BITS * order) - 1)


def count(texts: Iterable[str], order: int) -> tuple[Codes, Counts]:
    """Every different n-gram and how often it occurs."""
    grams, counts = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    waiting: list[Codes] = []
    n_waiting = 0
    for text in texts:
        waiting.append(codes(text, order))
        n_waiting += len(waiting[-1])
        if n_waiting >= CHUNK:
            grams, counts = with_more(grams, counts, waiting)
            waiting, n_waiting = [], 0
    return with_more(grams, counts, waiting) if waiting else (grams, counts)


def with_more(grams: Codes, counts: Counts, more: Sequence[Codes]) -> tuple[Codes, Counts]:
    new, times = np.unique(np.concatenate(more), return_counts=True)
    return merged(np.concatenate([grams, new]), np.concatenate([counts, times]))


def merged(grams: Codes, counts: Counts) -> tuple[Codes, Counts]:
    """Each different n-gram once, its counts added up."""
    order = np.argsort(grams, kind="stable")
    grams, counts = grams[order], counts[order]
    starts = np.flatnonzero(np.concatenate([[True], grams[1:] != grams[:-1]]))
    return grams[starts], np.add.reduceat(counts, starts)


def level(grams: Codes, counts: Counts) -> Level:
    """Sums by context, and the discount n1 / (n1 + 2 n2) from how many n-grams came once and twice."""
    context = grams >> np.uint64(SYMBOL_BITS)
    contexts, totals = merged(context, counts)
    _, followers = merged(context, np.ones(len(grams), dtype=np.int64))
    once, twice = (int((counts == n).sum()) for n in (1, 2))
    discount = once / (once + 2 * twice) if once else 0.5  # of few bytes all may occur often
    return Level(grams, counts, contexts, totals, followers, discount)


def looked_up(keys: Codes, values: Counts, wanted: Codes) -> NDArray[np.float64]:
    """The value of each wanted key, 0 where it is absent."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0).astype(np.float64)
