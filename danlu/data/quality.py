"""Which texts are not worth learning from: rules for Chinese and for English, gentle by default.

The published rules (C4, Gopher, FineWeb) split at blanks and know English only; here a word is a word of a
script with blanks or one Han character, and each language has its own commonest words and characters. Short
texts are normal, so rules that need statistics ask for a least length first.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from danlu.data.language import STOP_WORDS, Profile

# One Han character, or a run of letters and digits of other scripts.
UNIT = re.compile(r"[㐀-䶿一-鿿豈-﫿]|[^\W_㐀-䶿一-鿿豈-﫿]+")
BYTES_PER_HAN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityConfig:
    languages: tuple[str, ...] = ("en", "zh")  # texts in any other are dropped
    min_size: int = 6  # letters and digits, a Han character counting three
    max_broken: float = 0.01  # share of characters that are control, private or replacement characters
    max_symbols: float = 0.3  # share of visible characters that are symbols, where they outnumber digits
    min_alphanumeric: float = 0.4  # share of visible characters that are letters or digits
    max_gibberish: float = 0.4  # share of letters in words that nobody can pronounce
    max_rare_han: float = 0.3  # share of Han outside those in daily use, simplified or traditional
    min_variety: float = 0.12  # different words over words, in any 200 words
    max_repeated: float = 0.6  # share of words in phrases of five words that come four times or more
    max_duplicate_lines: float = 0.4  # share of characters in lines that occurred before in the text
    min_common_words: float = (
        0.04  # share of the commonest words (in Chinese: characters) in 120 words or more
    )
    min_closed_lines: float = 0.05  # share of lines that end a sentence, in 8 short lines or more


class Text:
    """A text, and what several rules measure of it."""

    def __init__(self, text: str, counts: Profile, lang: str) -> None:
        self.text, self.counts, self.lang = text, counts, lang

    @cached_property
    def units(self) -> list[str]:
        """Words, and Han characters one by one, in lower case."""
        return UNIT.findall(self.text.lower())

    @cached_property
    def lines(self) -> list[str]:
        return [line.strip() for line in self.text.split("\n") if line.strip()]


def fault(text: Text, config: QualityConfig) -> str:
    """The first rule that a text breaks, by name; empty if it breaks none."""
    return next((name for name, breaks in RULES if breaks(text, config)), "")


def too_short(text: Text, config: QualityConfig) -> bool:
    counts = text.counts
    return counts.letters + counts.digit + (BYTES_PER_HAN - 1) * counts.han < config.min_size


def broken_characters(text: Text, config: QualityConfig) -> bool:
    return text.counts.broken > config.max_broken * text.counts.visible or "锟斤拷" in text.text


def symbols(text: Text, config: QualityConfig) -> bool:
    """Symbols that are no arithmetic."""
    counts = text.counts
    return counts.symbol > max(config.max_symbols * counts.visible, counts.digit)


def few_letters(text: Text, config: QualityConfig) -> bool:
    return text.counts.letters + text.counts.digit < config.min_alphanumeric * text.counts.visible


def foreign_language(text: Text, config: QualityConfig) -> bool:
    return text.lang not in config.languages


def gibberish(text: Text, config: QualityConfig) -> bool:
    """Words without a vowel, with six consonants in a row or longer than words are; Han that nobody uses."""
    if text.counts.latin >= 20 and _share_unspeakable(text.text[:SAMPLE]) > config.max_gibberish:
        return True
    return text.counts.han >= 10 and _n_rare(text.text) > config.max_rare_han * text.counts.han


def monotony(text: Text, config: QualityConfig) -> bool:
    """Few different words, in any stretch of 200."""
    stretches = [text.units[first : first + 200] for first in range(0, max(1, len(text.units) - 100), 200)]
    return any(len(words) >= 20 and len(set(words)) < config.min_variety * len(words) for words in stretches)


def repetition(text: Text, config: QualityConfig) -> bool:
    """Phrases of five words that come again and again."""
    units = text.units
    if len(units) < 100 or not _compresses_well(text.text):
        return False
    numbers: dict[str, int] = {}
    codes = np.array([numbers.setdefault(unit, len(numbers)) for unit in units])
    phrases = sum(np.roll(codes, -shift)[:-4] * factor for shift, factor in enumerate(ODD_FACTORS))
    _, inverse, counts = np.unique(phrases, return_inverse=True, return_counts=True)
    covered = np.convolve(counts[inverse] >= 4, np.ones(5, dtype=np.int64)) > 0
    return float(covered.mean()) > config.max_repeated


def duplicate_lines(text: Text, config: QualityConfig) -> bool:
    if len(text.lines) < 4:
        return False
    n_characters = sum(map(len, text.lines))
    n_different = sum(map(len, set(text.lines)))
    return n_characters - n_different > config.max_duplicate_lines * n_characters


def keywords(text: Text, config: QualityConfig) -> bool:
    """Many words, and hardly one of those that hold sentences together."""
    n, common = len(text.units), _common_words()
    return n >= 120 and sum(map(common.__contains__, text.units)) < config.min_common_words * n


def list_of_links(text: Text, config: QualityConfig) -> bool:
    """Many short lines, and none of them a sentence, an entry with its value, or a sum."""
    longest = 20 if text.lang == "zh" else 50
    if len(text.lines) < 8 or len(text.text) > longest * len(text.lines):
        return False
    closed = sum(line[-1] in SENTENCE_END or bool(ENTRY.search(line)) for line in text.lines)
    return closed < config.min_closed_lines * len(text.lines)


def _compresses_well(text: str) -> bool:
    """Whether a text could repeat itself much at all; prose is never below a third."""
    raw = text.encode("utf-8", "surrogatepass")
    return 3 * len(zlib.compress(raw, 1)) < len(raw)


def _share_unspeakable(text: str) -> float:
    words = LATIN_WORD.findall(text)
    return sum(len(word) for word in words if UNSPEAKABLE.search(word)) / max(20, sum(map(len, words)))


def _n_rare(text: str) -> int:
    codes = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32)
    return int(_is_rare()[np.minimum(codes, 0xFFFF)].sum())


@lru_cache(maxsize=1)
def _is_rare() -> np.ndarray:
    """True for Han outside GB 2312 and the first level of Big5, which hold the characters in daily use."""
    table = np.zeros(0x10000, dtype=bool)
    for code in (*range(0x3400, 0x4DC0), *range(0x4E00, 0xA000), *range(0xF900, 0xFB00)):
        simplified = chr(code).encode("gb2312", errors="ignore")
        traditional = chr(code).encode("big5", errors="ignore")
        in_use = simplified or (traditional and traditional[0] <= 0xC6)
        table[code] = not in_use
    return table


@lru_cache(maxsize=1)
def _common_words() -> frozenset[str]:
    return frozenset([*STOP_WORDS["en"].split(), *COMMON_HAN])


SAMPLE = 5000  # characters of a text that are enough to tell gibberish
LATIN_WORD = re.compile(r"[a-zA-ZÀ-ɏ]{3,}")
UNSPEAKABLE = re.compile(r"^[^aeiouyà-ɏ]+$|[b-df-hj-np-tv-xz]{6}|^.{31}", re.IGNORECASE)
ENTRY = re.compile(r"[:：=]")
SENTENCE_END = frozenset(".!?:;…\"'”’)。！？：；」』）>")
COMMON_HAN = "的一是了不在有人他我这上大来们到说和地也子时道出要以就你可会着那生自她为之然而所其于"
# For hashing five neighbouring words into one number.
ODD_FACTORS = (1, 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F)
RULES: tuple[tuple[str, Callable[[Text, QualityConfig], bool]], ...] = (
    ("too short", too_short),
    ("broken characters", broken_characters),
    ("symbols", symbols),
    ("few letters", few_letters),
    ("foreign language", foreign_language),
    ("gibberish", gibberish),
    ("monotony", monotony),
    ("repetition", repetition),
    ("duplicate lines", duplicate_lines),
    ("keywords", keywords),
    ("list of links", list_of_links),
)
