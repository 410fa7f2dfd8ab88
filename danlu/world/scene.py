"""What the world draws: things of a shape and a colour on a grid of places, and what they are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.world.names import Lang

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


def draw(scene: Scene) -> NDArray[np.uint8]:
    """A picture in red, green and blue, (SIDE, SIDE, 3)."""
    picture = np.full((SIDE, SIDE, 3), PAPER, dtype=np.uint8)
    middles = (np.arange(CELL) + 0.5) / CELL * 2 - 1
    across, down = np.meshgrid(middles, middles)  # -1 to 1, from the left and from the top
    for thing in scene:
        place = picture[thing.row * CELL :, thing.column * CELL :][:CELL, :CELL]
        place[SHAPES[thing.shape].covers(across, down)] = COLOURS[thing.colour].rgb
    return picture


def random_scene(rng: Random) -> Scene:
    """From two things to five, each in a place of its own."""
    places = rng.sample(range(GRID * GRID), rng.randint(2, MOST_THINGS))
    return tuple(
        Thing(rng.choice(list(SHAPES)), rng.choice(list(COLOURS)), place % GRID, place // GRID)
        for place in sorted(places)
    )


def is_alone(thing: Thing, scene: Scene) -> bool:
    """Whether nothing else has both its shape and its colour."""
    return sum((each.shape, each.colour) == (thing.shape, thing.colour) for each in scene) == 1


def name_of(thing: Thing, lang: Lang) -> str:
    """Red circle, 红色的圆形."""
    colour, shape = COLOURS[thing.colour].names[lang], SHAPES[thing.shape].names[lang]
    return {"en": f"{colour} {shape}", "zh": f"{colour}的{shape}"}[lang]


def beside_the(name: str, other: str, lang: Lang) -> str:
    """To the left of the red circle, 红色的圆形左边."""
    relation = RELATIONS[name].names[lang]
    return {"en": f"{relation} the {other}", "zh": f"{other}{relation}"}[lang]


@dataclass(frozen=True, slots=True)
class Shape:
    names: dict[Lang, str]
    covers: Callable[[Floats, Floats], NDArray[np.bool_]]  # where it is, by distance from the middle


@dataclass(frozen=True, slots=True)
class Colour:
    names: dict[Lang, str]
    rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Relation:
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


SHAPES: dict[str, Shape] = {
    "circle": Shape(_named("circle", "圆形"), lambda x, y: np.hypot(x, y) <= 0.85),
    "square": Shape(_named("square", "方块"), lambda x, y: np.maximum(np.abs(x), np.abs(y)) <= 0.75),
    "triangle": Shape(
        _named("triangle", "三角形"), lambda x, y: (np.abs(y) <= 0.85) & (np.abs(x) <= (y + 0.85) / 2)
    ),
    "diamond": Shape(_named("diamond", "菱形"), lambda x, y: np.abs(x) + np.abs(y) <= 0.9),
    "cross": Shape(_named("cross", "十字"), _plus),
    "ring": Shape(_named("ring", "圆环"), _ring),
}
COLOURS: dict[str, Colour] = {
    "red": Colour(_named("red", "红色"), (214, 39, 40)),
    "orange": Colour(_named("orange", "橙色"), (255, 140, 0)),
    "yellow": Colour(_named("yellow", "黄色"), (240, 210, 0)),
    "green": Colour(_named("green", "绿色"), (34, 139, 34)),
    "blue": Colour(_named("blue", "蓝色"), (31, 90, 200)),
    "purple": Colour(_named("purple", "紫色"), (128, 40, 160)),
}
RELATIONS: dict[str, Relation] = {
    "left": Relation(_named("to the left of", "左边"), lambda a, b: a.column < b.column),
    "right": Relation(_named("to the right of", "右边"), lambda a, b: a.column > b.column),
    "above": Relation(_named("above", "上面"), lambda a, b: a.row < b.row),
    "below": Relation(_named("below", "下面"), lambda a, b: a.row > b.row),
}
PLACES: dict[Lang, tuple[str, ...]] = {  # row by row
    "en": (
        *("top left", "top", "top right", "left", "middle", "right"),
        *("bottom left", "bottom", "bottom right"),
    ),
    "zh": ("左上角", "上边", "右上角", "左边", "正中间", "右边", "左下角", "下边", "右下角"),
}
