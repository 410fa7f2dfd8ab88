"""Private data in texts, replaced by what it was: <email>, <ip>, <phone>, <id>, <card>, <account>.

Numbers that carry a checksum (resident ids, bank cards) are replaced only where it holds, so that other long
numbers stay.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable

Find = tuple[str, re.Pattern[str], Callable[[re.Match[str]], bool]]

ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
ID_CHECK = "10X98765432"


def mask_private(text: str) -> tuple[str, Counter[str]]:
    """The text with private data replaced by its kind, and how many of each kind were found."""
    found: Counter[str] = Counter()
    for trace, finds in FINDS:
        if trace.search(text):
            for kind, pattern, holds in finds:
                text = pattern.sub(_replacer(kind, holds, found), text)
    return text, found


def _replacer(
    kind: str, holds: Callable[[re.Match[str]], bool], found: Counter[str]
) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        if not holds(match):
            return match[0]
        found[kind] += 1
        # A label such as "QQ:" is no secret and keeps the sentence whole.
        return match[0].replace(match["value"], f"<{kind}>")

    return replace


def is_resident_id(number: str) -> bool:
    """The checksum of a Chinese resident identity number (GB 11643-1999)."""
    total = sum(weight * int(digit) for weight, digit in zip(ID_WEIGHTS, number, strict=False))
    return number[17].upper() == ID_CHECK[total % 11]


def passes_luhn(number: str) -> bool:
    """The checksum of bank cards (ISO/IEC 7812-1)."""
    digits = [int(char) for char in reversed(number) if char.isdigit()]
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _always(_: re.Match[str]) -> bool:
    return True


def _is_card(match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match["value"])
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and passes_luhn(digits)


def _is_public_ip(match: re.Match[str]) -> bool:
    try:
        return ipaddress.ip_address(match["value"]).is_global
    except ValueError:
        return False


def _is_phone(match: re.Match[str]) -> bool:
    return 7 <= sum(char.isdigit() for char in match["value"]) <= 15


EMAIL: tuple[Find, ...] = (
    (
        "email",
        re.compile(
            r"(?<![\w.+-])(?P<value>[A-Za-z0-9][\w.+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4})",
            re.ASCII,
        ),
        _always,
    ),
)
ACCOUNTS: tuple[Find, ...] = (
    (
        "account",
        re.compile(
            r"(?:QQ|qq|扣扣)(?:号码|号|群|群号)?\s*(?:is|是|为)?\s*[:：]?\s*(?P<value>[1-9]\d{4,11})(?!\d)"
        ),
        _always,
    ),
    (
        "account",
        re.compile(
            r"(?:微信|[Ww]e[Cc]hat|WX|wx|VX|vx)(?:号|账号|号码| [Ii][Dd])?\s*(?:is|是|为)?\s*[:：]?\s*"
            r"(?P<value>[A-Za-z0-9][A-Za-z0-9_-]{5,19})(?![A-Za-z0-9_-])"
        ),
        lambda match: any(char.isdigit() or char == "_" for char in match["value"]),
    ),
)
# Longer numbers first: a phone number may be a piece of a card's.
NUMBERS: tuple[Find, ...] = (
    (
        "id",
        re.compile(
            r"(?<!\d)(?P<value>[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx])(?!\d)",
            re.ASCII,
        ),
        lambda match: is_resident_id(match["value"]),
    ),
    (
        "card",
        re.compile(r"(?<![\d-])(?P<value>[2-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7})(?!\d)", re.ASCII),
        _is_card,
    ),
    (
        "phone",
        re.compile(r"(?<![\d.])(?P<value>(?:\+?86[ -]?)?1[3-9]\d(?:[ -]?\d{4}){2})(?!\d)", re.ASCII),
        _always,
    ),
    ("phone", re.compile(r"(?<![\d.-])(?P<value>0\d{2,3}[- ]\d{7,8})(?!\d)", re.ASCII), _always),
    (
        "phone",
        re.compile(
            r"(?<![\d.])(?P<value>(?:\+?1[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4})(?!\d)", re.ASCII
        ),
        _is_phone,
    ),
    (
        "phone",
        re.compile(r"(?<!\w)(?P<value>\+\d{1,3}(?:[ -]?\(?\d{2,8}\)?){2,5})(?!\d)", re.ASCII),
        _is_phone,
    ),
    ("ip", re.compile(r"(?<![\d.])(?P<value>(?:\d{1,3}\.){3}\d{1,3})(?![\d.]*\d)", re.ASCII), _is_public_ip),
)
# What any match of a group holds, looked for first because it is found fast.
FINDS: tuple[tuple[re.Pattern[str], tuple[Find, ...]], ...] = (
    (re.compile(r"@"), EMAIL),
    (re.compile(r"QQ|qq|扣扣|微信|[Ww]e[Cc]hat|[WwVv][Xx]"), ACCOUNTS),
    (re.compile(r"\d[\d ().-]{5,}\d", re.ASCII), NUMBERS),
)
