"""Calls of tools and what they gave, as HTML that is folded: what was asked, the result, what it cites."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, cast

from danlu.serve.studio.rich_text import shown
from danlu.serve.studio.visit import Visit
from danlu.tools.visible import one_line

MOST_SHOWN = 20_000  # characters of a result
IN_LINE = 80  # characters of the arguments in the line that is always seen


def steps_html(visit: Visit, turns: Sequence[Mapping[str, Any]]) -> str:
    """Turns of a model that call tools, and of the tools, in order; text between calls stands as typed."""
    results = _results(turns)
    pieces: list[str] = []
    for turn in turns:
        if turn.get("role") == "assistant":
            if str(turn.get("content", "")).strip():
                pieces.append(f'<p class="dl-typed">{_safe(str(turn["content"]))}</p>')
            pieces += [_step(visit, *_told(call), next(results, None)) for call in _calls(turn)]
    return "".join(pieces)


def _results(turns: Sequence[Mapping[str, Any]]) -> Any:
    """The results in the order of the calls, which is that of the turns."""
    return iter([str(turn.get("content", "")) for turn in turns if turn.get("role") == "tool"])


def _calls(turn: Mapping[str, Any]) -> list[Any]:
    calls = turn.get("tool_calls")
    return cast(list[Any], calls) if isinstance(calls, list) else []


def _told(call: Any) -> tuple[str, str]:
    """Name and arguments; an imported call may be anything."""
    function: Any = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return "?", str(call)
    return str(function.get("name", "?")), str(function.get("arguments", ""))


def _step(visit: Visit, name: str, arguments: str, result: str | None) -> str:
    head = f"<b>{_safe(one_line(name, 64))}</b> <span>{_safe(one_line(arguments, IN_LINE))}</span>"
    asked = f'<p class="dl-small">{escape(visit.say("step.asked"))}</p>{_box(visit, arguments)}'
    if result is None:
        given = f'<p class="dl-small">{escape(visit.say("step.waits"))}</p>'
    else:
        given = f'<p class="dl-small">{escape(visit.say("step.given"))}</p>{_result(visit, result)}'
    return f'<details class="dl-step"><summary>{head}</summary>{asked}{given}</details>'


def _result(visit: Visit, result: str) -> str:
    """What a tool gave; quotations with their places are set apart."""
    cited = citations(result)
    if not cited:
        return _box(visit, result)
    quotes = "".join(
        f"<blockquote>{_safe(quote)}<br><cite>{_safe(place)}</cite></blockquote>" for quote, place in cited
    )
    return f'<div class="dl-cited">{quotes}</div>'


def citations(result: str) -> list[tuple[str, str]]:
    """Quotations with their places, if a result is a list of such."""
    try:
        tree: Any = json.loads(result)
    except (ValueError, RecursionError):
        return []
    found: Any = tree.get("found") if isinstance(tree, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        return []
    listed = cast(list[dict[str, Any]], found)
    if not all(isinstance(each.get("quote"), str) and "place" in each for each in listed):
        return []
    return [(each["quote"], str(each["place"])) for each in listed]


def _box(visit: Visit, text: str) -> str:
    label = escape(visit.say("step.text"), quote=True)
    return f'<pre class="dl-given" tabindex="0" aria-label="{label}">{_safe(text[:MOST_SHOWN])}</pre>'


def _safe(text: str) -> str:
    return escape(shown(text))
