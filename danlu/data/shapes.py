"""The shapes in which the field writes dialogues, comparisons and ratings, each turned into messages.

A shape is recognised by its field names. Each converter either gives messages or raises ShapeError with what
was found; where it was found is the caller's to say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from danlu.tokenizer.chat import Image, Message, Role, ToolCall

Fields = Mapping[str, Any]
See = Callable[[str], str]  # of the URL in a record, the data URL that a message holds

HH_TURN = re.compile(r"\n\n(Human|Assistant):[ \t]?", re.ASCII)


class ShapeError(ValueError):
    """A record is none of the shapes that are recognised, or a broken one of them."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A prompt, its completions, and their ranks (1 is best)."""

    prompt: list[Message]
    completions: list[str]
    ranks: list[int]


@dataclass(frozen=True, slots=True)
class Rated:
    """A prompt, one completion of it, and somebody's grade: thumbs are 1 and -1."""

    prompt: list[Message]
    completion: str
    grade: int


def dialogue(fields: Fields, see: See | None = None) -> list[Message]:
    """The messages of one chat record, whatever its shape; in OpenAI's there may be pictures, if `see`."""
    if see is not None and "messages" in fields:
        return _with_system(fields, messages(fields["messages"], see=see))
    for needed, convert in DIALOGUES:
        if needed <= fields.keys():
            return _with_system(fields, convert(fields))
    raise ShapeError(f"has fields {sorted(fields)}, which is no chat; {EXPECTED_CHAT}")


def comparison(fields: Fields) -> Ranked:
    """The prompt and the ranked completions of one record, whatever its shape."""
    for needed, convert in COMPARISONS:
        if needed <= fields.keys():
            ranked = convert(fields)
            _check_ranked(ranked)
            return ranked
    raise ShapeError(f"has fields {sorted(fields)}, which is no comparison; {EXPECTED_COMPARISON}")


def rating(fields: Fields) -> Rated:
    """The prompt, the completion and the thumb or grade of one rated chat, whatever its shape."""
    turns = dialogue(fields)
    if turns[-1]["role"] != "assistant":
        raise ShapeError(
            f"ends with a turn of {turns[-1]['role']!r}; it must end with the answer that was rated"
        )
    name = next((name for name in THUMBS if name in fields), None)
    if name is None:
        raise ShapeError(f"has fields {sorted(fields)}, which is no rating; {EXPECTED_RATING}")
    value = fields[name]
    known = [grade for thumb, grade in THUMBS[name] if type(thumb) is type(value) and thumb == value]
    if not known:
        wanted = " or ".join(repr(thumb) for thumb, _ in THUMBS[name])
        raise ShapeError(f"field {name!r} is {_shown(value)}; it must be {wanted}")
    return Rated(turns[:-1], turns[-1]["content"], known[0])


def prompt(fields: Fields) -> list[Message]:
    """What is to be answered, of a record with `prompt` or `messages`."""
    name = next((name for name in ("prompt", "messages") if name in fields), None)
    if name is None:
        raise ShapeError(f"has fields {sorted(fields)}, which is no prompt; expected 'prompt' or 'messages'")
    return _prompt(fields[name], name)


def _check_ranked(ranked: Ranked) -> None:
    n = len(ranked.completions)
    if not 2 <= n <= 16:
        raise ShapeError(f"has {n} completion{'s' * (n != 1)}; a comparison needs 2 to 16")
    if len(ranked.ranks) != n:
        raise ShapeError(f"has {n} completions but {len(ranked.ranks)} ranks; each needs one")
    if min(ranked.ranks) < 1:
        raise ShapeError(f"has the rank {min(ranked.ranks)}; ranks count from 1, which is best")


def messages(value: Any, name: str = "messages", see: See | None = None) -> list[Message]:
    """Messages from a list of turns in OpenAI's or ShareGPT's words; pictures are refused unless `see`."""
    if not isinstance(value, list) or not value:
        raise ShapeError(f"field {name!r} is {_shown(value)}; it must be a list of turns")
    turns = enumerate(cast(list[Any], value), start=1)
    return [_turn(turn, f"turn {number}", see) for number, turn in turns]


def _turn(turn: Any, where: str, see: See | None) -> Message:
    if not isinstance(turn, dict):
        raise ShapeError(f"{where} is {_shown(turn)}; it must be an object with 'role' and 'content'")
    speaker = _first(turn, ("role", "from", "speaker"), f"{where}: who speaks")
    if speaker not in ROLES:
        raise ShapeError(f"{where} is from {_shown(speaker)}; roles are system, user, assistant and tool")
    if speaker == "function_call":
        return _said_to_a_tool(_text_of(_content(turn, where), where))
    content = _content(turn, where)
    if see is not None and isinstance(content, list):
        message = _with_images(ROLES[speaker], cast(list[Any], content), where, see)
    else:
        message = _say(ROLES[speaker], _text_of(content, where))
    if turn.get("tool_calls"):
        message["tool_calls"] = _calls(turn["tool_calls"], where)
    if isinstance(turn.get("tool_call_id"), str):
        message["tool_call_id"] = turn["tool_call_id"]
    return message


