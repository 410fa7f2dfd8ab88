"""The pages in a real browser: what people do there, and what the store then holds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted import HOSTILE
from small_studio import BOSS, PHONE, Running, Visitor, until

from danlu.feedback.event import Event
from danlu.feedback.records import (
    Conversation,
    Demonstration,
    Edit,
    Message,
    Ranking,
    Rating,
    Skip,
    Task,
    Undo,
)
from danlu.feedback.store import Store

Visit = Callable[..., Visitor]
CHECK = (Path(__file__).parent / "accessible.js").read_text(encoding="utf-8")
PICTURES = os.environ.get("DANLU_PICTURES")  # a folder for what the pages look like


def bodies(store: Store, kind: type) -> list[Any]:
    return [event.body for event in store.events(kind.kind)]


def question(store: Store, text: str, *answers: str) -> tuple[Event, list[Event]]:
    root = store.add("", Conversation())
    asked = store.add(BOSS, Message(conversation=root.id, role="user", content=text))
    place = {"conversation": root.id, "parent": asked.id, "role": "assistant"}
    return asked, [store.add("", Message(**place, content=answer)) for answer in answers]


def ranking_task(store: Store, *answers: str, text: str = "Why?") -> Event:
    asked, made = question(store, text, *answers)
    return store.add(BOSS, Task(prompt=asked.id, completions=tuple(each.id for each in made)))


def check(visitor: Visitor, name: str) -> None:
    """Look for faults, and keep a picture where one is wanted."""
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        visitor.page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))
    assert visitor.page.evaluate(CHECK) == []


TWICE = """() => { for (let i = 0; i < 2; i++) document.querySelector(".dl-composer textarea")
  .dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true })); }"""


def say(page: Any, text: str) -> None:
    page.fill(".dl-composer textarea", text)
    page.press(".dl-composer textarea", "Enter")


def button(page: Any, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


def test_what_is_said_is_shown_stored_and_never_run(running: Running, visit: Visit):
    store, engine = running.store, running.engines["tiny"]
    engine.text = f"Good **day**.\n\n{HOSTILE}"
    visitor = visit()
    page = visitor.go("chat")
    page.get_by_label("System prompt of a new chat").fill(f"Be brief. {HOSTILE}")
    say(page, f"Hello there! {HOSTILE}")
    page.wait_for_selector(".dl-assistant .dl-text strong:text('day')")
    button(page, "Another answer").wait_for()
    page.get_by_role("button", name="System prompt", exact=False).first.click()
    check(visitor, "chat-en")
    assert HOSTILE[:60] in page.inner_text(".dl-user")
    assert page.evaluate("document.querySelectorAll('.dl-turns :is(img, svg, iframe, script)').length") == 0
    system, asked, said = bodies(store, Message)[-3:]
    assert [each.role for each in (system, asked, said)] == ["system", "user", "assistant"]
    assert (asked.content, said.content) == (f"Hello there! {HOSTILE}".strip(), engine.text)
    assert said.origin.model == "t" * 64
    assert len(said.origin.token_ids) == len(said.origin.logprobs) > 10
    # What looks like a control token was never one to the model.
    ids, control = engine.requests[-1].prompt_ids, engine.tokenizer.im_start_id
    assert sum(i == control for i in ids) == 3


@pytest.mark.slow
def test_a_conversation_has_branches_thumbs_and_better_answers(running: Running, visit: Visit):
    store, engine = running.store, running.engines["tiny"]
    engine.text = "A first answer."
    page = visit().go("chat")
    page.fill(".dl-composer textarea", "Hello?")
    page.evaluate(TWICE)
    button(page, "Another answer").wait_for()
    engine.text = "A second answer."
    button(page, "Another answer").click()
    page.wait_for_selector(".dl-siblings >> text=2/2")
    button(page, "Bad answer").click()
    page.wait_for_selector("[aria-label='Bad answer'][aria-pressed=true]")
    button(page, "Previous version").click()
    page.wait_for_selector(".dl-siblings >> text=1/2")
    button(page, "Good answer").click()
    page.wait_for_selector("[aria-label='Good answer'][aria-pressed=true]")
    button(page, "Write a better answer").click()
    page.fill(".q-dialog textarea", "The best answer.")
    button(page, "Save").click()
    page.wait_for_selector("text=Written by boss")
    page.wait_for_selector(".dl-siblings >> text=3/3")
    asked, first, second = bodies(store, Message)[-3:]
    assert asked.content == "Hello?"
    said = [each.content for each in bodies(store, Message) if each.conversation == asked.conversation]
    assert said.count("Hello?") == 1  # Enter came twice
    rated = [(store.get(each.completion).body.content, each.value) for each in bodies(store, Rating)][-2:]
    assert rated == [(second.content, -1), (first.content, 1)]
    edit = bodies(store, Edit)[-1]
    assert (edit.content, store.get(edit.of).body) == ("The best answer.", first)


@pytest.mark.slow
def test_a_question_asked_differently_is_a_branch_that_a_reload_shows(running: Running, visit: Visit):
    running.engines["tiny"].text = "An answer."
    page = visit().go("chat")
    say(page, "Hello once!")
    button(page, "Another answer").wait_for()
    button(page, "Ask differently").click()
    page.fill(".q-dialog textarea", "Hello twice!")
    page.locator(".q-dialog").get_by_role("button", name="Send").click()
    page.wait_for_selector(".dl-user .dl-siblings >> text=2/2")
    button(page, "Another answer").wait_for()
    page.reload()
    page.wait_for_selector(".dl-user >> text=Hello twice!")
    page.wait_for_selector(".dl-user .dl-siblings >> text=2/2")
    page.locator(".dl-user").get_by_label("Previous version").click()
    page.wait_for_selector(".dl-user >> text=Hello once!")
    one, two = [each for each in bodies(running.store, Message) if each.role == "user"][-2:]
    assert one.parent == two.parent
    assert one.conversation == two.conversation


def test_an_answer_is_stopped_survives_a_reload_and_goes_on(running: Running, visit: Visit):
    store, engine = running.store, running.engines["tiny"]
    engine.text, engine.endless, engine.step_s = "more ", True, 0.02
    page = visit().go("chat")
    say(page, "Never end.")
    page.wait_for_selector(".dl-live >> text=more more")
    page.reload()  # the reply belongs to the server
    page.wait_for_selector(".dl-live >> text=more more more")
    button(page, "Stop").click()
    button(page, "Continue").wait_for()
    before = [each for each in bodies(store, Message) if each.origin.unfinished][-1]
    engine.endless, engine.step_s = False, 0.0
    engine.text = "done."
    button(page, "Continue").click()
    page.wait_for_selector(".dl-assistant >> text=done.")
    page.wait_for_selector(".dl-siblings >> text=2/2")
    after = bodies(store, Message)[-1]
    assert after.content == before.content + "done."
    assert after.origin.token_ids[: len(before.origin.token_ids)] == before.origin.token_ids
    assert engine.requests[-1].prompt_ids[-len(before.origin.token_ids) :] == before.origin.token_ids
    assert not after.origin.unfinished


@pytest.mark.slow
def test_conversations_are_found_renamed_exported_taken_in_and_deleted(
    running: Running, visit: Visit, tmp_path: Path
):
    store = running.store
    running.engines["tiny"].text = "An answer about whales."
    page = visit().go("chat")
    say(page, "Tell me of whales")
    page.wait_for_selector(".dl-row-title >> text=Tell me of whales")
    button(page, "Another answer").wait_for()
    page.get_by_label("Search").fill("ABOUT WHALES")
    page.wait_for_function("document.querySelectorAll('.dl-row').length === 1")
    button(page, "Rename, export, delete").click()
    with page.expect_download() as download:
        page.get_by_text("Export", exact=True).click()
    file = tmp_path / "talk.json"
    download.value.save_as(file)
    assert [each["content"] for each in json.loads(file.read_text("utf-8"))["messages"]] == [
        "Tell me of whales",
        "An answer about whales.",
    ]
    button(page, "Rename, export, delete").click()
    page.get_by_text("Rename", exact=True).click()
    page.fill(".q-dialog input", "<b>Whales</b>")
    button(page, "Save").click()
    page.wait_for_selector(".dl-row-title >> text=<b>Whales</b>")
    button(page, "Import a conversation").click()
    page.set_input_files("input[type=file]", file)
    page.wait_for_function("document.querySelectorAll('.dl-row-title').length > 1")
    page.wait_for_selector(".dl-assistant >> text=An answer about whales.")
    n = len(store.conversations(BOSS))
    page.locator(".dl-row.dl-here").get_by_label("Rename, export, delete").click()
    page.get_by_text("Delete", exact=True).click()
    page.locator(".q-dialog").get_by_role("button", name="Delete").click()
    until(lambda: len(store.conversations(BOSS)) == n - 1)


def test_nine_answers_are_ranked_by_keys_alone(running: Running, visit: Visit):
    store = running.store
    task = ranking_task(store, *(f"Answer of letter {letter}." for letter in "abcdefgh"), HOSTILE)
    page = visit().go("rank", ".dl-answer")
    given = {each.task: each for each in store.next_tasks(BOSS)}[task.id]
    for key in "12=3u3456789":
        page.keyboard.press(key)
    page.wait_for_function("document.querySelectorAll('.dl-placed').length === 9")
    assert page.evaluate("document.querySelectorAll('.dl-work :is(img, svg, iframe, script)').length") == 0
    button(page.locator(".dl-answer").nth(0), "helpful").click()
    page.keyboard.press("Enter")  # on a button it is the button's
    page.locator(".dl-prompt").click()
    page.wait_for_selector("[aria-pressed=false] >> text=helpful >> nth=0")
    button(page.locator(".dl-answer").nth(8), "unsafe").click()
    page.locator(".dl-prompt").click()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Nothing to rank")
    said = bodies(store, Ranking)[-1]
    ranks = dict(zip(said.completions, said.ranks, strict=True))
    assert [ranks[node] for node, _ in given.completions] == [1, 2, 2, 3, 4, 5, 6, 7, 8]
    flags = dict(zip(said.completions, said.flags, strict=True))
    assert [flags[node] for node, _ in given.completions] == [()] * 8 + [("unsafe",)]
    assert said.shown == given.shown
    assert said.seconds > 0


@pytest.mark.slow
def test_a_ranking_is_taken_back_and_a_task_left_to_others(running: Running, visit: Visit):
    store = running.store
    task = ranking_task(store, "One.", "Two.", text="The first question")
    other = ranking_task(store, "Three.", "Four.", text="The next question")
    taken_back = len(bodies(store, Undo))
    page = visit().go("rank", ".dl-answer")
    for key in ("1", "=", "2", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector(".dl-prompt >> text=The next question")
    page.keyboard.press("u")  # nothing is placed yet: the last ranking comes back
    page.wait_for_selector(".dl-prompt >> text=The first question")
    page.wait_for_function("document.querySelectorAll('.dl-placed').length === 2")
    assert len(bodies(store, Undo)) == taken_back + 1
    page.keyboard.press("Enter")
    page.wait_for_selector(".dl-prompt >> text=The next question")
    page.keyboard.press("s")
    page.wait_for_selector("text=Nothing to rank")
    assert bodies(store, Skip)[-1].task == other.id
    assert [each.ranks for each in bodies(store, Ranking) if each.task == task.id] == [(1, 1)]


@pytest.mark.slow
def test_answers_are_dragged_into_tiers(running: Running, visit: Visit):
    store = running.store
    ranking_task(store, "One.", "Two.", text="Drag these")
    page = visit().go("rank", ".dl-chip")
    page.locator(".dl-chip").nth(1).drag_to(page.locator(".dl-chips").nth(0))
    page.wait_for_selector(".dl-placed >> text=1")
    page.locator(".dl-chip >> text=1").drag_to(page.locator(".dl-chips").nth(0))
    page.wait_for_function("document.querySelectorAll('.dl-placed').length === 2")
    button(page, "Hand in").click()
    page.wait_for_selector("text=Nothing to rank")
    assert bodies(store, Ranking)[-1].ranks == (1, 1)


def test_answers_are_demonstrated(running: Running, visit: Visit):
    store = running.store
    asked, (draft,) = question(store, "Why is the sky blue at noon?", "Because of the see.")
    task = store.add(BOSS, Task(do="demonstrate", prompt=asked.id, completions=(draft.id,)))
    visitor = visit()
    page = visitor.go("demonstrate", ".dl-work textarea")
    page.fill(".dl-work textarea", "Because of the air. Write to ann@example.com.")
    page.wait_for_selector("del >> text=see")
    page.wait_for_selector(".dl-remarks >> text=email")
    check(visitor, "demonstrate-en")
    page.fill(".dl-work textarea", f"Because of the air. {HOSTILE}")
    page.press(".dl-work textarea", "Control+Enter")
    page.wait_for_selector("text=write a question of your own")
    said = [event.body for event in store.events(Edit.kind) if event.task == task.id]
    assert [each.content for each in said] == [f"Because of the air. {HOSTILE}".strip()]
    page.get_by_label("Question").fill("Who are you?")
    answer = "A small model, raised by its reader."
    page.get_by_label("Answer", exact=True).fill(answer)
    button(page, "Hand in").click()
    until(lambda: any(each.content == answer for each in bodies(store, Demonstration)))
    (own,) = (each for each in bodies(store, Demonstration) if each.content == answer)
    assert store.messages(own.parent) == [{"role": "user", "content": "Who are you?"}]


def compared(page: Any, text: str) -> list[str]:
    """Ask all, and wait for what they answer."""
    page.fill(".dl-arena textarea", text)
    page.press(".dl-arena textarea", "Enter")
    button(page, "1 is best").wait_for()
    return page.locator(".dl-answer .dl-text").all_inner_texts()


def test_models_are_compared_blind(running: Running, visit: Visit):
    store = running.store
    running.engines["tiny"].text, running.engines["other"].text = "The first answer.", "The second answer."
    visitor = visit()
    page = visitor.go("compare", ".dl-arena textarea")
    texts = compared(page, "Which of you?")
    assert sorted(texts) == ["The first answer.", "The second answer."]
    assert "tiny" not in page.inner_text(".dl-arena")  # blind
    page.reload()
    button(page, "1 is best").wait_for()
    assert page.locator(".dl-answer .dl-text").all_inner_texts() == texts
    page.keyboard.press("1")
    page.wait_for_selector(".dl-leaders td >> text=tiny · T=0.5")
    check(visitor, "compare-en")
    said = bodies(store, Ranking)[-1]
    best = said.completions[said.ranks.index(1)]
    assert store.get(best).body.content == texts[0]
    assert dict(zip(said.about["compare"], said.completions, strict=True)).keys() == {
        "tiny · T=0.5",
        "other · T=0.5",
    }


def test_a_comparison_goes_on_from_the_best_answer_blind_again(running: Running, visit: Visit):
    store, engines = running.store, running.engines
    engines["tiny"].text, engines["other"].text = "Whales sing.", "Whales swim."
    visitor = visit()
    page = visitor.go("compare", ".dl-arena textarea")
    won, lost = compared(page, "What do whales do?")
    page.keyboard.press("1")
    page.wait_for_selector(".dl-arena textarea")
    page.keyboard.press("c")
    page.wait_for_selector(".dl-arena textarea:focus")
    compared(page, "Why?")
    assert "T=0.5" not in page.inner_text(".dl-arena")  # blind again
    page.reload()
    button(page, "1 is best").wait_for()
    assert page.locator(".dl-prompt .dl-text").all_inner_texts() == ["What do whales do?", won, "Why?"]
    assert lost not in page.inner_text(".dl-prompt")
    read = [engine.tokenizer.decode(engine.requests[-1].prompt_ids) for engine in engines.values()]
    assert read[0] == read[1]  # both were asked the same
    assert won in read[0]
    assert lost not in read[0]
    page.keyboard.press("=")
    page.wait_for_selector(".dl-answer-head >> text=T=0.5")
    check(visitor, "compare-turns-en")
    said = bodies(store, Ranking)[-1]
    assert said.ranks == (1, 1)
    prompt = [each["content"] for each in store.messages(said.completions[0])[:-1]]
    assert prompt == ["What do whales do?", won, "Why?"]
    page.keyboard.press("Enter")
    button(page, "Ask all").wait_for()


@pytest.mark.parametrize(
    "place",
    ["rank", *(pytest.param(each, marks=pytest.mark.slow) for each in ("chat", "compare", "demonstrate"))],
)
def test_a_page_in_chinese_in_the_dark_on_a_phone(running: Running, visit: Visit, place: str):
    if place == "rank":
        ranking_task(running.store, "天空是蓝色的。", "The sky is blue.", text="天空为什么是蓝色的？")
    visitor = visit("zh-CN", viewport=PHONE, color_scheme="dark", has_touch=True)
    page = visitor.go(place)
    page.wait_for_selector("body.body--dark")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    check(visitor, f"{place}-zh-dark-phone")


@pytest.mark.slow
def test_language_and_theme_are_chosen_and_kept(running: Running, visit: Visit):
    visitor = visit(color_scheme="light")
    page = visitor.go("compare")
    page.get_by_role("link", name="中文").click()
    page.wait_for_selector(".dl-title >> text=对比")
    button_dark = page.get_by_label("深色主题")
    button_dark.click()
    page.wait_for_selector("body.body--dark")
    visitor.go("rank")
    page.wait_for_selector(".dl-title >> text=排序")
    page.wait_for_selector("body.body--dark")
    check(visitor, "rank-zh-dark")


@pytest.fixture
def people(running: Running) -> Iterator[Any]:
    """Others have accounts as well, so everybody signs in."""
    accounts = running.studio.accounts
    known = {person.name for person in accounts.people()}
    for name, role in (("ann", "annotator"), ("guy", "guest")):
        if name in known:
            accounts.change(name, active=True, role=role)
        else:
            accounts.add(name, role, f"password of {name}")
    yield accounts
    for name in ("ann", "guy"):
        accounts.change(name, active=False)


def signed_in(visitor: Visitor, name: str) -> Any:
    page = visitor.page
    page.goto(f"{visitor.address}/studio/chat")
    assert page.title() == "Sign in · Danlu"
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(f"password of {name}")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector(".dl-composer")
    return page


def test_a_guest_sees_and_opens_no_other_page(people: Any, visit: Visit):
    visitor = visit()
    page = signed_in(visitor, "guy")
    assert page.locator(".dl-link").all_inner_texts() == ["forum\nChat"]
    for place in ("rank", "demonstrate", "compare"):
        answer = page.request.get(f"{visitor.address}/studio/{place}")
        assert answer.status == 403
        assert "does not open this page" in answer.text()


def test_what_a_role_allows_is_asked_anew_at_every_action(people: Any, running: Running, visit: Visit):
    ranking_task(running.store, "One.", "Two.", text="Signed in")
    visitor = visit()
    signed_in(visitor, "ann")
    page = visitor.go("rank", ".dl-answer")
    n = len(bodies(running.store, Ranking))
    people.change("ann", role="guest")  # while the page is open
    for key in ("1", "2", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector(".q-notification >> text=does not allow it any more")
    assert len(bodies(running.store, Ranking)) == n
    people.change("ann", role="annotator")
    page.keyboard.press("Enter")
    until(lambda: len(bodies(running.store, Ranking)) == n + 1)
    assert [event.person for event in running.store.events(Ranking.kind)][-1] == "ann"
    page.get_by_label("Account").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_selector("text=Password")
