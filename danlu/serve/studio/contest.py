"""A contest: a conversation in which each question has answers by several contenders, as the store has it.

The best answer of a turn is what all of them have said when the next is asked (Bai et al. 2022, section 2.2;
Touvron et al. 2023, section 3.2.1), so each verdict is on answers to one and the same prompt, which is what
training reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from danlu.feedback.body import Origin
from danlu.feedback.errors import FeedbackError
from danlu.feedback.event import Event, content_of
from danlu.feedback.records import Message, Ranking
from danlu.serve.studio.replies import Draft
from danlu.serve.studio.visit import Visit

FEWEST, MOST = 2, 4
Contender = tuple[str, float]  # model, temperature


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One question with its answers, as the store has it."""

    question: Event
    answers: Sequence[Event]  # in the order shown
    shown: tuple[int, ...]  # which of the answers that are stored stands first, second, …
    verdict: Event | None

    @property
    def ranks(self) -> list[int]:
        """The ranks in the order shown; empty before the verdict."""
        if self.verdict is None or not isinstance(self.verdict.body, Ranking):
            return []
        rank = dict(zip(self.verdict.body.completions, self.verdict.body.ranks, strict=True))
        return [rank[each.id] for each in self.answers]

    @property
    def best(self) -> int | None:
        """Which answer in the order shown goes on: of several that are as good the first, by chance so."""
        return self.ranks.index(min(self.ranks)) if self.ranks else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """A contest as far as it has come."""

    conversation: str
    turns: Sequence[Turn]  # of which all but the last are judged
    drafts: Sequence[Draft]  # answers of the last that are still being made

    @classmethod
    def read(cls, visit: Visit, conversation: str) -> Contest:
        """The visitor's own."""
        store = visit.studio.store
        # Asked before the store: a reply that is finished meanwhile is then seen here at least.
        drafts = visit.studio.replies.under_way(conversation)
        below = store.below(conversation)
        turns = list(_turns(below, conversation, store.own_rankings(visit.person.name)))
        if not turns or turns[0].question.person != visit.person.name:
            raise FeedbackError(visit.say("compare.unknown"))
        drafts = [each for each in drafts if each.parent == turns[-1].question.id]
        return cls(conversation=conversation, turns=turns, drafts=sorted(drafts, key=lambda draft: draft.id))

    @property
    def now(self) -> Turn:
        """What is asked, or was judged last."""
        return self.turns[-1]

    @property
    def may_be_judged(self) -> bool:
        return not self.drafts and self.now.verdict is None and len(self.now.answers) >= FEWEST

    @property
    def goes_on(self) -> Event | None:
        """The answer that the next question follows; None before the first verdict."""
        for turn in reversed(self.turns):
            if turn.best is not None:
                return turn.answers[turn.best]
        return None

    @property
    def messages(self) -> list[dict[str, object]]:
        """The conversation down to the question, as every contender is given it."""
        said: list[dict[str, object]] = []
        for turn in self.turns:
            said.append({"role": "user", "content": content_of(turn.question)})
            if turn is not self.now and turn.best is not None:
                said.append({"role": "assistant", "content": content_of(turn.answers[turn.best])})
        return said

    @property
    def contenders(self) -> list[Contender]:
        """Who has answered, in the turn where most of them did."""
        answers = max((turn.answers for turn in self.turns), key=len)
        return [contender_of(each) for each in answers]


def _turns(
    below: Mapping[str, Sequence[Event]], conversation: str, verdicts: Mapping[frozenset[str], Event]
) -> Iterator[Turn]:
    """The turns of a conversation; each question but the first follows the best answer of the turn before."""
    above = conversation
    while questions := [each for each in below.get(above, ()) if _is_question(each)]:
        question = questions[-1]  # asked again where no answers came
        answers = [each for each in below.get(question.id, ()) if isinstance(each.body, Message)]
        # Ids are drawn at random before the first word is: in their order nobody knows who is who, and a
        # reload changes nothing.
        shown = tuple(sorted(range(len(answers)), key=lambda i: answers[i].id))
        turn = Turn(
            question=question,
            answers=[answers[i] for i in shown],
            shown=shown,
            verdict=verdicts.get(frozenset(each.id for each in answers)),
        )
        yield turn
        if turn.best is None:
            return
        above = turn.answers[turn.best].id


def _is_question(node: Event) -> bool:
    return isinstance(node.body, Message) and node.body.role == "user"


def contender_of(answer: Event) -> Contender:
    """Who gave an answer."""
    origin = answer.body.origin if isinstance(answer.body, Message) else Origin()
    return origin.name, float(origin.sampling.get("temperature", 0))


def name_of(answer: Event) -> str:
    """The model of an answer, and the setting that tells it from others."""
    name, temperature = contender_of(answer)
    return f"{name} · T={temperature:g}"
