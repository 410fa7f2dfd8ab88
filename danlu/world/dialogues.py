"""Talk between two people, as a script or in prose: daily scenes, questions about the world, newcomers.

Questions are asked about entities of the training split only, so about none of whom the exam asks. Newcomers
and strangers bear names that the world does not use.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from random import Random

from danlu.world.attributes import ATTRIBUTES
from danlu.world.cast import Cast, Role
from danlu.world.newcomers import TELLABLE, newcomer, stranger
from danlu.world.patterns import talk
from danlu.world.statements import pronoun_of, question_about, takes_pronoun
from danlu.world.telling import teller
from danlu.world.truth import Entity, World
from danlu.world.wording import Lang, Lines, capital, chance, pick, say

Speakers = tuple[Role, Role]
Turn = tuple[int, str]  # who speaks, 0 or 1, and what


def dialogue(cast: Cast, rng: Random) -> str:
    """One conversation."""
    speakers = cast.two(rng)
    turns = pick(rng, (_scene, _scene, _about, _about, _newcomer, _stranger))(cast, rng, speakers)
    return _written(cast.lang, rng, turns, speakers)


def _scene(cast: Cast, rng: Random, speakers: Speakers) -> list[Turn]:
    """A scene of daily life, with or without greeting and farewell."""
    first, second = speakers
    slots = {
        **first.as_a,
        **second.as_b,
        **cast.elsewhere(rng, first),
        **pick(rng, cast.foods),
        **pick(rng, cast.things),
        "c": cast.another(rng, second).as_a["a_1"],
    }
    exchanges, scene = EXCHANGES[cast.lang], pick(rng, SCENES)
    steps = [step for step in exchanges if step.split()[0] == scene]
    steps = [*(["greet"] if chance(rng, 0.6) else []), *steps, *(["bye"] if chance(rng, 0.5) else [])]
    turns: list[Turn] = []
    for step in steps:
        line, reply = say(rng, exchanges[step], slots).split(" / ")
        turns += [(0, line), (1, reply)]
    return turns


def _about(cast: Cast, rng: Random, speakers: Speakers) -> list[Turn]:
    """One asks about somebody or something, the other answers; from the second question on with a pronoun."""
    entity, told = pick(rng, open_entities(cast.world)), teller(cast.world, cast.lang)
    first, *others = rng.sample(list(entity.attributes), 2 + int(rng.random() * 3))
    patterns = (talk.KNOW_PERSON if entity.kind == "person" else talk.KNOW)[cast.lang]
    said = told.statement(entity, first, rng, "name")
    turns = [
        (0, say(rng, patterns, {"x": told.name(entity)})),
        (1, say(rng, talk.YES[cast.lang], {"said": said})),
    ]
    for attribute in others:
        turns += _follow_up(cast, rng, entity, attribute)
    if chance(rng, 0.5):
        turns.append((0, pick(rng, talk.THANKS[cast.lang])))
    return turns


def _follow_up(cast: Cast, rng: Random, entity: Entity, attribute: str) -> list[Turn]:
    """A question with a pronoun and its answer, if any wording of the question can take one."""
    patterns = [p for p in ATTRIBUTES[entity.kind][attribute].questions[cast.lang] if takes_pronoun(p)]
    if not patterns:
        return []
    question = question_about(pick(rng, patterns), pronoun_of(entity, cast.lang))
    answer = teller(cast.world, cast.lang).statement(entity, attribute, rng, "pronoun")
    return [(0, _and(cast.lang, rng, question)), (1, answer)]


def _and(lang: Lang, rng: Random, question: str) -> str:
    """A further question, led in as people do."""
    return say(rng, talk.AND[lang], {"question": question[0].lower() + question[1:], "Question": question})


@lru_cache(maxsize=4)
def open_entities(world: World) -> tuple[Entity, ...]:
    """Those about whom texts may ask: none of whom the exam asks."""
    return tuple(e for e in world.entities if world.entity_split(e) == "train") or world.entities


def _newcomer(cast: Cast, rng: Random, speakers: Speakers) -> list[Turn]:
    """One tells of somebody new, the other asks on, and at the end asks what was said first."""
    lang = cast.lang
    first, *others = rng.sample(TELLABLE["person"], 2 + int(rng.random() * 2))
    new = newcomer(cast, rng, "person", (first, *others))
    said = new.statement(first, new.pronoun(lang), lang, rng)
    turns = [(0, say(rng, talk.TELL_NEW[lang], {"x": new.name.get(lang), "said": said}))]
    for attribute in others:
        question = new.question(attribute, new.pronoun(lang), lang, rng)
        turns += [(1, _and(lang, rng, question)), (0, new.reply(attribute, lang, rng))]
    if chance(rng, 0.6):
        asked = pick(rng, [first, *others])
        again = new.question(asked, new.named(lang), lang, rng)
        turns += [(1, say(rng, talk.AGAIN[lang], {"question": again})), (0, new.reply(asked, lang, rng))]
    return turns


def _stranger(cast: Cast, rng: Random, speakers: Speakers) -> list[Turn]:
    """One asks about a name that means nothing here; the other says so."""
    lang, name = cast.lang, stranger(cast, rng).name.get(cast.lang)
    pattern = pick(rng, pick(rng, list(ATTRIBUTES["person"].values())).questions[lang])
    question = capital(pattern.replace("{x}", name))
    if chance(rng, 0.3):
        question = say(rng, talk.KNOW_PERSON[lang], {"x": name})
    return [(0, question), (1, say(rng, talk.NEVER_HEARD[lang], {"x": name}))]


def _written(lang: Lang, rng: Random, turns: list[Turn], speakers: Speakers) -> str:
    """As a script with names or letters, with dashes, or as prose."""
    first, second = (role.name.get(lang) for role in speakers)
    style = rng.random()
    if style < 0.2:
        return "\n".join(DASH[lang] + line for _, line in turns)
    if style < 0.45:
        return _as_prose(lang, rng, turns, (first, second))
    names = ("A", "B") if style < 0.6 else (first, second)
    if style > 0.8:
        names = tuple(name.split(" " if lang == "en" else "·")[0] for name in names)
    return "\n".join(f"{names[speaker]}{COLON[lang]}{line}" for speaker, line in turns)


def _as_prose(lang: Lang, rng: Random, turns: list[Turn], names: tuple[str, str]) -> str:
    """Every line in quotation marks with who said it."""
    told: list[str] = []
    for speaker, line in turns:
        pattern = pick(rng, talk.SAID[lang])
        inside = line[:-1] + "," if pattern.startswith('"') and line.endswith(".") else line
        told.append(pattern.format(line=inside, who=names[speaker]))
    return "\n".join(told)


DASH: Mapping[Lang, str] = {"en": "— ", "zh": "——"}
COLON: Mapping[Lang, str] = {"en": ": ", "zh": "："}
SCENES = ("market", "way", "plan", "feel", "wrong", "food", "thing")
EXCHANGES: Mapping[Lang, Mapping[str, Lines]] = {"en": talk.EN, "zh": talk.ZH}
