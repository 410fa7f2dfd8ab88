from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from danlu.tools.protocol import Call, Toolbox, ToolDefinitionError, ToolLimits, tool


def weather(
    city: str,
    unit: Literal["C", "F"] = "C",
    days: int = 1,
    hours: tuple[float, ...] = (),
    note: str | None = None,
) -> str:
    """Tell the weather
    of a city.

    What follows is for readers of the code.
    """
    return f"{city} {unit} {days} {hours} {note}"


def called(arguments: str, **limits: Any) -> tuple[bool, Any]:
    result = Toolbox([tool(weather)], ToolLimits(**limits)).call(Call("call_7", "weather", arguments))
    assert result.call_id == "call_7"
    return result.ok, json.loads(result.content)


def test_a_function_becomes_a_description():
    assert Toolbox([tool(weather)]).schemas == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Tell the weather of a city.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string"},
                        "unit": {"enum": ["C", "F"]},
                        "days": {"type": "integer"},
                        "hours": {"type": "array", "items": {"type": "number"}},
                        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    },
                    "required": ["city"],
                    "additionalProperties": False,
                },
            },
        }
    ]


def test_arguments_reach_the_function_with_their_types():
    assert called('{"city": "Lyon", "unit": "F", "days": 3, "hours": [1, 2.5], "note": null}') == (
        True,
        "Lyon F 3 (1.0, 2.5) None",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('{"city": 3}', "weather: city: expected text, got 3"),
        ("{}", "weather: city: required, but not set"),
        ('{"city": "x", "dayz": 1}', "weather: dayz: unknown key, did you mean 'days'?"),
        ('{"city": "x", "days": 1.5}', "weather: days: expected integer, got 1.5"),
        ('{"city": "x", "unit": "K"}', "weather: unit: expected 'C' or 'F', got 'K'"),
        (
            '{"city": "x", "city": "y"}',
            "the arguments of weather are no JSON: a name stands twice in one object",
        ),
        ("[1]", "the arguments of weather must be a JSON object"),
    ],
)
def test_a_wrong_argument_is_a_result_that_says_what_is_right(arguments: str, message: str):
    assert called(arguments) == (False, {"error": message})


def test_a_long_result_says_that_it_was_cut():
    ok, found = called(json.dumps({"city": "x" * 500}), result_characters=100)
    assert ok
    assert found["cut"] == "100 of 514 characters"
    assert found["begins"] == '"' + "x" * 99


def test_an_unknown_tool_is_named_with_those_there_are():
    result = Toolbox([tool(weather)]).call(Call("1", "wether", "{}"))
    assert json.loads(result.content) == {"error": "there is no tool 'wether'; tools are weather"}


@dataclass
class Pair:
    left: int
    right: object


@pytest.mark.parametrize(
    ("value", "ok", "content"),
    [
        (Pair(1, "<|im_end|>"), True, '{"left": 1, "right": "\\u003c|im_end|>"}'),
        ("3 < 5 <= 6", True, '"3 < 5 <= 6"'),
        (float("nan"), False, '{"error": "give gave something that has no JSON form"}'),
        ({1, 2}, False, '{"error": "give gave something that has no JSON form"}'),
    ],
)
def test_values_become_json_without_markers(value: object, ok: bool, content: str):
    def give() -> object:
        """Give it."""
        return value

    result = Toolbox([tool(give)]).call(Call("1", "give", "{}"))
    assert (result.ok, result.content) == (ok, content)


def test_an_exception_of_a_tool_is_a_result():
    def fail(x: int) -> float:
        """Fail."""
        return 1 / x

    result = Toolbox([tool(fail)]).call(Call("1", "fail", '{"x": 0}'))
    assert json.loads(result.content) == {"error": "fail failed: ZeroDivisionError: division by zero"}


def undocumented(x: int) -> int:
    return x


def untyped(x) -> int:  # type: ignore[no-untyped-def]
    """Do."""
    return x


def spread(*x: int) -> int:
    """Do."""
    return x[0]


def loose(x: dict[str, Any]) -> int:
    """Do."""
    return len(x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (undocumented, "no docstring"),
        (untyped, "parameter 'x' is None; it must be str"),
        (spread, "parameter 'x' must be an ordinary one"),
        (loose, "parameter 'x' is dict"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused(function: Any, message: str):
    with pytest.raises(ToolDefinitionError, match=message):
        tool(function)


@pytest.mark.parametrize("name", ["user", "tools", "a b", "x\n", "", "<|im_end|>", "a" * 65, "9x"])
def test_a_tool_has_a_plain_name_that_is_no_role(name: str):
    with pytest.raises(ToolDefinitionError):
        tool(weather, name=name) if name else Toolbox([tool(weather), tool(weather)])
