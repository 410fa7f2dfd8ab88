"""What a text is written in: counts of characters by script, and from them Chinese, English or neither."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Lang = Literal["en", "zh", "other"]

HAN, KANA, LATIN, LETTER, DIGIT, SPACE, PUNCTUATION, SYMBOL, BROKEN = range(9)
N_CLASSES = 9

# A word of English says about as much as one and a half Han characters.
HAN_PER_WORD = 1.5
LEAST_HAN = 0.3  # share of Han in Chinese text that mixes in English terms and code (ChineseWebText)
MOST_KANA = 0.1  # share of kana among Han and kana; Japanese has about half
LATIN_WORD = re.compile(r"[a-zA-ZÀ-ɏ]+")

HAN_RANGES = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x32400))
# Full-width forms and CJK punctuation included; beyond it, only the ranges of Han need a name.
SMALL_PLANE = 0x3400

STOP_WORDS = {
    "en": "the a an be to of and or that have has had with is are was were in it for on as at by from he she "
    "you they this what who do does not i my his her",
    "de": "der die das und ist nicht ein eine mit auf den dem zu von sich für auch wir ich es",
    "fr": "le la les des est et un une dans pour que qui pas sur avec il elle nous du au",
    "es": "el la los las es y un una en por que no con para su se del al como más",
    "it": "il lo la gli le è e un una di che non per con sono del della nel si come",
    "pt": "o a os as é e um uma em por que não com para seu se do da como mais",
    "nl": "de het een en is niet van met op voor zijn dat die ik je te aan ook maar er",
}


@dataclass(frozen=True, slots=True)
class Profile:
    """How many characters of each class a text has."""

    han: int
    kana: int
    latin: int
    letter: int  # of any other script
    digit: int
    space: int
    punctuation: int
    symbol: int
    broken: int  # control, unassigned and replacement characters, halves of surrogate pairs

    @property
    def letters(self) -> int:
        return self.han + self.kana + self.latin + self.letter

    @property
    def visible(self) -> int:
        return self.letters + self.digit + self.punctuation + self.symbol + self.broken


def profile(text: str) -> Profile:
    """Count the characters of a text by class."""
    codes = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32)
    return Profile(*np.bincount(_classes()[codes], minlength=N_CLASSES).tolist())


def identify(text: str, counts: Profile | None = None) -> Lang:
    """Chinese, English, or anything else, by script and by the commonest words."""
    counts = counts or profile(text)
    if _is_japanese(counts) or 2 * counts.letter > counts.letters:
        return "other"
    words = LATIN_WORD.findall(text) if counts.latin else []
    if counts.han and counts.han >= LEAST_HAN * (counts.han + HAN_PER_WORD * len(words)):
        return "zh"
    return "en" if words and _is_english(words) else "other"


def _is_japanese(counts: Profile) -> bool:
    east_asian = counts.han + counts.kana
    return counts.kana > MOST_KANA * east_asian and east_asian > LEAST_HAN * counts.letters


def _is_english(words: list[str]) -> bool:
    """False where another language's commonest words outnumber the English ones; few of any is no proof."""
    lowered = [word.lower() for word in words[:500]]
    common = _stop_words()
    if sum(word in common["en"] for word in lowered) > 0.2 * len(lowered):
        return True
    hits = {lang: sum(word in common[lang] for word in lowered) for lang in common}
    return max(hits.values()) < max(2 + 2 * hits["en"], 0.1 * len(lowered))


@lru_cache(maxsize=1)
def _stop_words() -> dict[str, frozenset[str]]:
    return {lang: frozenset(words.split()) for lang, words in STOP_WORDS.items()}


@lru_cache(maxsize=1)
def _classes() -> NDArray[np.uint8]:
    """The class of every code point."""
    table = np.full(0x110000, SYMBOL, dtype=np.uint8)
    for code in (*range(SMALL_PLANE), *range(0xA000, 0xABFF), *range(0xFE00, 0x10000)):
        table[code] = _class_of(chr(code))
    for first, last in HAN_RANGES:
        table[first:last] = HAN
    table[0xAC00:0xD800] = LETTER
    table[0xD800:0xE000] = BROKEN
    table[0xE000:0xF900] = SYMBOL  # private use: rare characters of old books
    table[ord("々")] = table[ord("〇")] = HAN
    return table


def _class_of(char: str) -> int:
    category = unicodedata.category(char)
    if category[0] in "LM":
        return _script(char)
    if char in "\t\n\r" or category[0] == "Z":
        return SPACE
    if category[0] == "C" or char == "\ufffd":
        return BROKEN
    return {"N": DIGIT, "P": PUNCTUATION}.get(category[0], SYMBOL)


def _script(char: str) -> int:
    if "\u3040" <= char <= "\u30ff":
        return KANA
    name = unicodedata.name(char, "")
    return LATIN if "LATIN" in name or name.startswith("COMBINING") else LETTER
