"""The truth of an invented world: who and what exists, what is so, and which names mean nothing in it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

from danlu.config import ConfigError
from danlu.world.attributes import ATTRIBUTES, Attribute
from danlu.world.names import KINDS, Coined, Kind, Lang, Name, NameSpace
from danlu.world.splits import Split, split_of
from danlu.world.values import VALUES


@dataclass(frozen=True, slots=True)
class Ref:
    """A value that is another entity."""

    id: str


Value = Name | int | Ref


@dataclass(frozen=True, slots=True)
class Entity:
    """Somebody or something of the world."""

    id: str
    kind: Kind
    name: Name
    sort: str  # person: "f" or "m"; place: "village", ...; food: "soup", ...; otherwise ""
    attributes: Mapping[str, Value] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is so: `subject` (an entity's id) has `value` as its `attribute`."""

    subject: str
    attribute: str
    value: Value


@dataclass(frozen=True, slots=True)
class Path:
    """Two facts in a row: the entity that `first` leads to has `answer` as its `second`."""

    subject: Entity
    first: str
    middle: Entity
    second: str
    answer: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldSize:
    """How much there is to know. People are even in number, because friends come in pairs."""

    people: int = 48
    places: int = 16
    animals: int = 16
    foods: int = 16
    things: int = 16
    values: int = 12  # how many jobs, colours, tastes, ... are in use

    def __post_init__(self) -> None:
        if self.people < 4 or self.people % 2:
            raise ConfigError(f"world.people is {self.people}; it must be an even number of at least 4")
        small = {n: getattr(self, n) for n in ("places", "animals", "foods", "things", "values")}
        for name, n in small.items():
            if n < 2:
                raise ConfigError(f"world.{name} is {n}; it must be at least 2")

    @classmethod
    def for_bytes(cls, size_bytes: int) -> Self:
        """A world that text of this size can tell often enough: tiny up to 16 MB, 1,000 people at 1 GB."""
        growth = max(1.0, size_bytes / 16e6) ** 0.75
        others = round(16 * growth)
        return cls(
            people=2 * round(24 * growth),
            places=others,
            animals=others,
            foods=others,
            things=others,
            values=round(12 * growth**0.4),
        )


@dataclass(frozen=True, eq=False)
class World:
    """Entities and facts, all of them decided by `seed` and `size`."""

    seed: int
    size: WorldSize
    people: tuple[Entity, ...]
    places: tuple[Entity, ...]
    animals: tuple[Entity, ...]
    foods: tuple[Entity, ...]
    things: tuple[Entity, ...]
    rivers: tuple[Name, ...]
    names: NameSpace = field(repr=False)

    @classmethod
    def create(cls, seed: int = 0, size: WorldSize | None = None) -> Self:
        """The world of this seed and size, the same every time."""
        size = size or WorldSize()
        names = NameSpace(seed, _name_counts(size))
        rivers = tuple(Name(f"{s.en} River", f"{s.zh}河") for s in names.stems("river"))
        blank: dict[Kind, list[Entity]] = {
            kind: _blank(kind, names.known(kind, n)) for kind, n in _kind_counts(size).items()
        }
        filled = _fill(blank, rivers, size, random.Random(f"{seed}/facts"))
        people, places, animals, foods, things = (tuple(filled[kind]) for kind in KINDS)
        return cls(seed, size, people, places, animals, foods, things, rivers, names)

    @cached_property
    def by_id(self) -> Mapping[str, Entity]:
        """Every entity under its id."""
        return {e.id: e for e in self.entities}

    @cached_property
    def entities(self) -> tuple[Entity, ...]:
        """People, places, animals, foods and things, in this order."""
        return (*self.people, *self.places, *self.animals, *self.foods, *self.things)

    def of_kind(self, kind: Kind) -> tuple[Entity, ...]:
        """All entities of one kind."""
        return dict(
            zip(KINDS, (self.people, self.places, self.animals, self.foods, self.things), strict=True)
        )[kind]

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """Everything that is so."""
        return tuple(Fact(e.id, a, v) for e in self.entities for a, v in e.attributes.items())

    @cached_property
    def _holders(self) -> Mapping[tuple[str, Value], tuple[Entity, ...]]:
        holders: dict[tuple[str, Value], list[Entity]] = {}
        for entity in self.entities:
            for attribute, value in entity.attributes.items():
                holders.setdefault((f"{entity.kind}.{attribute}", value), []).append(entity)
        return {key: tuple(found) for key, found in holders.items()}

    def holders(self, kind: Kind, attribute: str, value: Value) -> tuple[Entity, ...]:
        """The inverse of a fact: every entity of `kind` whose `attribute` is `value`."""
        return self._holders.get((f"{kind}.{attribute}", value), ())

    def value_name(self, value: Value) -> Name:
        """A value in words: a referred entity's name, a number in digits."""
        if isinstance(value, Ref):
            return self.by_id[value.id].name
        return Name(str(value), str(value)) if isinstance(value, int) else value

    def value_text(self, value: Value, lang: Lang) -> str:
        """The shortest right answer in `lang`."""
        return self.value_name(value).get(lang)

    def attribute(self, fact: Fact) -> Attribute:
        """What is known about the fact's attribute as such: its noun, its questions."""
        return ATTRIBUTES[self.by_id[fact.subject].kind][fact.attribute]

    def values(self, kind: Kind, attribute: str) -> tuple[Value, ...]:
        """All values that occur for this attribute: the plausible wrong answers."""
        return tuple(dict.fromkeys(e.attributes[attribute] for e in self.of_kind(kind)))

    def unknown_name(self, kind: Kind, index: int) -> Name:
        """Well-formed name number `index` of this kind that nobody and nothing in the world bears.

        People whose index leaves 3 when divided by 4 recombine a given and a family name that both occur.
        """
        return self.unknown(kind, index).name

    def unknown(self, kind: Kind, index: int) -> Coined:
        """As `unknown_name`, with the sort: whether the unknown person is a woman, the place a village."""
        return self.names.unknown(kind, index)

    def split_of(self, *key: str) -> Split:
        """The side of the exam that `key` falls on in the world of this seed."""
        return split_of(self.seed, *key)

    def entity_split(self, entity: Entity) -> Split:
        """In which split questions about this entity's own facts may be asked."""
        return self.split_of("entity", entity.id)

    def path_split(self, path: Path) -> Split:
        """In which split this combination of two facts may be asked; only train's is ever told in prose."""
        return self.split_of("path", path.subject.id, path.first, path.second)

    def paths(self) -> Iterator[Path]:
        """Every way of following a fact to an entity and on to one of that entity's own facts."""
        for subject in self.entities:
            for first, value in subject.attributes.items():
                if isinstance(value, Ref):
                    yield from self._paths_through(subject, first, self.by_id[value.id])

    def _paths_through(self, subject: Entity, first: str, middle: Entity) -> Iterator[Path]:
        for second, answer in middle.attributes.items():
            if answer != Ref(subject.id):  # the friend of my friend, who is myself
                yield Path(subject, first, middle, second, answer)


