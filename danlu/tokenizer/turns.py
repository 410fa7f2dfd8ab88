"""Chat formats of other models: what they have in common.

A format says of each turn what stands before its words, the words, and what stands behind them. Control
tokens are put there as ids; all that somebody has written goes through the tokenizer, which makes no control
token of it. A template that is run over text, and its result encoded, cannot tell the two apart.

Tools cannot be called in these formats here. Those that Qwen, Llama and Mistral learnt to call are told from
text by how they are spelled, and a request with tools is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from danlu.tokenizer.chat import ChatError, Message, Rendered, check_messages
from danlu.tokenizer.interface import TextTokenizer

Piece = int | str  # a control token, or text


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn, cut where the assistant would begin to speak."""

    given: Sequence[Piece]  # what the format puts before, and all that others say
    said: Sequence[Piece] = ()  # by the assistant, with the token that ends it
    after: Sequence[Piece] = ()
    continues: bool = False  # the text of the turn before, with no control token between


class TurnFormat:
    """A chat format without tools and pictures; a subclass says what its turns are made of.

    Args:
        stops: control tokens that end an answer, as they are spelled; a turn is written with the first.
        template: the same format in Jinja, which is not run here.
    """

    name = "a format"
    call_id = None
    sight = None
    blank_first = False

    def __init__(self, tokenizer: TextTokenizer, stops: Sequence[str], template: str) -> None:
        self.tokenizer, self.template = tokenizer, template
        found = [i for text in stops if (i := tokenizer.control_id(text)) is not None]
        self.end_id, self.stop_ids = found[0], frozenset(found)

    def render(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> Rendered:
        """Ids of the whole conversation, with a loss mask over what the assistant says."""
        self._check(messages, tools)
        ids, loss_mask = self.ids(self.opening(messages)), list[bool]()
        loss_mask += [False] * len(ids)
        for turn in self.turns(messages):
            given = self.ids(turn.given, continues=turn.continues)
            whole = self.ids([*turn.given, *turn.said], continues=turn.continues)
            after = self.ids(turn.after)
            ids += [*whole, *after]
            n_said = len(whole) - len(given) if turn.said else 0
            loss_mask += [False] * (len(whole) - n_said) + [True] * n_said + [False] * len(after)
        return Rendered(ids, loss_mask)

    def prompt(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """Ids up to where the assistant begins to answer the last message."""
        rendered = self.render(messages, tools)
        if messages[-1]["role"] in ("system", "assistant"):
            raise ChatError(f"the last turn is from {messages[-1]['role']!r}; there is nothing to answer")
        return rendered.ids + self.ids(self.answering)

    def going_on(self, results: Sequence[Message]) -> list[int]:
        """Never asked for: without calls there are no results."""
        raise ChatError(self._no_tools())

    def lengths(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[int, list[int]]:
        """Tokens of `prompt` that belong to no message, and those of each message."""
        self._check(messages, tools)
        sizes = [
            len(self.ids([*turn.given, *turn.said, *turn.after], continues=turn.continues))
            for turn in self.turns(messages)
        ]
        n_added = len(sizes) - len(messages)
        overhead = len(self.ids(self.opening(messages))) + len(self.ids(self.answering))
        return overhead + sum(sizes[:n_added]), sizes[n_added:]

    def n_images(self, ids: Sequence[int]) -> int:
        """None: these models read text."""
        return 0

    def parse(self, ids: Sequence[int]) -> Message:
        """What the model said after a prompt: text before the first control token."""
        controls = self.tokenizer.control_ids
        end = next((place for place, each in enumerate(ids) if each in controls), len(ids))
        text = self.tokenizer.decode_bytes(ids[:end]).decode("utf-8", errors="replace")
        return {"role": "assistant", "content": text.removeprefix(" ") if self.blank_first else text}

    def opening(self, messages: Sequence[Message]) -> Sequence[Piece]:
        """What stands before the first turn."""
        return ()

    @property
    def answering(self) -> Sequence[Piece]:
        """What stands before the assistant's answer."""
        return ()

    def turns(self, messages: Sequence[Message]) -> list[Turn]:
        """A turn for each message, behind those that the format adds."""
        raise ChatError(f"{self.name} has no turns")

    def control(self, text: str) -> int:
        """The id of a control token; ChatError if the tokenizer has none that is spelled so."""
        found = self.tokenizer.control_id(text)
        if found is None:
            raise ChatError(f"the tokenizer has no control token {text}, which {self.name} is written with")
        return found

    def ids(self, pieces: Sequence[Piece], *, continues: bool = False) -> list[int]:
        """Ids of pieces; texts that follow each other are one text, which may continue another."""
        ids, text = list[int](), ""
        tokenizer = self.tokenizer
        for piece in (*pieces, None):
            if isinstance(piece, str):
                text += piece
                continue
            if text:
                joined = continues and not ids
                ids += tokenizer.encode_continued(text) if joined else tokenizer.encode_after_control(text)
                text = ""
            if piece is not None:
                ids.append(piece)
        return ids

    def _check(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> None:
        check_messages(messages)
        if tools or any(message["role"] == "tool" or message.get("tool_calls") for message in messages):
            raise ChatError(self._no_tools())
        if any(message.get("images") for message in messages):
            raise ChatError("a turn of 'user' holds a picture; this model reads text only")

    def _no_tools(self) -> str:
        return (
            f"tools are not to be had with this model: {self.name} is spoken here without calls, which it "
            "tells from text by their spelling alone; one that is fine-tuned with `danlu sft` calls tools"
        )
