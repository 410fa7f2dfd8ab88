"""How the graders read an answer, in English and in Chinese: normalised text, words, numbers, language."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from danlu.world.names import Lang

_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "「": '"', "」": '"', "《": '"', "》": '"'})
_HAN = re.compile(r"[\u4e00-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]+")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+|[\u4e00-\u9fff]")
_TRIM = " \t\n.,!?;:。,、!?;:…\"'"


@lru_cache(maxsize=16384)
def normal(text: str) -> str:
    """Full width to half width, one kind of quotation mark, single spaces, lower case."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_QUOTES).lower().split())


def plain(text: str) -> str:
    """`normal` without punctuation at the ends; Chinese also without the spaces between characters."""
    trimmed = normal(text).strip(_TRIM)
    return re.sub(r"(?<=[\u4e00-\u9fff]) +| +(?=[\u4e00-\u9fff])", "", trimmed)


def words(text: str) -> list[str]:
    """English words, whole numbers and single Chinese characters, in order; punctuation is left out."""
    return list(_words(text))


@lru_cache(maxsize=16384)
def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(normal(text)))


def letters_only(text: str) -> str:
    """What is left for comparing two answers when spacing and punctuation do not matter."""
    return " ".join(words(text))


def is_in(lang: Lang, text: str) -> bool:
    """Whether the text is written in `lang`; digits and punctuation alone belong to either."""
    han, latin = len(_HAN.findall(text)), len(_LATIN.findall(text))
    if han + latin == 0:
        return any(char.isdigit() for char in text)
    return han == 0 if lang == "en" else han > latin


def size(lang: Lang, text: str) -> int:
    """Length as a person counts it: words in English, characters in Chinese; numbers count once."""
    return len(words(text))


def repeats(text: str) -> bool:
    """Whether it goes in circles: three words, or six characters, said twice, or one thrice running."""
    tokens = [word for word in words(text) if not word.isdigit()]  # figures recur in any sum
    span = 6 if _HAN.search(text) else 3
    grams = [tuple(tokens[i : i + span]) for i in range(len(tokens) - span + 1)]
    stutter = any(a == b == c for a, b, c in zip(tokens, tokens[1:], tokens[2:], strict=False))
    return stutter or len(set(grams)) < len(grams)


@lru_cache(maxsize=512)
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Any of the phrases, the longest first, so that 'pink' is never taken for 'ink'."""
    ordered = sorted({normal(phrase) for phrase in phrases if phrase}, key=lambda p: (-len(p), p))
    return re.compile("|".join(_bounded(phrase) for phrase in ordered) or r"(?!)")


def _bounded(phrase: str) -> str:
    """The phrase as a pattern; Latin letters and digits must not go on before or after it."""
    escaped = re.escape(phrase)
    if not _HAN.search(phrase):
        return rf"(?<![a-z0-9]){escaped}(?![a-z0-9])"
    return escaped


def found(phrases: Iterable[str], text: str) -> list[str]:
    """The phrases that occur in the text, in order, each occurrence once, longest match first."""
    return _pattern(tuple(phrases)).findall(normal(text))


def without(phrases: Iterable[str], text: str) -> str:
    """The normalised text with the phrases blanked out."""
    return _pattern(tuple(phrases)).sub(" ", normal(text))


def names(text: str) -> list[str]:
    """Capitalised words that do not open a sentence, and Chinese names written with a dot."""
    chinese = re.findall(r"[\u4e00-\u9fff]{1,5}·[\u4e00-\u9fff]{1,5}", text)
    latin = re.findall(r"(?<![.!?\"'] )(?<!^)\b[A-Z][a-z]+", text.strip())
    return [*latin, *chinese]


def _split(line: str) -> tuple[str, ...]:
    return tuple(line.split())


_DIGITS = {"零": 0, "〇": 0, "两": 2, **{char: i for i, char in enumerate("一二三四五六七八九", start=1)}}
_UNITS = {"十": 10, "百": 100, "千": 1000}
_SMALL = _split(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = _split("twenty thirty forty fifty sixty seventy eighty ninety")
_SPELT = {word: i for i, word in enumerate(_SMALL)} | {word: 20 + 10 * i for i, word in enumerate(_TENS)}
_NUMBER = re.compile(
    rf"(?P<digits>-?\d+)|(?P<han>[{''.join(_DIGITS)}{''.join(_UNITS)}]+)"
    rf"|\b(?P<tens>{'|'.join(_TENS)})(?:[- ](?P<ones>{'|'.join(_SMALL[1:10])}))?\b"
    rf"|\b(?P<small>{'|'.join(_SMALL)})\b"
)
# Here 一 and 十 are parts of ordinary words and count nothing.
_NOT_COUNTING = re.compile(
    "一共|一起|一些|一样|一定|一下|一点|一般|一边|一直|统一|第一|十分|万一|星期[一二三四五六]"
)


def numbers(text: str) -> list[int]:
    """Every number in the text, whether in digits, in English words or in Chinese characters."""
    clean = _NOT_COUNTING.sub(" ", normal(text).replace("−", "-"))
    clean = re.sub(r"(?<=[\w)]) - (?=\d)|(?<=[\d)])-(?=\d)", " − ", clean)
    return [_number(match) for match in _NUMBER.finditer(re.sub(r"(?<=\d),(?=\d{3}\b)", "", clean))]


def _number(match: re.Match[str]) -> int:
    if digits := match["digits"]:
        return int(digits)
    if han := match["han"]:
        return chinese_number(han)
    if tens := match["tens"]:
        return _SPELT[tens] + _SPELT.get(match["ones"] or "zero", 0)
    return _SPELT[match["small"]]


def chinese_number(text: str) -> int:
    """The value of a numeral such as 二十三 or 一百零五; digits without units are read one by one."""
    if not any(char in _UNITS for char in text):
        return int("".join(str(_DIGITS[char]) for char in text))
    total, digit = 0, 0
    for char in text:
        if char in _UNITS:
            total += (digit or 1) * _UNITS[char]
            digit = 0
        else:
            digit = _DIGITS[char]
    return total + digit


def numeral(value: int) -> str:
    """A whole number below 1000 in Chinese characters."""
    if value < 10:
        return "零一二三四五六七八九"[value]
    if value < 20:
        return "十" + (numeral(value % 10) if value % 10 else "")
    if value < 100:
        return numeral(value // 10) + "十" + (numeral(value % 10) if value % 10 else "")
    rest = value % 100
    middle = (
        "" if not rest else "零" + numeral(rest) if rest < 10 else ("一" if rest < 20 else "") + numeral(rest)
    )
    return numeral(value // 100) + "百" + middle


def leftover(allowed: Sequence[str], text: str) -> list[str]:
    """Words of the text that are not among the allowed ones."""
    permitted = set(allowed)
    return [word for word in words(text) if word not in permitted]