def _content(turn: Fields, where: str) -> Any:
    if turn.get("tool_calls") and turn.get("content") is None:
        return ""  # a call may stand without words
    return _first(turn, ("content", "value", "text"), f"{where}: what is said")


def _text_of(content: Any, where: str) -> str:
    if isinstance(content, list):
        return "".join(_part(part, where) for part in cast(list[Any], content))
    if isinstance(content, str):
        return content
    raise ShapeError(f"{where} says {_shown(content)}; content must be text")


def _with_images(role: Role, parts: list[Any], where: str, see: See) -> Message:
    """A turn of text and pictures; each picture has its place among the characters."""
    content, images = "", list[Image]()
    for part in parts:
        if isinstance(part, dict) and part.get("type") == "image_url":
            images.append({"at": len(content), "url": see(_url(part, where))})
        else:
            content += _part(part, where)
    message: Message = {"role": role, "content": content}
    return {**message, "images": images} if images else message


def _url(part: Fields, where: str) -> str:
    named = part.get("image_url")
    url = named.get("url") if isinstance(named, dict) else None
    if not isinstance(url, str) or set(cast(Fields, named)) - {"url", "detail"}:
        raise ShapeError(
            f"{where} holds the image {_shown(named)}; 'image_url' must be an object with 'url', a text"
        )
    return url


def _calls(value: Any, where: str) -> list[ToolCall]:
    """Calls of tools in OpenAI's shape; others leave ids out, or write arguments as an object."""
    if not isinstance(value, list):
        raise ShapeError(f"{where}: 'tool_calls' is {_shown(value)}; it must be a list")
    return [_call(call, number, where) for number, call in enumerate(cast(list[Any], value), start=1)]


def _call(call: Any, number: int, where: str) -> ToolCall:
    function: Any = call.get("function", call) if isinstance(call, dict) else None
    name, arguments = (_member(function, key) for key in ("name", "arguments"))
    if isinstance(arguments, dict):
        arguments = json.dumps(arguments, ensure_ascii=False)
    if not isinstance(name, str) or not isinstance(arguments, str):
        raise ShapeError(
            f"{where}: call {number} is {_shown(call)}; it must have 'function' with 'name' and 'arguments'"
        )
    given = _member(call, "id")
    call_id = given if isinstance(given, str) else f"call_{number}"
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _member(value: Any, name: str) -> Any:
    return cast(Fields, value).get(name) if isinstance(value, dict) else None


def _said_to_a_tool(text: str) -> Message:
    """ShareGPT's `function_call`: the call as JSON; anything else is what the assistant said."""
    try:
        tree = json.loads(text)
    except ValueError:
        return _say("assistant", text)
    if _member(tree, "name") is None or _member(tree, "arguments") is None:
        return _say("assistant", text)
    return {"role": "assistant", "content": "", "tool_calls": [_call(tree, 1, "the call")]}


def tools(fields: Fields) -> list[dict[str, Any]]:
    """Descriptions of the tools that a chat may call, in OpenAI's shape; some write them as JSON text."""
    value = fields.get("tools") or []
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ShapeError(f"field 'tools' is {_shown(value)}; as text it must be JSON") from None
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in cast(list[Any], value)):
        raise ShapeError(f"field 'tools' is {_shown(value)}; it must be a list of objects")
    return [_tool(each) for each in cast(list[dict[str, Any]], value)]


def _tool(given: dict[str, Any]) -> dict[str, Any]:
    tool = given if "function" in given else {"type": "function", "function": given}
    if not isinstance(_member(tool["function"], "name"), str):
        raise ShapeError(f"a tool is {_shown(given)}; it must have 'function' with a 'name'")
    return tool


def _part(part: Any, where: str) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return part["text"]
    if isinstance(part, dict) and part.get("type") == "image_url":
        raise ShapeError(
            f"{where} holds a picture, and only text is read here; `danlu sft` learns from pictures"
        )
    raise ShapeError(f"{where} holds the part {_shown(part)}; parts must be of type 'text'")


def _first(fields: Fields, names: Sequence[str], what: str) -> Any:
    for name in names:
        if name in fields:
            return fields[name]
    raise ShapeError(f"{what} is missing: fields are {sorted(fields)}, expected one of {list(names)}")


