"""Who plays in a text: all of a world as slots for patterns, prepared once in each language.

Nobody appears otherwise than the world has it: job, home, pet, tastes and friends are read from the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random

from danlu.world.names import Name, with_article
from danlu.world.truth import Entity, Ref, World
from danlu.world.values import INSTRUMENT_VERBS
from danlu.world.wording import Lang, capital, pick


@dataclass(frozen=True, slots=True, eq=False)
class Role:
    """A person as the first or the second of a text, whose slots begin with `a` or `b`."""

    entity: Entity
    as_a: Mapping[str, str]
    as_b: Mapping[str, str]

    @property
    def name(self) -> Name:
        """The full name."""
        return self.entity.name


class Cast:
    """The people, places, animals, foods and things of one world in one language."""

    def __init__(self, world: World, lang: Lang) -> None:
        self.world = world
        self.lang: Lang = lang
        self.people = tuple(self._role(person) for person in world.people)
        self.places = tuple(self._place(place) for place in world.places)
        self.animals = tuple(self._animal(animal) for animal in world.animals)
        self.foods = tuple(self._food(food) for food in world.foods)
        self.things = tuple(self._thing(thing) for thing in world.things)
        self._role_of = {role.entity.id: role for role in self.people}
        self._sexes = {sex: tuple(r for r in self.people if r.entity.sort == sex) for sex in ("f", "m")}

    def one(self, rng: Random) -> Role:
        """Anybody."""
        return pick(rng, self.people)

    def two(self, rng: Random) -> tuple[Role, Role]:
        """A woman and a man or a man and a woman, so that he and she are never in doubt."""
        first = self.one(rng)
        others = self._sexes["m" if first.entity.sort == "f" else "f"]
        if others:
            return first, pick(rng, others)
        return first, self.friend(first)

    def another(self, rng: Random, first: Role) -> Role:
        """Anybody but `first` and the best friend, by whom no second fact is told in passing."""
        while True:
            second = self.one(rng)
            if second is not first and second is not self.friend(first):
                return second

    def elsewhere(self, rng: Random, role: Role) -> Mapping[str, str]:
        """A place other than the person's home."""
        while True:
            place = pick(rng, self.places)
            if place["place"] != role.as_a["a_home"]:
                return place

    def friend(self, role: Role) -> Role:
        """The person's best friend."""
        ref = role.entity.attributes["friend"]
        assert isinstance(ref, Ref)
        return self._role_of[ref.id]

    def text(self, entity: Entity, attribute: str) -> str:
        """The value of an attribute in words."""
        return self.world.value_text(entity.attributes[attribute], self.lang)

    def _role(self, person: Entity) -> Role:
        return Role(person, self._person(person, "a"), self._person(person, "b"))

    def _person(self, person: Entity, p: str) -> dict[str, str]:
        """Slots of a person: the full name under `p`, the first name under `p_1`, pronouns, facts."""
        name, job = person.name.get(self.lang), self.text(person, "job")
        he, him, his, himself = PRONOUNS[self.lang][person.sort]
        food, pet = self.text(person, "favourite_food"), self.text(person, "pet")
        instrument = self.text(person, "instrument")
        slots = {
            "": name,
            "_1": name.split(" " if self.lang == "en" else "·")[0],
            "_he": he,
            "_him": him,
            "_his": his,
            "_himself": himself,
            "_woman": WOMAN[self.lang][person.sort],
            "_job": job,
            "_a_job": with_article(job),
            "_home": self.text(person, "home"),
            "_pet": pet,
            "_a_pet": with_article(pet),
            "_food": food,
            "_colour": self.text(person, "favourite_colour"),
            "_friend": self.text(person, "friend"),
            "_age": self.text(person, "age"),
            "_instrument": INSTRUMENT_VERBS.get(instrument, "演奏") + instrument
            if self.lang == "zh"
            else instrument,
        }
        return {p + key: value for key, value in slots.items()} | {
            f"{p.upper()}_he": capital(he),
            f"{p.upper()}_his": capital(his),
        }

    def _place(self, place: Entity) -> dict[str, str]:
        sort = place.sort if self.lang == "en" else PLACE_SORT_ZH[place.sort]
        return {
            "place": place.name.get(self.lang),
            "place_sort": sort,
            "region": self.text(place, "region"),
            "river": self.text(place, "river"),
            "product": self.text(place, "known_for"),
        }

    def _animal(self, animal: Entity) -> dict[str, str]:
        name = animal.name.get(self.lang)
        return {
            "animal": name,
            "an_animal": with_article(name),
            "animal_colour": self.text(animal, "colour"),
            "diet": self.text(animal, "diet"),
            "habitat": self.text(animal, "habitat"),
            "legs": self.text(animal, "legs"),
            "lifespan": self.text(animal, "lifespan"),
        }

    def _food(self, food: Entity) -> dict[str, str]:
        return {
            "food": food.name.get(self.lang),
            "taste": self.text(food, "taste"),
            "food_colour": self.text(food, "colour"),
            "ingredient": self.text(food, "ingredient"),
            "origin": self.text(food, "origin"),
        }

    def _thing(self, thing: Entity) -> dict[str, str]:
        name, colour = thing.name.get(self.lang), self.text(thing, "colour")
        return {
            "thing": name,
            "a_thing": with_article(name),
            "thing_colour": colour,
            "a_thing_colour": with_article(colour),
            "material": self.text(thing, "material"),
            "use": self.text(thing, "use"),
            "maker": self.text(thing, "maker"),
        }

    @cached_property
    def food_slots(self) -> Mapping[str, Mapping[str, str]]:
        """A food's slots under its name."""
        return {slots["food"]: slots for slots in self.foods}

    @cached_property
    def animal_slots(self) -> Mapping[str, Mapping[str, str]]:
        """An animal's slots under its name."""
        return {slots["animal"]: slots for slots in self.animals}


PRONOUNS: dict[Lang, dict[str, tuple[str, str, str, str]]] = {
    "en": {"f": ("she", "her", "her", "herself"), "m": ("he", "him", "his", "himself")},
    "zh": {"f": ("她", "她", "她的", "她自己"), "m": ("他", "他", "他的", "他自己")},
}
WOMAN: dict[Lang, dict[str, str]] = {"en": {"f": "woman", "m": "man"}, "zh": {"f": "女士", "m": "先生"}}
PLACE_SORT_ZH = {"village": "村庄", "town": "小镇", "city": "城市", "port": "港口"}
