"""Charts as inline SVG whose colours and fonts are the page's own, so that they follow light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from danlu.evaluate.markup import Markup

# Each role is drawn in a colour that nothing else has, and that colour becomes a variable of the page.
ROLES = {
    "ink": "#010203",
    "muted": "#020304",
    "line": "#030405",
    "accent": "#040506",
    "base": "#050607",
    "sft": "#060708",
    "ppo": "#070809",
    "control": "#08090a",
    "paper": "#090a0b",
}
MARKERS = {"base": "o", "sft": "s", "ppo": "D", "control": "^"}
SMALL = (3.5, 2.1)  # inches; shown at the width of a phone
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "danlu",  # the same numbers give the same file
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": ROLES["line"],
    "axes.labelcolor": ROLES["muted"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": ROLES["line"],
    "grid.linewidth": 0.6,
    "xtick.color": ROLES["line"],
    "ytick.color": ROLES["line"],
    "xtick.labelcolor": ROLES["muted"],
    "ytick.labelcolor": ROLES["muted"],
    "text.color": ROLES["ink"],
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}

Points = Sequence[Sequence[float]]  # (x, y)


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart."""

    label: str
    points: Points
    role: str = "accent"
    dashed: bool = False


def line_chart(
    series: Sequence[Series],
    *,
    key: str,
    title: str,
    x_label: str = "update",
    level: tuple[str, float] | None = None,
) -> Markup:
    """Lines over updates.

    Args:
        series: those without points are left out.
        key: unique on the page.
        title: what the chart shows, for those who cannot see it.
        level: name and height of a horizontal line, such as a target.
    """
    with matplotlib.rc_context(SETTINGS):
        figure, axes = new_figure(SMALL)
        for line in series:
            if line.points:
                x, y = zip(*line.points, strict=True)
                style = "--" if line.dashed else "-"
                marker = "o" if len(x) < 3 else None
                axes.plot(x, y, style, color=ROLES[line.role], label=line.label, marker=marker, markersize=3)
        if level is not None:
            axes.axhline(level[1], color=ROLES["ink"], linestyle=":", linewidth=1.2, label=level[0])
        axes.set_xlabel(x_label)
        axes.margins(x=0.02)
        axes.locator_params(axis="x", nbins=5)
        axes.locator_params(axis="y", nbins=5)
        if len(series) > 1 or level is not None:
            legend_above(axes)
        return svg(figure, key, title)


def interval_chart(
    rows: Mapping[str, Mapping[str, Mapping[str, float]]],
    roles: Mapping[str, str],
    *,
    key: str,
    title: str,
    x_label: str,
    limits: tuple[float, float] | None = (0, 100),
    level: float | None = None,
) -> Markup:
    """A row a category; in it a mark for each system, with its 95 % interval.

    Args:
        rows: category, then system, then mean, low and high, from 0 to 1; shown in percent.
        roles: the colour of each system, in the order drawn.
        limits: of the axis, in percent; None fits it to the marks.
        level: where to draw a vertical line, from 0 to 1.
    """
    systems = [name for name in roles if any(name in row for row in rows.values())]
    with matplotlib.rc_context(SETTINGS):
        figure, axes = new_figure((SMALL[0], 0.7 + len(rows) * (0.13 + 0.11 * len(systems))))
        for i, system in enumerate(systems):
            shift = (i - (len(systems) - 1) / 2) * min(0.26, 0.7 / len(systems))
            draw_intervals(axes, rows, system, roles[system], shift)
        if level is not None:
            axes.axvline(100 * level, color=ROLES["muted"], linestyle=":", linewidth=1.2)
        axes.set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows])
        axes.tick_params(axis="y", length=0, labelcolor=ROLES["ink"])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        if limits is not None:
            axes.set_xlim(limits[0] - 1, limits[1] + 1)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(x_label)
        if len(systems) > 1:
            legend_above(axes)
        return svg(figure, key, title)


def draw_intervals(
    axes: Axes, rows: Mapping[str, Mapping[str, Mapping[str, float]]], system: str, role: str, shift: float
) -> None:
    found = [(y + shift, row[system]) for y, row in enumerate(rows.values()) if system in row]
    heights = [y for y, _ in found]
    means = [100 * tree["mean"] for _, tree in found]
    colour = ROLES[role]
    axes.hlines(
        heights, [100 * t["low"] for _, t in found], [100 * t["high"] for _, t in found], color=colour, lw=1.6
    )
    axes.plot(means, heights, MARKERS.get(role, "o"), color=colour, markersize=4, label=system)


def calibration_chart(points: Sequence[Mapping[str, float]], *, key: str, title: str) -> Markup:
    """Predicted probability against observed share; a mark grows with the pairs that it stands for."""
    with matplotlib.rc_context(SETTINGS):
        figure, axes = new_figure((SMALL[0], 2.6))
        axes.plot([50, 100], [50, 100], "--", color=ROLES["muted"], linewidth=1, label="perfect")
        x, y = [100 * p["predicted"] for p in points], [100 * p["observed"] for p in points]
        largest = max((p["n"] for p in points), default=1)
        axes.plot(x, y, "-", color=ROLES["accent"], linewidth=1)
        axes.scatter(
            x, y, [12 + 70 * p["n"] / largest for p in points], color=ROLES["accent"], label="measured"
        )
        axes.set_xlabel("model's own probability, %")
        axes.set_ylabel("people agreed, %")
        axes.set_xlim(48, 102)
        legend_above(axes)
        return svg(figure, key, title)


def new_figure(inches: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=inches, layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.add_subplot()


def legend_above(axes: Axes) -> None:
    figure = axes.figure
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, handlelength=1.2, columnspacing=1.2)


def svg(figure: Figure, key: str, title: str) -> Markup:
    """The figure as one element to stand inside HTML: no header, no outside names, ids of its own."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    text = re.sub(r"font-family: [^;\"]*;?", "", text)
    for role, colour in ROLES.items():
        text = text.replace(colour, f"var(--{role})")
    text = own_ids(re.sub(r"\s*\n\s*", " ", text), key)
    width, height = (f"{72 * inches:.0f}" for inches in figure.get_size_inches())
    opening = f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
    return Markup(re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1).strip())


def own_ids(text: str, key: str) -> str:
    """Keep only ids that something in the chart refers to, made unique on the page by `key`."""
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text))
    names = {name for pair in used for name in pair if name}
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{key}-{m[1]}"' if m[1] in names else "", text)
    text = re.sub(r"url\(#", f"url(#{key}-", text)
    return re.sub(r'href="#', f'href="#{key}-', text)
