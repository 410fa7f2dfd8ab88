"""Conversations are trees that belong to somebody; they leave and come back as files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from danlu.feedback.body import Origin
from danlu.feedback.errors import FeedbackError
from danlu.feedback.event import Event, content_of
from danlu.feedback.records import Conversation, Edit, Message
from danlu.feedback.store import Store
from danlu.serve.studio.conversation import Tree, export, read_file


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "feedback.db") as opened:
        yield opened


def turn(store: Store, root: Event, parent: Event | None, role: str, text: str) -> Event:
    said = {"conversation": root.id, "parent": parent.id if parent else "", "role": role, "content": text}
    origin = Origin(model="a" * 64, name="m", token_ids=(1, 2), logprobs=(-0.5, -0.25))
    by_model = role == "assistant"
    return store.add("" if by_model else "ann", Message(**said, **({"origin": origin} if by_model else {})))


@pytest.fixture
def talk(store: Store) -> dict[str, Event]:
    """root → q → (a1 → q2 → b, a2, edit of a1)"""
    root = store.add("ann", Conversation(title="sky"))
    q = turn(store, root, None, "user", "q")
    a1, a2 = turn(store, root, q, "assistant", "a1"), turn(store, root, q, "assistant", "a2")
    q2 = turn(store, root, a1, "user", "q2")
    b = turn(store, root, q2, "assistant", "b")
    edit = store.add("ann", Edit(conversation=root.id, parent=q.id, of=a1.id, content="better"))
    return {"root": root, "q": q, "a1": a1, "a2": a2, "q2": q2, "b": b, "edit": edit}


def texts(branch: list[Event]) -> list[str]:
    return [content_of(node) for node in branch]


def test_the_branch_where_was_spoken_last_is_shown_unless_another_is_asked_for(
    store: Store, talk: dict[str, Event]
):
    tree = Tree.read(store, "ann", talk["root"].id)
    assert texts(tree.branch()) == ["q", "better"]
    assert texts(tree.branch(talk["a1"].id)) == ["q", "a1", "q2", "b"]
    assert texts(tree.branch(talk["a2"].id)) == ["q", "a2"]
    assert texts(tree.branch("f" * 32)) == ["q", "better"]
    assert texts(list(tree.siblings(talk["a1"]))) == ["a1", "a2", "better"]


def test_nobody_reads_the_conversation_of_another(store: Store, talk: dict[str, Event]):
    for person, event_id in (("bob", talk["root"].id), ("ann", talk["q"].id), ("ann", "f" * 32)):
        with pytest.raises(FeedbackError, match="no event has the id"):
            Tree.read(store, person, event_id)


def test_a_file_brings_everything_back_as_somebody_elses_own(store: Store, talk: dict[str, Event]):
    file = export(Tree.read(store, "ann", talk["root"].id))
    events = read_file(file.encode(), "bob")
    assert not {each.id for each in events} & {each.id for each in talk.values()}
    store.take_in(events)
    tree = Tree.read(store, "bob", events[0].id)
    assert export(tree).replace(events[0].id, "") != ""
    assert texts(tree.branch()) == ["q", "better"]
    (a1,) = [node for node in events if isinstance(node.body, Message) and node.body.content == "a1"]
    assert a1.body == Message(
        conversation=events[0].id,
        parent=events[1].id,
        role="assistant",
        content="a1",
        origin=talk["a1"].body.origin,
    )
    assert texts(tree.branch(a1.id)) == ["q", "a1", "q2", "b"]
    assert {each.person for each in events} == {"bob", ""}


def test_messages_in_openais_shape_are_one_branch(store: Store):
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    for tree in (messages, {"messages": messages, "model": "x"}):
        events = read_file(json.dumps(tree).encode(), "bob")
        store.take_in(events)
        assert texts(Tree.read(store, "bob", events[0].id).branch()) == ["s", "q"]


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"{}", "has no 'messages'"),
        (b'{"messages": [1]}', "has no 'messages'"),
        (b'[{"role": "root", "content": "x"}]', "message 1: message: role"),
        (b'[{"role": "user", "content": 5}]', "message 1: message: content"),
        (b'[{"kind": "undo", "event": "a"}]', "message 1"),
        (b'[{"id": "a", "parent": "b", "role": "user", "content": ""}]', "message 1 stands below"),
    ],
)
def test_a_file_that_is_none_is_refused_with_what_is_wrong(raw: bytes, fault: str):
    with pytest.raises(FeedbackError, match=fault):
        read_file(raw, "bob")


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_file_of_messages_is_refused(text: str):
    with pytest.raises(FeedbackError, match="no JSON"):
        read_file(text.encode(), "bob")
