"""Lines around a text that are no part of it: the page's frame (navigation, notices) and advertising.

Each pattern has triggers, literals of which any match holds one. Looking for literals costs almost nothing,
so the patterns themselves run only where one of their triggers was seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from danlu.data import clutter_patterns

LONGEST_FRAME_LINE = 160
LONGEST_MENU_ITEM = 24
# One signal in so many characters makes a passage an advertisement, if there are two signals or more.
CHARACTERS_PER_SIGNAL = 120


def drop_frame(text: str) -> str:
    """The text without navigation, notices and buttons."""
    seen = _seen(FRAME, text.lower())
    if not seen and not MENU.search(text):
        return text
    return "\n".join(line for line in text.split("\n") if not _is_frame(line.strip(), seen))


def drop_advertising(text: str) -> str:
    """The text without the lines that sell something."""
    lowered = text.lower()
    seen = [pattern for pattern in _seen(ADVERTISING, lowered) if pattern.search(lowered)]
    if len(seen) < 2 and not (seen and SHOUTING.search(text)):
        return text
    return "\n".join(line for line in text.split("\n") if not _sells(line, seen))


def _seen(patterns: Mapping[str, Sequence[re.Pattern[str]]], lowered: str) -> list[re.Pattern[str]]:
    """The patterns of which a trigger is in the text, each once."""
    return list({each: None for trigger in patterns if trigger in lowered for each in patterns[trigger]})


def _is_frame(line: str, patterns: list[re.Pattern[str]]) -> bool:
    if not line or len(line) > LONGEST_FRAME_LINE:
        return False
    lowered = line.lower()
    return any(pattern.search(lowered) for pattern in patterns) or _is_menu(line)


def _is_menu(line: str) -> bool:
    """Four or more short items between bars, but no row of a table, which begins with one."""
    items = MENU_BAR.split(line)
    return (
        line[0] != "|" and len(items) >= 4 and all(len(item.strip()) <= LONGEST_MENU_ITEM for item in items)
    )


def _sells(line: str, patterns: list[re.Pattern[str]]) -> bool:
    lowered = line.lower()
    counts = [len(pattern.findall(lowered)) for pattern in patterns] + [len(SHOUTING.findall(line))]
    n_kinds = sum(count > 0 for count in counts)
    return n_kinds >= 2 and sum(counts) * CHARACTERS_PER_SIGNAL >= len(line)


def _by_trigger(table: Sequence[tuple[str, str]]) -> dict[str, list[re.Pattern[str]]]:
    patterns: dict[str, list[re.Pattern[str]]] = {}
    for pattern, triggers in table:
        for trigger in triggers.split(", "):
            patterns.setdefault(trigger, []).append(re.compile(pattern))
    return patterns


MENU_BAR = re.compile(r"\s[|›»>]\s|\s*｜\s*")
MENU = re.compile(r"\s[|›»>]\s.*\s[|›»>]\s|｜.*｜")
SHOUTING = re.compile(r"!!|！！|\b[A-Z]{4,}!")

FRAME = _by_trigger(clutter_patterns.FRAME)
ADVERTISING = _by_trigger(clutter_patterns.ADVERTISING)
