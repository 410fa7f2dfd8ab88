"""Tables of tokens as HTML: hundreds of cells at once, every text in them escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from danlu.serve.studio.microscope import Lens, Masks, Scores
from danlu.serve.studio.rich_text import shown
from danlu.serve.studio.visit import Visit

DEEPEST = 45  # percent of the accent behind a token; beyond, its text would be hard to read
MARKS = {"*": "learnt", "$": "end", "P": "pad", "S": "score", "": "given"}


def strip(labels: Iterable[str], depths: Iterable[float], titles: Iterable[str]) -> str:
    """Tokens one after the other, each on a ground whose depth is from 0 to 1."""
    tokens = (
        f'<span class="dl-token" style="{ground(depth)}" title="{text(title)}">{text(label)}</span>'
        for label, depth, title in zip(labels, depths, titles, strict=True)
    )
    return f'<div class="dl-strip">{"".join(tokens)}</div>'


def ground(depth: float) -> str:
    """The style of a ground."""
    percent = round(DEEPEST * min(max(depth, 0.0), 1.0))
    return f"background:color-mix(in srgb,var(--accent) {percent}%,transparent)"


def text(what: str) -> str:
    """A text as HTML, which does nothing but show."""
    return escape(shown(what), quote=True)


def lens_table(visit: Visit, lens: Lens) -> str:
    """A row a layer, the last at the top; a column a token, its cell what would come next."""
    head = "".join(f'<th scope="col">{text(label)}</th>' for label in lens.labels)
    rows = "".join(
        f'<tr><th scope="row">{n}</th>'
        + "".join(
            f'<td style="{ground(each.probability)}" title="{each.probability:.3f}">{text(each.label)}</td>'
            for each in guesses
        )
        + "</tr>"
        for n, guesses in reversed(lens.layers)
    )
    corner = text(visit.say("inspect.layers"))
    return (
        f'<table class="dl-cells"><thead><tr><th scope="col">{corner}</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def mask_table(visit: Visit, masks: Masks) -> str:
    """A row a position, as `danlu doctor` prints them."""
    has_target = any(line.target for line in masks.lines)
    names = [visit.say(f"inspect.col_{name}") for name in ("at", "pos", "seg", "id", "token", "mark")]
    names += [visit.say("inspect.col_target")] * has_target + list(masks.columns)
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in names)
    rows: list[str] = []
    for line in masks.lines:
        cells = [str(line.at), str(line.position), str(line.segment), str(line.id), line.label]
        cells += [line.mark] + [line.target] * has_target
        cells += [f"{number:.3f}" for number in line.numbers]
        cells += [""] * (len(names) - len(cells))
        row = "".join(f"<td>{text(cell)}</td>" for cell in cells)
        rows.append(f'<tr class="dl-mark-{MARKS[line.mark]}">{row}</tr>')
    return (
        f'<table class="dl-table dl-numbers"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def mask_strip(masks: Masks) -> str:
    """The same as running text: a token that is learnt stands on a ground, where a score is read too."""
    tokens: list[tuple[str, str]] = []
    known = False  # whether the token that is read here was shown as the target before it
    for line in masks.lines:
        is_learnt = line.mark in ("*", "$")
        if line.mark != "P" and not known:
            tokens.append((line.label, "" if is_learnt else line.mark))
        if is_learnt:
            tokens.append((line.target, line.mark))
        known = is_learnt
    spans = (f'<span class="dl-token dl-mark-{MARKS[mark]}">{text(label)}</span>' for label, mark in tokens)
    return f'<div class="dl-strip">{"".join(spans)}</div>'


def score_strip(found: Scores) -> str:
    """Tokens on a ground that is the deeper, the higher the score after them."""
    low, high = min(found.scores), max(found.scores)
    depths = [(each - low) / (high - low) if high > low else 0.0 for each in found.scores]
    return strip(found.labels, depths, [f"{each:.3f}" for each in found.scores])


def meanings(visit: Visit, masks: Masks) -> Sequence[tuple[str, str]]:
    """The marks that occur, and what they mean."""
    used = {line.mark for line in masks.lines}
    return [(mark or "–", visit.say(f"inspect.mark_{name}")) for mark, name in MARKS.items() if mark in used]
