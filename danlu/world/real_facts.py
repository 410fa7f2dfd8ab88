"""Facts of the real world that a small model can learn: capitals, opposites, the calendar, units, counting.

A topic is a table of pairs with sentences and questions about them; what belongs in order has its sequences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from danlu.world.names import Lang, Name
from danlu.world.patterns.real_en import REAL_EN
from danlu.world.patterns.real_zh import REAL_ZH
from danlu.world.real_tables import SEQUENCES, TABLES
from danlu.world.wording import Lines, capital, chance, indefinite, join, lines, pick, say


@dataclass(frozen=True, slots=True)
class RealFact:
    """One thing that is so outside any invented world: the `value` of `subject` in a `topic`."""

    topic: str
    subject: Name
    value: Name


@dataclass(frozen=True, slots=True)
class TopicWordings:
    """How one language tells the facts of one topic."""

    statements: Lines
    questions: Lines


def real_fact_text(lang: Lang, rng: Random) -> str:
    """A few real facts of one topic, or a sequence such as the days of the week."""
    if chance(rng, 0.15):
        return _sequence(lang, rng)
    facts = pick(rng, _by_topic())
    chosen = rng.sample(facts, min(len(facts), 1 + int(rng.random() * 4)))
    return join(lang, [real_fact_sentence(fact, lang, rng) for fact in chosen])


def real_fact_sentence(fact: RealFact, lang: Lang, rng: Random) -> str:
    """One wording of one real fact; now and then as a question with its answer."""
    wordings, slots = real_wordings(lang)[fact.topic], _slots(fact, lang)
    asked = say(rng, wordings.questions, slots) if chance(rng, 0.15) else ""
    return join(lang, [asked, say(rng, wordings.statements, slots)])


@lru_cache(maxsize=2)
def real_wordings(lang: Lang) -> Mapping[str, TopicWordings]:
    """The sentences and questions of every topic in one language."""
    found: dict[str, TopicWordings] = {}
    for section in (REAL_EN if lang == "en" else REAL_ZH).split("\n= ")[1:]:
        topic, _, body = section.partition("\n")
        rows = body.splitlines()
        asked = [row[2:] for row in rows if row.startswith("? ")]
        told = [row for row in rows if not row.startswith("? ")]
        found[topic.strip()] = TopicWordings(lines("\n".join(told)), lines("\n".join(asked)))
    return found


def _facts() -> tuple[RealFact, ...]:
    """Every pair of every table, and for opposites the way back."""
    facts: list[RealFact] = []
    for topic, table in TABLES.items():
        for row in table.strip().splitlines():
            subject, value = (_name(part) for part in row.split(":"))
            facts.append(RealFact(topic, subject, value))
            if topic == "opposite":
                facts.append(RealFact(topic, value, subject))
    for topic, names in SEQUENCES.items():
        order = [_name(part) for part in names.split(",")]
        pairs = zip(order, [*order[1:], order[0]], strict=True)
        facts += [
            RealFact(f"after_{topic}", a, b) for a, b in pairs if topic != "numbers" or b is not order[0]
        ]
    return tuple(facts)


def _name(pair: str) -> Name:
    en, _, zh = pair.strip().partition("=")
    return Name(en, zh or en)


REAL_FACTS: tuple[RealFact, ...] = _facts()


@lru_cache(maxsize=1)
def _by_topic() -> tuple[tuple[RealFact, ...], ...]:
    topics = dict.fromkeys(fact.topic for fact in REAL_FACTS)
    return tuple(tuple(f for f in REAL_FACTS if f.topic == topic) for topic in topics)


def _slots(fact: RealFact, lang: Lang) -> Mapping[str, str]:
    x, v = fact.subject.get(lang), fact.value.get(lang)
    if lang == "zh":
        return {"x": x, "v": v}
    words = {"x": x, "v": v, "ax": indefinite(x), "av": indefinite(v)}
    return {**words, **{capital(key): capital(word) for key, word in words.items()}}


def _sequence(lang: Lang, rng: Random) -> str:
    """A stretch of the days, the months, the numbers or the seasons, in order."""
    topic = pick(rng, tuple(SEQUENCES))
    order = [_name(part).get(lang) for part in SEQUENCES[topic].split(",")]
    start = 0 if chance(rng, 0.5) else int(rng.random() * (len(order) - 2))
    part = order[start : start + 3 + int(rng.random() * (len(order) - 2))]
    told = (", " if lang == "en" else "，").join(part)
    return say(rng, real_wordings(lang)[f"order_{topic}"].statements, {"list": told, "List": capital(told)})
