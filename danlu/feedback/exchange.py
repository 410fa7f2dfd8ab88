"""Judgements as records that training reads, and such records as judgements: nothing is lost on the way.

A record has the fields of its shape for whoever trains on it and, under `danlu`, whatever else the store
knows: ids, times, models, sampling, log-probabilities. A record of another program has no such part; its ids
follow from its content, so that a file taken in twice is kept once, and fields of its own travel along under
`about`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

from sqlalchemy.engine import Connection

from danlu.feedback import log
from danlu.feedback.body import derived_id, plain
from danlu.feedback.errors import FeedbackError
from danlu.feedback.event import Event, content_of, message_of, read_body
from danlu.feedback.records import (
    NODES,
    Conversation,
    Demonstration,
    Edit,
    Message,
    Ranking,
    Rating,
    Task,
    Verdict,
)
from danlu.feedback.schema import EVENTS
from danlu.feedback.store import Store

Tree = dict[str, Any]
OURS = "danlu"  # the part of a record that only this store reads
AT_ONCE = 100  # judgements whose conversations are read together


def all_events(store: Store) -> Iterator[Tree]:
    """The whole log, with what was taken back: the one shape from which a store can be made again."""
    for event in store.events(stands=False):
        yield event.to_tree()


def comparisons(store: Store, *, final: bool = False, whole: bool = True) -> Iterator[Tree]:
    """Every ranking as a comparison record.

    Args:
        final: where somebody settled a dispute, their verdict in place of the rankings.
        whole: with the part that only this store reads; training needs none of it.
    """
    kinds = (Ranking.kind, Verdict.kind)
    settled = {_set_of(event) for event in store.events(Verdict.kind)} if final else set[frozenset[str]]()
    for event, nodes in _with_nodes(store, kinds):
        if event.kind == Verdict.kind or _set_of(event) not in settled:
            yield _comparison(event, nodes, whole)


def chats(store: Store, *, whole: bool = True) -> Iterator[Tree]:
    """Every demonstration and edit as a chat that ends with it.

    Args:
        whole: with the part that only this store reads; training needs none of it.
    """
    for event, nodes in _with_nodes(store, (Demonstration.kind, Edit.kind)):
        body = cast(Demonstration, event.body)
        path = _path(nodes, body.parent)
        messages = [*map(message_of, path), message_of(event)]
        chat: Tree = {"id": event.id, "messages": messages, **_named(event)}
        if whole:
            chat[OURS] = {"judgement": _rest(event, "content"), **_tree_part(nodes, path)}
            if isinstance(body, Edit):
                chat[OURS]["of"] = nodes[body.of].to_tree()
        yield chat


def ratings(store: Store) -> Iterator[Tree]:
    """Every thumb and grade as a chat that ends with the rated answer."""
    for event, nodes in _with_nodes(store, (Rating.kind,)):
        body = cast(Rating, event.body)
        answer = nodes[body.completion]
        path = _path(nodes, log.parent_of(answer))
        said = (
            {"thumb": "up" if body.value > 0 else "down"} if body.scale == "thumb" else {"grade": body.value}
        )
        unfinished = isinstance(answer.body, Message) and answer.body.origin.unfinished
        yield {
            "id": event.id,
            "messages": [*map(message_of, path), message_of(answer)],
            **said,
            **({"unfinished": True} if unfinished else {}),
            **({"comment": body.comment} if body.comment else {}),
            **_named(event),
            OURS: {
                "judgement": _rest(event, "scale", "value", "comment"),
                "completion": _rest(answer, "content", keep_id=True),
                **_tree_part(nodes, path),
            },
        }


def _comparison(event: Event, nodes: Mapping[str, Event], whole: bool) -> Tree:
    body = cast(Ranking, event.body)
    answers = [nodes[each] for each in body.completions]
    path = _path(nodes, log.parent_of(answers[0]))
    unfinished = [isinstance(each.body, Message) and each.body.origin.unfinished for each in answers]
    seen = plain(body)
    record: Tree = {
        "id": event.id,
        "prompt": list(map(message_of, path)),
        "completions": list(map(content_of, answers)),
        "ranks": list(body.ranks),
        **{name: seen[name] for name in ("strengths", "flags", "comment") if name in seen},
        **({"unfinished": unfinished} if any(unfinished) else {}),
        **_named(event),
    }
    if whole:
        record[OURS] = {
            "judgement": _rest(event, "completions", "ranks", "strengths", "flags", "comment"),
            "completions": [_rest(each, "content", keep_id=True) for each in answers],
            **_tree_part(nodes, path),
        }
    return record


def _with_nodes(store: Store, kinds: Sequence[str]) -> Iterator[tuple[Event, Mapping[str, Event]]]:
    """Judgements in order, each with the nodes that it names and all above them, conversations included."""
    with (
        store.database.read() as connection,
        closing(log.select(connection, EVENTS.c.kind.in_(kinds))) as found,
    ):
        events = list(found)
        rest = iter(events)
        while some := list(islice(rest, AT_ONCE)):
            nodes = _nodes_of(connection, some)
            yield from ((event, nodes) for event in some)


def _nodes_of(connection: Connection, events: Sequence[Event]) -> dict[str, Event]:
    named = {each for event in events for each, kinds in event.body.references() if kinds == NODES}
    nodes = log.nodes_above(connection, named)
    return nodes | log.find(connection, {getattr(node.body, "conversation", "") for node in nodes.values()})


def _set_of(event: Event) -> frozenset[str]:
    return frozenset(cast(Ranking, event.body).completions)


def _path(nodes: Mapping[str, Event], node_id: str) -> list[Event]:
    path = log.thread(nodes, node_id)
    if not path:
        raise FeedbackError(
            "an answer at the very beginning of a conversation has no prompt to be exported with"
        )
    return path


def _named(event: Event) -> Tree:
    return {"annotator": event.person} if event.person else {}


def _tree_part(nodes: Mapping[str, Event], path: Sequence[Event]) -> Tree:
    conversation = nodes[str(getattr(path[0].body, "conversation", ""))]
    return {
        "conversation": conversation.to_tree(),
        "prompt": [_rest(node, "content", "role", "more", keep_id=True) for node in path],
    }


def _rest(event: Event, *shown: str, keep_id: bool = False) -> Tree:
    """What the visible part of a record does not say of an event."""
    tree = {key: value for key, value in event.to_tree().items() if key not in shown}
    if not keep_id:
        del tree["id"], tree["person"]
    return tree


@dataclass(slots=True)
class Reader:
    """Records in their own shape, one after the other, as events to be taken in."""

    at: str  # the time of what has none
    events: dict[str, Event] = field(default_factory=dict[str, Event])
    # How often a record without an id of ours has been read: two that say the same are two judgements.
    seen: Counter[str] = field(default_factory=Counter[str])

    def event(self, tree: Mapping[str, Any]) -> Event:
        """One line of `all_events`."""
        return self._add(Event.from_tree(tree))

    def comparison(self, fields: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> Event:
        """`prompt`, `completions` and `ranks`, and what else a comparison may have.

        Args:
            about: further fields, kept beside the judgement.
        """
        ours = _ours(fields)
        path = self._prompt(fields["prompt"], ours)
        said = {name: fields[name] for name in ("ranks", "strengths", "flags", "comment") if name in fields}
        completions = self.completions(
            path[-1], fields["completions"], ours.get("completions"), fields.get("unfinished")
        )
        return self._judgement("ranking", fields, {"completions": completions, **said}, about)

    def chat(self, fields: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> Event:
        """`messages` that end with a demonstration."""
        ours = _ours(fields)
        *before, last = fields["messages"]
        if last["role"] != "assistant" or not before:
            raise FeedbackError("a demonstration is a chat that ends with the assistant's answer to somebody")
        path = self._prompt(before, ours)
        if "of" in ours:
            self.event(ours["of"])
        place = {"conversation": getattr(path[-1].body, "conversation", ""), "parent": path[-1].id}
        return self._judgement("demonstration", fields, {**place, "content": last["content"]}, about)

    def rating(self, fields: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> Event:
        """`messages` that end with the rated answer, and `thumb` or `grade`."""
        ours = _ours(fields)
        *before, last = fields["messages"]
        path = self._prompt(before, ours)
        kept = [ours["completion"]] if "completion" in ours else None
        (completion,) = self.completions(path[-1], [last["content"]], kept, [bool(fields.get("unfinished"))])
        said = {"completion": completion, **_value(fields)}
        if fields.get("comment"):
            said["comment"] = fields["comment"]
        return self._judgement("rating", fields, said, about)

    def task(
        self, prompt: Sequence[Mapping[str, Any]], completions: Sequence[Mapping[str, Any]], **how: Any
    ) -> Event:
        """A task from a prompt and its answers, each with `content` and optionally `origin`.

        Args:
            how: the other fields of `Task`.
        """
        path = self._prompt(prompt, {})
        texts = [each["content"] for each in completions]
        kept = [{"origin": each.get("origin", {})} for each in completions]
        nodes = self.completions(path[-1], texts, kept, None)
        body = read_body(Task.kind, {"prompt": path[-1].id, "completions": nodes, **how})
        return self._add(Event(id=derived_id(Task.kind, plain(body)), at=self.at, person="", body=body))

    def completions(
        self,
        above: Event,
        texts: Sequence[str],
        kept: Sequence[Tree] | None,
        unfinished: Sequence[bool] | None,
    ) -> list[str]:
        """The ids of some answers below a node. Those that read the same are told apart by their number."""
        conversation = getattr(above.body, "conversation", "")
        ids: list[str] = []
        for number, text in enumerate(texts):
            known = dict(kept[number]) if kept else {}
            if "id" in known:
                ids.append(self.event({**known, "content": text}).id)
                continue
            origin = known.get("origin") or (
                {"unfinished": True} if unfinished and unfinished[number] else {}
            )
            where = {"conversation": conversation, "parent": above.id, "role": "assistant"}
            body = read_body(
                Message.kind, {**where, "content": text, **({"origin": origin} if origin else {})}
            )
            same = sum(each == text for each in texts[:number])
            event_id = derived_id("completion", plain(body), same)
            ids.append(self._add(Event(id=event_id, at=self.at, person="", body=body)).id)
        return ids

    def _prompt(self, messages: Sequence[Mapping[str, Any]], ours: Mapping[str, Any]) -> list[Event]:
        """The nodes of a prompt, from the first turn down."""
        if not messages:
            raise FeedbackError("the prompt is empty; it must end with what was answered")
        kept: Any = ours.get("prompt")
        if kept:
            self.event(ours["conversation"])
            return [
                self.event(
                    {**each, **(_as_fields(message) if each.get("kind") == Message.kind else _text(message))}
                )
                for each, message in zip(kept, messages, strict=True)
            ]
        root = derived_id(Conversation.kind, messages[0])
        path = [self._add(Event(id=root, at=self.at, person="", body=Conversation()))]
        for message in messages:
            above = "" if len(path) == 1 else path[-1].id
            body = read_body(Message.kind, {"conversation": root, "parent": above, **_as_fields(message)})
            event_id = derived_id(Message.kind, plain(body))
            path.append(self._add(Event(id=event_id, at=self.at, person="", body=body)))
        return path[1:]

    def _judgement(
        self, kind: str, fields: Mapping[str, Any], said: Tree, about: Mapping[str, Any] | None
    ) -> Event:
        person = str(fields.get("annotator") or "")
        if ours := _ours(fields).get("judgement"):
            return self.event({**ours, **said, "id": fields["id"], "person": person})
        body = read_body(kind, {**said, **({"about": dict(about)} if about else {})})
        content = derived_id(kind, person, plain(body))
        self.seen[content] += 1
        event_id = derived_id(content, self.seen[content])
        return self._add(Event(id=event_id, at=self.at, person=person, body=body))

    def _add(self, event: Event) -> Event:
        before = self.events.setdefault(event.id, event)
        if not before.same(event):
            raise FeedbackError(f"the id {event.id} was that of another {before.kind} further up in the file")
        return before


def _ours(fields: Mapping[str, Any]) -> Tree:
    ours = fields.get(OURS, {})
    if not isinstance(ours, dict):
        raise FeedbackError(f"field {OURS!r} must be an object; leave it as it was exported, or out")
    return cast(Tree, ours)


def _as_fields(message: Mapping[str, Any]) -> Tree:
    """A chat message as the fields of a node."""
    more = {key: value for key, value in message.items() if key not in ("role", "content")}
    return {"role": message.get("role"), **_text(message), **({"more": more} if more else {})}


def _text(message: Mapping[str, Any]) -> Tree:
    return {"content": message.get("content")}


def _value(fields: Mapping[str, Any]) -> Tree:
    if "grade" in fields:
        return {"scale": "grade", "value": fields["grade"]}
    if fields.get("thumb") not in ("up", "down"):
        raise FeedbackError(f"the thumb is {fields.get('thumb')!r}; it must be 'up' or 'down'")
    return {"value": 1 if fields["thumb"] == "up" else -1}