def _kind_counts(size: WorldSize) -> dict[Kind, int]:
    return dict(zip(KINDS, (size.people, size.places, size.animals, size.foods, size.things), strict=True))


def _name_counts(size: WorldSize) -> dict[str, int]:
    """Stems a pool: given names are all different up to 256 people, families have about two members each."""
    given = min(size.people, max(256, size.people // 8))
    return {
        **_kind_counts(size),
        "given": given,
        "family": max(4, given // 2),
        "river": max(4, size.places * 3 // 8),
    }


def _blank(kind: Kind, names: list[Coined]) -> list[Entity]:
    return [Entity(f"{kind}-{i}", kind, c.name, c.sort, {}) for i, c in enumerate(names)]


def _fill(
    blank: dict[Kind, list[Entity]], rivers: tuple[Name, ...], size: WorldSize, rng: random.Random
) -> dict[Kind, list[Entity]]:
    """Give every entity a value for each attribute of its kind."""
    pools: dict[str, list[Value]] = {name: [*pool[: size.values]] for name, pool in VALUES.items()}
    pools |= {kind: [Ref(e.id) for e in entities] for kind, entities in blank.items()}
    pools |= {"river": [*rivers], "age": [*range(16, 80)], "year": [*range(1100, 1900)], "legs": [2, 4, 6, 8]}
    pools["lifespan"] = [*range(3, 41)]
    filled: dict[Kind, list[Entity]] = {}
    for kind, entities in blank.items():
        columns = {a: _deal(pools[spec.pool], len(entities), rng) for a, spec in ATTRIBUTES[kind].items()}
        filled[kind] = [
            replace(e, attributes={a: columns[a][i] for a in columns}) for i, e in enumerate(entities)
        ]
    filled["person"] = _befriend(filled["person"], rng)
    filled["place"] = _elect(filled["place"], filled["person"], rng)
    return filled


def _deal(pool: list[Value], n: int, rng: random.Random) -> list[Value]:
    """`n` values, each as often as any other to within one, in random order."""
    dealt: list[Value] = []
    while len(dealt) < n:
        dealt += rng.sample(pool, len(pool))
    dealt = dealt[:n]
    rng.shuffle(dealt)
    return dealt


def _befriend(people: list[Entity], rng: random.Random) -> list[Entity]:
    """Best friends in pairs, so that friendship holds both ways."""
    order = rng.sample(range(len(people)), len(people))
    friend = {a: b for x, y in zip(order[::2], order[1::2], strict=True) for a, b in ((x, y), (y, x))}
    return [
        replace(p, attributes={**p.attributes, "friend": Ref(people[friend[i]].id)})
        for i, p in enumerate(people)
    ]


def _elect(places: list[Entity], people: list[Entity], rng: random.Random) -> list[Entity]:
    """Every place's mayor is one of those who live there; a place where nobody lives borrows one."""
    residents: dict[Value, list[Entity]] = {}
    for person in people:
        residents.setdefault(person.attributes["home"], []).append(person)
    mayors = [rng.choice(residents.get(Ref(place.id), people)) for place in places]
    return [
        replace(p, attributes={**p.attributes, "mayor": Ref(m.id)})
        for p, m in zip(places, mayors, strict=True)
    ]
