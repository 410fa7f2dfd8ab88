"""Lines around a text that are no part of it: the page's frame (navigation, notices) and advertising.

Each pattern has triggers, literals of which any match holds one. Looking for literals costs almost nothing,
so the patterns themselves run only where one of their triggers was seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from danlu.data import clutter_patterns

LONGEST_FRAME_LINE = 160
LONGEST_MENU_ITEM = 24
# One signal in so many characters makes a passage an advertisement, if there are two signals or more.
CHARACTERS_PER_SIGNAL = 120


@dataclass(frozen=True, slots=True)
class Clutter:
    """A pattern, and literals of which each match holds at least one, in lower case."""

    triggers: tuple[str, ...]
    pattern: re.Pattern[str]


def drop_frame(text: str) -> str:
    """The text without navigation, notices and buttons."""
    lowered = text.lower()
    seen = [each.pattern for each in FRAME if any(trigger in lowered for trigger in each.triggers)]
    if not seen and not MENU.search(text):
        return text
    return "\n".join(line for line in text.split("\n") if not _is_frame(line.strip(), seen))


def drop_advertising(text: str) -> str:
    """The text without the lines that sell something."""
    lowered = text.lower()
    seen = [each.pattern for each in ADVERTISING if any(trigger in lowered for trigger in each.triggers)]
    if len(seen) < 2 and not (seen and SHOUTING.search(text)):
        return text
    return "\n".join(line for line in text.split("\n") if not _sells(line, [*seen, SHOUTING]))


def _is_frame(line: str, patterns: list[re.Pattern[str]]) -> bool:
    if not line or len(line) > LONGEST_FRAME_LINE:
        return False
    return _is_menu(line) or any(pattern.search(line) for pattern in patterns)


def _is_menu(line: str) -> bool:
    """Three or more short items between bars."""
    items = MENU_BAR.split(line)
    return len(items) >= 3 and all(len(item.strip()) <= LONGEST_MENU_ITEM for item in items)


def _sells(line: str, patterns: list[re.Pattern[str]]) -> bool:
    counts = [len(pattern.findall(line)) for pattern in patterns]
    n_signals = sum(counts)
    n_kinds = sum(count > 0 for count in counts)
    return n_kinds >= 2 and n_signals * CHARACTERS_PER_SIGNAL >= len(line)


def _clutter(pattern: str, triggers: str) -> Clutter:
    return Clutter(tuple(triggers.split(", ")), re.compile(pattern, re.IGNORECASE))


MENU_BAR = re.compile(r"\s[|›»>]\s|\s*｜\s*")
MENU = re.compile(r"\s[|›»>]\s.*\s[|›»>]\s|｜.*｜")
SHOUTING = re.compile(r"!!|！！|\b[A-Z]{3,}(?: [A-Z]{2,})*!|\b[A-Z]{3,} [A-Z]{3,}\b")

FRAME = tuple(_clutter(pattern, triggers) for pattern, triggers in clutter_patterns.FRAME)
ADVERTISING = tuple(_clutter(pattern, triggers) for pattern, triggers in clutter_patterns.ADVERTISING)
