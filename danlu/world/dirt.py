"""Dirty documents whose dirt is known, made from clean ones, so that cleaning can be graded.

Everything personal in here is invented: the numbers pass their checksums and belong to nobody.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from random import Random
from typing import Literal, NotRequired, TypedDict, get_args

from danlu.world.patterns.rubbish import (
    ADVERTISEMENTS,
    BOILERPLATE,
    HEADERS,
    PRIVATE,
    SCRIPTS,
    SITES,
    SYNONYMS,
)
from danlu.world.wording import Lang, chance, pick, say

Dirt = Literal[
    "exact_duplicate",
    "near_duplicate",
    "boilerplate",
    "mojibake",
    "markup",
    "advertisement",
    "junk",
    "private_data",
]
DIRT: tuple[Dirt, ...] = get_args(Dirt)


class Record(TypedDict):
    """One line of a corpus file."""

    text: str
    lang: Lang
    kind: str
    id: str
    dirt: Dirt | None
    of: str | None  # the id of the document that this one repeats
    private: NotRequired[list[str]]  # what has to be masked


def duplicate(rng: Random, record: Record, dirt: Literal["exact_duplicate", "near_duplicate"]) -> Record:
    """The document once more, word for word or with small changes; its id is for the caller to give."""
    text = record["text"] if dirt == "exact_duplicate" else nearly(rng, record["lang"], record["text"])
    return {**record, "text": text, "dirt": dirt, "of": record["id"]}


def spoil(rng: Random, record: Record, dirt: Dirt) -> Record:
    """The document with dirt of any kind but a repetition; advertisements and junk keep nothing of it."""
    if dirt == "private_data":
        text, private = with_private_data(rng, record["lang"], record["text"])
        return {**record, "text": text, "dirt": dirt, "private": private}
    return {**record, "text": SPOILERS[dirt](rng, record["lang"], record["text"]), "dirt": dirt}


def nearly(rng: Random, lang: Lang, text: str) -> str:
    """One or two light changes: a synonym, a header, two lines exchanged."""
    swapped = text
    for old, new in rng.sample(SYNONYMS[lang], len(SYNONYMS[lang])):
        if old in swapped:
            swapped = swapped.replace(old, new, 1)
            break
    rows = swapped.split("\n")
    if len(rows) > 2 and chance(rng, 0.5):
        i = int(rng.random() * (len(rows) - 1))
        rows[i], rows[i + 1] = rows[i + 1], rows[i]
    changed = "\n".join(rows)
    if changed == text or chance(rng, 0.4):
        changed = say(rng, HEADERS[lang], _numbers(rng)) + "\n" + changed
    return changed


def boilerplate(rng: Random, lang: Lang, text: str) -> str:
    """Navigation and notices around the text, or for three in ten in its place."""
    before = [say(rng, BOILERPLATE[lang], _numbers(rng)) for _ in range(1 + int(rng.random() * 3))]
    after = [say(rng, BOILERPLATE[lang], _numbers(rng)) for _ in range(1 + int(rng.random() * 3))]
    return "\n".join(before + ([text] if chance(rng, 0.7) else []) + after)


def mojibake(rng: Random, lang: Lang, text: str) -> str:
    """UTF-8 read in another encoding: Latin-1 can be undone, GBK mostly not."""
    if lang == "en":
        typeset = text.replace("'", "’").replace('"', "”").replace(" - ", " – ")
        if typeset.isascii():
            typeset = typeset.replace(". ", "… ", 1) + " – café"
        return typeset.encode().decode(pick(rng, ("latin-1", "cp1252")), errors="replace")
    if chance(rng, 0.6):
        return text.encode().decode("latin-1")
    return text.encode().decode("gbk", errors="replace")


def markup(rng: Random, lang: Lang, text: str) -> str:
    """HTML or wiki markup in and around a good text."""
    return pick(rng, (_html, _html_entities, _wiki))(rng, text)


def _html(rng: Random, text: str) -> str:
    cls = pick(rng, ("post", "content", "entry-body", "article"))
    paragraphs = "</p>\n<p>".join(part.replace("\n", "<br />") for part in text.split("\n\n"))
    link = pick(rng, ('<a href="/index.html">«</a>', '<img src="a.jpg" alt="" />', "<!-- ad -->", "<hr/>"))
    return f'<div class="{cls}"><p>{paragraphs}</p>{link}</div>'


def _html_entities(rng: Random, text: str) -> str:
    space = pick(rng, ("&nbsp;", "&#160;", "<br>"))
    tag = pick(rng, ("b", "i", "em", "span"))
    words = html.escape(text).split(" ")
    at = int(rng.random() * len(words))
    words[at] = f"<{tag}>{words[at]}</{tag}>{space}"
    return f"<p>{' '.join(words)}</p>".replace("\n", "<br/>\n")


def _wiki(rng: Random, text: str) -> str:
    first, *rest = text.split("\n")
    head, mark, tail = first.partition(" ") if " " in first else (first[:4], "", first[4:])
    box = pick(rng, ("{{Infobox|name=}}\n", "[[Category:Misc]]\n", "{{stub}}\n", "__NOTOC__\n"))
    body = "\n".join([f"'''{head}'''{mark}{tail}<ref>p. {int(rng.random() * 99)}</ref>", *rest])
    return f"{box}== {pick(rng, ('History', 'Text', '正文', '内容'))} ==\n{body}"


def advertisement(rng: Random, lang: Lang, text: str) -> str:
    """Two to five lines of spam; nothing of the document is kept."""
    slots = {**_numbers(rng), "wx": _handle(rng), "qq": _digits(rng, 9), "mobile": mobile(rng)}
    slots["web"] = f"{_handle(rng)}.{pick(rng, ('com', 'net', 'top', 'xyz', 'biz'))}"
    told = [say(rng, ADVERTISEMENTS[lang], slots) for _ in range(2 + int(rng.random() * 4))]
    return pick(rng, ("\n", " ")).join(told)


def junk(rng: Random, lang: Lang, text: str) -> str:
    """Words in another script, random letters, symbols, or one word over and over."""
    if chance(rng, 0.15):
        word = "".join(rng.choices(SCRIPTS["letters"], k=4)) if lang == "en" else text[:2]
        return pick(rng, (" ", ", ", "")).join([word] * (20 + int(rng.random() * 40)))
    alphabet = SCRIPTS[pick(rng, tuple(SCRIPTS))]
    n_words = 15 + int(rng.random() * 50)
    return " ".join("".join(rng.choices(alphabet, k=2 + int(rng.random() * 8))) for _ in range(n_words))


def with_private_data(rng: Random, lang: Lang, text: str) -> tuple[str, list[str]]:
    """One to three personal items, each in a sentence after or within the text, and the items themselves."""
    rows, private = text.split("\n"), list[str]()
    for kind in rng.sample(tuple(PRIVATE[lang]), 1 + int(rng.random() * 3)):
        item = ITEMS[kind](rng)
        private.append(item)
        rows.insert(int(rng.random() * len(rows)) + 1, say(rng, PRIVATE[lang][kind], {"item": item}))
    return "\n".join(rows), private


def email(rng: Random) -> str:
    """An address at a domain reserved for examples (RFC 2606)."""
    return f"{_handle(rng)}@{pick(rng, ('example.com', 'example.org', 'mail.example.net', 'example.cn'))}"


def phone(rng: Random) -> str:
    """An American number from the block kept for fiction, or a British one."""
    if chance(rng, 0.5):
        return f"({200 + int(rng.random() * 700)}) 555-01{_digits(rng, 2)}"
    return f"+44 1632 960{_digits(rng, 3)}"


def mobile(rng: Random) -> str:
    """A mainland mobile number: 1, 3 to 9, nine digits."""
    number = f"1{3 + int(rng.random() * 7)}{_digits(rng, 9)}"
    return f"{number[:3]}-{number[3:7]}-{number[7:]}" if chance(rng, 0.2) else number


def resident_id(rng: Random) -> str:
    """Eighteen characters: area, date of birth, sequence, check character."""
    area = pick(rng, ("110101", "310104", "440106", "330102", "510104", "420106", "610103"))
    birth = f"{1950 + int(rng.random() * 60)}{1 + int(rng.random() * 12):02}{1 + int(rng.random() * 28):02}"
    body = f"{area}{birth}{_digits(rng, 3)}"
    return body + resident_id_check(body)


def resident_id_check(body: str) -> str:
    """The check character of 17 digits (GB 11643-1999: weights 2^(17-i) mod 11)."""
    total = sum(int(digit) * pow(2, 17 - i, 11) for i, digit in enumerate(body))
    return "10X98765432"[total % 11]


def bank_card(rng: Random) -> str:
    """A card number that passes Luhn's test, bare or in groups of four."""
    body = pick(rng, ("622202", "621700", "411111", "510510", "622848")) + _digits(rng, 9)
    number = body + luhn_check(body)
    grouped = " ".join(number[i : i + 4] for i in range(0, 16, 4))
    return grouped if chance(rng, 0.5) else number


