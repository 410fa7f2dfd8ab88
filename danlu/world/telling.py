"""Facts into sentences: a teller holds a world's entities and values as slots for one language's patterns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from random import Random
from typing import Literal

from danlu.world.attributes import ATTRIBUTES
from danlu.world.names import Lang, plural
from danlu.world.patterns import FactPatterns, fact_patterns
from danlu.world.patterns.frames import NOTES
from danlu.world.truth import Entity, Fact, Path, Ref, Value, World
from danlu.world.values import INSTRUMENT_VERBS
from danlu.world.wording import capital, chance, indefinite, pick, say

Mode = Literal["name", "given", "pronoun"]
Words = Mapping[str, str]
Shared = tuple[str, tuple[Entity, ...]]  # an attribute and those who have the same value for it

PRONOUNS: Mapping[str, tuple[str, str, str]] = {
    "f": ("she", "her", "her"),
    "m": ("he", "his", "him"),
    "": ("it", "its", "it"),
}
PRONOUNS_ZH: Mapping[str, str] = {"f": "她", "m": "他", "": "它"}
SORTS_ZH: Mapping[str, str] = {"village": "村庄", "town": "小镇", "city": "城市", "port": "港口"}
ARTICLED = ("animal", "thing")  # kinds whose English names are common nouns


@lru_cache(maxsize=8)
def teller(world: World, lang: Lang) -> Teller:
    """The teller of this world in this language; made once."""
    return Teller(world, lang)


class Teller:
    """Single sentences about the facts of one world, in one language."""

    def __init__(self, world: World, lang: Lang) -> None:
        self.world = world
        self.lang: Lang = lang
        self.patterns = fact_patterns(lang)
        self.open_ids = frozenset(e.id for e in world.entities if world.entity_split(e) == "train")
        self._subjects = {e.id: _subject_modes(e, lang) for e in world.entities}
        self._values: dict[Value, Words] = {f.value: self._value_words(f.value) for f in world.facts}

    @property
    def rich(self) -> bool:
        """Whether the world is large enough for longer prose."""
        return self.world.size.values > 20

    @cached_property
    def links(self) -> Mapping[str, tuple[Shared, ...]]:
        """For each entity's id, the attributes of others that have it as their value, with those others.

        Friends are left out: friendship holds both ways, so the entity's own facts say it already.
        """
        found: dict[str, list[Shared]] = {}
        for attribute, holders in self._held():
            value = holders[0].attributes[attribute]
            if isinstance(value, Ref) and attribute != "friend":
                found.setdefault(value.id, []).append((attribute, holders))
        return {key: tuple(shared) for key, shared in found.items()}

    @cached_property
    def shared_values(self) -> tuple[tuple[Shared, ...], ...]:
        """For each attribute its values that several entities share, with those entities."""
        groups: dict[tuple[str, str], list[Shared]] = {}
        for attribute, holders in self._held():
            if len(holders) > 1:
                groups.setdefault((holders[0].kind, attribute), []).append((attribute, holders))
        return tuple(tuple(group) for group in groups.values())

    def _held(self) -> Iterator[Shared]:
        for kind, table in ATTRIBUTES.items():
            for attribute in table:
                for value in self.world.values(kind, attribute):
                    yield attribute, self.world.holders(kind, attribute, value)

    def introduction(self, pattern: str, entity: Entity) -> str:
        """A sentence that says no fact but what kind of entity this is."""
        return pattern.format_map(self._subjects[entity.id]["name"])

    def name(self, entity: Entity) -> str:
        """The entity as a subject in mid-sentence, with the article that it needs."""
        return self._subjects[entity.id]["name"]["x"]

    def told(self, entity: Entity, attribute: str, rng: Random, mode: Mode = "name") -> str:
        """One fact as a statement or, for an entity of the training split, as a question with its answer."""
        patterns = self._patterns(entity, attribute)
        if patterns.asked and entity.id in self.open_ids and chance(rng, 0.1):
            return say(rng, patterns.asked, self._slots(entity, attribute, mode))
        return self.statement(entity, attribute, rng, mode)

    def statement(self, entity: Entity, attribute: str, rng: Random, mode: Mode = "name") -> str:
        """A whole sentence for one fact of the entity."""
        return say(rng, self._patterns(entity, attribute).statements, self._slots(entity, attribute, mode))

    def predicate(self, entity: Entity, attribute: str, rng: Random) -> str:
        """What can follow any subject to say this fact."""
        return say(rng, self._patterns(entity, attribute).predicates, self._slots(entity, attribute, "name"))

    def inverse(self, entity: Entity, attribute: str, rng: Random) -> str:
        """A whole sentence for the fact that starts from its value: 'Among those who live in … is …'."""
        return say(rng, self._patterns(entity, attribute).inverses, self._slots(entity, attribute, "name"))

    def shared(self, holders: Sequence[Entity], attribute: str, rng: Random) -> str:
        """One sentence for several entities that have the same value."""
        first = holders[0]
        listed = self.listing([self.name(h) for h in holders])
        slots = {**self._values[first.attributes[attribute]], "list": listed, "List": capital(listed)}
        slots["all"] = "both" if len(holders) == 2 else "all"
        return say(rng, self._patterns(first, attribute).lists, slots)

    def subject(self, entity: Entity, mode: Mode) -> str:
        """The entity as a sentence-initial subject."""
        return self._subjects[entity.id][mode]["X"]

    def combined(self, entity: Entity, attributes: Sequence[str], rng: Random, mode: Mode) -> str:
        """Several facts in one sentence: 'Mina lives in Tolen, plays the flute and is 34 years old.'"""
        said = [self.predicate(entity, attribute, rng) for attribute in attributes]
        if mode != "name" and chance(rng, 0.4):
            said[0] = self._also(said[0])
        if self.lang == "zh":
            return f"{self.subject(entity, mode)}{'，'.join(said)}。"
        return f"{self.subject(entity, mode)} {self.listing(said)}."

    def _also(self, predicate: str) -> str:
        """The predicate as a further fact: 'also plays the flute'; Chinese ones need a verb for that."""
        if self.lang == "zh":
            return f"还{predicate}" if predicate[0] in "会养有爱喜常" else predicate
        verb, _, rest = predicate.partition(" ")
        return f"{verb} also {rest}" if verb in ("is", "was", "can") else f"also {predicate}"

    def phrase(self, entity: Entity, attribute: str) -> str:
        """The value as seen from its holder: 'the place where Mina lives'."""
        spec = self.world.attribute(Fact(entity.id, attribute, entity.attributes[attribute]))
        phrase = spec.phrase.get(self.lang).format(x=entity.name.get(self.lang))
        return f"the {phrase}" if self.lang == "en" and spec.pool in ARTICLED else phrase

    def note(self, path: Path, rng: Random) -> str:
        """Two facts and what follows from them."""
        first = self.predicate(path.subject, path.first, rng)
        second = self.predicate(path.middle, path.second, rng)
        phrase, subject, middle = self.phrase(path.subject, path.first), path.subject, path.middle
        slots = {
            **{"s": self.name(subject), "S": self.subject(subject, "name"), "first": first, "second": second},
            **{"m": self.name(middle), "M": self.subject(middle, "name"), "p": phrase, "P": capital(phrase)},
        }
        return pick(rng, NOTES[self.lang]).format_map(slots)

    def listing(self, parts: Sequence[str]) -> str:
        """'a, b and c', or a、b和c."""
        if len(parts) == 1:
            return parts[0]
        if self.lang == "zh":
            return f"{'、'.join(parts[:-1])}和{parts[-1]}"
        return f"{', '.join(parts[:-1])} and {parts[-1]}"

    def _patterns(self, entity: Entity, attribute: str) -> FactPatterns:
        return self.patterns[f"{entity.kind}.{attribute}"]

    def _slots(self, entity: Entity, attribute: str, mode: Mode) -> Words:
        return {**self._subjects[entity.id][mode], **self._values[entity.attributes[attribute]]}

    def _value_words(self, value: Value) -> Words:
        text = self.world.value_text(value, self.lang)
        if self.lang == "zh":
            return {"v": text, "play": INSTRUMENT_VERBS.get(text, "演奏")}
        words = {"v": text, "V": capital(text)}
        if isinstance(value, Ref) and self.world.by_id[value.id].kind == "person":
            return words
        return {**words, "av": indefinite(text), "Av": capital(indefinite(text))}


def _subject_modes(entity: Entity, lang: Lang) -> dict[Mode, Words]:
    """The subject's slots when it is called by its name, by its given name, and by a pronoun."""
    words = _subject_en if lang == "en" else _subject_zh
    return {
        "name": words(entity, "name"),
        "given": words(entity, "given"),
        "pronoun": words(entity, "pronoun"),
    }


