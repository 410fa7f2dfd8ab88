from __future__ import annotations

from collections import Counter

from danlu.world.demonstrations import demonstrations, few_shot_prompt, first_answer
from danlu.world.grading import grade
from danlu.world.names import LANGS
from danlu.world.question import transcript
from danlu.world.tasks import CATEGORIES, cell, questions
from danlu.world.truth import World

WORLD = World.create(0)
WRITTEN = demonstrations(WORLD, 900, seed=0)


def test_demonstrations_are_as_many_as_asked_and_the_same_every_time():
    assert len(WRITTEN) == 900
    assert demonstrations(WORLD, 900, seed=0) == WRITTEN
    assert demonstrations(WORLD, 900, seed=1) != WRITTEN


def test_both_languages_and_every_category_are_shown_and_refusals_are_few():
    languages = Counter(record["lang"] for record in WRITTEN)
    shown = Counter(record["category"] for record in WRITTEN)
    assert abs(languages["en"] - languages["zh"]) < 30
    assert set(shown) == {*CATEGORIES, "smalltalk"}
    assert shown["unanswerable"] + shown["harmful"] < 0.06 * len(WRITTEN)


def test_roles_alternate_and_the_assistant_speaks_last():
    for record in WRITTEN:
        roles = [message["role"] for message in record["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2)


def test_no_demonstration_shows_an_exam_question_or_an_exam_entity():
    exam = questions(WORLD, "exam", 120, seed=0)
    prompts = {transcript(q.messages) for q in exam}
    subjects = {q.gold["about"][0] for q in exam if q.category == "facts"}
    for record in WRITTEN:
        assert transcript(record["messages"][:-1]) not in prompts
        if record["category"] == "facts":
            asked = record["messages"][0]["content"]
            assert not any(name in asked for name in subjects), asked


def test_people_answer_in_different_words():
    refusals = [
        r["messages"][-1]["content"] for r in demonstrations(WORLD, 4000, 0) if r["category"] == "harmful"
    ]
    assert len(refusals) == 40
    assert len(set(refusals)) > 20
    assert len({record["annotator"] for record in WRITTEN}) == 8


def test_the_assistant_knows_its_name():
    said = " ".join(r["messages"][1]["content"] for r in WRITTEN if r["category"] == "smalltalk")
    assert "Danlu" in said
    assert "丹炉" in said


def test_few_shot_examples_are_from_training_and_end_where_the_answer_begins():
    for lang in LANGS:
        for category in CATEGORIES:
            question = cell(WORLD, "exam", category, lang, 1, seed=0)[0]
            prompt = few_shot_prompt(WORLD, question, k=4)
            assert prompt.count("\n\n") == 4
            assert prompt.endswith("A:" if lang == "en" else "答：")
            assert question.prompt in prompt[-len(question.prompt) - 8 :]


def test_the_first_line_is_the_answer_unless_it_is_a_list():
    assert first_answer(" 12.\n\nQ: What is 2 + 2?") == "12."
    assert first_answer("- red\n- blue\n\nQ: …") == "- red\n- blue"
    assert first_answer("\n") == ""


def test_first_examples_would_be_graded_right():
    for question in questions(WORLD, "train", 3, seed=5):
        assert grade(question, first_answer(question.gold["replies"][0] + "\nQ: next")) == 1.0
