"""Byte pair encoding as Sennrich et al. 2016 describe it, in the slowest way that is right, as a witness."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest

from danlu.tokenizer.bpe import SMALLEST_VOCAB, Tokenizer

CORPUS = [
    "Mira Tolen lives in Oldbridge. She's a baker, and she'll bake 12 loaves of bread in 2024!",
    "米拉·托伦住在旧桥，她是一位面包师。她每天烤12个面包。",
    "The baker lives in the old town; the old town is by the river.\n\nThe river is cold.",
    "旧桥在河边。河水很冷，河边有一位面包师。  aaaaaaa",
] * 3
N_MERGES = 120

Word = tuple[bytes, ...]
Merge = tuple[bytes, bytes]

# qwen2's rule in the terms of Python's own regular expressions; the same thing on the corpus above.
QWEN2 = re.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|(?:[^\r\n\w]|_)?[^\W\d_]+|\d"
    r"| ?(?:[^\s\w]|_)+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def words_of(text: str) -> list[Word]:
    return [tuple(bytes([byte]) for byte in piece.encode()) for piece in QWEN2.findall(text)]


def join(word: Word, pair: Merge) -> Word:
    """Every occurrence of the pair becomes one token, from the left."""
    joined: list[bytes] = []
    for token in word:
        if joined and (joined[-1], token) == pair:
            joined[-1] += token
        else:
            joined.append(token)
    return tuple(joined)


def train(corpus: list[str], n_merges: int) -> list[Merge]:
    """The most frequent pair each time; of equals, the one whose tokens are older."""
    words = Counter(word for text in corpus for word in words_of(text))
    age = {bytes([byte]): i for i, byte in enumerate(sorted(range(256), key=stand_in))}
    merges: list[Merge] = []
    for _ in range(n_merges):
        counts: Counter[Merge] = Counter()
        for word, n in words.items():
            for pair in pairwise(word):
                counts[pair] += n
        best = min(counts, key=lambda pair: (-counts[pair], age[pair[0]], age[pair[1]]))
        merges.append(best)
        age.setdefault(best[0] + best[1], len(age))
        words = Counter({join(word, best): n for word, n in words.items()})
    return merges


def stand_in(byte: int) -> int:
    """GPT-2's printable character for a byte; the library orders the bytes by it."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return byte if byte in visible else 256 + [b for b in range(256) if b not in visible].index(byte)


def encode(text: str, merges: list[Merge]) -> list[bytes]:
    tokens: list[bytes] = []
    for word in words_of(text):
        for pair in merges:
            word = join(word, pair)
        tokens += word
    return tokens


@pytest.fixture(scope="module")
def merges() -> list[Merge]:
    return train(CORPUS, N_MERGES)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(CORPUS, SMALLEST_VOCAB + N_MERGES)


def test_the_library_learns_the_same_tokens_in_the_same_order(merges: list[Merge], tokenizer: Tokenizer):
    learned = [tokenizer.decode_bytes([i]) for i in range(256, tokenizer.vocab_size - 4)]
    assert learned == [left + right for left, right in merges]


@pytest.mark.parametrize(
    "text", [*CORPUS[:4], "bakers' town 桥边 2025", "aaaa aaaaa", "未见过的字 unseen WORDS\t\n "]
)
def test_the_library_splits_a_text_the_same_way(merges: list[Merge], tokenizer: Tokenizer, text: str):
    assert [tokenizer.decode_bytes([i]) for i in tokenizer.encode(text)] == encode(text, merges)
