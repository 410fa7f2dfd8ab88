"""What a contest shows of the store: turns, who goes on, and who answers next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("nicegui", reason="the studio needs NiceGUI: pip install 'danlu[studio]'")

from danlu.feedback.accounts import Person
from danlu.feedback.body import Origin
from danlu.feedback.errors import FeedbackError
from danlu.feedback.event import Event, content_of
from danlu.feedback.records import Conversation, Message, Ranking
from danlu.feedback.store import Store
from danlu.serve.studio.contest import Contest
from danlu.serve.studio.studio import Studio
from danlu.serve.studio.visit import Visit


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "feedback.db") as opened:
        yield opened


def read(store: Store, root: Event, name: str = "me") -> Contest:
    person = Person(name=name, role="admin")
    studio = Studio(store=store, voices=[])
    visit = Visit(studio=studio, person=person, secret="", language="en", dark=None, query={})
    return Contest.read(visit, root.id)


def ask(store: Store, root: Event, text: str, parent: str = "") -> Event:
    return store.add("me", Message(conversation=root.id, parent=parent, role="user", content=text))


def answers(store: Store, root: Event, question: Event, **texts: str) -> dict[str, Event]:
    return {
        name: store.add(
            "",
            Message(
                conversation=root.id,
                parent=question.id,
                role="assistant",
                content=text,
                origin=Origin(name=name, sampling={"temperature": 0.5}),
            ),
        )
        for name, text in texts.items()
    }


def judge(store: Store, made: dict[str, Event], **ranks: int) -> None:
    completions = tuple(made[name].id for name in ranks)
    store.add("me", Ranking(completions=completions, ranks=tuple(ranks.values())))


def test_the_winner_is_what_the_next_question_follows(store: Store):
    root = store.add("", Conversation())
    made = answers(store, root, ask(store, root, "Who?"), one="I.", two="We.")
    before = read(store, root)
    assert before.may_be_judged
    assert before.goes_on is None
    judge(store, made, one=2, two=1)
    contest = read(store, root)
    assert not contest.may_be_judged
    assert contest.goes_on is not None
    assert content_of(contest.goes_on) == "We."
    second = ask(store, root, "Why?", made["two"].id)
    answers(store, root, second, one="So.", two="Thus.")
    contest = read(store, root)
    assert [each["content"] for each in contest.messages] == ["Who?", "We.", "Why?"]
    assert contest.may_be_judged
    assert sorted(contest.contenders) == [("one", 0.5), ("two", 0.5)]


def test_of_answers_as_good_the_one_shown_first_goes_on(store: Store):
    root = store.add("", Conversation())
    made = answers(store, root, ask(store, root, "Who?"), one="I.", two="We.", three="They.")
    judge(store, made, one=1, two=2, three=1)
    contest = read(store, root)
    first = min(made["one"].id, made["three"].id)  # answers are shown in the order of their ids
    assert contest.goes_on is not None
    assert contest.goes_on.id == first


def test_a_question_that_nobody_answered_is_asked_again_in_its_place(store: Store):
    root = store.add("", Conversation())
    made = answers(store, root, ask(store, root, "Who?"), one="I.", two="We.")
    judge(store, made, one=1, two=2)
    ask(store, root, "Lost?", made["one"].id)
    contest = read(store, root)
    assert not contest.may_be_judged
    assert contest.goes_on is not None
    assert contest.goes_on.id == made["one"].id
    assert sorted(contest.contenders) == [("one", 0.5), ("two", 0.5)]
    ask(store, root, "Once more?", made["one"].id)
    assert [each["content"] for each in read(store, root).messages] == ["Who?", "I.", "Once more?"]


def test_a_contest_of_somebody_else_is_unknown(store: Store):
    root = store.add("", Conversation())
    ask(store, root, "Who?")
    with pytest.raises(FeedbackError, match="not yours"):
        read(store, root, "somebody")
