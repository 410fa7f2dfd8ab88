"""Exercises about pictures: their answers are true, and they name nothing that the exam keeps to itself."""

from __future__ import annotations

import re
from random import Random

import pytest

from danlu.world.looking import COUNTED, EXERCISES, practise
from danlu.world.names import LANGS
from danlu.world.pictures import split_asking
from danlu.world.scene import COLOURS, RELATIONS, SHAPES, Thing, random_scene

# A ring top left, a cross in the middle, a circle at the right of it, and another ring below the cross.
SCENE = (
    Thing("ring", "red", 0, 0),
    Thing("cross", "blue", 1, 1),
    Thing("circle", "blue", 2, 1),
    Thing("ring", "green", 1, 2),
)
TRUE = {
    "everything": {
        "What is in each place?": "Red ring, nothing, nothing; nothing, blue cross, blue circle; "
        "nothing, green ring, nothing.",
        "每个位置上各有什么？": "红色的圆环，空，空；空，蓝色的十字，蓝色的圆形；空，绿色的圆环，空。",
    },
    "tour": {
        "What is there, and where?": "Red ring: top left; blue cross: middle; blue circle: right; "
        "green ring: bottom.",
        "图上有什么，各在哪里？": "红色的圆环：左上角；蓝色的十字：正中间；蓝色的圆形：右边；"
        "绿色的圆环：下边。",
    },
    "plain colour": {"What colour is the cross?": "Blue.", "圆形是什么颜色的？": "蓝色。"},
    "plain shape": {"What shape is the green thing?": "A ring.", "红色的东西是什么形状？": "圆环。"},
    "plain where": {
        "Where is the cross?": "At the middle.",
        "Where is the red thing?": "At the top left.",
        "圆形在哪里？": "在右边。",
        "绿色的东西在哪里？": "在下边。",
    },
    "where": {"Where is the blue circle?": "At the right.", "绿色的圆环在哪里？": "在下边。"},
    "plain sides": {
        "How does the red thing lie to the cross?": "Above, to the left.",
        "How does the circle lie to the cross?": "To the right.",
        "十字在红色的东西的哪边？": "下面，右边。",
        "绿色的东西在十字的哪边？": "下面。",
    },
    "plain relation": {
        "Is the cross above the green thing?": "Yes.",
        "Is the circle to the left of the red thing?": "No.",
        "圆形在十字右边吗？": "在。",
        "红色的东西在十字下面吗？": "不在。",
    },
}


def practised(exercise: str, lang: str, n: int = 400, scene=SCENE) -> dict[str, str]:
    """Answers to the questions that come of many throws of the dice."""
    rng = Random(4)
    tried = (practise(scene, exercise, lang, rng) for _ in range(n))
    return {asked.prompt: asked.answer for asked in tried if asked}


@pytest.mark.parametrize("exercise", TRUE)
def test_answers_say_what_the_picture_shows(exercise):
    said = {**practised(exercise, "en"), **practised(exercise, "zh")}
    assert TRUE[exercise].items() <= said.items()


def test_what_is_not_the_only_one_is_not_asked_about_alone():
    said = " ".join(practised("plain where", "en")) + " ".join(practised("plain sides", "en"))
    assert "ring" not in said  # there are two
    assert "blue thing" not in said
    assert "cross" in said


def test_several_counts_are_given_in_the_order_in_which_they_are_asked_for():
    for prompt, answer in practised("tally", "en").items():
        names = re.fullmatch(r"How many (.+) are there each\?", prompt)[1].split(", ")
        assert len(set(names)) == len(names) > 0
        numbers = [sum(all(word in of(thing) for word in name.split()) for thing in SCENE) for name in names]
        assert answer == ", ".join(map(str, numbers)) + "."
    assert {answer[0] for answer in practised("tally", "zh").values()} == set("012")


LISTED = {  # what follows a question's first part, and what is true of each name
    "places": {
        **{"red ring": "top left", "red thing": "top left", "blue cross": "middle", "cross": "middle"},
        **{"blue circle": "right", "circle": "right", "green ring": "bottom", "green thing": "bottom"},
        **{"红色的圆环": "左上角", "红色的东西": "左上角", "蓝色的十字": "正中间", "十字": "正中间"},
        **{"蓝色的圆形": "右边", "圆形": "右边", "绿色的圆环": "下边", "绿色的东西": "下边"},
    },
    "matches": {
        **{"cross": "blue", "circle": "blue", "red thing": "ring", "green thing": "ring"},
        **{"十字": "蓝色", "圆形": "蓝色", "红色的东西": "圆环", "绿色的东西": "圆环"},
    },
}


