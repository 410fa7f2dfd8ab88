"""Text of unknown origin made fit to be shown: nothing in it moves a cursor, hides or reorders text."""

from __future__ import annotations

import re
import unicodedata

# Controls, format characters (bidirectional overrides, zero width), surrogates, private use, line separators.
UNSAFE_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def one_line(text: str, limit: int = 200) -> str:
    """A text on one line, cut at `limit` characters, unsafe characters spelled out."""
    shown = visible(re.sub(r"\s+", " ", text).strip())
    return shown if len(shown) <= limit else f"{shown[:limit]}…"


def visible(text: str) -> str:
    """The text with unsafe characters spelled as escapes; line breaks and tabs stay."""
    return "".join(each if is_safe(each) else _escape(each) for each in text)


def whole_unicode(text: str) -> str:
    """The text with halves of surrogate pairs replaced: they are no characters and cannot be encoded."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def is_safe(character: str) -> bool:
    """Whether a character shows as itself and does nothing else."""
    return character in "\n\t" or unicodedata.category(character) not in UNSAFE_CATEGORIES


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
