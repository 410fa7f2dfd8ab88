"""A picture of rows, where one says more than the table: bars for names with numbers, a line for a course."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from danlu.tools.sql.database import Cell, Rows
from danlu.tools.visible import one_line

MAX_BARS = 30
WIDTH = 40  # characters of the longest bar
HEIGHT = 8  # lines of a line chart
BLOCKS = " ▏▎▍▌▋▊▉█"
LEVELS = "▁▂▃▄▅▆▇█"
TIME = re.compile(r"\d{4}([-/.]\d{1,2}([-/.]\d{1,2})?([ T].*)?)?")


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn: one number for each label."""

    kind: Literal["bars", "line"]
    x: str
    y: str
    labels: Sequence[str]
    values: Sequence[float]


def chart_of(rows: Rows) -> Chart | None:
    """The chart that fits, if one does: the last column of numbers against the first."""
    n = len(rows.rows)
    numeric = [i for i in range(1, len(rows.columns)) if _all_numbers([row[i] for row in rows.rows])]
    if n < 2 or not numeric:
        return None
    i = numeric[-1]
    labels = [_label(row[0]) for row in rows.rows]
    values = [float(cell) for cell in (row[i] for row in rows.rows) if isinstance(cell, int | float)]
    over_time = all(TIME.fullmatch(label) for label in labels) and labels == sorted(labels)
    if over_time and n >= 3:
        return Chart("line", rows.columns[0], rows.columns[i], labels, values)
    if n > MAX_BARS or len(set(labels)) < n or min(values) < 0:
        return None
    return Chart("bars", rows.columns[0], rows.columns[i], labels, values)


def as_text(chart: Chart) -> list[str]:
    """The chart for a terminal."""
    return _bars(chart) if chart.kind == "bars" else _line(chart)


def _bars(chart: Chart) -> list[str]:
    most = max(chart.values) or 1
    labels = [one_line(label, 24) for label in chart.labels]
    room = max(map(_width, labels))
    return [
        f"{' ' * (room - _width(label))}{label} {_bar(value / most)} {value:g}"
        for label, value in zip(labels, chart.values, strict=True)
    ]


def _bar(share: float) -> str:
    eighths = round(share * WIDTH * 8)
    return "█" * (eighths // 8) + BLOCKS[eighths % 8].strip()


def _line(chart: Chart) -> list[str]:
    low, high = min(chart.values), max(chart.values)
    span = (high - low) or 1
    columns = [round((value - low) / span * (HEIGHT * 8 - 1)) + 1 for value in chart.values]
    lines = []
    for row in reversed(range(HEIGHT)):
        filled = [min(max(each - row * 8, 0), 8) for each in columns]
        lines.append("".join(" " if each == 0 else LEVELS[each - 1] for each in filled))
    ends = f"{one_line(chart.labels[0], 24)} … {one_line(chart.labels[-1], 24)}, from {low:g} to {high:g}"
    return [*lines, ends]


def _all_numbers(cells: Sequence[Cell]) -> bool:
    return bool(cells) and all(isinstance(cell, int | float) for cell in cells)


def _label(cell: Cell) -> str:
    return "NULL" if cell is None else str(cell)


def _width(text: str) -> int:
    """Columns of a terminal that a text takes: Han characters are two wide."""
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)