@pytest.mark.parametrize("exercise", LISTED)
def test_what_is_told_of_each_name_is_true_and_in_the_order_of_the_question(exercise):
    said = {**practised(exercise, "en"), **practised(exercise, "zh")}
    told = [(names_in(prompt), parts_of(answer)) for prompt, answer in said.items()]
    assert all(names == [name for name, _ in parts] for names, parts in told)
    assert {pair for _, parts in told for pair in parts} == LISTED[exercise].items()
    assert {names[0] for names, _ in told} == LISTED[exercise].keys()


def names_in(prompt: str) -> list[str]:
    listed = re.fullmatch(r".*these: (.+)\?|(.+?)各(?:在|是).+|.*：(.+)？", prompt)
    return re.split(", |、", next(filter(None, listed.groups())))


def parts_of(answer: str) -> list[tuple[str, ...]]:
    return [tuple(re.split(": |：", part)) for part in re.split("; |；", answer.lower().rstrip(".。"))]


def test_sides_of_several_pairs_are_those_of_each():
    single = {
        re.sub(r"How does the (.+) lie to the (.+)\?", r"\1 to \2", prompt): answer.lower().rstrip(".")
        for prompt, answer in practised("plain sides", "en").items()
    }
    said = practised("all sides", "en")
    for prompt, answer in said.items():
        asked = prompt.removeprefix("How do these lie: ").rstrip("?").split(", ")
        assert asked == [pair for pair, _ in parts_of(answer)]
    assert {told for answer in said.values() for told in parts_of(answer)} == set(single.items())
    assert max(answer.count(";") for answer in said.values()) > 1


def of(thing: Thing) -> tuple[str, ...]:
    return f"{thing.shape}s", thing.colour, "things"


def test_a_choice_between_two_sides_is_true():
    said = {
        prompt: answer
        for seed in range(200)
        for prompt, answer in practised("choice", "en", 6, random_scene(Random(seed))).items()
    }
    assert len(said) > 100
    assert 0.3 < sum(answer in ("Above.", "To the left.") for answer in said.values()) / len(said) < 0.7
    only = (Thing("ring", "red", 0, 0), Thing("cross", "blue", 1, 1))
    known = practised("choice", "en", 99, only).items()
    assert known <= {
        ("Is the red ring above or below the blue cross?", "Above."),
        ("Is the red ring to the left or to the right of the blue cross?", "To the left."),
        ("Is the blue cross above or below the red ring?", "Below."),
        ("Is the blue cross to the left or to the right of the red ring?", "To the right."),
    }


@pytest.mark.parametrize("lang", LANGS)
def test_no_exercise_names_what_the_exam_names(lang):
    """Every pair of things that is called in full, and every count, is one that training may ask about."""
    rng = Random(3)
    names = [
        f"({'|'.join(each.names[lang] for each in some.values())})" for some in (COLOURS, SHAPES, RELATIONS)
    ]
    full = {"en": f"{names[0]} {names[1]}", "zh": f"{names[0]}的{names[1]}"}[lang]
    n_pairs = 0
    for exercise in EXERCISES:
        for _ in range(150):
            asked = practise(random_scene(rng), exercise, lang, rng)
            if asked is None or exercise in ("everything", "tour"):
                continue
            called = re.findall(full, asked.prompt)
            assert len(called) <= 1 or exercise in ("choice", "tally", "places"), asked.prompt
            assert len(called) != 1 or exercise in ("where", "tally", "places"), asked.prompt
            if exercise == "choice":
                n_pairs += 1
                sides = ("left", "right") if re.search("left|左边", asked.prompt) else ("above", "below")
                (a, b), (c, d) = ([key(word, lang) for word in name] for name in called)
                assert {split_asking("relation", (b, a, side, d, c)) for side in sides} == {"train"}
    assert n_pairs > 15
    assert {split_asking("count", (shape, colour or "any")) for shape, colour in COUNTED if shape} == {
        "train"
    }


def key(word: str, lang: str) -> str:
    return next(name for name, each in {**COLOURS, **SHAPES}.items() if each.names[lang] == word)
