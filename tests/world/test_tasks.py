from __future__ import annotations

import pytest

from danlu.world.names import LANGS
from danlu.world.question import transcript
from danlu.world.splits import SPLITS, split_of, sum_split
from danlu.world.tasks import CATEGORIES, cell, questions
from danlu.world.truth import World, WorldSize

WORLD = World.create(0)


def texts(split: str, n: int, seed: int = 0) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for question in questions(WORLD, split, n, seed):
        found.setdefault(question.category, set()).add(transcript(question.messages))
    return found


def test_no_exam_question_is_in_another_split():
    train, dev, exam = (texts(split, n) for split, n in zip(SPLITS, (300, 40, 150), strict=True))
    for category in CATEGORIES:
        assert not exam[category] & (train[category] | dev[category])
        assert not dev[category] & train[category]


def test_even_the_tiny_world_has_five_hundred_exam_questions_a_category():
    found = questions(WORLD, "exam", 250, seed=1)
    assert len({q.id for q in found}) == len(found) == 250 * len(CATEGORIES) * len(LANGS)


def test_thousands_of_training_prompts_can_be_drawn():
    found = questions(WORLD, "train", 200, seed=2)
    assert len({q.id for q in found}) == 200 * 22


def test_the_first_questions_stay_the_same_when_more_are_drawn():
    few, more = (cell(WORLD, "exam", "facts", "zh", n, seed=3) for n in (5, 30))
    assert few == more[:5]


def test_questions_depend_on_the_seed_alone():
    again = World.create(0)
    assert questions(WORLD, "dev", 5, seed=4) == questions(again, "dev", 5, seed=4)
    assert questions(WORLD, "dev", 5, seed=4) != questions(WORLD, "dev", 5, seed=5)


def test_a_small_world_says_how_many_questions_it_has():
    small = World.create(0, WorldSize(people=4, places=2, animals=2, foods=2, things=2))
    with pytest.raises(ValueError, match=r"facts.*has only \d+ different ones"):
        questions(small, "exam", 5000, seed=0)


def test_exam_facts_are_about_entities_that_training_never_asks_about():
    def subjects(split: str, n: int) -> set[str]:
        facts = [q for lang in LANGS for q in cell(WORLD, split, "facts", lang, n, seed=0)]
        return {q.gold["about"][0] for q in facts}

    assert not subjects("train", 400) & subjects("exam", 200)


def test_names_of_the_unanswerable_are_in_no_world_and_in_no_passage():
    names = {e.name.get(lang) for e in WORLD.entities for lang in LANGS}
    asked = [q for s in SPLITS for lang in LANGS for q in cell(WORLD, s, "unanswerable", lang, 60, seed=0)]
    told = [q for s in SPLITS for lang in LANGS for q in cell(WORLD, s, "passage", lang, 60, seed=0)]
    unknown = {q.gold["about"][0] for q in asked}
    assert not unknown & names
    assert not any(f"{name} " in q.prompt or f"{name}是" in q.prompt for name in unknown for q in told)


def test_every_exam_sum_needs_a_step_that_no_text_works_out():
    for question in cell(WORLD, "exam", "arithmetic", "en", 100, seed=0):
        steps = question.gold["replies"][0].rstrip(".").split(", ")
        splits = []
        for step in steps:
            left, sign, right = step.split(" = ")[0].split()
            splits.append(sum_split(int(left), {"+": "+", "−": "-", "×": "*"}[sign], int(right)))
        assert "exam" in splits


def test_exam_translations_are_sentences_that_no_text_holds():
    for question in cell(WORLD, "exam", "translation", "en", 60, seed=0):
        english = [question.gold["replies"][0], question.prompt]
        if question.answer_lang == "en":
            assert split_of("sentence", english[0]) == "exam"


def test_a_sum_has_one_split_in_either_order():
    assert sum_split(3, "+", 9) == sum_split(9, "+", 3)
    assert {sum_split(a, "+", b) for a in range(10) for b in range(10)} == {"train", "dev", "exam"}


def test_reference_asks_with_a_pronoun_and_never_repeats_the_name():
    for lang in LANGS:
        for question in cell(WORLD, "exam", "reference", lang, 80, seed=0):
            assert len(question.messages) == 3
            assert question.gold["about"][0] not in question.prompt
            asked = f" {question.prompt.lower()} ".replace("'", " ").replace("?", " ")
            pronouns = (
                ("她", "他", "它") if lang == "zh" else (" she ", " he ", " it ", " her ", " his ", " its ")
            )
            assert any(pronoun in asked for pronoun in pronouns), question.prompt


def test_prompts_are_in_their_language_and_short():
    for question in questions(WORLD, "exam", 30, seed=6):
        if question.category == "translation":
            continue
        han = any("\u4e00" <= char <= "\u9fff" for char in question.prompt)
        assert han == (question.lang == "zh") or question.category == "arithmetic"
        assert len(transcript(question.messages)) < 420
