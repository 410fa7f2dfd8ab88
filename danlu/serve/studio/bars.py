"""Columns and bars, drawn by the browser: how often what occurs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from danlu.serve.studio.charts import COLOURS, INK, LINE
from danlu.serve.studio.visit import Visit


def bars(visit: Visit, title: str, counts: Mapping[str, int], *, lying: bool = False) -> ui.echart:
    """Counts by name, as columns or as bars that lie.

    Args:
        counts: in the order in which they are drawn.
        lying: for names that are long, or few.
    """
    made = ui.echart(_options(title, counts, lying=lying)).classes("dl-chart").props('role="img"')
    told = ", ".join(f"{name}: {n:,}" for name, n in counts.items())
    made.props["aria-label"] = visit.say("data.bars_of", title=title, counts=told or "–")
    return made


def _options(title: str, counts: Mapping[str, int], *, lying: bool) -> dict[str, Any]:
    names, values = list(counts), list(counts.values())
    named = {"type": "category", "data": names, "axisLabel": {"color": INK}, "inverse": lying}
    counted = {
        "type": "value",
        "minInterval": 1,
        "axisLabel": {"color": INK},
        "splitLine": {"lineStyle": {"color": LINE}},
    }
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
        "grid": {"left": 8, "right": 18, "top": 36, "bottom": 6, "containLabel": True},
        # As HTML, which is the default, a name could be a script.
        "tooltip": {"trigger": "axis", "renderMode": "richText"},
        "xAxis": counted if lying else named,
        "yAxis": named if lying else counted,
        "series": [{"type": "bar", "data": values, "barMaxWidth": 28}],
    }
