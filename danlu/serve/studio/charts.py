"""Curves, drawn by the browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from danlu.serve.studio.smoothing import Points, thinned
from danlu.serve.studio.visit import Visit

INK, LINE = "#6f675f", "#8a817844"  # on a light ground; a stylesheet brightens all of it on a dark one
COLOURS = ["#b23a26", "#2f6f9f", "#4f8a3c", "#9a6bb3", "#c98a1b", "#3a9a93"]


def chart(visit: Visit, title: str, curves: Mapping[str, Points], *, log: bool = False) -> ui.echart:
    """Several curves of one metric.

    Args:
        curves: by name, each point a step and a value.
        log: whether the values stand on a logarithmic axis.
    """
    made = ui.echart(options(title, curves, log=log)).classes("dl-chart").props('role="img"')
    made.props["aria-label"] = described(visit, title, curves)
    return made


def redraw(
    visit: Visit, made: ui.echart, title: str, curves: Mapping[str, Points], *, log: bool = False
) -> None:
    """Show other points in a chart that is there."""
    made.options.clear()
    made.options.update(options(title, curves, log=log))
    made.props["aria-label"] = described(visit, title, curves)
    made.update()


def described(visit: Visit, title: str, curves: Mapping[str, Points]) -> str:
    """The same for those who cannot see it."""
    last = [f"{points[-1][1]:.4g}" for points in curves.values() if points]
    return visit.say("runs.curve_of", metric=title, value=", ".join(last) or "–")


def options(title: str, curves: Mapping[str, Points], *, log: bool) -> dict[str, Any]:
    """What ECharts is told. Names may be anybody's: they are drawn, and never become a part of the page."""
    named = len(curves) > 1
    axis = {"axisLabel": {"color": INK}, "splitLine": {"lineStyle": {"color": LINE}}}
    return {
        "animation": False,
        "color": COLOURS,
        "title": {
            "text": title,
            "left": 0,
            "top": 0,
            "padding": 0,
            "textStyle": {"color": INK, "fontSize": 13, "fontWeight": 600},
        },
        "grid": {"left": 8, "right": 14, "top": 64 if named else 36, "bottom": 6, "containLabel": True},
        "legend": {"show": named, "left": 0, "top": 24, "textStyle": {"color": INK}, "type": "scroll"},
        # As HTML, which is the default, a name could be a script.
        "tooltip": {"trigger": "axis", "renderMode": "richText"},
        "xAxis": {"type": "value", "min": "dataMin", "max": "dataMax", **axis, "splitLine": {"show": False}},
        "yAxis": {"type": "log" if log else "value", "scale": True, **axis},
        "series": [
            {"name": name, "type": "line", "showSymbol": len(points) == 1, "data": thinned(points)}
            for name, points in curves.items()
        ],
    }
