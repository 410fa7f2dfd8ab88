"""How replies are read, well-formed and not."""

from __future__ import annotations

import pytest

from danlu.instruct.records import Done
from danlu.instruct.wording import (
    ask_for_answer,
    ask_for_material,
    ask_for_tasks,
    is_whole,
    read_answer,
    read_material,
    read_tasks,
)


def test_tasks_are_the_numbered_lines():
    reply = "Sure! Some:\n9. Name a river.\n10) **Sort these words.**\n\n11、写一首诗。\nHope that helps!"
    assert read_tasks(reply, plain=False, finished=True) == [
        "Name a river.",
        "Sort these words.",
        "写一首诗。",
    ]


def test_a_task_that_was_cut_is_left_out():
    reply = "9. Name a river.\n10. Explain why the"
    assert read_tasks(reply, plain=False, finished=False) == ["Name a river."]
    assert len(read_tasks(reply + "\n", plain=False, finished=True)) == 2


def test_a_base_model_goes_on_behind_the_number():
    assert ask_for_tasks(["Name a river.", "Add\n2 and 3."], 4, "en", plain=True).endswith(
        "\n1. Name a river.\n2. Add 2 and 3.\n3."
    )
    assert read_tasks(" Count to ten.\n4. Name a tree.", plain=True, finished=True) == [
        "Count to ten.",
        "Name a tree.",
    ]


def test_a_reply_without_a_list_has_no_tasks():
    assert read_tasks("I cannot do that.", plain=False, finished=True) == []


@pytest.mark.parametrize(
    ("reply", "lang", "expected"),
    [
        (" none", "en", ""),
        ("None.", "en", ""),
        ("无。", "zh", ""),
        ("Material: The cat sat.", "en", "The cat sat."),
        ("The cat sat.\n\nTask: another one\nMaterial: x", "en", "The cat sat."),
        ("None of the cats sat.", "en", "None of the cats sat."),
    ],
)
def test_material_is_read_and_none_is_none(reply: str, lang: str, expected: str):
    assert read_material(reply, lang) == expected


def test_questions_show_seeds_of_both_kinds():
    given = Done(id="1", task="Shorten.", material="A long text.", answer="Text.", lang="en")
    bare = Done(id="2", task="Name a river.", answer="The Rhine.", lang="en")
    asked = ask_for_material("Sort these.", [given, bare], "en")
    assert "Task: Shorten.\nMaterial: A long text.\n" in asked
    assert "Task: Name a river.\nMaterial: none\n" in asked
    assert asked.endswith("Task: Sort these.\nMaterial:")
    plain = ask_for_answer("Sort these.", "b a", [given, bare], "en")
    assert "Task: Shorten.\nMaterial: A long text.\nAnswer: Text.\n" in plain
    assert plain.endswith("Task: Sort these.\nMaterial: b a\nAnswer:")


def test_an_answer_of_a_base_model_ends_where_the_next_task_begins():
    reply = " a b\n\nTask: Name a tree.\nAnswer: Oa"
    assert read_answer(reply, "en", plain=True) == "a b"
    assert is_whole(reply, "en", finished=False)
    assert not is_whole(" a b", "en", finished=False)
