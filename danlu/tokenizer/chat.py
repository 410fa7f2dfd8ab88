"""The chat format, ChatML: how messages become ids with a loss mask, and how ids become a message.

    <|im_start|>user⏎Hello<|im_end|>⏎<|im_start|>assistant⏎Good day.<|im_end|>⏎

The model learns each assistant turn up to and including its <|im_end|>; all else is given to it.

A call of a tool is a part of the assistant's turn, opened by the control token itself:

    <|im_start|>assistant⏎One moment.<|im_start|>calculator⏎{"expression": "3*4"}<|im_end|>⏎
    <|im_start|>tool⏎"12"<|im_end|>⏎

Calls are told from text by that token's id alone, so nothing that somebody writes or stores can become one.

A picture stands among the user's words as so many markers, control tokens again, in whose places the model
puts what it sees there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NotRequired, TypedDict, cast

from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chatml import SEEING_TEMPLATE, TEMPLATE, TOOLS

Role = Literal["system", "user", "assistant", "tool"]


class FunctionCall(TypedDict):
    """Which tool is called, and with what."""

    name: str
    arguments: str  # JSON, as the model wrote it


class ToolCall(TypedDict):
    """A call of a tool, in OpenAI's shape."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class Image(TypedDict):
    """A picture among the words of a turn."""

    at: int  # characters of the content that stand before it
    url: str  # data:image/png;base64,…


class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str
    images: NotRequired[Sequence[Image]]  # of the user, in the order of their places
    tool_calls: NotRequired[list[ToolCall]]  # of the assistant
    tool_call_id: NotRequired[str]  # of a tool: which call it answers


class ChatError(ValueError):
    """Messages that are no conversation; the text says which turn and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """How a model sees a picture."""

    side: int  # pixels along each side of what it is given
    n_patches: int  # tokens that it becomes


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as ids; `loss_mask` is True where the assistant speaks."""

    ids: list[int]
    loss_mask: list[bool]


