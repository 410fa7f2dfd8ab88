"""Pictures show what their scene says, and answers are true of what can be seen."""

from __future__ import annotations

import re

import numpy as np
import pytest

from danlu.world.names import LANGS
from danlu.world.pictures import (
    CELL,
    COLOURS,
    KINDS,
    PAPER,
    RELATIONS,
    SHAPES,
    SIDE,
    Thing,
    draw,
    picture_questions,
)
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
    if question.kind == "colour":
        shape = name_of(SHAPES, re.search(shapes, prompt)[0], lang)
        (colour,) = [c for s, c, *_ in things if s == shape]
        return COLOURS[colour].names[lang]
    if question.kind == "shape":
        colour = name_of(COLOURS, re.search(colours, prompt)[0], lang)
        (shape,) = [s for s, c, *_ in things if c == colour]
        return SHAPES[shape].names[lang]
    if question.kind == "count":
        shape = name_of(SHAPES, re.search(shapes, prompt)[0], lang)
        painted = re.search(colours, prompt)
        wanted = name_of(COLOURS, painted[0], lang) if painted else None
        return str(sum(s == shape and wanted in (None, c) for s, c, *_ in things))
    pair = zip(re.findall(colours, prompt), re.findall(shapes, prompt), strict=True)
    names = [(name_of(SHAPES, s, lang), name_of(COLOURS, c, lang)) for c, s in pair]
    (a,), (b,) = ([(x, y) for s, c, x, y in things if (s, c) == name] for name in names)
    name = next(name for name, each in RELATIONS.items() if each.names[lang] in prompt)
    truth = {"left": a[0] < b[0], "right": a[0] > b[0], "above": a[1] < b[1], "below": a[1] > b[1]}[name]
    return {"en": ("no", "yes"), "zh": ("不在", "在")}[lang][truth]


def test_every_answer_is_true_of_the_pixels():
    for question in ASKED:
        looked = answered_by_looking(question)
        said = question.answer.lower().strip(".。").removeprefix("a ").removesuffix("个")
        assert said == looked, question


def test_what_is_drawn_can_be_told_apart():
    scene = tuple(
        Thing(shape, colour, i % 3, i // 3)
        for i, (shape, colour) in enumerate(zip(SHAPES, COLOURS, strict=True))
    )
    assert seen(draw(scene)) == [(t.shape, t.colour, t.column, t.row) for t in scene]


def test_no_combination_is_asked_about_in_two_splits():
    def about(question):
        words = [*SHAPES.items(), *COLOURS.items(), *RELATIONS.items()]
        text = question.prompt + ("" if question.kind == "relation" else question.answer)
        marks = [name for name, each in words if each.names[question.lang] in text.lower()]
        places = sorted(marks, key=lambda name: text.lower().find(dict(words)[name].names[question.lang]))
        number = re.findall(r"\d", question.answer) if question.kind == "count" else []
        return (question.kind, question.lang, *places, *number)

    for kind in ("colour", "shape"):
        for lang in LANGS:
            sides = [{about(q) for q in ALL[kind, lang, split]} for split in SPLITS]
            assert not sides[0] & sides[2]
            assert not sides[0] & sides[1]


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