def _text(fields: Fields, name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise ShapeError(f"field {name!r} is {_shown(value)}; it must be text")
    return value


def _with_system(fields: Fields, turns: list[Message]) -> list[Message]:
    system = fields.get("system")
    if isinstance(system, str) and system.strip() and turns[0]["role"] != "system":
        return [_say("system", system), *turns]
    return turns


def _say(role: Role, content: str) -> Message:
    return {"role": role, "content": content}


def _prompt(value: Any, name: str = "prompt") -> list[Message]:
    """A prompt as messages, as a Human/Assistant transcript, or as the user's words."""
    if not isinstance(value, str):
        return messages(value, name)
    if HH_TURN.match(value):
        turns = transcript(value)
        # A transcript used as a prompt ends with an empty "Assistant:".
        return turns[:-1] if turns[-1]["role"] == "assistant" and not turns[-1]["content"] else turns
    return [_say("user", value)]


def transcript(text: str) -> list[Message]:
    """Turns of "\\n\\nHuman: … \\n\\nAssistant: …" (Bai et al. 2022)."""
    pieces = HH_TURN.split(text)
    if pieces[0].strip() or len(pieces) < 3:
        raise ShapeError(f"{_shown(text)} is no transcript; it must begin with '\\n\\nHuman:'")
    roles: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}
    turns: list[Message] = []
    for speaker, content in zip(pieces[1::2], pieces[2::2], strict=True):
        # In the published transcripts a speaker may take two turns in a row: one turn of two paragraphs.
        if turns and turns[-1]["role"] == roles[speaker]:
            content = f"{turns.pop()['content']}\n\n{content}"
        turns.append(_say(roles[speaker], content.strip()))
    return turns


def _alpaca(fields: Fields) -> list[Message]:
    instruction, given = _text(fields, "instruction"), fields.get("input") or ""
    question = f"{instruction}\n{given}" if given else instruction
    earlier: list[Message] = []
    for exchange in fields.get("history") or []:
        earlier += [_say("user", exchange[0]), _say("assistant", exchange[1])]
    return [*earlier, _say("user", question), _say("assistant", _text(fields, "output"))]


def _turns(fields: Fields) -> list[Message]:
    turns = fields["turns"]
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in cast(list[Any], turns)):
        raise ShapeError(f"field 'turns' is {_shown(turns)}; it must be a list of texts, the user's first")
    roles: tuple[Role, Role] = ("user", "assistant")
    return [_say(roles[i % 2], content) for i, content in enumerate(cast(list[str], turns))]


def _answered(question: str, answer: str) -> Callable[[Fields], list[Message]]:
    def convert(fields: Fields) -> list[Message]:
        said = fields[answer]
        end = messages(said, answer) if isinstance(said, list) else [_say("assistant", _text(fields, answer))]
        return [*_prompt(fields[question], question), *end]

    return convert


def _own_comparison(fields: Fields) -> Ranked:
    completions, ranks = fields["completions"], fields["ranks"]
    for name, value, kind in (("completions", completions, str), ("ranks", ranks, int)):
        if not isinstance(value, list) or not all(type(item) is kind for item in cast(list[Any], value)):
            noun = "texts" if kind is str else "whole numbers"
            raise ShapeError(f"field {name!r} is {_shown(value)}; it must be a list of {noun}")
    return Ranked(_prompt(fields["prompt"]), completions, ranks)


def _chosen_rejected(fields: Fields) -> Ranked:
    ends = [_completion(fields, name) for name in ("chosen", "rejected")]
    prompts = [before for before, _ in ends]
    if "prompt" in fields:
        prompt = _prompt(fields["prompt"])
    elif prompts[0] and prompts[0] == prompts[1]:
        prompt = prompts[0]
    else:
        raise ShapeError(
            "has no field 'prompt', and 'chosen' and 'rejected' begin differently; they must share it"
        )
    return Ranked(prompt, [completion for _, completion in ends], [1, 2])


def _completion(fields: Fields, name: str) -> tuple[list[Message], str]:
    """What stands before the last turn of a chosen or rejected text, and that turn."""
    value = fields[name]
    if isinstance(value, str) and not HH_TURN.match(value):
        return [], value.strip()
    turns = transcript(value) if isinstance(value, str) else messages(value, name)
    if turns[-1]["role"] != "assistant":
        raise ShapeError(
            f"field {name!r} ends with a turn of {turns[-1]['role']!r}; it must end with the answer"
        )
    return turns[:-1], turns[-1]["content"]


