"""Pictures that the world draws, and what can be asked about them: colours, shapes, counts and relations.

The shapes, colours and relation that a question names, together, belong to one split, so that the exam asks
about combinations that no training question named. The answer has no part in this: if it had, training would
teach which answers to a question never come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from danlu.world.names import Lang
from danlu.world.splits import Split, generator, split_of, stable_hash

Kind = Literal["colour", "shape", "count", "relation"]
Exercise = Literal["plain colour", "plain shape", "plain where", "where"]
Floats = NDArray[np.float64]

GRID = 3  # places along each side of a picture
CELL = 16  # pixels along each side of a place
SIDE = GRID * CELL
PAPER = (255, 255, 255)
MOST_THINGS = 5


@dataclass(frozen=True, slots=True)
class Thing:
    """One shape in its place."""

    shape: str
    colour: str
    column: int  # from the left, from 0
    row: int  # from the top, from 0


Scene = tuple[Thing, ...]


@dataclass(frozen=True, slots=True)
class PictureQuestion:
    """A picture, and something asked about it."""

    id: str
    kind: Kind | Exercise
    lang: Lang
    split: Split
    scene: Scene
    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class _Asked:
    about: tuple[str, ...]  # what decides the split
    prompt: str
    answer: str


Asker = Callable[[Scene, Lang, Random], _Asked | None]


def draw(scene: Scene) -> NDArray[np.uint8]:
    """A picture in red, green and blue, (SIDE, SIDE, 3)."""
    picture = np.full((SIDE, SIDE, 3), PAPER, dtype=np.uint8)
    middles = (np.arange(CELL) + 0.5) / CELL * 2 - 1
    across, down = np.meshgrid(middles, middles)  # -1 to 1, from the left and from the top
    for thing in scene:
        place = picture[thing.row * CELL :, thing.column * CELL :][:CELL, :CELL]
        place[SHAPES[thing.shape].covers(across, down)] = COLOURS[thing.colour].rgb
    return picture


def picture_questions(kind: Kind, lang: Lang, split: Split, n: int, seed: int) -> list[PictureQuestion]:
    """`n` different questions of one kind; the first ones do not depend on how many are drawn."""
    rng = generator("pictures", kind, lang, split, seed)
    found: dict[str, PictureQuestion] = {}
    while len(found) < n:
        question = ask(random_scene(rng), kind, lang, split, rng)
        if question is not None:
            found.setdefault(question.id, question)
    return list(found.values())


def ask(scene: Scene, kind: Kind | Exercise, lang: Lang, split: Split, rng: Random) -> PictureQuestion | None:
    """A question about a scene; None where the dice made none, or one of another split."""
    asked = ASKERS[kind](scene, lang, rng)
    if asked is None or split != (split_of("picture", kind, *asked.about) if kind in KINDS else "train"):
        return None
    number = stable_hash(scene, asked.prompt)
    return PictureQuestion(
        f"picture-{lang}-{number:016x}", kind, lang, split, scene, asked.prompt, asked.answer
    )


def random_scene(rng: Random) -> Scene:
    """From two things to five, each in a place of its own."""
    places = rng.sample(range(GRID * GRID), rng.randint(2, MOST_THINGS))
    return tuple(
        Thing(rng.choice(list(SHAPES)), rng.choice(list(COLOURS)), place % GRID, place // GRID)
        for place in sorted(places)
    )


def _colour(scene: Scene, lang: Lang, rng: Random) -> _Asked | None:
    """The colour of the only thing of its shape that lies on a certain side of another."""
    pair = _side_by_side(scene, rng, lambda each: each.shape)
    if pair is None:
        return None
    thing, name, other = pair
    shape, beside = SHAPES[thing.shape].names[lang], _beside(name, other, lang)
    prompt = {"en": f"What colour is the {shape} {beside}?", "zh": f"{beside}的{shape}是什么颜色的？"}[lang]
    return _Asked((thing.shape, name, other.shape, other.colour), prompt, _said_colour(thing, lang))


def _shape(scene: Scene, lang: Lang, rng: Random) -> _Asked | None:
    """The shape of the only thing of its colour that lies on a certain side of another."""
    pair = _side_by_side(scene, rng, lambda each: each.colour)
    if pair is None:
        return None
    thing, name, other = pair
    colour, beside = COLOURS[thing.colour].names[lang], _beside(name, other, lang)
    prompt = {
        "en": f"What shape is the {colour} thing {beside}?",
        "zh": f"{beside}{colour}的东西是什么形状？",
    }[lang]
    return _Asked((thing.colour, name, other.shape, other.colour), prompt, _said_shape(thing, lang))


def _count(scene: Scene, lang: Lang, rng: Random) -> _Asked | None:
    """How many things there are of a shape, or of a shape and a colour, often such as are there."""
    seen = rng.choice(scene)
    shape = rng.choice((seen.shape, rng.choice(list(SHAPES))))
    colour = rng.choice((None, None, seen.colour, rng.choice(list(COLOURS))))
    n = sum(thing.shape == shape and colour in (None, thing.colour) for thing in scene)
    name, painted = SHAPES[shape].names[lang], COLOURS[colour].names[lang] if colour else ""
    counted = {"en": f"{painted} {name}s".strip(), "zh": f"{painted}的{name}" if painted else name}[lang]
    prompt = {"en": f"How many {counted} are there?", "zh": f"有几个{counted}？"}[lang]
    answer = {"en": f"{n}.", "zh": f"{n}个。"}[lang]
    return _Asked((shape, colour or "any"), prompt, answer)


def _relation(scene: Scene, lang: Lang, rng: Random) -> _Asked | None:
    """Whether one thing lies on a certain side of another; both sides of every pair are asked about."""
    first, second = rng.sample(scene, 2)
    if not (_is_alone(first, scene) and _is_alone(second, scene)):
        return None
    name = rng.choice(list(RELATIONS))
    relation = RELATIONS[name]
    if not (relation.holds(first, second) or relation.holds(second, first)):
        return None  # they are level: neither is to the left of the other
    thing, beside = _name(first, lang), _beside(name, second, lang)
    prompt = {"en": f"Is the {thing} {beside}?", "zh": f"{thing}在{beside}吗？"}[lang]
    yes, no = {"en": ("Yes.", "No."), "zh": ("在。", "不在。")}[lang]
    about = (first.shape, first.colour, name, second.shape, second.colour)
    return _Asked(about, prompt, yes if relation.holds(first, second) else no)


def _plain_colour(scene: Scene, lang: Lang, rng: Random) -> _Asked | None:
    thing = _pick(scene, rng, lambda each: each.shape)
    if thing is None:
        return None
    shape = SHAPES[thing.shape].names[lang]
    prompt = {"en": f"What colour is the {shape}?", "zh": f"{shape}是什么颜色的？"}[lang]
    return _Asked((), prompt, _said_colour(thing, lang))


def _plain_shape(scene: Scene, lang: Lang, rng: Random) -> _Asked | None:
    thing = _pick(scene, rng, lambda each: each.colour)
    if thing is None:
        return None
    colour = COLOURS[thing.colour].names[lang]
    prompt = {"en": f"What shape is the {colour} thing?", "zh": f"{colour}的东西是什么形状？"}[lang]
    return _Asked((), prompt, _said_shape(thing, lang))


def _plain_where(scene: Scene, lang: Lang, rng: Random) -> _Asked | None:
    by_shape = rng.random() < 0.5
    thing = _pick(scene, rng, lambda each: each.shape if by_shape else each.colour)
    if thing is None:
        return None
    shape, colour = SHAPES[thing.shape].names[lang], COLOURS[thing.colour].names[lang]
    painted = {"en": f"{colour} thing", "zh": f"{colour}的东西"}[lang]
    return _asked_where(thing, shape if by_shape else painted, lang)


def _where(scene: Scene, lang: Lang, rng: Random) -> _Asked | None:
    alone = [thing for thing in scene if _is_alone(thing, scene)]
    if not alone:
        return None
    thing = rng.choice(alone)
    return _asked_where(thing, _name(thing, lang), lang)


def _asked_where(thing: Thing, name: str, lang: Lang) -> _Asked:
    place = PLACES[lang][thing.row * GRID + thing.column]
    prompt = {"en": f"Where is the {name}?", "zh": f"{name}在哪里？"}[lang]
    return _Asked((), prompt, {"en": f"At the {place}.", "zh": f"在{place}。"}[lang])


def _pick(scene: Scene, rng: Random, by: Callable[[Thing], str]) -> Thing | None:
    """A thing that is the only one of its shape, or of its colour."""
    names = [by(thing) for thing in scene]
    alone = [thing for thing in scene if names.count(by(thing)) == 1]
    return rng.choice(alone) if alone else None


def _side_by_side(scene: Scene, rng: Random, by: Callable[[Thing], str]) -> tuple[Thing, str, Thing] | None:
    """A thing, the side of another on which it is the only one of its shape or colour, and that other."""
    thing, other = rng.sample(scene, 2)
    sides = [name for name, relation in RELATIONS.items() if relation.holds(thing, other)]
    name = rng.choice(sides)
    alike = [each for each in scene if by(each) == by(thing) and RELATIONS[name].holds(each, other)]
    return (thing, name, other) if len(alike) == 1 and _is_alone(other, scene) else None


def _is_alone(thing: Thing, scene: Scene) -> bool:
    """Whether nothing else has both its shape and its colour."""
    return sum((each.shape, each.colour) == (thing.shape, thing.colour) for each in scene) == 1


def _name(thing: Thing, lang: Lang) -> str:
    """Red circle, 红色的圆形."""
    colour, shape = COLOURS[thing.colour].names[lang], SHAPES[thing.shape].names[lang]
    return {"en": f"{colour} {shape}", "zh": f"{colour}的{shape}"}[lang]


def _beside(name: str, other: Thing, lang: Lang) -> str:
    """To the left of the red circle, 红色的圆形左边."""
    relation = RELATIONS[name].names[lang]
    return {"en": f"{relation} the {_name(other, lang)}", "zh": f"{_name(other, lang)}{relation}"}[lang]


def _said_colour(thing: Thing, lang: Lang) -> str:
    colour = COLOURS[thing.colour].names[lang]
    return {"en": f"{colour.capitalize()}.", "zh": f"{colour}。"}[lang]


def _said_shape(thing: Thing, lang: Lang) -> str:
    shape = SHAPES[thing.shape].names[lang]
    return {"en": f"A {shape}.", "zh": f"{shape}。"}[lang]


@dataclass(frozen=True, slots=True)
class _Shape:
    names: dict[Lang, str]
    covers: Callable[[Floats, Floats], NDArray[np.bool_]]  # where it is, by distance from the middle


@dataclass(frozen=True, slots=True)
class _Colour:
    names: dict[Lang, str]
    rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Relation:
    names: dict[Lang, str]
    holds: Callable[[Thing, Thing], bool]


def _named(en: str, zh: str) -> dict[Lang, str]:
    return {"en": en, "zh": zh}


def _ring(x: Floats, y: Floats) -> Any:
    distance = np.hypot(x, y)
    return (distance >= 0.45) & (distance <= 0.85)


def _plus(x: Floats, y: Floats) -> Any:
    x, y = np.abs(x), np.abs(y)
    return (np.minimum(x, y) <= 0.25) & (np.maximum(x, y) <= 0.85)


SHAPES: dict[str, _Shape] = {
    "circle": _Shape(_named("circle", "圆形"), lambda x, y: np.hypot(x, y) <= 0.85),
    "square": _Shape(_named("square", "方块"), lambda x, y: np.maximum(np.abs(x), np.abs(y)) <= 0.75),
    "triangle": _Shape(
        _named("triangle", "三角形"), lambda x, y: (np.abs(y) <= 0.85) & (np.abs(x) <= (y + 0.85) / 2)
    ),
    "diamond": _Shape(_named("diamond", "菱形"), lambda x, y: np.abs(x) + np.abs(y) <= 0.9),
    "cross": _Shape(_named("cross", "十字"), _plus),
    "ring": _Shape(_named("ring", "圆环"), _ring),
}
COLOURS: dict[str, _Colour] = {
    "red": _Colour(_named("red", "红色"), (214, 39, 40)),
    "orange": _Colour(_named("orange", "橙色"), (255, 140, 0)),
    "yellow": _Colour(_named("yellow", "黄色"), (240, 210, 0)),
    "green": _Colour(_named("green", "绿色"), (34, 139, 34)),
    "blue": _Colour(_named("blue", "蓝色"), (31, 90, 200)),
    "purple": _Colour(_named("purple", "紫色"), (128, 40, 160)),
}
RELATIONS: dict[str, _Relation] = {
    "left": _Relation(_named("to the left of", "左边"), lambda a, b: a.column < b.column),
    "right": _Relation(_named("to the right of", "右边"), lambda a, b: a.column > b.column),
    "above": _Relation(_named("above", "上面"), lambda a, b: a.row < b.row),
    "below": _Relation(_named("below", "下面"), lambda a, b: a.row > b.row),
}
PLACES: dict[Lang, tuple[str, ...]] = {  # row by row
    "en": (
        *("top left", "top", "top right", "left", "middle", "right"),
        *("bottom left", "bottom", "bottom right"),
    ),
    "zh": ("左上角", "上边", "右上角", "左边", "正中间", "右边", "左下角", "下边", "右下角"),
}
KINDS: dict[Kind, Asker] = {"colour": _colour, "shape": _shape, "count": _count, "relation": _relation}
# For learning only, to find one thing: the exam asks nothing of the kind.
EXERCISES: dict[Exercise, Asker] = {
    "plain colour": _plain_colour,
    "plain shape": _plain_shape,
    "plain where": _plain_where,
    "where": _where,
}
ASKERS: dict[Kind | Exercise, Asker] = {**KINDS, **EXERCISES}
