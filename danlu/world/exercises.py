"""Notes and school exercises in which something is done to a sentence or to a few words.

Negation, question, another subject, capitals, quotation marks, shortening, word order, lists with commas or
dashes, the first and the last word: base models have then seen such operations, in prose and without chat.
What the exam asks for (`split_of("rewriting", ...)`, `split_of("form", ...)`) is never written out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from danlu.world.cast import Cast
from danlu.world.patterns import tasks as wordings
from danlu.world.patterns.pairs import DEEDS, NOUNS, SUBJECTS, Deed, Subject
from danlu.world.splits import split_of
from danlu.world.values import VALUES
from danlu.world.wording import Lang, Lines, capital, pick, say


def exercise(cast: Cast, rng: Random) -> str:
    """One to four operations, each in a wording of its own."""
    n = 1 + int(rng.random() * 4)
    done = [pick(rng, OPERATIONS)(cast.lang, rng) for _ in range(n)]
    if n > 1 and rng.random() < 0.3:
        done.insert(0, say(rng, PARTS[cast.lang]["head"], {}))
    return "\n".join(done)


def plain(lang: Lang, who: Subject, deed: Deed) -> str:
    """My father drinks tea."""
    if lang == "zh":
        return f"{who.zh}{deed.zh_verb}{deed.zh_object}。"
    return capital(f"{who.en} {deed.third if who.be == 'is' else deed.base}.")


def _sentence(rng: Random, operation: str) -> tuple[Subject, Deed]:
    """A subject and a deed that the exam does not ask to be rewritten in this way."""
    while True:
        who, deed = pick(rng, SUBJECTS), pick(rng, DEEDS)
        if split_of("rewriting", operation, who.en, deed.base) != "exam":
            return who, deed


def _negation(lang: Lang, rng: Random) -> str:
    who, deed = _sentence(rng, "negation")
    do = "does" if who.be == "is" else "do"
    result = (
        f"{who.zh}不{deed.zh_verb}{deed.zh_object}。" if lang == "zh" else f"{who.en} {do} not {deed.base}."
    )
    return _told(lang, rng, "negation", plain(lang, who, deed), capital(result))


def _question(lang: Lang, rng: Random) -> str:
    who, deed = _sentence(rng, "question")
    do = "does" if who.be == "is" else "do"
    result = f"{who.zh}{deed.zh_verb}{deed.zh_object}吗？" if lang == "zh" else f"{do} {who.en} {deed.base}?"
    return _told(lang, rng, "question", plain(lang, who, deed), capital(result))


def _replacement(lang: Lang, rng: Random) -> str:
    who, deed = _sentence(rng, "replacement")
    other = pick(rng, [s for s in SUBJECTS if s.be == who.be and s.zh[0] != who.zh[0]] or SUBJECTS)
    slots = {
        "text": plain(lang, who, deed),
        "result": plain(lang, other, deed),
        "old": who.zh if lang == "zh" else who.en,
        "new": other.zh if lang == "zh" else other.en,
    }
    return say(rng, PARTS[lang]["replacement"], slots)


def _dress(lang: Lang, rng: Random) -> str:
    """Capital letters in English; quotation marks in Chinese, which has no capitals."""
    who, deed = _sentence(rng, "dress")
    text = plain(lang, who, deed)
    return _told(lang, rng, "dress", text, f"“{text}”" if lang == "zh" else text.upper())


def _shortening(lang: Lang, rng: Random) -> str:
    """Three sentences, then the one of them that says what happened."""
    who, deed = _sentence(rng, "summary")
    zh = lang == "zh"
    gist = f"{who.zh}{deed.zh_verb}了{deed.zh_object}。" if zh else capital(f"{who.en} {deed.past}.")
    told = [say(rng, PARTS[lang]["before"], {}), gist, say(rng, PARTS[lang]["after"], {})]
    return _told(lang, rng, "shortening", ("" if zh else " ").join(told), gist)


def _order(lang: Lang, rng: Random) -> str:
    """Words in a muddle and put in order."""
    who, deed = _sentence(rng, "order")
    words = (
        [who.zh, deed.zh_verb, deed.zh_object]
        if lang == "zh"
        else plain(lang, who, deed)[:-1].lower().split()
    )
    muddled = rng.sample(words, len(words))
    return _told(lang, rng, "order", " / ".join(muddled), plain(lang, who, deed))


def _listed(lang: Lang, rng: Random) -> str:
    """Words of one group, with commas or dashes between them."""
    group = pick(rng, tuple(GROUPS))
    items = rng.sample(GROUPS[group], 2 + int(rng.random() * 3))
    form = pick(rng, ("commas", "dashes"))
    if split_of("form", form, *sorted(en for en, _ in items)) == "exam":
        return _listed(lang, rng)
    words = [zh if lang == "zh" else en for en, zh in items]
    comma = "，" if lang == "zh" else ", "
    result = comma.join(words) if form == "commas" else "\n" + "\n".join(f"- {word}" for word in words)
    slots = {
        "words": " ".join(words),
        "n": COUNTS[lang][len(words)],
        "group": GROUP_NAMES[group][lang == "zh"],
    }
    return say(rng, PARTS[lang][form], {**slots, "result": result, "text": result.strip()})


def _picked(lang: Lang, rng: Random) -> str:
    """The first or the last of three words."""
    items = [pick(rng, GROUPS[group]) for group in rng.sample(tuple(GROUPS), 3)]
    place = pick(rng, ("first", "last"))
    if split_of("form", "one_word", place, *(en for en, _ in items)) == "exam":
        return _picked(lang, rng)
    words = [zh if lang == "zh" else en for en, zh in items]
    row = ("、" if lang == "zh" else ", ").join(words)
    return _told(lang, rng, place, row, words[0] if place == "first" else words[-1])


def _counted(lang: Lang, rng: Random) -> str:
    """How many words there are, which numbers up to five answer."""
    items = rng.sample(GROUPS[pick(rng, tuple(GROUPS))], 2 + int(rng.random() * 4))
    words = [zh if lang == "zh" else en for en, zh in items]
    row = ("、" if lang == "zh" else ", ").join(words)
    return _told(lang, rng, "count", row, str(len(words)))


def _told(lang: Lang, rng: Random, operation: str, text: str, result: str) -> str:
    return say(rng, PARTS[lang][operation], {"text": text, "result": result})


_ANIMALS = frozenset({"dog", "cat", "bird", "horse", "cow", "sheep"})
GROUPS: Mapping[str, Sequence[tuple[str, str]]] = {
    "colours": [(name.en, name.zh) for name in VALUES["colour"][:12]],
    "jobs": [(name.en, name.zh) for name in VALUES["job"][:12]],
    "instruments": [(name.en, name.zh) for name in VALUES["instrument"][:8]],
    "animals": [(row[0], row[3]) for row in NOUNS if row[0] in _ANIMALS],
    "things": [(row[0], row[3]) for row in NOUNS if row[0] not in _ANIMALS],
}
GROUP_NAMES: Mapping[str, tuple[str, str]] = {
    "colours": ("colours", "颜色"),
    "jobs": ("jobs", "职业"),
    "instruments": ("musical instruments", "乐器"),
    "animals": ("animals", "动物"),
    "things": ("things", "东西"),
}
COUNTS: Mapping[Lang, Mapping[int, str]] = {
    "en": {2: "two", 3: "three", 4: "four"},
    "zh": {2: "两", 3: "三", 4: "四"},
}
PARTS: Mapping[Lang, Mapping[str, Lines]] = {"en": wordings.EN, "zh": wordings.ZH}
OPERATIONS: Sequence[Callable[[Lang, Random], str]] = (
    *(_negation, _question, _replacement, _dress, _shortening, _order, _listed, _listed, _picked, _counted),
)
