"""HTML that is safe by construction: text is escaped unless it is already markup."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

NOTHING = "–"  # where a number is missing


class Markup(str):
    """Text that is HTML already; only this file and the charts make any."""

    __slots__ = ()


def safe(child: object) -> str:
    """A child as HTML; None is left out."""
    if child is None:
        return ""
    return str(child) if isinstance(child, Markup) else escape(str(child), quote=True)


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element; `class_` is the attribute class, an underscore elsewhere is a hyphen, True has no value."""
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{escape(str(value), quote=True)}"')
    return Markup(f"<{' '.join(parts)}>{''.join(safe(child) for child in children)}</{name}>")


def join(children: Iterable[object], between: str = "") -> Markup:
    return Markup(safe(between).join(safe(child) for child in children))


def both(en: object, zh: object) -> Markup:
    """The same in English and in Chinese; the reader's choice at the top of the page shows one of them."""
    return join([tag("span", en, class_="en", lang="en"), tag("span", zh, class_="zh", lang="zh")])


def number(value: float | None, form: str = "plain") -> Markup:
    """A number for reading, which keeps its exact value in the markup."""
    if value is None or not math.isfinite(value):
        return Markup(NOTHING)
    return tag("data", FORMS[form](value), value=repr(value))


def interval(tree: dict[str, float] | None, form: str = "percent") -> Markup:
    """An estimate with its 95 % interval in small print."""
    if tree is None:
        return Markup(NOTHING)
    low, high = number(tree["low"], form), number(tree["high"], form)
    return join([number(tree["mean"], form), " ", tag("small", "[", low, ", ", high, "]", class_="ci")])


def table(headers: Sequence[object], rows: Sequence[Sequence[object]], *, text_columns: int = 1) -> Markup:
    """A table that scrolls sideways by itself on a narrow screen; numbers stand at the right."""
    head = tag("tr", *(cell("th", text, i >= text_columns, scope="col") for i, text in enumerate(headers)))
    body = [
        tag(
            "tr",
            *(
                cell("td" if i else "th", child, i >= text_columns, scope=None if i else "row")
                for i, child in enumerate(row)
            ),
        )
        for row in rows
    ]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="scroll")


def cell(name: str, child: object, is_number: bool, scope: str | None) -> Markup:
    return tag(name, child, class_="n" if is_number else None, scope=scope)


def bar(share: float, role: str = "accent") -> Markup:
    """A bar as long as its share of the width; decoration beside a number, so hidden from screen readers."""
    width = 100 * min(max(share, 0.0), 1.0)
    fill = tag("span", style=f"width:{width:.1f}%;background:var(--{role})")
    return tag("span", fill, class_="bar", aria_hidden="true")


def plain(value: float) -> str:
    """Three or four digits that mean something."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def size(value: float) -> str:
    """Bytes in the unit that leaves at most four digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    raise AssertionError


def duration(value: float) -> str:
    """Seconds, or minutes and seconds, or hours and minutes."""
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def count(value: float) -> str:
    """A large count, shortened."""
    for unit, scale in (("G", 1e9), ("M", 1e6)):
        if abs(value) >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value:,.0f}"


def signed(value: float) -> str:
    """Hundredths with their sign, which what rounds to nothing has not."""
    text = f"{100 * value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


FORMS = {
    "plain": plain,
    "count": count,
    "size": size,
    "duration": duration,
    "percent": lambda value: f"{100 * value:.1f}",
    "points": signed,
    "change": lambda value: f"{signed(value)} %",
    "integer": lambda value: f"{value:,.0f}",
    "two": lambda value: f"{value:.2f}",
    "three": lambda value: f"{value:.3f}",
}