def _subject_en(entity: Entity, mode: Mode) -> Words:
    bare = entity.name.en
    full = f"the {bare}" if entity.kind in ARTICLED else bare
    he, his, him = PRONOUNS[entity.sort if entity.kind == "person" else ""]
    called = bare.split()[0] if mode == "given" and entity.kind == "person" else full
    x, xs, o = (he, his, him) if mode == "pronoun" else (called, f"{called}'s", called)
    words = {"x": x, "xs": xs, "o": o, "he": he, "his": his, "him": him}
    words |= {"x0": full, "a0": indefinite(bare), "n": bare, "ns": plural(bare)}
    return {**words, **{capital(k): capital(v) for k, v in words.items()}, **_sort_en(entity)}


def _sort_en(entity: Entity) -> Words:
    return {"sort": entity.sort, "a_sort": indefinite(entity.sort)} if entity.kind == "place" else {}


def _subject_zh(entity: Entity, mode: Mode) -> Words:
    full = entity.name.zh
    he = PRONOUNS_ZH[entity.sort if entity.kind == "person" else ""]
    called = full.split("·")[0] if mode == "given" else full
    x = he if mode == "pronoun" else called
    return {"x": x, "X": x, "he": he, "x0": full, "sort": SORTS_ZH.get(entity.sort, "")}
