"""Merges learnt on top of those that are known: byte-pair encoding that goes on from tokens."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from itertools import pairwise

Pair = tuple[str, str]


def further_merges(
    words: Mapping[tuple[str, ...], int], known: Collection[str], n: int, min_count: int
) -> list[Pair]:
    """Up to `n` merges, in order, each of the two tokens that stand side by side most often at its turn.

    Of equally frequent pairs the first by spelling is taken. A pair that would make a token that is known is
    passed over: the known cut of the text keeps it apart.

    Args:
        words: pieces of text within which tokens may be joined, and how often each occurs.
        known: tokens that are there already.
        n: merges wanted.
        min_count: pairs that occur less often are not joined.
    """
    table = _Pairs(words)
    spellings, found = set(known), list[Pair]()
    heap = [(-count, pair) for pair, count in table.counts.items()]
    heapq.heapify(heap)
    while heap and len(found) < n:
        count, pair = heapq.heappop(heap)
        present = table.counts[pair]
        if present < min_count or pair[0] + pair[1] in spellings:
            continue
        if present != -count:  # counted when more of it, or less, was there
            heapq.heappush(heap, (-present, pair))
            continue
        found.append(pair)
        spellings.add(pair[0] + pair[1])
        for made in table.join(pair):
            heapq.heappush(heap, (-table.counts[made], made))
    return found


class _Pairs:
    """Words as rows of tokens, and how often each two stand side by side in them."""

    def __init__(self, words: Mapping[tuple[str, ...], int]) -> None:
        self.rows = [list(word) for word in words]
        self.weights = list(words.values())
        self.counts: Counter[Pair] = Counter()
        self.where: dict[Pair, set[int]] = defaultdict(set)
        for number in range(len(self.rows)):
            self._count(number, 1)

    def join(self, pair: Pair) -> set[Pair]:
        """Join a pair wherever it stands; the pairs that this makes."""
        made: set[Pair] = set()
        for number in sorted(self.where.pop(pair)):
            self._count(number, -1)
            self.rows[number] = _joined(self.rows[number], pair)
            self._count(number, 1)
            made.update(each for each in pairwise(self.rows[number]) if pair[0] + pair[1] in each)
        return made

    def _count(self, number: int, sign: int) -> None:
        for pair in pairwise(self.rows[number]):
            self.counts[pair] += sign * self.weights[number]
            if sign > 0:
                self.where[pair].add(number)


def _joined(row: list[str], pair: Pair) -> list[str]:
    joined: list[str] = []
    for token in row:
        if joined and (joined[-1], token) == pair:
            joined[-1] += token
        else:
            joined.append(token)
    return joined
