"""Heads as pictures: a square for each, row the token that looks, column the token looked at."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager, image
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from danlu.inspect.attention import LayerWeights

# Fonts with Chinese that systems come with; matplotlib takes each character from the first that has it.
CHINESE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", "Hiragino Sans GB"),
    *("Microsoft YaHei", "SimHei", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Noto Sans CJK JP"),
    *("Noto Serif CJK SC", "Arial Unicode MS", "Heiti TC", "Droid Sans Fallback"),
)
COLOURS = (0x0F, 0x76, 0x6E), (0xC2, 0x41, 0x0C), (0x25, 0x63, 0xC9)  # a weight; more and less of it
LEAST_INCHES, MOST_INCHES = 1.1, 6.0  # a head's side
INCHES_A_TOKEN = 0.12
MOST_PIXELS = 9000  # a picture's longer side
DPI = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One head to be drawn."""

    title: str
    weights: Tensor  # (queries, keys): of 0 to 1, or with `signed` of -1 to 1
    rows: Sequence[str]  # what the queries are called
    columns: Sequence[str]  # what the keys are called


def panels_of(layer: LayerWeights, rows: Sequence[str], columns: Sequence[str]) -> list[Panel]:
    """Every head of a layer."""
    return [
        Panel(title=f"{layer.layer}.{head}", weights=weights, rows=rows, columns=columns)
        for head, weights in enumerate(layer.weights)
    ]


def draw(panels: Sequence[Sequence[Panel]], path: Path, *, title: str, signed: bool = False) -> None:
    """Write a PNG of rows of heads; the tokens stand at the left and below.

    Args:
        panels: as they are to stand, row by row.
        path: the file.
        title: a line above.
        signed: weights are differences, more in one colour and less in another.
    """
    with matplotlib.rc_context(settings()), warnings.catch_warnings():
        if not chinese_fonts():  # a box for each character is all that can be had, and one word of it enough
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        n_rows, n_columns = len(panels), max(len(row) for row in panels)
        side = min(MOST_INCHES, max(LEAST_INCHES, INCHES_A_TOKEN * longest(panels)))
        figure = Figure(figsize=(side * n_columns + 1.2, side * n_rows + 1.4), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title)
        grid = figure.subplots(n_rows, n_columns, squeeze=False)
        for number, (row, places) in enumerate(zip(panels, grid, strict=True)):
            for place in places[len(row) :]:
                place.set_axis_off()
            for at, (panel, place) in enumerate(zip(row, places, strict=False)):
                at_left = at == 0 or row[at - 1].rows != panel.rows
                below = number == n_rows - 1 or [
                    each.columns for each in panels[number + 1][at : at + 1]
                ] != [panel.columns]
                draw_panel(place, panel, side, signed, at_left=at_left, below=below)
        dpi = min(DPI, MOST_PIXELS / max(figure.get_size_inches()))
        figure.savefig(path, dpi=dpi, metadata={"Software": None})


def draw_panel(axes: Axes, panel: Panel, side: float, signed: bool, *, at_left: bool, below: bool) -> None:
    """One head, with the names of tokens at the left and below where they are wanted."""
    axes.imshow(
        shade(panel.weights).numpy(),
        cmap=DIVERGING if signed else RISING,
        vmin=-1.0 if signed else 0.0,
        vmax=1.0,
        aspect="auto",
        interpolation="nearest",
    )
    axes.set_title(panel.title, pad=2)
    size = min(8.0, 60 * side / max(len(panel.rows), len(panel.columns)))
    for axis, labels, wanted in ((axes.yaxis, panel.rows, at_left), (axes.xaxis, panel.columns, below)):
        axis.set_ticks(
            range(len(labels)) if wanted else [], [plain(each) for each in labels] if wanted else []
        )
    axes.tick_params(axis="y", labelsize=size, length=1, pad=1)
    axes.tick_params(axis="x", labelsize=size, length=1, pad=1, rotation=90)


def shade(weights: Tensor) -> Tensor:
    """How strongly weights are coloured: by the square root, with their sign, so that small ones are seen."""
    return weights.sign() * weights.abs().sqrt()


def plain(label: str) -> str:
    """A label in which matplotlib sees no formula."""
    return label.replace("$", r"\$")


def longest(panels: Sequence[Sequence[Panel]]) -> int:
    """Tokens along the longer side of the largest head."""
    return max(max(panel.weights.shape) for row in panels for panel in row)


def cells(weights: Tensor, *, signed: bool = False) -> bytes:
    """One head as a PNG of a pixel a cell, clear where the weight is 0, so that it suits any paper."""
    values = shade(weights).numpy()
    rgba = np.zeros((*values.shape, 4), dtype=np.uint8)
    usual, more, less = (np.array(colour, dtype=np.uint8) for colour in COLOURS)
    rgba[..., :3] = np.where(values[..., None] < 0, less, more) if signed else usual
    rgba[..., 3] = np.round(255 * np.abs(values).clip(0, 1))
    stream = io.BytesIO()
    image.imsave(stream, rgba, format="png", metadata={"Software": "Danlu"})
    return stream.getvalue()


def settings() -> dict[Any, Any]:
    """Fonts and sizes; a font with Chinese stands second where the system has one."""
    return {"font.family": ["DejaVu Sans", *chinese_fonts()], "font.size": 8, "axes.linewidth": 0.4}


def chinese_fonts() -> list[str]:
    """The fonts with Chinese characters that are installed; without one they are drawn as boxes."""
    present = {entry.name for entry in font_manager.fontManager.ttflist}
    return [name for name in CHINESE_FONTS if name in present][:1]


def _scale(name: str, *stops: tuple[int, int, int]) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list(name, [[part / 255 for part in stop] for stop in stops])


WHITE = (255, 255, 255)
RISING = _scale("weight", WHITE, COLOURS[0])
DIVERGING = _scale("difference", COLOURS[2], WHITE, COLOURS[1])
