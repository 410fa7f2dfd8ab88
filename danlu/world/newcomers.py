"""People whom the world does not know: what is said of them holds in one document and nowhere else.

Texts about newcomers teach to answer from what was just read. Their names are well-formed and used neither by
the world nor by any question of the exam.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from danlu.world.attributes import ATTRIBUTES
from danlu.world.cast import Cast
from danlu.world.names import Coined, Name
from danlu.world.statements import Mention, by_name, by_pronoun, question_about, statements, takes_pronoun
from danlu.world.values import VALUES
from danlu.world.wording import Lang, capital, chance, pick


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody with a few made-up facts."""

    name: Name
    sort: str
    values: Mapping[str, Name]

    def named(self, lang: Lang) -> Mention:
        """The newcomer by name."""
        return by_name("person", self.name, lang)

    def pronoun(self, lang: Lang) -> Mention:
        """The newcomer as he or she."""
        return by_pronoun("person", self.sort, lang)

    def statement(self, attribute: str, mention: Mention, lang: Lang, rng: Random) -> str:
        """One of the facts as a sentence."""
        return capital(pick(rng, statements("person", attribute, self.values[attribute], mention, lang)))

    def question(self, attribute: str, mention: Mention, lang: Lang, rng: Random) -> str:
        """A question about one of the facts; with a pronoun only where one can stand."""
        wordings = ATTRIBUTES["person"][attribute].questions[lang]
        if mention == self.pronoun(lang):
            wordings = [wording for wording in wordings if takes_pronoun(wording)]
        return question_about(pick(rng, wordings), mention)

    def reply(self, attribute: str, lang: Lang, rng: Random) -> str:
        """The answer, in a sentence with a pronoun or in a word."""
        if chance(rng, 0.35):
            return capital(self.values[attribute].get(lang)) + ("." if lang == "en" else "。")
        return self.statement(attribute, self.pronoun(lang), lang, rng)


def newcomer(cast: Cast, rng: Random) -> Newcomer:
    """Somebody new with values for every attribute that can be made up."""
    coined = stranger(cast, rng)
    return Newcomer(
        coined.name, coined.sort, {attribute: _value(cast, attribute, rng) for attribute in TELLABLE}
    )


def stranger(cast: Cast, rng: Random) -> Coined:
    """A name that nobody bears and that no exam question uses."""
    # Numbers divisible by 4 are told of in the exam; those one before recombine names of the world.
    return cast.world.unknown("person", FIRST + 4 * int(rng.random() * 1000) + 1 + int(rng.random() * 2))


def _value(cast: Cast, attribute: str, rng: Random) -> Name:
    pool = ATTRIBUTES["person"][attribute].pool
    if pool in VALUES:
        return pick(rng, VALUES[pool][: cast.world.size.values])
    if pool == "age":
        number = str(16 + int(rng.random() * 64))
        return Name(number, number)
    return pick(
        rng, {"place": cast.world.places, "animal": cast.world.animals, "food": cast.world.foods}[pool]
    ).name


FIRST = 1600  # names before this one are left to the exam's unknown people
TELLABLE = ("job", "home", "age", "pet", "instrument", "favourite_colour", "favourite_food")
