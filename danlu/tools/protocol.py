"""The tool protocol: typed Python functions that a model may call, and what a call gives back.

A call is untrusted: its name, its JSON, the types and the size of its arguments are checked before the
function sees them; its time and its output are limited; whatever goes wrong is a result that it can read.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, make_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from danlu.config import ConfigError, build, key_of
from danlu.tools.data_text import as_text
from danlu.tools.error import ToolError
from danlu.tools.process import ask_isolated
from danlu.tools.visible import one_line

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
RESERVED = {"system", "user", "assistant", "tool", "tools"}  # they head turns and parts of the chat format


class ToolDefinitionError(ToolError):
    """A function cannot be a tool as it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLimits:
    wall_s: float = 10.0  # of one call
    argument_characters: int = 20_000
    argument_depth: int = 20  # brackets within brackets
    result_characters: int = 8000
    memory_bytes: int = 2**30  # of an isolated tool's process

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value <= 0:
                raise ConfigError(f"{name} is {value}; it must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that may be called, and what it is to be told."""

    name: str
    description: str
    arguments: type  # a dataclass, a field a parameter
    function: Callable[..., object]
    isolated: bool = False  # run in a process of its own
    wall_s: float | None = None  # of one call, where this tool is granted other than the rest

    @property
    def schema(self) -> dict[str, Any]:
        """Its description in OpenAI's shape."""
        hints = get_type_hints(self.arguments)
        parameters = {
            "type": "object",
            "properties": {
                key_of(each.name): _schema_of(hints[each.name]) for each in fields(self.arguments)
            },
            "required": [key_of(each.name) for each in fields(self.arguments) if each.default is MISSING],
            "additionalProperties": False,
        }
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class Call:
    """What a model asks for; `arguments` is JSON as it wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Result:
    """What it gets: JSON, fit to be put before the model."""

    call_id: str
    content: str
    ok: bool


def tool(function: Callable[..., object], *, name: str | None = None, isolated: bool = False) -> Tool:
    """A tool from a typed function; its docstring's first paragraph tells the model what it does.

    Args:
        isolated: run each call in a process of its own, which can be ended whatever it does; the function
            must then be found by importing its module.
    """
    name = name or function.__name__
    if not NAME.fullmatch(name) or name in RESERVED:
        raise ToolDefinitionError(
            f"{one_line(name)!r} cannot be a tool's name; it is letters, digits and _, but no role"
        )
    description = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
    if not description:
        raise ToolDefinitionError(f"{name} has no docstring; the model would not know what it does")
    if isolated and ("<" in function.__qualname__ or function.__module__ == "__main__"):
        raise ToolDefinitionError(
            f"{name} cannot be imported by its name, so it cannot run in a process of its own"
        )
    return Tool(
        name=name,
        description=description,
        arguments=_arguments(function, name),
        function=function,
        isolated=isolated,
    )


def _arguments(function: Callable[..., object], name: str) -> type:
    """A dataclass with a field for each parameter, which `config.build` can fill from JSON."""
    hints, made = get_type_hints(function), list[Any]()
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name)
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ToolDefinitionError(f"{name}: parameter {parameter.name!r} must be an ordinary one")
        if not _expressible(hint):
            raise ToolDefinitionError(
                f"{name}: parameter {parameter.name!r} is {hint}; it must be str, int, float, bool, a "
                "Literal, a tuple[X, ...] of these, or X | None"
            )
        default = () if parameter.default is parameter.empty else (parameter.default,)
        made.append((parameter.name, hint, *default))
    return make_dataclass("Arguments", made, frozen=True, kw_only=True)


def _expressible(hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return all(isinstance(each, str | int) for each in inner)
    if origin is tuple:
        return len(inner) == 2 and inner[1] is Ellipsis and _expressible(inner[0])
    if origin in (Union, UnionType):
        return (
            NoneType in inner
            and len(inner) == 2
            and all(each is NoneType or _expressible(each) for each in inner)
        )
    return hint in JSON_TYPES


def _schema_of(hint: Any) -> dict[str, Any]:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin is tuple:
        return {"type": "array", "items": _schema_of(inner[0])}
    if origin in (Union, UnionType):
        (given,) = (each for each in inner if each is not NoneType)
        return {"anyOf": [_schema_of(given), {"type": "null"}]}
    return {"type": JSON_TYPES[hint]}


class Toolbox:
    """The tools that a model may call in a conversation."""

    def __init__(self, tools: Sequence[Tool], limits: ToolLimits | None = None) -> None:
        self._tools = {each.name: each for each in tools}
        if len(self._tools) < len(tools):
            raise ToolDefinitionError("two tools have the same name")
        self._limits = limits or ToolLimits()

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """Every tool's description, in OpenAI's shape."""
        return [each.schema for each in self._tools.values()]

    @property
    def names(self) -> list[str]:
        """What the tools are called."""
        return list(self._tools)

    def only(self, names: Sequence[str]) -> Toolbox:
        """A box with some of these tools; a name that is not among them is an error."""
        return Toolbox([self._found(name) for name in names], self._limits)

    def call(self, call: Call, *, most_s: float | None = None) -> Result:
        """Run one call; it always gives a result, and one that failed says why.

        Args:
            most_s: seconds that it may take, where that is less than the limit of one call.
        """
        try:
            found = self._found(call.name)
            wall_s = self._limits.wall_s if found.wall_s is None else found.wall_s
            wall_s = wall_s if most_s is None else min(most_s, wall_s)
            value = self._run(found, read_arguments(found, call.arguments, self._limits), wall_s)
            return Result(call.id, self._text(found, value), True)
        except ToolError as error:
            return refusal(call, str(error), self._limits.result_characters)

    def _found(self, name: str) -> Tool:
        if name not in self._tools:
            raise ToolError(
                f"there is no tool {one_line(name, 64)!r}; tools are {', '.join(self._tools) or 'none'}"
            )
        return self._tools[name]

    def _text(self, found: Tool, value: object) -> str:
        try:
            return as_text(value, self._limits.result_characters)
        except (TypeError, ValueError, RecursionError):
            raise ToolError(f"{found.name} gave something that has no JSON form") from None

    def _run(self, found: Tool, arguments: Mapping[str, Any], wall_s: float) -> object:
        if found.isolated:
            return _in_process(found, arguments, self._limits.memory_bytes, wall_s)
        return _in_thread(found, arguments, wall_s)


def refusal(call: Call, why: str, most_characters: int = 8000) -> Result:
    """The result of a call that is not carried out, or failed."""
    return Result(call.id, as_text({"error": why}, most_characters), False)


def read_arguments(found: Tool, text: str, limits: ToolLimits) -> dict[str, Any]:
    """The arguments of a call by name, each of its parameter's type."""
    if len(text) > limits.argument_characters:
        raise ToolError(
            f"the arguments have {len(text):,} characters; at most {limits.argument_characters:,} are read"
        )
    if _depth(text) > limits.argument_depth:
        raise ToolError(f"the arguments are nested deeper than {limits.argument_depth} levels")
    try:
        tree = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except ValueError as error:
        raise ToolError(f"the arguments of {found.name} are no JSON: {one_line(str(error))}") from None
    if not isinstance(tree, dict):
        raise ToolError(f"the arguments of {found.name} must be a JSON object")
    try:
        filled = build(found.arguments, cast(dict[str, Any], tree))
    except ConfigError as error:
        raise ToolError(f"{found.name}: {one_line(str(error), 400)}") from None
    return {each.name: getattr(filled, each.name) for each in fields(found.arguments)}


def _depth(text: str) -> int:
    depth = deepest = 0
    for each in text:
        depth += (each in "[{") - (each in "]}")
        deepest = max(deepest, depth)
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a name stands twice in one object")
    return dict(pairs)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


class _StoppedError(BaseException):
    """Thrown into a thread whose time is over."""


def _in_thread(found: Tool, arguments: Mapping[str, Any], wall_s: float) -> object:
    """The value of a call, or an error once its time is over; the thread is then told to stop."""
    outcome: list[tuple[bool, Any]] = []

    def work() -> None:
        try:
            outcome.append((True, found.function(**arguments)))
        except _StoppedError:
            return
        except Exception as error:  # whatever a user's function raises is a result of the call
            outcome.append((False, error))

    thread = threading.Thread(target=work, daemon=True, name=f"tool {found.name}")
    thread.start()
    thread.join(wall_s)
    if not outcome:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_StoppedError)
        )
        raise ToolError(f"{found.name} was stopped after {wall_s:g} seconds without a result")
    ok, value = outcome[0]
    if ok:
        return value
    if isinstance(value, ToolError):
        raise value
    raise ToolError(_failure(found.name, type(value).__name__, str(value)))


def _in_process(found: Tool, arguments: Mapping[str, Any], memory_bytes: int, wall_s: float) -> object:
    answer = ask_isolated(
        found.function, arguments, memory_bytes=memory_bytes, wall_s=wall_s, what=found.name
    )
    if "error" in answer:
        raise ToolError(_failure(found.name, *answer["error"]))
    return answer["value"]


def _failure(name: str, kind: str, text: str) -> str:
    return f"{name} failed: {kind}" + (f": {one_line(text)}" if text else "")


JSON_TYPES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
