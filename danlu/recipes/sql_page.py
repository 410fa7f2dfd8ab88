"""The answer to a question as a page or a picture."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from danlu.config import ConfigError
from danlu.evaluate.markup import Markup, both, join, table, tag
from danlu.evaluate.page import page
from danlu.evaluate.plots import ROLES, SETTINGS, new_figure, svg
from danlu.recipes.sql import shown
from danlu.tools.sql.charts import Chart
from danlu.tools.sql.database import Rows
from danlu.tools.visible import one_line

MAX_LABELS = 12  # along a line


def write(path: Path, question: str, found: Rows, steps: Sequence[str], chart: Chart | None) -> None:
    """Write a page with question, SQL, steps, chart and rows; or the chart alone as PNG."""
    if path.suffix == ".png":
        if chart is None:
            raise ConfigError(f"out is {path}, but no chart fits these rows; name a .html file for the table")
        with matplotlib.rc_context(PRINTED), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # a machine without Chinese fonts draws boxes
            figure = Figure(figsize=(6, height(chart)), layout="constrained")
            FigureCanvasAgg(figure)
            draw(figure, chart, "#0f766e")
            figure.savefig(path, dpi=150)
        return
    path.write_text(page_of(question, found, steps, chart), encoding="utf-8")


def page_of(question: str, found: Rows, steps: Sequence[str], chart: Chart | None) -> str:
    said = [tag("p", tag("code", one_line(found.sql, 10_000)))]
    said.append(tag("ol", *(tag("li", step) for step in steps)))
    if chart is not None:
        with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # the browser has the fonts
            figure, _ = new_figure((6, height(chart)))
            figure.clear()
            draw(figure, chart, ROLES["accent"])
            said.append(svg(figure, "chart", f"{chart.y}, {chart.x}"))
    headers = [one_line(name) for name in found.columns]
    said.append(table(headers, [[shown(cell) for cell in row] for row in found.rows], text_columns=0))
    if found.cut:
        said.append(tag("p", both("There are more rows than are shown.", "还有更多行没有显示。")))
    body = tag("section", join(said), id="answer")
    heading = both("An answer from a database", "来自数据库的回答")
    asked = Markup("") if question == found.sql else one_line(question, 500)
    return page("sql", asked, [("answer", both("Answer", "回答"), body)], heading=heading)


def draw(figure: Figure, chart: Chart, colour: str) -> None:
    axes = figure.add_subplot()
    labels = [plain(label) for label in chart.labels]
    if chart.kind == "bars":
        axes.barh(range(len(labels)), chart.values, color=colour)
        axes.set_yticks(range(len(labels)), labels)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(plain(chart.y))
    else:
        axes.plot(range(len(labels)), chart.values, color=colour)
        every = -(-len(labels) // MAX_LABELS)
        axes.set_xticks(range(0, len(labels), every), labels[::every])
        axes.set_xlabel(plain(chart.x))
        axes.set_ylabel(plain(chart.y))


def plain(label: str) -> str:
    """A label in which no dollar sign opens a formula."""
    return one_line(label, 40).replace("$", r"\$")


def height(chart: Chart) -> float:
    """Inches."""
    return 0.8 + 0.25 * len(chart.labels) if chart.kind == "bars" else 3.0


PRINTED: dict[Any, Any] = {
    **{key: value for key, value in SETTINGS.items() if not key.startswith("svg.")},
    "axes.edgecolor": "#bbbbbb",
    "axes.labelcolor": "#444444",
    "grid.color": "#dddddd",
    "xtick.labelcolor": "#444444",
    "ytick.labelcolor": "#222222",
    "text.color": "#222222",
    "figure.facecolor": "white",
    "font.sans-serif": ["Noto Sans CJK SC", "Noto Sans SC", "Microsoft YaHei", "PingFang SC", "DejaVu Sans"],
}
