"""ROUGE-L between short texts, and the closest of many.

ROUGE-L (Lin 2004) is the harmonic mean of precision and recall of the longest common subsequence of words:
2 LCS / (m + n). A word is a run of letters and digits, or one Han character.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from danlu.data.quality import UNIT


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, each Han character one."""
    return UNIT.findall(text.lower())


def rouge_l(a: Sequence[str], b: Sequence[str]) -> float:
    """From 0, no word in common, to 1, the same words in the same order; two empty texts are alike."""
    return 2 * lcs_length(places_of(a), len(a), b) / (len(a) + len(b)) if a or b else 1.0


def places_of(words: Sequence[str]) -> dict[str, int]:
    """Where each word stands, as bits: bit i is set where it is word i."""
    places: dict[str, int] = defaultdict(int)
    for i, word in enumerate(words):
        places[word] |= 1 << i
    return dict(places)


def lcs_length(places: Mapping[str, int], n: int, words: Sequence[str]) -> int:
    """Length of the longest common subsequence, all of a row of its table at once (Hyyrö 2004).

    Args:
        places: of the first text's words.
        n: how many words it has.
        words: of the second text.
    """
    full = (1 << n) - 1
    unmatched = full
    for word in words:
        found = unmatched & places.get(word, 0)
        unmatched = ((unmatched + found) | (unmatched - found)) & full
    return n - unmatched.bit_count()


class Known:
    """Texts that were seen, and which of them is the most like another.

    Only texts that share words are compared, those that share most first, and only as long as one can still
    be closer than the closest so far: a common subsequence is no longer than the words in common.
    """

    def __init__(self) -> None:
        self._words: list[list[str]] = []
        self._holders: dict[str, list[tuple[int, int]]] = defaultdict(list)  # word → (text, how often)

    def __len__(self) -> int:
        return len(self._words)

    def add(self, text: str) -> None:
        """Remember a text; the first has index 0."""
        words = words_of(text)
        for word, count in Counter(words).items():
            self._holders[word].append((len(self._words), count))
        self._words.append(words)

    def closest(self, text: str) -> tuple[int, float]:
        """Index and ROUGE-L of the text most like this one; -1 and 0 where none shares a word with it."""
        words = words_of(text)
        places, n = places_of(words), len(words)
        best, similarity = -1, 0.0
        for bound, index in sorted(self._bounds(words), reverse=True):
            if bound <= similarity:
                break
            other = self._words[index]
            found = 2 * lcs_length(places, n, other) / (n + len(other))
            best, similarity = (index, found) if found > similarity else (best, similarity)
        return best, similarity

    def _bounds(self, words: Sequence[str]) -> list[tuple[float, int]]:
        """The most that ROUGE-L can be, with every text that shares a word."""
        shared: Counter[int] = Counter()
        for word, count in Counter(words).items():
            for index, held in self._holders.get(word, ()):
                shared[index] += min(count, held)
        return [(2 * both / (len(words) + len(self._words[i])), i) for i, both in shared.items()]