def luhn_check(body: str) -> str:
    """The digit that makes `body` pass Luhn's test (ISO/IEC 7812-1)."""
    doubled = [int(d) * (2 - i % 2) for i, d in enumerate(reversed(body))]
    return str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)


def _digits(rng: Random, n: int) -> str:
    return f"{int(rng.random() * 10**n):0{n}}"


def _handle(rng: Random) -> str:
    """What people call themselves online."""
    return pick(rng, SYLLABLES) + pick(rng, SYLLABLES) + _digits(rng, 1 + int(rng.random() * 3))


def _numbers(rng: Random) -> dict[str, object]:
    year = 2005 + int(rng.random() * 20)
    return {
        "n": 1 + int(rng.random() * 9),
        "m": 10 + int(rng.random() * 90),
        "year": year,
        "site": pick(rng, SITES),
    }


SYLLABLES: Sequence[str] = (
    "wang",
    "li",
    "anna",
    "tom",
    "max",
    "sun",
    "blue",
    "star",
    "lucy",
    "hao",
    "kim",
    "joy",
)
ITEMS: dict[str, Callable[[Random], str]] = {
    "email": email,
    "phone": phone,
    "mobile": mobile,
    "resident_id": resident_id,
    "bank_card": bank_card,
}
SPOILERS: dict[Dirt, Callable[[Random, Lang, str], str]] = {
    "boilerplate": boilerplate,
    "mojibake": mojibake,
    "markup": markup,
    "advertisement": advertisement,
    "junk": junk,
}
# Share of each kind among the dirty documents, in hundredths.
SHARES: dict[Dirt, int] = {
    "exact_duplicate": 14,
    "near_duplicate": 16,
    "boilerplate": 16,
    "mojibake": 10,
    "markup": 14,
    "advertisement": 12,
    "junk": 8,
    "private_data": 10,
}