class ChatFormat:
    """Our own format. How messages become ids and ids become messages; nobody else spells a control token."""

    blank_first = False

    def __init__(self, tokenizer: Tokenizer, sight: Sight | None = None) -> None:
        """Without `sight`, pictures are refused."""
        if sight is not None and tokenizer.image_id is None:
            raise ChatError("the model sees pictures, but its tokenizer has no marker for them")
        self.tokenizer, self.sight = tokenizer, sight
        # The same format in Jinja, for export only; there a picture is one marker.
        self.template = SEEING_TEMPLATE if sight else TEMPLATE
        self.end_id = tokenizer.im_end_id
        self.stop_ids = frozenset({self.end_id})
        self.call_id = tokenizer.im_start_id  # inside the assistant's turn it opens a call of a tool
        self._newline = tokenizer.encode("\n")
        self._headers = {
            role: [tokenizer.im_start_id, *tokenizer.encode(role), *self._newline] for role in SPEAKERS
        }

    def render(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> Rendered:
        """Ids of the whole conversation, with a loss mask over what the assistant says.

        Args:
            tools: descriptions of the tools that may be called, in OpenAI's shape, for the system's turn.
        """
        check_messages(messages)
        ids: list[int] = []
        loss_mask: list[bool] = []
        for turn, message in enumerate(_headed(messages, tools)):
            header, said = self._turn(message, tools if turn == 0 else ())
            learned = message["role"] == "assistant"
            ids += [*header, *said, *self._newline]
            loss_mask += [False] * len(header) + [learned] * len(said) + [False] * len(self._newline)
        return Rendered(ids, loss_mask)

    def prompt(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """Ids up to where the assistant begins to answer the last message."""
        rendered = self.render(messages, tools)
        if messages[-1]["role"] in ("system", "assistant"):
            raise ChatError(f"the last turn is from {messages[-1]['role']!r}; there is nothing to answer")
        if waiting := _waiting(messages):
            raise ChatError(f"{len(waiting)} tool calls are without a result; an answer comes after the last")
        return rendered.ids + self._headers["assistant"]

    def going_on(self, results: Sequence[Message]) -> list[int]:
        """Ids that follow an ended turn with calls: their results, up to where the assistant speaks again."""
        ids = [*self._newline]
        for message in results:
            header, said = self._turn(message, ())
            ids += [*header, *said, *self._newline]
        return ids + self._headers["assistant"]

    def lengths(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[int, list[int]]:
        """Tokens of `prompt` that belong to no message, and those of each message.

        They add up to the length of the prompt, also where messages other than the system's are left out.
        """
        sizes = [
            len(self._newline) + sum(map(len, self._turn(message, tools if turn == 0 else ())))
            for turn, message in enumerate(_headed(messages, tools))
        ]
        n_added = len(sizes) - len(messages)
        return len(self._headers["assistant"]) + sum(sizes[:n_added]), sizes[n_added:]

    def n_images(self, ids: Sequence[int]) -> int:
        """How many pictures the markers among `ids` stand for."""
        if self.sight is None or self.tokenizer.image_id is None:
            return 0
        return ids.count(self.tokenizer.image_id) // self.sight.n_patches

    def parse(self, ids: Sequence[int]) -> Message:
        """What the model said after a prompt: text before the first control token, then the calls of tools.

        A call counts only if the turn or the next call ends it; one that the length limit cut is left out.
        """
        controls = self.tokenizer.control_ids
        places = [i for i, each in enumerate(ids) if each in controls]
        text = self.tokenizer.decode(ids[: places[0]] if places else ids)
        calls = [
            self._call(number, ids[a + 1 : b])
            for number, (a, b) in enumerate(self._parts(ids, places), start=1)
        ]
        message: Message = {"role": "assistant", "content": text}
        if calls:
            message["tool_calls"] = calls
        return message

    def _turn(self, message: Message, tools: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[int]]:
        """A turn's header, and all after it up to its <|im_end|>."""
        parts = [*self._described(tools), *self._called(message)]
        said = [*self._content(message), *parts, self.tokenizer.im_end_id]
        return self._headers[message["role"]], said

    def _content(self, message: Message) -> list[int]:
        """What is said, with the markers of each picture in its place."""
        content, images = message["content"], message.get("images", ())
        if not images:
            return self.tokenizer.encode(content)
        if self.sight is None or self.tokenizer.image_id is None:
            raise ChatError(f"a turn of {message['role']!r} holds a picture; this model reads text only")
        markers = [self.tokenizer.image_id] * self.sight.n_patches
        ids: list[int] = []
        cuts = [0, *(image["at"] for image in images), len(content)]
        for number, (start, end) in enumerate(pairwise(cuts)):
            ids += [*(markers if number else []), *self.tokenizer.encode(content[start:end])]
        return ids

    def _parts(self, ids: Sequence[int], places: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Where each call begins and ends, among the places of control tokens."""
        closing = (self.tokenizer.im_start_id, self.tokenizer.im_end_id)
        for here, there in pairwise(places):
            if ids[here] != self.tokenizer.im_start_id:
                return
            if ids[there] in closing:
                yield here, there

    def _call(self, number: int, ids: Sequence[int]) -> ToolCall:
        name, _, arguments = self.tokenizer.decode(ids).partition("\n")
        return {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }

    def _called(self, message: Message) -> list[int]:
        functions = [call["function"] for call in message.get("tool_calls", ())]
        return [i for each in functions for i in self._part(each["name"], each["arguments"])]

    def _described(self, tools: Sequence[Mapping[str, Any]]) -> list[int]:
        lines = [json.dumps(tool, ensure_ascii=False) for tool in tools]
        return self._part(TOOLS, "\n".join(lines)) if lines else []

    def _part(self, name: str, content: str) -> list[int]:
        encode = self.tokenizer.encode
        return [self.tokenizer.im_start_id, *encode(name), *self._newline, *encode(content)]


def _headed(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> Sequence[Message]:
    """With a system's turn, where there are tools to be described in it."""
    if tools and messages[0]["role"] != "system":
        return [{"role": "system", "content": ""}, *messages]
    return messages


def check_messages(messages: Sequence[Mapping[str, object]]) -> None:
    """An optional system message, then the user (or tools that answer calls) and the assistant in turn."""
    if not messages:
        raise ChatError("no messages; a conversation has at least one")
    previous = ""
    for turn, message in enumerate(messages, start=1):
        role = _role(message, turn)
        waiting = _waiting(messages[: turn - 1])
        if waiting:
            _check_answer(message, turn, waiting[0])
        elif role not in FOLLOWERS[previous]:
            raise ChatError(_out_of_turn(turn, role, previous))
        _check_calls(message, turn)
        _check_images(message, turn)
        previous = role


def _waiting(messages: Sequence[Mapping[str, object]]) -> list[ToolCall]:
    """Calls of the last assistant turn that no tool has answered."""
    answers = 0
    while answers < len(messages) and messages[-1 - answers]["role"] == "tool":
        answers += 1
    said = messages[: len(messages) - answers]
    calls = cast(list[ToolCall], said[-1].get("tool_calls") or []) if said else []
    return calls[answers:]


def _check_answer(message: Mapping[str, object], turn: int, call: ToolCall) -> None:
    if message["role"] != "tool":
        raise ChatError(f"turn {turn} is from {message['role']!r}; a call before it has no result yet")
    if message.get("tool_call_id", call["id"]) != call["id"]:
        raise ChatError(f"turn {turn} answers another call than the first that has no result yet")


def _check_calls(message: Mapping[str, object], turn: int) -> None:
    """Calls are the assistant's, each with an id, the name of a tool and its arguments as JSON text."""
    calls = message.get("tool_calls")
    if calls is None:
        return
    if message["role"] != "assistant" or not isinstance(calls, list):
        raise ChatError(f"turn {turn}: 'tool_calls' must be a list, in a turn of the assistant")
    for number, call in enumerate(cast(list[Any], calls), start=1):
        if not _is_call(call):
            raise ChatError(
                f"turn {turn}: call {number} is no call; it must have 'id' and 'function' with 'name' and "
                "'arguments', all text, the name without a line break"
            )


def _check_images(message: Mapping[str, object], turn: int) -> None:
    """Pictures are the user's, each with its place among the characters and its data."""
    images = cast(Any, message.get("images"))
    if images is None:
        return
    if message["role"] != "user" or not isinstance(images, list | tuple):
        raise ChatError(f"turn {turn}: 'images' must be a list, in a turn of the user")
    before, most = 0, len(str(message["content"]))
    for number, image in enumerate(images, start=1):
        at: Any = image.get("at") if isinstance(image, Mapping) else None
        if type(at) is not int or not before <= at <= most or not isinstance(image.get("url"), str):
            raise ChatError(
                f"turn {turn}: image {number} is no image; it must have 'url', a text, and 'at', a place "
                "among the characters of the content and not before that of the last image"
            )
        before = at


def images_of(messages: Sequence[Message]) -> list[str]:
    """The pictures of a conversation in the order in which their markers stand."""
    return [image["url"] for message in messages for image in message.get("images", ())]


def _is_call(call: Any) -> bool:
    function: Any = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(call.get("id"), str):
        return False
    name, arguments = function.get("name"), function.get("arguments")
    return isinstance(name, str) and isinstance(arguments, str) and "\n" not in name


def _role(message: Mapping[str, object], turn: int) -> str:
    for key in ("role", "content"):
        if not isinstance(message.get(key), str):
            found = f"{key!r} is {message[key]!r}" if key in message else f"{key!r} is missing"
            raise ChatError(f"turn {turn}: {found}; it must be text")
    role = str(message["role"])
    if role not in SPEAKERS:
        raise ChatError(f"turn {turn} is from {role!r}; a turn is from one of {', '.join(SPEAKERS)}")
    return role


def _out_of_turn(turn: int, role: str, previous: str) -> str:
    if role == "system":
        return f"turn {turn} is from 'system'; only the first may be"
    if role == previous:
        return f"turn {turn} is from {role!r} like turn {turn - 1}; roles must alternate"
    after = f"follows {previous!r}" if previous else "comes first"
    return f"turn {turn} is from {role!r} and {after}; expected {' or '.join(FOLLOWERS[previous])}"


SPEAKERS: tuple[Role, ...] = ("system", "user", "assistant", "tool")
FOLLOWERS: dict[str, tuple[Role, ...]] = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "tool": ("assistant",),
    "assistant": ("user", "tool"),
}
