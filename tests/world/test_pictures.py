"""Pictures show what their scene says, and answers are true of what can be seen."""

from __future__ import annotations

import re

import numpy as np
import pytest

from danlu.world.names import LANGS
from danlu.world.pictures import KINDS, picture_questions
from danlu.world.scene import CELL, COLOURS, PAPER, RELATIONS, SHAPES, SIDE, Thing, draw
from danlu.world.splits import SPLITS

ALL = {
    (kind, lang, split): picture_questions(kind, lang, split, 60, 3)
    for kind in KINDS
    for lang in LANGS
    for split in SPLITS
}
ASKED = [question for some in ALL.values() for question in some]


def seen(picture: np.ndarray) -> list[tuple[str, str, int, int]]:
    """Shape, colour, column and row of everything, told from the pixels alone."""
    pixels = {name: draw((Thing(name, "red", 0, 0),))[:CELL, :CELL].sum(-1) != 3 * 255 for name in SHAPES}
    rgb = {colour.rgb: name for name, colour in COLOURS.items()}
    found = []
    for row in range(SIDE // CELL):
        for column in range(SIDE // CELL):
            place = picture[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
            inked = (place != PAPER).any(-1)
            if inked.any():
                (colour,) = {tuple(int(part) for part in pixel) for pixel in place[inked]}
                (shape,) = [name for name, mask in pixels.items() if (mask == inked).all()]
                found.append((shape, rgb[colour], column, row))
    return found


def name_of(table, word: str, lang: str) -> str:
    (name,) = [name for name, each in table.items() if each.names[lang] == word]
    return name


def answered_by_looking(question) -> str:
    """The answer from the pixels and the words of the question, by rules written apart."""
    things, lang, prompt = seen(draw(question.scene)), question.lang, question.prompt
    shapes = "|".join(each.names[lang] for each in SHAPES.values())
    colours = "|".join(each.names[lang] for each in COLOURS.values())
    named_shapes = [name_of(SHAPES, word, lang) for word in re.findall(shapes, prompt)]
    named_colours = [name_of(COLOURS, word, lang) for word in re.findall(colours, prompt)]
    if question.kind == "count":
        wanted = named_colours[0] if named_colours else None
        return str(sum(s == named_shapes[0] and wanted in (None, c) for s, c, *_ in things))
    holds = side_of(next(name for name, each in RELATIONS.items() if each.names[lang] in prompt))
    if question.kind == "relation":
        names = list(zip(named_shapes, named_colours, strict=True))
        (a,), (b,) = ([(x, y) for s, c, x, y in things if (s, c) == name] for name in names)
        return {"en": ("no", "yes"), "zh": ("不在", "在")}[lang][holds(a, b)]
    # One thing of two is named by half; which half of the question it stands in depends on the language.
    first = 0 if lang == "en" else 1
    if question.kind == "colour":
        other, half = (named_shapes[1 - first], named_colours[0]), {"shapes": [named_shapes[first]]}
    else:
        other, half = (named_shapes[0], named_colours[1 - first]), {"colours": [named_colours[first]]}
    (b,) = [(x, y) for s, c, x, y in things if (s, c) == other]
    beside = [thing for thing in things if holds(thing[2:], b)]
    return of_the_only_one(beside, lang, question.kind, half.get("shapes"), half.get("colours"))


def of_the_only_one(things, lang, kind, shapes, colours) -> str:
    """What is asked of the one thing that has the shape and the colour, where these are named."""
    ((shape, colour, *_),) = [
        thing for thing in things if thing[0] in (shapes or SHAPES) and thing[1] in (colours or COLOURS)
    ]
    return {"colour": COLOURS[colour].names[lang], "shape": SHAPES[shape].names[lang]}[kind]


def side_of(name: str):
    return {
        "left": lambda a, b: a[0] < b[0],
        "right": lambda a, b: a[0] > b[0],
        "above": lambda a, b: a[1] < b[1],
        "below": lambda a, b: a[1] > b[1],
    }[name]


def test_every_answer_is_true_of_the_pixels():
    for question in ASKED:
        looked = answered_by_looking(question)
        assert question.answer.lower().strip(".。").removeprefix("a ").removesuffix("个") == looked, question


def test_what_is_drawn_can_be_told_apart():
    scene = tuple(
        Thing(shape, colour, i % 3, i // 3)
        for i, (shape, colour) in enumerate(zip(SHAPES, COLOURS, strict=True))
    )
    assert seen(draw(scene)) == [(t.shape, t.colour, t.column, t.row) for t in scene]


def test_no_combination_is_asked_about_in_two_splits():
    for kind in KINDS:
        for lang in LANGS:
            # A question's words, without the picture, are its combination.
            sides = [{question.prompt for question in ALL[kind, lang, split]} for split in SPLITS]
            assert all(sides)
            assert not sides[0] & sides[1]
            assert not sides[0] & sides[2]
            assert not sides[1] & sides[2]


def test_every_answer_to_a_kind_of_question_is_learnt_and_examined():
    """The split goes by the question alone: no answer is kept from either side."""
    for kind, lang in ((kind, lang) for kind in ("colour", "shape", "relation") for lang in LANGS):
        sides = [
            {q.answer for q in picture_questions(kind, lang, split, 150, 1)} for split in ("train", "exam")
        ]
        assert sides[0] == sides[1]
        assert len(sides[0]) == (2 if kind == "relation" else 6)
    for lang in LANGS:
        counts = [
            {q.answer for q in picture_questions("count", lang, split, 150, 1)} for split in ("train", "exam")
        ]
        assert {number[0] for number in counts[0] & counts[1]} >= set("012")


def test_answers_of_yes_and_no_are_about_even():
    for lang, yes in (("en", "Yes."), ("zh", "在。")):
        asked = picture_questions("relation", lang, "train", 400, 1)
        share = sum(question.answer == yes for question in asked) / 400
        assert 0.42 < share < 0.58  # three standard deviations


def test_the_same_seed_gives_the_same_questions_and_more_of_them_only_adds():
    few, many = (picture_questions("count", "en", "exam", n, 5) for n in (5, 9))
    assert many[:5] == few
    assert len({question.id for question in many}) == 9


@pytest.mark.parametrize("kind", KINDS)
def test_both_languages_ask_every_kind(kind):
    assert all(re.search(r"[一-鿿]", question.prompt) for question in ALL[kind, "zh", "train"])
    assert not any(re.search(r"[一-鿿]", question.prompt) for question in ALL[kind, "en", "train"])