def _scored_answers(fields: Fields) -> Ranked:
    answers: Any = fields["answers"]
    if not isinstance(answers, list) or not answers or not all(isinstance(each, dict) for each in answers):
        raise ShapeError(f"field 'answers' is {_shown(answers)}; it must be a list of objects with 'text'")
    order = next((name for name in ORDERS if all(name in answer for answer in answers)), None)
    if order is None:
        raise ShapeError(
            f"answers have fields {sorted(answers[0])}; each needs 'text' and one of {list(ORDERS)}"
        )
    texts = [_text(answer, "text") for answer in answers]
    return Ranked(
        _question(fields), texts, dense_ranks([ORDERS[order] * answer[order] for answer in answers])
    )


def _voted_answers(fields: Fields) -> Ranked:
    """Two answers, and of each judge which is better: 1 the first, 2 the second, 0 neither (PandaLM)."""
    answers: Any = fields["answers"]
    votes: Any = fields["labels"]
    if not isinstance(answers, list) or len(cast(list[Any], answers)) != 2:
        raise ShapeError(f"field 'answers' is {_shown(answers)}; with 'labels' it must be a list of two")
    if not isinstance(votes, list) or any(vote not in (0, 1, 2) for vote in cast(list[Any], votes)):
        raise ShapeError(f"field 'labels' is {_shown(votes)}; it must be a list of 0, 1 and 2")
    # An answer of one word such as True may have become a value on its way through other files.
    texts = [str(answer) for answer in cast(list[Any], answers)]
    return Ranked(_question(fields), texts, dense_ranks([-cast(list[int], votes).count(i) for i in (1, 2)]))


def _question(fields: Fields) -> list[Message]:
    for name in ("prompt", "context"):
        if name in fields:
            return _prompt(fields[name], name)
    target = str(fields["direction"]).split("-")[-1]
    wording = TRANSLATE.get(target)
    if wording is None:
        raise ShapeError(
            f"field 'direction' is {fields['direction']!r}; it must end in one of {sorted(TRANSLATE)}"
        )
    return [_say("user", wording.format(_text(fields, "source")))]


def dense_ranks(values: Sequence[float]) -> list[int]:
    """1 for the smallest value, equal values sharing a rank, without gaps."""
    order = {value: rank for rank, value in enumerate(sorted(set(values)), start=1)}
    return [order[value] for value in values]


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:60]!r}"


ROLES: dict[Any, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
    # A call is what the assistant says to a tool.
    "function_call": "assistant",
}

# What a thumb is called, and the grade that each of its values stands for.
THUMBS: dict[str, tuple[tuple[Any, int], ...]] = {
    "thumb": (("up", 1), ("down", -1)),
    "rating": ((1, 1), (-1, -1)),
    "label": ((True, 1), (False, -1)),
    "grade": tuple((grade, grade) for grade in range(-2, 3)),
}

# By what completions are ordered, and whether less is better (1) or more is (-1).
ORDERS = {"rank": 1, "tier": 1, "mqm": 1, "score": -1}

TRANSLATE = {
    "en": "Translate into English: {}",
    "zh": "翻译成中文：{}",
    "de": "Translate into German: {}",
}

DIALOGUES: tuple[tuple[set[str], Callable[[Fields], list[Message]]], ...] = (
    ({"messages"}, lambda fields: messages(fields["messages"])),
    ({"conversations"}, lambda fields: messages(fields["conversations"], "conversations")),
    ({"instruction", "output"}, _alpaca),
    ({"prompt", "response"}, _answered("prompt", "response")),
    ({"prompt", "completion"}, _answered("prompt", "completion")),
    ({"question", "answer"}, _answered("question", "answer")),
    ({"turns"}, _turns),
    ({"transcript"}, lambda fields: transcript(_text(fields, "transcript"))),
    ({"text"}, lambda fields: transcript(_text(fields, "text"))),
)
COMPARISONS: tuple[tuple[set[str], Callable[[Fields], Ranked]], ...] = (
    ({"prompt", "completions", "ranks"}, _own_comparison),
    ({"chosen", "rejected"}, _chosen_rejected),
    ({"prompt", "answers", "labels"}, _voted_answers),
    ({"prompt", "answers"}, _scored_answers),
    ({"context", "answers"}, _scored_answers),
    ({"source", "direction", "answers"}, _scored_answers),
)
EXPECTED_CHAT = (
    "expected 'messages', or one of the known shapes: 'conversations', 'instruction' and 'output', "
    "'prompt' and 'response', 'question' and 'answer', 'turns', 'transcript'"
)
EXPECTED_COMPARISON = (
    "expected 'prompt', 'completions' and 'ranks', or one of the known shapes: 'prompt', 'chosen' and "
    "'rejected'; 'prompt' or 'context' and 'answers'"
)
EXPECTED_RATING = (
    "expected a chat, for example 'messages' or 'prompt' and 'completion', and beside it 'thumb' ('up' or "
    "'down'), 'rating' (1 or -1) or 'label' (true or false)"
)
