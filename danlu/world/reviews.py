"""Reviews that are clearly pleased or clearly not, many with a verdict that says which."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from danlu.world import opinions
from danlu.world.cast import Cast
from danlu.world.patterns import judgements
from danlu.world.splits import split_of
from danlu.world.wording import Lang, Lines, chance, join, pick, say


def review(cast: Cast, rng: Random) -> str:
    """One review, or a few short ones with a verdict each."""
    if chance(rng, 0.3):
        return "\n\n".join(
            _labelled(cast.lang, rng, *_short(cast, rng)) for _ in range(2 + int(rng.random() * 2))
        )
    good = chance(rng, 0.5)
    told = _of_the_world(cast, rng, good)
    if chance(rng, 0.35):
        told = pick(rng, judgements.HEADS[cast.lang]) + told
    if chance(rng, 0.55):
        return _labelled(cast.lang, rng, told, good)
    return told + (signature(cast, rng) if chance(rng, 0.4) else "")


def _of_the_world(cast: Cast, rng: Random, good: bool) -> str:
    """An opening, two to four judgements, mostly a last word."""
    parts, topic = PARTS[cast.lang], pick(rng, TOPICS)
    slots = {
        **cast.one(rng).as_a,
        **pick(rng, cast.foods),
        **pick(rng, cast.things),
        **pick(rng, cast.places),
    }
    tone = "good" if good else "bad"
    judged = rng.sample(parts[f"{topic} {tone}"], 2 + int(rng.random() * 2))
    told = [pick(rng, pattern).format_map(slots) for pattern in judged]
    if chance(rng, 0.2):
        told[0] = _after_a_but(cast.lang, say(rng, parts[f"{tone} mixed"], {}), told[0])
    if chance(rng, 0.7):
        told.append(say(rng, parts[f"{tone} end"], {}))
    return join(cast.lang, [say(rng, parts[f"{topic} open"], slots), *told])


def _after_a_but(lang: Lang, lead: str, sentence: str) -> str:
    """A concession first: 'It was not cheap, but the bed was soft.'"""
    if lang == "zh":
        return lead + sentence
    first = sentence.split()[0]
    return f"{lead} {sentence if first == 'I' else sentence[0].lower() + sentence[1:]}"


def _short(cast: Cast, rng: Random) -> tuple[str, bool]:
    """Two sentences about something of daily life, and whether they are pleased."""
    lang, good = cast.lang, chance(rng, 0.5)
    while True:
        group = pick(rng, tuple(opinions.REVIEWED[lang]))
        subject = pick(rng, opinions.REVIEWED[lang][group])
        judged = pick(rng, (opinions.PRAISE if good else opinions.BLAME)[lang][group]).format(it=subject)
        last = say(rng, PARTS[lang]["good end" if good else "bad end"], {})
        if split_of("review", judged, last, subject) != "exam":
            return join(lang, [say(rng, opinions.OPENINGS[lang][group], {"it": subject}), judged, last]), good


def _labelled(lang: Lang, rng: Random, told: str, good: bool) -> str:
    """The review with its verdict under it or behind it."""
    positive, negative = pick(rng, judgements.LABELS[lang])
    return told + pick(rng, ("\n", "\n", " " if lang == "en" else "")) + (positive if good else negative)


def signature(cast: Cast, rng: Random) -> str:
    """Who wrote it and where that person lives."""
    slots = cast.one(rng).as_a
    return pick(rng, SIGNED[cast.lang]).format_map(slots)


TOPICS = ("food", "food", "place", "thing", "show")
PARTS: Mapping[Lang, Mapping[str, Lines]] = {"en": judgements.EN, "zh": judgements.ZH}
SIGNED: Mapping[Lang, tuple[str, ...]] = {
    "en": ("\n{a}, {a_home}", "\n— {a}, {a_job}", "\n{a_1} from {a_home}"),
    "zh": ("\n{a}，{a_home}", "\n——{a_job}{a}", "\n{a_home}的{a_1}"),
}
