"""People, animals and things that the world does not know: what is said of them holds in one document only.

Texts about newcomers teach to answer from what was just read. Their names are well-formed and used neither by
the world nor by any question of the exam.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from danlu.world.attributes import ATTRIBUTES
from danlu.world.cast import Cast
from danlu.world.names import Coined, Kind, Name
from danlu.world.statements import Mention, by_name, by_pronoun, question_about, statements, takes_pronoun
from danlu.world.values import VALUES
from danlu.world.wording import Lang, capital, chance, pick


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody or something with made-up facts."""

    kind: Kind
    name: Name
    sort: str  # of people "f" or "m"
    values: Mapping[str, Name]

    def named(self, lang: Lang) -> Mention:
        """The newcomer by name."""
        return by_name(self.kind, self.name, lang)

    def pronoun(self, lang: Lang) -> Mention:
        """The newcomer as he, she or it."""
        return by_pronoun(self.kind, self.sort, lang)

    def statement(self, attribute: str, mention: Mention, lang: Lang, rng: Random) -> str:
        """One of the facts as a sentence."""
        return capital(pick(rng, statements(self.kind, attribute, self.values[attribute], mention, lang)))

    def question(self, attribute: str, mention: Mention, lang: Lang, rng: Random) -> str:
        """A question about one of the facts; with a pronoun only where one can stand."""
        wordings = ATTRIBUTES[self.kind][attribute].questions[lang]
        if mention == self.pronoun(lang):
            wordings = [wording for wording in wordings if takes_pronoun(wording)]
        return question_about(pick(rng, wordings), mention)

    def reply(self, attribute: str, lang: Lang, rng: Random) -> str:
        """The answer, in a sentence with a pronoun or in a word."""
        if chance(rng, 0.35):
            return capital(self.values[attribute].get(lang)) + ("." if lang == "en" else "。")
        return self.statement(attribute, self.pronoun(lang), lang, rng)


def newcomer(cast: Cast, rng: Random, kind: Kind, told: Sequence[str]) -> Newcomer:
    """Somebody or something new, with a value for each attribute that is `told`."""
    coined = stranger(cast, rng) if kind == "person" else _new_word(cast, rng, kind)
    return Newcomer(kind, coined.name, coined.sort, {a: _value(cast, kind, a, rng) for a in told})


def _new_word(cast: Cast, rng: Random, kind: Kind) -> Coined:
    """A name of an animal or a thing beyond those that the exam uses."""
    return cast.world.unknown(kind, FIRST_WORD + int(rng.random() * (LAST_WORD - FIRST_WORD)))


def stranger(cast: Cast, rng: Random) -> Coined:
    """A name that nobody bears and that no exam question uses."""
    # Numbers divisible by 4 are told of in the exam; those one before recombine names of the world.
    return cast.world.unknown("person", FIRST + 4 * int(rng.random() * 1000) + 1 + int(rng.random() * 2))


def _value(cast: Cast, kind: Kind, attribute: str, rng: Random) -> Name:
    pool, world = ATTRIBUTES[kind][attribute].pool, cast.world
    if pool in VALUES:
        return pick(rng, VALUES[pool][: world.size.values])
    if pool in NUMBERS:
        number = str(pick(rng, NUMBERS[pool]))
        return Name(number, number)
    return pick(rng, {"place": world.places, "animal": world.animals, "food": world.foods}[pool]).name


FIRST = 1600  # names before this one are left to the exam's unknown people
FIRST_WORD, LAST_WORD = 360, 400  # and words before this one to its unknown animals and things
NUMBERS: Mapping[str, Sequence[int]] = {"age": range(16, 80), "legs": (2, 4, 6, 8), "lifespan": range(3, 41)}
TELLABLE: Mapping[Kind, Sequence[str]] = {
    "person": ("job", "home", "age", "pet", "instrument", "favourite_colour", "favourite_food"),
    "animal": ("colour", "diet", "habitat", "legs", "lifespan"),
    "thing": ("material", "use", "colour"),
}
