"""Factual prose of the invented world: entries, lists, comparisons, records, and notes that join two facts.

Everything said is so. What is kept back, so that an exam can ask for it: the combinations of two facts that
`World.path_split` gives to dev and exam, and the direct questions about entities outside the training split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from random import Random

from danlu.world.attributes import ATTRIBUTES
from danlu.world.names import Lang
from danlu.world.patterns.frames import CONTRASTS, INTRODUCTIONS, MEASURED
from danlu.world.real_facts import real_fact_text
from danlu.world.telling import Mode, Teller, teller
from danlu.world.truth import Entity, Fact, Path, Ref, World
from danlu.world.wording import capital, chance, join, pick

MODES: tuple[Mode, ...] = (
    "name",
    "name",
    "name",
    "name",
    "given",
    "pronoun",
    "pronoun",
    "pronoun",
    "pronoun",
)


def factual_documents(world: World, lang: Lang, rng: Random) -> Iterator[tuple[str, str]]:
    """Short documents without end, each with its kind: a key of `KINDS_OF_TEXT`."""
    kinds = [kind for kind, (share, _) in KINDS_OF_TEXT.items() for _ in range(share)]
    told = teller(world, lang)
    while True:
        kind = pick(rng, kinds)
        yield kind, KINDS_OF_TEXT[kind][1](told, rng)


def fact_sentences(world: World, fact: Fact, lang: Lang, rng: Random) -> str:
    """One of the many wordings of a fact, from the subject's or from the value's side."""
    told, entity = teller(world, lang), world.by_id[fact.subject]
    if chance(rng, 0.25):
        return told.inverse(entity, fact.attribute, rng)
    return told.told(entity, fact.attribute, rng)


def entry(world: World, entity: Entity, lang: Lang, rng: Random) -> str:
    """A paragraph about one entity: some or all of its facts in random order, and what else depends on it."""
    told = teller(world, lang)
    attributes = list(entity.attributes)
    rng.shuffle(attributes)
    if chance(rng, 0.3):
        attributes = attributes[: 2 + int(rng.random() * 3)]
    opening = _introduction(told, entity, rng) if chance(rng, 0.3) else []
    closing = _mentions(told, entity, rng)
    if closing and chance(rng, 0.3):
        opening.append(closing.pop())
    if told.rich:
        closing += _digressions(told, entity, rng)
    text = join(lang, [*opening, *_sentences(told, entity, attributes, rng), *closing])
    return _titled(told, entity, text, rng)


def _sentences(told: Teller, entity: Entity, attributes: list[str], rng: Random) -> list[str]:
    """The facts, now and then several a sentence; the subject is named first and where 'she' is unclear."""
    sentences: list[str] = []
    clear, left = False, attributes
    while left:
        mode = pick(rng, MODES) if clear else "name"
        count = pick(rng, (1, 1, 1, 2, 3))
        now, left = left[:count], left[count:]
        if len(now) == 1:
            sentences.append(told.told(entity, now[0], rng, mode))
        else:
            sentences.append(told.combined(entity, now, rng, mode))
        clear = not any(isinstance(entity.attributes[a], Ref) for a in now)
    return sentences


def _introduction(told: Teller, entity: Entity, rng: Random) -> list[str]:
    patterns = INTRODUCTIONS[told.lang].get(entity.kind)
    return [told.introduction(pick(rng, patterns), entity)] if patterns else []


def _mentions(told: Teller, entity: Entity, rng: Random) -> list[str]:
    """Facts of other entities that lead to this one: who lives here, who invented it, whose pet it is."""
    links = told.links.get(entity.id, ())
    wanted = min(len(links), pick(rng, (0, 1, 1, 2)))
    return [_holders(told, attribute, holders, rng) for attribute, holders in rng.sample(links, wanted)]


def _digressions(told: Teller, entity: Entity, rng: Random) -> list[str]:
    """In a large world an entry goes on about those it leads to, where that combination may be told."""
    paths = _open_paths_from(told.world).get(entity.id, ())
    chosen = rng.sample(paths, min(len(paths), int(rng.random() * 4)))
    return [told.statement(path.middle, path.second, rng) for path in chosen]


def _holders(told: Teller, attribute: str, holders: tuple[Entity, ...], rng: Random) -> str:
    """One sentence that names one or several of those who share a value."""
    if len(holders) == 1 or chance(rng, 0.3):
        return told.inverse(pick(rng, holders), attribute, rng)
    return told.shared(rng.sample(holders, min(len(holders), 2 + int(rng.random() * 4))), attribute, rng)


def _titled(told: Teller, entity: Entity, text: str, rng: Random) -> str:
    if chance(rng, 0.15):
        return f"{capital(entity.name.get(told.lang))}\n\n{text}"
    return text


def _entry(told: Teller, rng: Random) -> str:
    return entry(told.world, pick(rng, told.world.entities), told.lang, rng)


def _facts(told: Teller, rng: Random) -> str:
    """Unconnected facts, one sentence each."""
    facts = told.world.facts
    chosen = [pick(rng, facts) for _ in range(1 + int(rng.random() * 5))]
    return join(told.lang, [fact_sentences(told.world, fact, told.lang, rng) for fact in chosen])


def _list(told: Teller, rng: Random) -> str:
    """Who shares a value, for one or two values of one attribute."""
    values = pick(rng, told.shared_values)
    chosen = rng.sample(values, min(len(values), 1 + int(rng.random() * 2)))
    return join(told.lang, [_holders(told, attribute, holders, rng) for attribute, holders in chosen])


def _comparison(told: Teller, rng: Random) -> str:
    """Two entities of one kind, one to three of their attributes side by side."""
    first = pick(rng, told.world.entities)
    second = pick(rng, told.world.of_kind(first.kind))
    if first is second:
        return _entry(told, rng)
    attributes = rng.sample(list(first.attributes), 1 + int(rng.random() * 2))
    return join(told.lang, [_compared(told, first, second, attribute, rng) for attribute in attributes])


def _compared(told: Teller, a: Entity, b: Entity, attribute: str, rng: Random) -> str:
    x, y = a.attributes[attribute], b.attributes[attribute]
    if x == y:
        return told.shared((a, b), attribute, rng)
    measured = MEASURED[told.lang].get(attribute)
    if measured and isinstance(x, int) and isinstance(y, int) and chance(rng, 0.6):
        more, less = (a, b) if (x > y) != (attribute == "founded") else (b, a)
        said = {"most": told.name(more), "least": told.name(less), "x": told.name(a), "y": told.name(b)}
        words = {**said, "vx": str(x), "vy": str(y)}
        return capital(pick(rng, measured).format_map(words))
    slots = {
        **{"x": told.name(a), "y": told.name(b)},
        **{"do_x": told.predicate(a, attribute, rng), "do_y": told.predicate(b, attribute, rng)},
    }
    return capital(pick(rng, CONTRASTS[told.lang]).format_map(slots))


def _record(told: Teller, rng: Random) -> str:
    """A card: one attribute a line."""
    entity = pick(rng, told.world.entities)
    attributes = rng.sample(list(entity.attributes), len(entity.attributes) - pick(rng, (0, 0, 1)))
    table = ATTRIBUTES[entity.kind]
    rows = [
        (table[a].noun.get(told.lang), told.world.value_text(entity.attributes[a], told.lang))
        for a in attributes
    ]
    mark = ": " if told.lang == "en" else "："
    head = f"{'Name' if told.lang == 'en' else '名称'}{mark}{entity.name.get(told.lang)}"
    return "\n".join([head, *(f"{capital(noun)}{mark}{value}" for noun, value in rows)])


def _note(told: Teller, rng: Random) -> str:
    """One or two conclusions from two facts, of the combinations that may be told."""
    paths = _open_paths(told.world)
    return join(told.lang, [told.note(pick(rng, paths), rng) for _ in range(1 + int(rng.random() * 2))])


@lru_cache(maxsize=4)
def _open_paths(world: World) -> tuple[Path, ...]:
    return tuple(path for path in world.paths() if world.path_split(path) == "train")


@lru_cache(maxsize=4)
def _open_paths_from(world: World) -> Mapping[str, tuple[Path, ...]]:
    found: dict[str, list[Path]] = {}
    for path in _open_paths(world):
        found.setdefault(path.subject.id, []).append(path)
    return {key: tuple(paths) for key, paths in found.items()}


def _questions(told: Teller, rng: Random) -> str:
    """Questions with their answers, about entities of the training split only."""
    entity = pick(rng, _open_entities(told.world))
    attributes = rng.sample(list(entity.attributes), min(len(entity.attributes), 1 + int(rng.random() * 3)))
    return "\n".join(_question(told, entity, attribute, rng) for attribute in attributes)


@lru_cache(maxsize=4)
def _open_entities(world: World) -> tuple[Entity, ...]:
    return tuple(e for e in world.entities if world.entity_split(e) == "train") or world.entities


def _question(told: Teller, entity: Entity, attribute: str, rng: Random) -> str:
    pattern = pick(rng, ATTRIBUTES[entity.kind][attribute].questions[told.lang])
    question = pattern.format(x=entity.name.get(told.lang))
    return join(told.lang, [question, told.statement(entity, attribute, rng, pick(rng, ("name", "pronoun")))])


def _real(told: Teller, rng: Random) -> str:
    return real_fact_text(told.lang, rng)


# What a hundred documents are made of.
KINDS_OF_TEXT: Mapping[str, tuple[int, Callable[[Teller, Random], str]]] = {
    "entry": (36, _entry),
    "facts": (22, _facts),
    "list": (9, _list),
    "comparison": (7, _comparison),
    "record": (5, _record),
    "note": (6, _note),
    "questions": (5, _questions),
    "real": (10, _real),
}
