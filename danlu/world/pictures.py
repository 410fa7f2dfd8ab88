"""What the exam asks about the world's pictures: colours, shapes, counts and relations.

The shapes, colours and relation that a question names, together, belong to one split, so that the exam asks
about combinations that no training question named. The answer has no part in this: if it had, training would
teach which answers to a question never come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

from danlu.world.names import Lang
from danlu.world.scene import (
    COLOURS,
    RELATIONS,
    SHAPES,
    Scene,
    Thing,
    beside_the,
    is_alone,
    name_of,
    random_scene,
)
from danlu.world.splits import Split, generator, split_of, stable_hash

Kind = Literal["colour", "shape", "count", "relation"]


@dataclass(frozen=True, slots=True)
class PictureQuestion:
    """A picture, and something asked about it."""

    id: str
    kind: str  # one of the exam's, or an exercise
    lang: Lang
    split: Split
    scene: Scene
    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about some scene, and the answer."""

    about: tuple[str, ...]  # what decides the split; nothing in an exercise
    prompt: str
    answer: str

    def of(self, scene: Scene, kind: str, lang: Lang, split: Split) -> PictureQuestion:
        number = stable_hash(scene, self.prompt)
        return PictureQuestion(
            f"picture-{lang}-{number:016x}", kind, lang, split, scene, self.prompt, self.answer
        )


Asker = Callable[[Scene, Lang, Random], Asked | None]


def picture_questions(kind: Kind, lang: Lang, split: Split, n: int, seed: int) -> list[PictureQuestion]:
    """`n` different questions of one kind; the first ones do not depend on how many are drawn."""
    rng = generator("pictures", kind, lang, split, seed)
    found: dict[str, PictureQuestion] = {}
    while len(found) < n:
        question = ask(random_scene(rng), kind, lang, split, rng)
        if question is not None:
            found.setdefault(question.id, question)
    return list(found.values())


def ask(scene: Scene, kind: Kind, lang: Lang, split: Split, rng: Random) -> PictureQuestion | None:
    """A question about a scene; None where the dice made none, or one of another split."""
    asked = KINDS[kind](scene, lang, rng)
    if asked is None or split != split_asking(kind, asked.about):
        return None
    return asked.of(scene, kind, lang, split)


def split_asking(kind: Kind, about: tuple[str, ...]) -> Split:
    """The split whose questions name these shapes, colours and relation."""
    return split_of("picture", kind, *about)


def _colour(scene: Scene, lang: Lang, rng: Random) -> Asked | None:
    """The colour of the only thing of its shape that lies on a certain side of another."""
    pair = _side_by_side(scene, rng, lambda each: each.shape)
    if pair is None:
        return None
    thing, name, other = pair
    shape, beside = SHAPES[thing.shape].names[lang], beside_the(name, name_of(other, lang), lang)
    prompt = {"en": f"What colour is the {shape} {beside}?", "zh": f"{beside}的{shape}是什么颜色的？"}[lang]
    return Asked((thing.shape, name, other.shape, other.colour), prompt, said_colour(thing, lang))


def _shape(scene: Scene, lang: Lang, rng: Random) -> Asked | None:
    """The shape of the only thing of its colour that lies on a certain side of another."""
    pair = _side_by_side(scene, rng, lambda each: each.colour)
    if pair is None:
        return None
    thing, name, other = pair
    colour, beside = COLOURS[thing.colour].names[lang], beside_the(name, name_of(other, lang), lang)
    prompt = {
        "en": f"What shape is the {colour} thing {beside}?",
        "zh": f"{beside}{colour}的东西是什么形状？",
    }[lang]
    return Asked((thing.colour, name, other.shape, other.colour), prompt, said_shape(thing, lang))


def _count(scene: Scene, lang: Lang, rng: Random) -> Asked | None:
    """How many things there are of a shape, or of a shape and a colour, often such as are there."""
    seen = rng.choice(scene)
    shape = rng.choice((seen.shape, rng.choice(list(SHAPES))))
    colour = rng.choice((None, None, seen.colour, rng.choice(list(COLOURS))))
    n, counted = number_of(shape, colour, scene), counted_name(shape, colour, lang)
    prompt = {"en": f"How many {counted} are there?", "zh": f"有几个{counted}？"}[lang]
    answer = {"en": f"{n}.", "zh": f"{n}个。"}[lang]
    return Asked((shape, colour or "any"), prompt, answer)


def _relation(scene: Scene, lang: Lang, rng: Random) -> Asked | None:
    """Whether one thing lies on a certain side of another; both sides of every pair are asked about."""
    first, second = rng.sample(scene, 2)
    if not (is_alone(first, scene) and is_alone(second, scene)):
        return None
    name = rng.choice(list(RELATIONS))
    relation = RELATIONS[name]
    if not (relation.holds(first, second) or relation.holds(second, first)):
        return None  # they are level: neither is to the left of the other
    thing, other = name_of(first, lang), name_of(second, lang)
    whether = asked_whether(thing, name, other, relation.holds(first, second), lang)
    return Asked(naming(first, name, second), whether.prompt, whether.answer)


def naming(first: Thing, name: str, second: Thing) -> tuple[str, ...]:
    """What a question whether one thing lies on a certain side of another names."""
    return first.shape, first.colour, name, second.shape, second.colour


def asked_whether(thing: str, name: str, other: str, holds: bool, lang: Lang) -> Asked:
    """Whether a thing lies on a certain side of another, whatever they are called."""
    beside = beside_the(name, other, lang)
    prompt = {"en": f"Is the {thing} {beside}?", "zh": f"{thing}在{beside}吗？"}[lang]
    yes, no = {"en": ("Yes.", "No."), "zh": ("在。", "不在。")}[lang]
    return Asked((), prompt, yes if holds else no)


def number_of(shape: str | None, colour: str | None, scene: Scene) -> int:
    """How many there are of a shape, a colour or both."""
    return sum(shape in (None, thing.shape) and colour in (None, thing.colour) for thing in scene)


def counted_name(shape: str | None, colour: str | None, lang: Lang) -> str:
    """Circles, red things or red circles; 圆形, 红色的东西 or 红色的圆形."""
    name = SHAPES[shape].names[lang] if shape else {"en": "thing", "zh": "东西"}[lang]
    painted = COLOURS[colour].names[lang] if colour else ""
    return {"en": f"{painted} {name}s".strip(), "zh": f"{painted}的{name}" if painted else name}[lang]


def _side_by_side(scene: Scene, rng: Random, by: Callable[[Thing], str]) -> tuple[Thing, str, Thing] | None:
    """A thing, the side of another on which it is the only one of its shape or colour, and that other."""
    thing, other = rng.sample(scene, 2)
    sides = [name for name, relation in RELATIONS.items() if relation.holds(thing, other)]
    name = rng.choice(sides)
    alike = [each for each in scene if by(each) == by(thing) and RELATIONS[name].holds(each, other)]
    return (thing, name, other) if len(alike) == 1 and is_alone(other, scene) else None


def said_colour(thing: Thing, lang: Lang) -> str:
    colour = COLOURS[thing.colour].names[lang]
    return {"en": f"{colour.capitalize()}.", "zh": f"{colour}。"}[lang]


def said_shape(thing: Thing, lang: Lang) -> str:
    shape = SHAPES[thing.shape].names[lang]
    return {"en": f"A {shape}.", "zh": f"{shape}。"}[lang]


KINDS: dict[Kind, Asker] = {"colour": _colour, "shape": _shape, "count": _count, "relation": _relation}
