"""Tasks that want tools: what they ask for, how they are marked, and that other categories stay the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pytest

from danlu.world.archive import absent, documents, entries
from danlu.world.demonstrations import demonstrations
from danlu.world.names import LANGS
from danlu.world.question import transcript
from danlu.world.splits import SPLITS, generator
from danlu.world.tasks import CATEGORIES, questions
from danlu.world.tool_tasks import (
    NOTHING,
    TOOL_CATEGORIES,
    Said,
    ToolExam,
    ToolTask,
    demonstrate,
    grade_episode,
    right_answer,
    right_calls,
    tool_cell,
    tool_tasks,
)
from danlu.world.truth import World

WORLD = World.create(0)
EXAM = tool_tasks(WORLD, "exam", 30, seed=0)


def solved(task: ToolTask) -> list[Said]:
    messages = demonstrate(task, lambda wanted: "…", generator("test", task.id))
    return messages[len(task.messages) :]  # type: ignore[return-value]


def test_the_other_categories_and_their_questions_are_what_they_were():
    """Taken before there were tool tasks; whoever changes these changes every figure in the docs."""
    told = "\n".join(
        f"{q.id} {transcript(q.messages)} {q.gold['replies']}" for q in questions(WORLD, "exam", 6, seed=0)
    )
    written = json.dumps(demonstrations(WORLD, 300, seed=0), ensure_ascii=False, sort_keys=True)
    assert not CATEGORIES.keys() & TOOL_CATEGORIES.keys()
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "4641aed9aa9e227b"
    assert hashlib.sha256(written.encode()).hexdigest()[:16] == "25db1707b0921371"


def test_tool_tasks_depend_on_the_seed_alone_and_the_first_stay_when_more_are_drawn():
    assert tool_tasks(World.create(0), "exam", 30, seed=0) == EXAM
    few, more = (tool_cell(WORLD, "exam", "search", "zh", n, seed=3) for n in (3, 12))
    assert few == more[:3]


def test_no_task_is_in_two_splits_and_no_document_tells_of_people_of_another():
    found = {split: {transcript(t.messages) for t in tool_tasks(WORLD, split, 20, 0)} for split in SPLITS}
    assert not found["exam"] & (found["train"] | found["dev"])
    people = {split: {e.person for lang in LANGS for e in entries(WORLD, split, lang)} for split in SPLITS}
    assert not people["exam"] & (people["train"] | people["dev"])
    assert not {absent(WORLD, n) for n in range(400)} & set().union(*people.values())


def test_every_sentence_stands_where_its_place_says():
    texts = documents(WORLD, "exam")
    for lang in LANGS:
        for entry in entries(WORLD, "exam", lang):
            text = texts[entry.document]
            assert text[entry.start : entry.start + len(entry.quote)] == entry.quote
            assert text.splitlines()[entry.line - 1] == entry.quote
            assert str(entry.number) in entry.quote


def test_nobody_of_the_documents_is_told_about_elsewhere():
    known = {entity.name for entity in WORLD.entities}
    assert not known & {entry.person for lang in LANGS for entry in entries(WORLD, "train", lang)}


def test_the_expression_gives_the_answer():
    for task in EXAM:
        if task.category == "calculator":
            (wanted,) = task.calls
            expression = wanted.arguments["expression"]
            assert set(expression) <= set("0123456789+-*() ")
            assert computed(expression) == task.question.gold["number"]


def computed(expression: str) -> int:
    from danlu.tools.calculator.calculate import calculate

    return int(calculate(expression))


def test_a_demonstration_is_marked_right_and_does_what_it_should():
    for task in EXAM:
        said = solved(task)
        assert grade_episode(task, said) == 1.0, said
        assert [turn["role"] for turn in said] == ["assistant", "tool"] * len(task.calls) + ["assistant"]
    assert {task.category: len(task.calls) for task in EXAM} == {
        "calculator": 1,
        "search": 1,
        "search_then_calculate": 2,
        "no_tool": 0,
    }


def test_an_exam_marks_an_episode_written_as_json():
    exam = ToolExam(EXAM)
    assert exam.questions() == EXAM
    assert exam.grade(EXAM[0], json.dumps(solved(EXAM[0]), ensure_ascii=False)) == 1.0


def called(*calls: tuple[str, str]) -> list[Said]:
    functions = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return [{"role": "assistant", "content": "", "tool_calls": [{"function": each} for each in functions]}]


TASK = next(task for task in EXAM if task.category == "calculator" and "+" in str(task.calls))
EXPRESSION = TASK.calls[0].arguments["expression"]


@pytest.mark.parametrize(
    ("calls", "right"),
    [
        ([("calculator", json.dumps({"expression": EXPRESSION}))], True),
        ([("calculator", json.dumps({"expression": EXPRESSION.replace(" ", "")}))], True),
        ([("calculator", json.dumps({"expression": EXPRESSION + "0"}))], False),
        ([("search", json.dumps({"expression": EXPRESSION}))], False),
        ([("calculator", json.dumps({"expression": EXPRESSION, "x": 1}))], False),
        ([("calculator", EXPRESSION)], False),
        ([("calculator", json.dumps({"expression": EXPRESSION}))] * 2, False),
        ([], False),
    ],
)
def test_a_call_is_right_if_its_tool_and_its_arguments_are(calls: Sequence[tuple[str, str]], right: bool):
    assert right_calls(TASK, called(*calls)) is right


def test_an_answer_wants_its_sentence_and_its_place_word_for_word():
    task = next(t for t in EXAM if t.category == "search" and t.answers not in NOTHING.values())
    (answer,) = task.answers
    for text, right in (
        (answer, True),
        (answer.split(" [")[0], False),
        (answer.replace("line", "row"), False),
    ):
        assert right_answer(task, [{"role": "assistant", "content": text}]) is right
    assert not right_answer(task, called(("search", "{}")))
    assert not right_answer(task, [])


def test_half_is_for_the_calls_and_half_for_the_answer():
    calls = called(("calculator", json.dumps({"expression": EXPRESSION})))
    right: Any = {"role": "assistant", "content": TASK.question.gold["replies"][0]}
    wrong: Any = {"role": "assistant", "content": "The answer is 1."}
    assert grade_episode(TASK, [*calls, right]) == 1.0
    assert grade_episode(TASK, [*calls, wrong]) == 0.5
    assert grade_episode(TASK, [right]) == 0.5
    assert grade_episode(TASK, [wrong]) == 0.0


def test_more_tasks_than_there_are_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("danlu.world.tool_tasks.MAX_MISSES", 30)
    with pytest.raises(ValueError, match=r"only .* different ones exist"):
        tool_cell(WORLD, "dev", "search", "en", 5000, seed=0)
