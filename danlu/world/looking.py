"""Exercises in looking at the world's pictures: for learning only, the exam asks nothing of the kind.

A question of the exam is answered by one word, and "yes" says little of what there was to see. Exercises ask
for everything in its place, for several places or counts at once, and how two things lie to each other, so
that every picture teaches a lot. None names what a question of the exam names: where two things are compared,
each is called by its shape or its colour alone, or training may ask about both sides of the pair.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Literal

from danlu.world.names import Lang
from danlu.world.pictures import (
    Asked,
    Asker,
    PictureQuestion,
    asked_whether,
    counted_name,
    naming,
    number_of,
    said_colour,
    said_shape,
    split_asking,
)
from danlu.world.scene import (
    COLOURS,
    GRID,
    PLACES,
    RELATIONS,
    SHAPES,
    Scene,
    Thing,
    is_alone,
    name_of,
)

Exercise = Literal[
    "everything",
    "tour",
    "places",
    "matches",
    "all sides",
    "tally",
    "plain colour",
    "plain shape",
    "plain where",
    "where",
    "plain sides",
    "plain relation",
    "choice",
]
Attribute = Callable[[Thing], str]
N_TALLIED = 3  # counts asked for at once, at most
N_TOLD = 4  # things or pairs of which something is told at once, at most
AXES = (("above", "below"), ("left", "right"))


def practise(scene: Scene, exercise: Exercise, lang: Lang, rng: Random) -> PictureQuestion | None:
    """An exercise about a scene; None where the dice made none."""
    asked = EXERCISES[exercise](scene, lang, rng)
    return asked and asked.of(scene, exercise, lang, "train")


def _everything(scene: Scene, lang: Lang, rng: Random) -> Asked:
    """What is in each place, row by row."""
    there = {(thing.row, thing.column): name_of(thing, lang) for thing in scene}
    nothing, comma, semicolon = {"en": ("nothing", ", ", "; "), "zh": ("空", "，", "；")}[lang]
    rows = [comma.join(there.get((row, column), nothing) for column in range(GRID)) for row in range(GRID)]
    prompt = {"en": "What is in each place?", "zh": "每个位置上各有什么？"}[lang]
    return _said(prompt, semicolon.join(rows), lang)


def _tour(scene: Scene, lang: Lang, rng: Random) -> Asked:
    """What there is, row by row, and the place of each."""
    colon, semicolon = {"en": (": ", "; "), "zh": ("：", "；")}[lang]
    told = (f"{name_of(thing, lang)}{colon}{_place(thing, lang)}" for thing in scene)
    prompt = {"en": "What is there, and where?", "zh": "图上有什么，各在哪里？"}[lang]
    return _said(prompt, semicolon.join(told), lang)


def _places(scene: Scene, lang: Lang, rng: Random) -> Asked | None:
    """Where several things are, in the order in which they are asked about."""
    things = rng.sample(scene, len(scene))
    called = [(thing, _called(thing, scene, lang, rng)) for thing in things]
    told = [(name, _place(thing, lang)) for thing, name in called if name]
    return _listed({"en": "Where are these: {}?", "zh": "{}各在哪里？"}[lang], told, lang, rng)


def _matches(scene: Scene, lang: Lang, rng: Random) -> Asked | None:
    """The colour of several shapes, or the shape of several colours, of which there is only one each."""
    by = rng.choice(ATTRIBUTES)
    what = _colour_named if by is _shape_of else _shape_named
    told = [(_by_half(thing, by, lang), what(thing, lang)) for thing in scene if _is_only(thing, scene, by)]
    prompt = {
        _shape_of: {"en": "What colours are these: {}?", "zh": "{}各是什么颜色的？"},
        _colour_of: {"en": "What shapes are these: {}?", "zh": "{}各是什么形状？"},
    }[by][lang]
    return _listed(prompt, told, lang, rng)


def _all_sides(scene: Scene, lang: Lang, rng: Random) -> Asked | None:
    """How the things of several pairs lie to each other."""
    pairs = (_pair(scene, lang, rng) for _ in range(N_TOLD))
    to = {"en": "{} to {}", "zh": "{}在{}"}[lang]
    told = {to.format(*names): _sides(first, second, lang) for first, second, names in filter(None, pairs)}
    prompt = {"en": "How do these lie: {}?", "zh": "各在哪边：{}？"}[lang]
    return _listed(prompt, [*told.items()], lang, rng)


def _listed(prompt: str, told: list[tuple[str, str]], lang: Lang, rng: Random) -> Asked | None:
    """An exercise that asks about several names in any order and is answered in that order.

    The answer repeats each name: what is found is told right after what it is found by.
    """
    if not told:
        return None
    order = rng.sample(told, min(len(told), N_TOLD))
    comma, colon, semicolon = {"en": (", ", ": ", "; "), "zh": ("、", "：", "；")}[lang]
    asked = prompt.format(comma.join(name for name, _ in order))
    return _said(asked, semicolon.join(f"{name}{colon}{what}" for name, what in order), lang)


def _called(thing: Thing, scene: Scene, lang: Lang, rng: Random) -> str | None:
    """One of the names that mean this thing alone, in full or by half; None where there is none."""
    names = [_by_half(thing, by, lang) for by in ATTRIBUTES if _is_only(thing, scene, by)]
    if is_alone(thing, scene):
        names.append(name_of(thing, lang))
    return rng.choice(names) if names else None


def _tally(scene: Scene, lang: Lang, rng: Random) -> Asked:
    """How many there are of some shapes, colours or coloured shapes, often such as are there."""
    seen = [counted for counted in COUNTED if number_of(*counted, scene)]
    drawn = [rng.choice(seen if rng.random() < 0.6 else COUNTED) for _ in range(N_TALLIED)]
    tallied = list(dict.fromkeys(drawn))
    names = [counted_name(*counted, lang) for counted in tallied]
    prompt = {
        "en": f"How many {', '.join(names)} are there each?",
        "zh": f"{'、'.join(names)}各有几个？",
    }[lang]
    numbers = [number_of(*counted, scene) for counted in tallied]
    answer = {
        "en": ", ".join(str(n) for n in numbers) + ".",
        "zh": "，".join(f"{n}个" for n in numbers) + "。",
    }[lang]
    return Asked((), prompt, answer)


def _plain_colour(scene: Scene, lang: Lang, rng: Random) -> Asked | None:
    """The colour of the only thing of its shape."""
    thing = _pick(scene, rng, _shape_of)
    if thing is None:
        return None
    shape = SHAPES[thing.shape].names[lang]
    prompt = {"en": f"What colour is the {shape}?", "zh": f"{shape}是什么颜色的？"}[lang]
    return Asked((), prompt, said_colour(thing, lang))


def _plain_shape(scene: Scene, lang: Lang, rng: Random) -> Asked | None:
    """The shape of the only thing of its colour."""
    thing = _pick(scene, rng, _colour_of)
    if thing is None:
        return None
    name = _by_half(thing, _colour_of, lang)
    prompt = {"en": f"What shape is the {name}?", "zh": f"{name}是什么形状？"}[lang]
    return Asked((), prompt, said_shape(thing, lang))


def _plain_where(scene: Scene, lang: Lang, rng: Random) -> Asked | None:
    """The place of the only thing of its shape, or of its colour."""
    by = rng.choice(ATTRIBUTES)
    thing = _pick(scene, rng, by)
    return thing and _asked_where(thing, _by_half(thing, by, lang), lang)


def _where(scene: Scene, lang: Lang, rng: Random) -> Asked | None:
    """The place of a thing that is called by its colour and its shape."""
    alone = [thing for thing in scene if is_alone(thing, scene)]
    if not alone:
        return None
    thing = rng.choice(alone)
    return _asked_where(thing, name_of(thing, lang), lang)


def _asked_where(thing: Thing, name: str, lang: Lang) -> Asked:
    place = _place(thing, lang)
    prompt = {"en": f"Where is the {name}?", "zh": f"{name}在哪里？"}[lang]
    return Asked((), prompt, {"en": f"At the {place}.", "zh": f"在{place}。"}[lang])


def _place(thing: Thing, lang: Lang) -> str:
    return PLACES[lang][thing.row * GRID + thing.column]


def _plain_sides(scene: Scene, lang: Lang, rng: Random) -> Asked | None:
    """All the sides of one thing on which another lies."""
    pair = _pair(scene, lang, rng)
    if pair is None:
        return None
    first, second, (thing, other) = pair
    prompt = {"en": f"How does the {thing} lie to the {other}?", "zh": f"{thing}在{other}的哪边？"}[lang]
    return _said(prompt, _sides(first, second, lang), lang)


def _plain_relation(scene: Scene, lang: Lang, rng: Random) -> Asked | None:
    """Whether one thing lies on a certain side of another."""
    pair = _pair(scene, lang, rng)
    if pair is None:
        return None
    first, second, (thing, other) = pair
    axis = rng.choice(AXES)
    name = rng.choice(axis)
    return (
        None
        if _level(first, second, axis)
        else asked_whether(thing, name, other, RELATIONS[name].holds(first, second), lang)
    )


def _choice(scene: Scene, lang: Lang, rng: Random) -> Asked | None:
    """On which of two sides of a thing another lies, both called by their colour and their shape."""
    first, second = rng.sample(scene, 2)
    axis = rng.choice(AXES)
    known = all(split_asking("relation", naming(first, name, second)) == "train" for name in axis)
    if not known or _level(first, second, axis) or not (is_alone(first, scene) and is_alone(second, scene)):
        return None
    one, two = (_side(name, lang) for name in axis)
    thing, other = name_of(first, lang), name_of(second, lang)
    prompt = {
        "en": f"Is the {thing} {one} or {RELATIONS[axis[1]].names[lang]} the {other}?",
        "zh": f"{thing}在{other}{one}还是{two}？",
    }[lang]
    return _said(prompt, one if RELATIONS[axis[0]].holds(first, second) else two, lang)


def _pair(scene: Scene, lang: Lang, rng: Random) -> tuple[Thing, Thing, tuple[str, str]] | None:
    """Two things and what they are called, each the only one of its shape or of its colour."""
    first, second = rng.sample(scene, 2)
    named = [(thing, rng.choice(ATTRIBUTES)) for thing in (first, second)]
    if any(not _is_only(thing, scene, by) for thing, by in named):
        return None
    one, two = (_by_half(thing, by, lang) for thing, by in named)
    return first, second, (one, two)


def _pick(scene: Scene, rng: Random, by: Attribute) -> Thing | None:
    """A thing that is the only one of its shape, or of its colour."""
    alone = [thing for thing in scene if _is_only(thing, scene, by)]
    return rng.choice(alone) if alone else None


def _is_only(thing: Thing, scene: Scene, by: Attribute) -> bool:
    return sum(by(each) == by(thing) for each in scene) == 1


def _level(first: Thing, second: Thing, axis: tuple[str, str]) -> bool:
    return not any(RELATIONS[name].holds(first, second) for name in axis)


def _by_half(thing: Thing, by: Attribute, lang: Lang) -> str:
    """Circle or red thing, 圆形 or 红色的东西."""
    if by is _shape_of:
        return _shape_named(thing, lang)
    colour = _colour_named(thing, lang)
    return {"en": f"{colour} thing", "zh": f"{colour}的东西"}[lang]


def _sides(first: Thing, second: Thing, lang: Lang) -> str:
    """Above, to the left; 上面，左边."""
    sides = [_side(name, lang) for axis in AXES for name in axis if RELATIONS[name].holds(first, second)]
    return {"en": ", ", "zh": "，"}[lang].join(sides)


def _side(name: str, lang: Lang) -> str:
    """To the left, 左边."""
    return RELATIONS[name].names[lang].removesuffix(" of")


def _said(prompt: str, answer: str, lang: Lang) -> Asked:
    """An exercise whose answer is made a sentence."""
    return Asked((), prompt, answer[0].upper() + answer[1:] + {"en": ".", "zh": "。"}[lang])


def _shape_named(thing: Thing, lang: Lang) -> str:
    return SHAPES[thing.shape].names[lang]


def _colour_named(thing: Thing, lang: Lang) -> str:
    return COLOURS[thing.colour].names[lang]


def _shape_of(thing: Thing) -> str:
    return thing.shape


def _colour_of(thing: Thing) -> str:
    return thing.colour


ATTRIBUTES = (_shape_of, _colour_of)
# What may be counted for learning: no shape, alone or with a colour, that the exam asks to count.
COUNTED: list[tuple[str | None, str | None]] = [
    *((None, colour) for colour in COLOURS),
    *(
        (shape, colour)
        for shape in SHAPES
        for colour in (None, *COLOURS)
        if split_asking("count", (shape, colour or "any")) == "train"
    ),
]
EXERCISES: dict[Exercise, Asker] = {
    "everything": _everything,
    "tour": _tour,
    "places": _places,
    "matches": _matches,
    "all sides": _all_sides,
    "tally": _tally,
    "plain colour": _plain_colour,
    "plain shape": _plain_shape,
    "plain where": _plain_where,
    "where": _where,
    "plain sides": _plain_sides,
    "plain relation": _plain_relation,
    "choice": _choice,
}
