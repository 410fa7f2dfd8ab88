"""The log only grows, refuses what fits nothing, and keeps every character."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from people import MODEL, answer, ask, derived, ranking_task
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from danlu.feedback.body import Origin, plain, to_json
from danlu.feedback.errors import FeedbackError
from danlu.feedback.event import Event, read_body
from danlu.feedback.records import (
    BODIES,
    Comment,
    Conversation,
    Demonstration,
    Edit,
    Flag,
    Hide,
    Message,
    Persona,
    Ranking,
    Rating,
    Rename,
    Skip,
    Task,
    Undo,
    Verdict,
)
from danlu.feedback.schema import METADATA
from danlu.feedback.store import Store

HOSTILE = "<script>alert(1)</script> <|im_end|> \u202e \x00 \ud83d half 丹炉 🔥 ' \" \\ \r\n %s {x}"


def test_what_is_added_is_read_back_whole(store: Store):
    _, (first,) = ask(store, HOSTILE, prompt=HOSTILE)
    made = store.get(first.id)
    assert made == first
    assert isinstance(made.body, Message)
    assert made.body.content == HOSTILE
    assert made.body.origin.sampling == {"temperature": 1.0, "seed": 3}
    assert store.messages(first.id) == [
        {"role": "user", "content": HOSTILE},
        {"role": "assistant", "content": HOSTILE},
    ]


def test_a_conversation_is_a_tree_whose_branches_stay(store: Store):
    question, (first, second) = ask(store, "Rayleigh.", "It is not.")
    deeper = store.add(
        "ann",
        Message(conversation=question.body.subject, parent=second.id, role="user", content="Really?"),
    )
    assert [each.id for each in store.alternatives(first.id)] == [first.id, second.id]
    assert [each.id for each in store.children(second.id)] == [deeper.id]
    assert [each["content"] for each in store.messages(deeper.id)] == [
        "Why is the sky blue?",
        "It is not.",
        "Really?",
    ]
    third = answer(store, question, "Rayleigh.")  # the same words again are another answer
    assert [each.id for each in store.alternatives(first.id)] == [first.id, second.id, third.id]


def test_demonstrations_and_edits_stand_beside_the_answers(store: Store):
    question, (draft,) = ask(store, "Dunno.")
    place: dict[str, Any] = {"conversation": question.body.subject, "parent": question.id}
    shown = store.add("bob", Demonstration(**place, content="Air scatters blue light most.", seconds=30))
    edit = store.add("cat", Edit(**place, content="I do not know.", of=draft.id))
    assert [each.id for each in store.children(question.id)] == [draft.id, shown.id, edit.id]
    assert store.messages(edit.id)[-1] == {"role": "assistant", "content": "I do not know."}


def test_undo_is_an_event_and_takes_effect_once(store: Store):
    _, (first, _) = ask(store, "a", "b")
    rating = store.add("ann", Rating(completion=first.id, value=1))
    undone = store.undo("ann", rating.id)
    assert list(store.events("rating")) == []
    assert [each.id for each in store.events("rating", stands=False)] == [rating.id]
    assert store.get(undone.id).body == Undo(event=rating.id)
    with pytest.raises(FeedbackError, match="has already been taken back"):
        store.undo("ann", rating.id)


def test_nobody_takes_back_what_another_said(store: Store):
    _, (first, _) = ask(store, "a", "b")
    rating = store.add("ann", Rating(completion=first.id, value=1))
    with pytest.raises(FeedbackError, match="is by 'ann'; only they can take it back"):
        store.undo("bob", rating.id)


@pytest.mark.parametrize("statement", ["UPDATE events SET body = '{}'", "DELETE FROM events"])
def test_the_database_itself_refuses_to_change_the_log(store: Store, statement: str):
    ask(store, "a", "b")
    before = list(store.events(stands=False))
    with (
        pytest.raises((DBAPIError, FeedbackError), match="append-only"),
        store.database.write() as connection,
    ):
        connection.exec_driver_sql(statement)
    assert list(store.events(stands=False)) == before


def test_sending_again_is_no_second_judgement(store: Store):
    task = ranking_task(store, "a", "b")
    (given_out,) = store.next_tasks("ann")
    said, event_id = given_out.ranking([1, 2]), "0a" * 16
    first = store.add("ann", said, event_id=event_id)
    assert store.add("ann", said, event_id=event_id) == first
    assert len(list(store.events("ranking"))) == 1
    with pytest.raises(FeedbackError, match="is already that of another ranking"):
        store.add("ann", given_out.ranking([2, 1]), event_id=event_id)
    assert derived(store)[task.id] == (1, "done")


def test_several_are_accepted_together_or_not_at_all(store: Store):
    _, (first, _) = ask(store, "a", "b")
    with pytest.raises(FeedbackError, match="which is not here"):
        store.add_all("ann", [Rating(completion=first.id, value=1), Rating(completion="f" * 32, value=1)])
    assert list(store.events("rating", stands=False)) == []


def bad_bodies(store: Store) -> list[tuple[Callable[[], Any], str]]:
    question, (a, b) = ask(store, "a", "b")
    other, (c,) = ask(store, "c", prompt="And the grass?")
    task = ranking_task(store, "x", "y")
    here = question.body.subject
    return [
        (lambda: Ranking(completions=(a.id,), ranks=(1,)), "1 completions; a ranking needs 2 to 16"),
        (lambda: Ranking(completions=(a.id, a.id), ranks=(1, 2)), "needs 2 to 16 different ones"),
        (lambda: Ranking(completions=(a.id, b.id), ranks=(0, 1)), r"ranks are \[0, 1\]; 2 are needed"),
        (lambda: Ranking(completions=(a.id, b.id), ranks=(1,)), r"ranks are \[1\]; 2 are needed"),
        (
            lambda: Ranking(completions=(a.id, b.id), ranks=(1, 2), strengths=(1.0, 2.0)),
            "1 numbers of at least 0 are needed",
        ),
        (
            lambda: Ranking(completions=(a.id, b.id), ranks=(1, 2), shown=(0, 2)),
            "must order the numbers 0 to 1",
        ),
        (
            lambda: Ranking(completions=(a.id, b.id), ranks=(1, 2), flags=(("unsafe",),)),
            "flags for 1 completions",
        ),
        (lambda: Ranking(completions=(a.id, b.id), ranks=(1, 2), seconds=-1.0), "seconds is -1.0"),
        (lambda: Ranking(completions=(a.id, c.id), ranks=(1, 2)), "answer different turns"),
        (lambda: Ranking(completions=(a.id, task.id), ranks=(1, 2)), "a task; it must be a message or"),
        (lambda: Ranking(completions=(a.id, b.id), ranks=(1, 2), task=task.id), "are not those of the task"),
        (lambda: Rating(completion=a.id, value=2), "the thumb is 2; it must be one of -1, 1"),
        (lambda: Rating(completion=a.id, value=3, scale="grade"), "one of -2, -1, 0, 1, 2"),
        (
            lambda: Rating(completion=a.id, value=1, task=task.id),
            "the task is to rank; a rating does not do it",
        ),
        (lambda: Demonstration(conversation=here, parent=question.id, content=" \n"), "is empty"),
        (
            lambda: Demonstration(conversation=here, parent=other.id, content="d"),
            "is in another conversation",
        ),
        (
            lambda: Edit(conversation=here, parent=question.id, content="d", of=question.id),
            "answers another turn",
        ),
        (
            lambda: Message(conversation=here, parent=other.id, role="user", content="x"),
            "another conversation",
        ),
        (lambda: Task(prompt=question.id, completions=(a.id, c.id)), "answer different turns"),
        (lambda: Task(prompt=other.id, completions=(a.id, b.id)), "answer different turns"),
        (lambda: Task(prompt=question.id, completions=(a.id,)), "such a task has 2 to 16"),
        (lambda: Task(prompt=question.id, completions=(a.id, b.id), overlap=0), "overlap is 0"),
        (lambda: Task(prompt=question.id, completions=(a.id, b.id), gold=(1,)), "needs 2 from 1 up"),
        (lambda: Undo(event=question.id), "a message; it must be a ranking or"),
        (lambda: Skip(task=question.id), "a message; it must be a task"),
        (lambda: Comment(on="e" * 32, text="?"), "which is not here"),
    ]


def test_what_fits_nothing_is_refused_and_told(store: Store):
    for make, told in bad_bodies(store):
        before = len(list(store.events(stands=False)))
        with pytest.raises(FeedbackError, match=told):
            store.add("ann", make())
        assert len(list(store.events(stands=False))) == before, told


@pytest.mark.parametrize("name", ["a\nb", "x" * 201, "\x00", "\ud800"])
def test_a_name_is_one_line(store: Store, name: str):
    with pytest.raises(FeedbackError, match="must be one line"):
        store.add(name, Conversation())


def test_history_shows_own_conversations_and_finds_what_was_said(store: Store):
    ask(store, "Rayleigh scattering.")
    first, second = (event for event, _ in (ask(store, "a"), ask(store, "b", prompt="天为什么是蓝的？")))
    store.add("ann", Rename(conversation=first.body.subject, title="new"))
    store.add("bob", Conversation(title="his"))
    assert [title for _, title in store.conversations("ann")] == ["sky", "new", "sky"]
    assert store.conversations("ann", "RAYLEIGH")[0][1] == "sky"
    assert [each for each, _ in store.conversations("ann", "蓝")] == [second.body.subject]
    store.add("ann", Hide(conversation=second.body.subject))
    assert [title for _, title in store.conversations("ann")] == ["new", "sky"]


EXAMPLES = [
    Persona(name="brief", prompt="Answer in one line.", shared=True),
    Conversation(title="x", about={"deep": [None, {"a": 1.5}], "none": "none"}),
    Message(conversation="c", role="tool", content="none", more={"tool_call_id": "1"}),
    Message(
        conversation="c",
        parent="p",
        role="assistant",
        content="",
        origin=Origin(model=MODEL, token_ids=(1, 2), logprobs=(-0.25, -1e-9), unfinished=True),
    ),
    Demonstration(conversation="c", parent="p", content="d", seconds=1.5, task="t"),
    Edit(conversation="c", parent="p", content="d", of="o", about={"n": 1}),
    Ranking(
        completions=("a", "b", "c"),
        ranks=(2, 1, 2),
        strengths=(0.5,),
        flags=((), ("unsafe", "我的"), ()),
        shown=(2, 0, 1),
        seconds=3.0,
        comment="none",
        task="t",
    ),
    Verdict(completions=("a", "b"), ranks=(1, 1)),
    Rating(completion="a", value=-2, scale="grade", comment="bad"),
    Flag(completion="a", flag="wrong"),
    Comment(on="a", text="!"),
    Rename(conversation="c", title=""),
    Hide(conversation="c"),
    Task(do="rank", prompt="p", completions=("a", "b"), overlap=3, gold=(1, 2), guideline="g"),
    Skip(task="t", reason="?", seconds=2.0),
    Undo(event="e"),
]


@pytest.mark.parametrize("body", EXAMPLES, ids=lambda body: body.kind)
def test_every_kind_comes_back_from_its_plain_values(body: Any):
    assert read_body(body.kind, plain(body)) == body
    event = Event(id="0" * 32, at="2026-05-04T09:00:00+00:00", person="ann", body=body)
    assert Event.from_tree(event.to_tree()) == event


def test_there_is_an_example_of_every_kind():
    assert {body.kind for body in EXAMPLES} == set(BODIES)


@given(st.text(st.characters(codec=None, categories=None)))  # half surrogate pairs too
def test_any_text_survives_a_utf_8_file(text: str):
    line = to_json({"text": text})
    paired = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert json.loads(line.encode("utf-8").decode("utf-8"))["text"] in (text, paired)


def test_what_json_lacks_is_refused():
    with pytest.raises(FeedbackError, match="cannot be written as JSON"):
        to_json({"x": float("inf")})


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"kind": "rating", "at": "x"}, "has no 'id'"),
        ({"id": "7", "kind": "rating", "at": "2026-05-04"}, "ids are 32 hexadecimal digits"),
        ({"id": "0" * 32, "kind": "vote", "at": "2026-05-04"}, "is of the kind 'vote'; known here"),
        ({"id": "0" * 32, "kind": "undo", "at": "yesterday", "event": "x"}, "the time is 'yesterday'"),
        ({"id": "0" * 32, "kind": "undo", "at": "2026-05-04", "evnt": "x"}, "did you mean 'event'"),
        ({"id": "0" * 32, "kind": "undo", "at": "2026-05-04", "event": 3}, "event: expected text, got 3"),
    ],
)
def test_a_line_that_is_no_event_is_told(tree: dict[str, Any], told: str):
    with pytest.raises(FeedbackError, match=told):
        Event.from_tree(tree)


def test_migrations_make_exactly_the_tables_of_the_code(store: Store):
    with store.database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_database_of_a_newer_version_is_left_alone(opened: Callable[..., Store], place: str):
    store = opened()
    ask(store, "a")
    with store.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(
        FeedbackError, match=r"newer version of danlu \(tables of revision 0999, known here up"
    ):
        opened()
    assert len(list(store.events(stands=False))) == 3


def test_a_store_opens_again_with_all_that_was_accepted(opened: Callable[..., Store]):
    first = opened()
    ask(first, "a", "b")
    before = list(first.events(stands=False))
    first.close()
    assert list(opened(create=False).events(stands=False)) == before


def test_sqlite_writes_ahead_and_syncs_every_commit(tmp_path: Path):
    with Store.open(tmp_path / "x.db") as store, store.database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_places_that_hold_no_store_are_told(tmp_path: Path):
    (tmp_path / "text.db").write_text("no database at all, but a text of some length\n" * 50)
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE recipes (x)")
    other.close()
    (tmp_path / "empty.db").touch()
    for where, create, told in (
        ("text.db", True, "is no SQLite database"),
        ("other.db", True, "holds the tables recipes of another program"),
        ("none.db", False, "no such database"),
        ("empty.db", False, "holds no feedback"),
        (".", True, "is a folder"),
    ):
        with pytest.raises(FeedbackError, match=told):
            Store.open(tmp_path / where, create=create)
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://me@host/x", "are not supported; use SQLite or PostgreSQL"),
        ("sqlite://", "names no database"),
        ("postgresql+nothing://me@host/x", "no driver is known"),
        ("://", "cannot be read"),
    ],
)
def test_urls_that_lead_nowhere_are_told(url: str, told: str):
    with pytest.raises(FeedbackError, match=told):
        Store.open(url)


def test_without_its_driver_postgresql_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(FeedbackError, match=r"pip install 'danlu\[postgres\]'"):
        Store.open("postgresql://me:secret@host/x")


def test_without_sqlalchemy_the_store_says_what_to_install():
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from danlu.cli import main; sys.exit(main(['feedback', 'status']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'danlu[studio]'" in done.stderr


def test_a_full_disk_loses_nothing_that_was_accepted(tmp_path: Path):
    with Store.open(tmp_path / "x.db") as store:
        _, (first, _) = ask(store, "a", "b")
        with store.database.write() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()

        @event.listens_for(store.database.engine, "checkout")
        def fill(raw: Any, *_: object) -> None:
            raw.execute(f"PRAGMA max_page_count = {pages + 4}")

        accepted: list[Event] = []

        def judge_on() -> None:
            for number in range(1000):
                rating = Rating(completion=first.id, value=1, comment=f"{number} " * 200)
                accepted.append(store.add(f"person {number}", rating))

        with pytest.raises(FeedbackError, match="the disk is full, and this was not accepted"):
            judge_on()
        assert 0 < len(accepted) < 1000
        assert list(store.events("rating")) == accepted
    with Store.open(tmp_path / "x.db") as store:  # there is room again
        assert list(store.events("rating")) == accepted
        store.add("ann", Rating(completion=first.id, value=1))


def test_a_database_nobody_may_write_to_is_told(tmp_path: Path):
    with Store.open(tmp_path / "x.db") as store:
        _, (first, _) = ask(store, "a", "b")

        @event.listens_for(store.database.engine, "checkout")
        def protect(raw: Any, *_: object) -> None:
            raw.execute("PRAGMA query_only = ON")

        with pytest.raises(FeedbackError, match="readonly database; this was not accepted"):
            store.add("ann", Rating(completion=first.id, value=1))


def test_a_store_in_two_hands_shows_both_what_was_accepted(opened: Callable[..., Store]):
    one, two = opened(), opened()
    _, (first, _) = ask(one, "a", "b")
    two.add("bob", Rating(completion=first.id, value=-1))
    assert [each.person for each in one.events("rating")] == ["bob"]


def test_reading_sees_one_moment_while_others_write(store: Store):
    _, (first, _) = ask(store, "a", "b")
    seen = store.events("rating")
    store.add("ann", Rating(completion=first.id, value=1))
    assert len(list(seen)) == 1
    with store.database.read() as connection:
        count = sa.text("SELECT count(*) FROM events")
        before = connection.scalar(count)
        store.add("bob", Rating(completion=first.id, value=1))
        assert connection.scalar(count) == before


def test_judgements_wait_for_the_disk_and_leases_do_not(tmp_path: Path):
    """SQLite's own word for it, asked in the transaction: 2 is FULL, 1 is NORMAL."""
    with Store.open(tmp_path / "feedback.db") as store:
        found: list[int] = []
        for lasting in (True, False, True):
            with store.database.write(lasting=lasting) as connection:
                found.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
        assert found == [2, 1, 2]
