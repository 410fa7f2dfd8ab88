"""Tools in the chat, tasks made from prompts, and from the versions of an answer, in a real browser."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted import Speaking
from small_studio import BOSS, PHONE, Running, Visitor, until

from danlu.feedback.errors import FeedbackError
from danlu.feedback.event import Event
from danlu.feedback.exchange import ratings
from danlu.feedback.records import Message, Persona, Task
from danlu.serve.studio.personas import personas
from danlu.serve.studio.steps import citations
from danlu.serve.studio.task_maker import Wanted, read_prompts

Visit = Callable[..., Visitor]
CHECK = (Path(__file__).parent / "accessible.js").read_text(encoding="utf-8")
PICTURES = os.environ.get("DANLU_PICTURES")  # a folder for what the pages look like


def check(visitor: Visitor, name: str) -> None:
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        visitor.page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))
    assert visitor.page.evaluate(CHECK) == []


def tasks(running: Running) -> list[Event]:
    return list(running.store.events(Task.kind))


def of_task(running: Running, task: Event) -> tuple[list[Any], list[Message]]:
    """Its prompt and its answers."""
    body: Any = task.body
    return running.store.messages(body.prompt), [running.store.get(each).body for each in body.completions]


def say(page: Any, text: str) -> None:
    page.fill(".dl-composer textarea", text)
    page.press(".dl-composer textarea", "Enter")


def button(page: Any, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


def choose(page: Any, label: str, name: str) -> None:
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=name).click()


def book_and_sum(engine: Speaking) -> None:
    """Have a model call two tools before it answers."""
    tokenizer = engine.tokenizer
    turn = tokenizer.encode("One moment.")
    for call in ('calculator\n{"expression": "3*4"}', 'look_up\n{"question": "whales"}'):
        turn += [tokenizer.im_start_id, *tokenizer.encode(call)]
    engine.turns = [[*turn, tokenizer.im_end_id]]
    engine.text = "It is 12, as the book says."


def test_a_model_calls_tools_and_all_of_it_is_folded_into_the_answer(running: Running, visit: Visit):
    book_and_sum(running.engines["other"])
    visitor = visit()
    page = visitor.go("chat")
    choose(page, "Model", "other")
    say(page, "What is 3 times 4?")
    page.wait_for_selector(".dl-assistant >> text=It is 12, as the book says.")
    button(page, "Another answer").wait_for()
    assert page.locator(".dl-assistant").count() == 1
    steps = page.locator(".dl-step")
    assert steps.count() == 2
    assert not page.locator(".dl-given").first.is_visible()
    steps.nth(0).locator("summary").click()
    steps.nth(1).locator("summary").click()
    assert steps.nth(0).locator(".dl-given").all_inner_texts() == ['{"expression": "3*4"}', '"12"']
    assert steps.nth(1).locator("cite").inner_text() == "whales.md:3"
    assert page.evaluate("document.querySelectorAll('.dl-turns :is(img, svg, iframe, script)').length") == 0
    check(visitor, "chat-tools")


def test_calls_and_results_are_kept_and_an_export_gives_the_whole_chat(running: Running, visit: Visit):
    engine, store = running.engines["other"], running.store
    book_and_sum(engine)
    page = visit().go("chat")
    choose(page, "Model", "other")
    say(page, "And 3 times 4 again?")
    button(page, "Good answer").click()
    page.wait_for_selector("[aria-label='Good answer'][aria-pressed=true]")
    said = [each.body for each in store.events(Message.kind)][-5:]
    assert [each.role for each in said] == ["user", "assistant", "tool", "tool", "assistant"]
    calls = said[1].more["tool_calls"]
    assert [each["function"]["name"] for each in calls] == ["calculator", "look_up"]
    assert [each.more["tool_call_id"] for each in said[2:4]] == [each["id"] for each in calls]
    assert (said[1].content, said[4].content) == ("One moment.", engine.text)
    assert said[4].origin.token_ids == (*engine.tokenizer.encode(engine.text), engine.tokenizer.im_end_id)
    # The model has read it all: headers of two calls and two results, and of the answer after them.
    first, then = (
        sum(i == engine.tokenizer.im_start_id for i in each.prompt_ids) for each in engine.requests[-2:]
    )
    assert then == first + 5
    exported = list(ratings(store))[-1]["messages"]
    assert [each["role"] for each in exported] == [each.role for each in said]
    assert exported[1]["tool_calls"] == calls


def test_a_question_is_answered_anew_beside_the_calls_of_tools(running: Running, visit: Visit):
    engine = running.engines["other"]
    tokenizer = engine.tokenizer
    call = [tokenizer.im_start_id, *tokenizer.encode("calculator\n{}"), tokenizer.im_end_id]
    engine.turns, engine.text = [call], "I cannot say."
    page = visit().go("chat")
    choose(page, "Model", "other")
    say(page, "What is nothing?")
    page.wait_for_selector(".dl-assistant >> text=I cannot say.")
    button(page, "Another answer").wait_for()
    assert page.locator(".dl-step").count() == 1
    engine.text = "Twelve."
    button(page, "Another answer").click()
    page.wait_for_selector(".dl-siblings >> text=2/2")
    assert page.locator(".dl-step").count() == 0
    # A tool that is switched off is not told of.
    n_before = len(engine.requests[-1].prompt_ids)
    page.get_by_role("checkbox", name="look_up").click()
    button(page, "Another answer").click()
    page.wait_for_selector(".dl-siblings >> text=3/3")
    assert len(engine.requests[-1].prompt_ids) < n_before


def test_prompts_become_ranking_tasks_beside_all_else(running: Running, visit: Visit):
    running.engines["tiny"].text, running.engines["other"].text = "Of tiny.", "Of other."
    before = len(tasks(running))
    visitor = visit()
    page = visitor.go("rank")
    page = visitor.go("tasks")
    page.get_by_role("textbox", name="Prompts").fill("Why is the sky blue?\n\nAnd the sea?\n")
    page.get_by_label("Answers a prompt").fill("3")
    page.get_by_label("People who do each task").fill("2")
    button(page, "Make the tasks").click()
    page.wait_for_selector("text=2 of 2 prompts, 2 new tasks")
    check(visitor, "tasks-en")
    made = tasks(running)[before:]
    assert [each.body.overlap for each in made] == [2, 2]
    prompt, answers = of_task(running, made[0])
    assert prompt == [{"role": "user", "content": "Why is the sky blue?"}]
    assert [each.content for each in answers] == ["Of tiny.", "Of other.", "Of tiny."]
    assert [each.origin.name for each in answers] == ["tiny", "other", "tiny"]
    assert all(len(each.origin.token_ids) == len(each.origin.logprobs) > 2 for each in answers)
    assert made[1].id in {each.task for each in running.store.next_tasks(BOSS, 50, "rank")}
    for each in made:
        running.store.undo(BOSS, each.id)
    phone = visit("zh-CN", viewport=PHONE, color_scheme="dark")
    phone.go("tasks")
    check(phone, "tasks-zh-phone")
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_file_becomes_tasks_to_write_answers_and_a_job_can_be_stopped(
    running: Running, visit: Visit, tmp_path: Path
):
    engine = running.engines["tiny"]
    engine.text = "A draft."
    before = len(tasks(running))
    page = visit().go("tasks")
    page.get_by_text("Write the answer").click()
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({"prompt": "从前", "id": 7}, ensure_ascii=False) + "\n", encoding="utf-8")
    page.set_input_files("input[type=file]", file)
    page.wait_for_function("document.querySelector('textarea').value.includes('从前')")
    button(page, "Make the tasks").click()
    until(lambda: len(tasks(running)) == before + 1)
    (made,) = tasks(running)[before:]
    prompt, (draft,) = of_task(running, made)
    assert (made.body.do, prompt[0]["content"], draft.content) == ("demonstrate", "从前", "A draft.")
    running.store.undo(BOSS, made.id)
    engine.endless, engine.step_s = True, 0.02
    try:
        page.get_by_role("textbox", name="Prompts").fill("One?\nTwo?")
        button(page, "Make the tasks").click()
        page.wait_for_selector("text=Being made")
        button(page, "Stop").click()
        page.wait_for_selector("text=Stopped")
    finally:
        engine.endless, engine.step_s = False, 0.0
    assert len(tasks(running)) == before  # the first was taken back
    until(lambda: engine.n_unfinished == 0)


def test_the_versions_of_an_answer_become_one_ranking_task(running: Running, visit: Visit):
    engine = running.engines["tiny"]
    page = visit().go("chat")
    choose(page, "Model", "tiny")
    engine.text = "First version."
    say(page, "Hello versions?")
    button(page, "Another answer").wait_for()
    assert button(page, "Rank these versions").count() == 0
    engine.text = "Second version."
    button(page, "Another answer").click()
    page.wait_for_selector(".dl-siblings >> text=2/2")
    before = len(tasks(running))
    button(page, "Rank these versions").click()
    page.wait_for_selector("text=The 2 versions are a ranking task now.")
    (made,) = tasks(running)[before:]
    prompt, answers = of_task(running, made)
    assert prompt == [{"role": "user", "content": "Hello versions?"}]
    assert [each.content for each in answers] == ["First version.", "Second version."]
    button(page, "Rank these versions").click()
    page.wait_for_timeout(300)
    assert len(tasks(running)) == before + 1
    running.store.undo(BOSS, made.id)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (" \n ", "there are no prompts"),
        ('{"prompt": "a"}\nb', "line 2 is no JSON"),
        ('{"prompt": "a"}\n\n[1]', "line 3 is no JSON object"),
        ('{"text": "a"}', "line 1 has fields"),
        ('{"prompt": "a", "completions": [1]}', "line 1: field 'completions'"),
        ("a\n" * 2001, "there are 2,001 prompts"),
    ],
)
def test_prompts_that_are_none_are_refused_with_the_line(text: str, fault: str):
    with pytest.raises(FeedbackError, match=fault):
        read_prompts(text)


def test_prompts_are_read_as_text_or_as_records():
    assert [each.messages[0]["content"] for each in read_prompts("Why?\n\n {x} \n")] == ["Why?", "{x}"]
    record = {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]}
    (asked,) = read_prompts(json.dumps({**record, "completions": ["a", "b"]}))
    assert (list(asked.messages), list(asked.completions)) == (record["messages"], ["a", "b"])


@pytest.mark.parametrize(("do", "n"), [("rank", 1), ("rank", 10), ("demonstrate", 2)])
def test_a_number_of_answers_that_nobody_could_judge_is_refused(do: Any, n: int):
    with pytest.raises(FeedbackError, match=f"{n} answers to a prompt"):
        Wanted(do=do, n_answers=n)


def test_only_a_list_of_quotations_with_places_is_shown_as_citations():
    assert citations('{"found": [{"quote": "a", "place": "b.md:1"}]}') == [("a", "b.md:1")]
    for other in (
        "12",
        "[",
        "null",
        '{"found": 1}',
        '{"found": [1]}',
        '{"found": [{"quote": 1, "place": 2}]}',
    ):
        assert citations(other) == []


def test_a_system_prompt_is_kept_under_a_name_and_chosen_again(running: Running, visit: Visit):
    store = running.store
    store.add("ann", Persona(name="Shared one", prompt="Speak like ann.", shared=True))
    store.add("ann", Persona(name="Private one", prompt="Speak in secret."))
    visitor = visit()
    page = visitor.go("chat")
    field = page.get_by_label("System prompt of a new chat")
    for prompt in ("Be brief.", "Be very brief."):  # the second takes the first one's place
        field.fill(prompt)
        button(page, "Keep this system prompt as a persona").click()
        page.get_by_label("Name of the persona").fill("<b>Brief</b>")
        button(page, "Save").click()
        page.locator(".q-dialog").wait_for(state="detached")
    page.reload()
    page.wait_for_function("window.socket && window.socket.connected")
    page.get_by_label("Persona", exact=True).click()
    page.get_by_role("option").nth(1).wait_for()
    assert page.get_by_role("option").all_inner_texts() == ["<b>Brief</b>", "Shared one (by ann)"]
    page.get_by_role("option", name="Shared one").click()
    page.wait_for_function(
        "[...document.querySelectorAll('textarea')].some(e => e.value === 'Speak like ann.')"
    )
    assert button(page, "Remove this persona").is_disabled()
    page.get_by_label("Persona", exact=True).click()
    page.get_by_role("option", name="Brief").click()
    page.wait_for_function(
        "[...document.querySelectorAll('textarea')].some(e => e.value === 'Be very brief.')"
    )
    check(visitor, "chat-persona")
    button(page, "Remove this persona").click()
    until(lambda: [each.body.name for each in personas(store, BOSS)] == ["Shared one"])
    assert {each.body.name for each in personas(store, "ann")} == {"Shared one", "Private one"}


def test_a_persona_without_words_is_refused():
    with pytest.raises(FeedbackError, match="needs a name and a system prompt"):
        Persona(name="x", prompt=" ")
