"""Tokens as training reads them, on 80 columns, and readable without colour."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from danlu.data.records import Batch, RankingBatch
from danlu.inspect.data_checks import stretches
from danlu.inspect.finding import Finding
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.interface import TextTokenizer

WIDTH = 80  # columns
TOKEN_WIDTH = 18  # columns of one token's text
STYLES = {"*": "bold green", "$": "bold yellow", "P": "dim", "S": "bold yellow", "": ""}
MEANINGS = {
    "*": "the target is learnt",
    "$": "learnt, and it ends a turn or a text",
    "P": "padding, never learnt",
    "S": "the score is read here",
    "": "given, not learnt",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLine:
    """One position of a row."""

    at: int  # place in the row
    position: int
    segment: int
    id: int
    mark: str  # a key of MEANINGS
    target: int | None = None  # the id to be answered, where there is one
    numbers: tuple[float, ...] = ()  # further columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Some lines of one row and what their further columns are called."""

    lines: Sequence[TokenLine]
    columns: Sequence[str] = field(default_factory=tuple)


def lines_of_batch(
    batch: Batch,
    row: int,
    is_pad: Tensor,
    end_ids: Collection[int],
    numbers: Mapping[str, Tensor] | None = None,
) -> Shown:
    """Every position of one row of a batch.

    Args:
        batch: laid out for training.
        row: which of its rows.
        is_pad: True where a position is padding, (batch, seq).
        end_ids: tokens that end a turn or a text.
        numbers: further per-token columns, (batch, seq), shown where the target is learnt.
    """
    numbers = numbers or {}
    lines: list[TokenLine] = []
    for at in range(batch.input_ids.shape[1]):
        target, learnt = int(batch.target_ids[row, at]), bool(batch.loss_mask[row, at])
        mark = ("$" if target in end_ids else "*") if learnt else "P" if bool(is_pad[row, at]) else ""
        lines.append(
            TokenLine(
                at=at,
                position=int(batch.position_ids[row, at]),
                segment=int(batch.segment_ids[row, at]),
                id=int(batch.input_ids[row, at]),
                mark=mark,
                target=target,
                numbers=tuple(float(each[row, at]) for each in numbers.values()) if learnt else (),
            )
        )
    return Shown(lines=lines, columns=tuple(numbers))


def lines_of_ranking(batch: RankingBatch, row: int, pad_id: int) -> Shown:
    """Every position of one row of comparisons; the segment column shows the branch, 0 being the prompt."""
    width = batch.input_ids.shape[1]
    ends = {end % width for end in batch.end_index.tolist() if end // width == row}
    ids = batch.input_ids[row].tolist()
    lines = [
        TokenLine(
            at=at,
            position=int(batch.position_ids[row, at]),
            segment=int(batch.branch_ids[row, at]),
            id=ids[at],
            mark="S" if at in ends else "P" if ids[at] == pad_id else "",
        )
        for at in range(width)
    ]
    return Shown(lines=lines)


def token_table(
    shown: Shown, tokenizer: Tokenizer, *, segment_name: str = "seg", n_shown: int = 120
) -> Table:
    """Lines as a table; runs of padding are one line, and of many tokens the middle is left out.

    Args:
        shown: what to show.
        tokenizer: spells the ids.
        segment_name: heading of the segment column.
        n_shown: at most so many tokens.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    has_target = any(line.target is not None for line in shown.lines)
    for name in ("at", "pos", segment_name, "id"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("token", no_wrap=True)
    table.add_column("mark", no_wrap=True)
    if has_target:
        table.add_column("target", no_wrap=True)
    for name in shown.columns:
        table.add_column(name, justify="right", no_wrap=True)
    for line in _condensed(shown.lines, n_shown):
        table.add_row(*_cells(line, tokenizer, has_target), style=_style(line))
    return table


def _condensed(lines: Sequence[TokenLine], n_shown: int) -> Iterator[TokenLine | str]:
    n_text = sum(line.mark != "P" for line in lines)
    first, last = (
        (n_text, n_text) if n_text <= n_shown + 1 else (n_shown - n_shown // 2, n_text - n_shown // 2)
    )
    seen = 0
    for is_pad, run in groupby(lines, key=lambda line: line.mark == "P"):
        group = list(run)
        if is_pad:
            yield f"PAD x {len(group)}, from {group[0].at} to {group[-1].at}"
            continue
        for line in group:
            if first <= seen < last and seen == first:
                yield f"… {last - first} tokens, from {line.at} to {line.at + last - first - 1}"
            if not first <= seen < last:
                yield line
            seen += 1


def _cells(line: TokenLine | str, tokenizer: Tokenizer, has_target: bool) -> list[str | Text]:
    if isinstance(line, str):
        return ["", "", "", "", Text(line)]
    cells: list[str | Text] = [str(line.at), str(line.position), str(line.segment), str(line.id)]
    cells += [Text(spelled(line.id, tokenizer)), Text(line.mark)]
    if has_target:
        cells.append(Text(spelled(line.target, tokenizer) if line.target is not None else ""))
    return cells + [f"{number:.3f}" for number in line.numbers]


def _style(line: TokenLine | str) -> str:
    return "dim" if isinstance(line, str) else STYLES[line.mark]


def spelled(token: int, tokenizer: TextTokenizer, width: int = TOKEN_WIDTH) -> str:
    """A token's text in at most `width` columns, with blanks visible and part of a character as its bytes."""
    raw = tokenizer.decode_bytes([token], show_control=True)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = "".join(chr(byte) if 32 <= byte < 127 else f"<{byte:02X}>" for byte in raw)
    text = visible(text)
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def visible(text: str) -> str:
    """A text in which blanks, line breaks and whatever else leaves no mark can be seen."""
    return "".join(VISIBLE.get(c) or (c if c.isprintable() else f"\\u{ord(c):04x}") for c in text)


def packing_table(batch: Batch, row: int, is_pad: Tensor, tokenizer: Tokenizer, chosen: int) -> Table:
    """Where the segments of a row begin and end; the chosen one is marked `>`."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    for name in ("", "segment", "from", "to", "tokens", "learnt"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("begins with", no_wrap=True)
    for each in (each for each in stretches(batch.segment_ids) if each.row == row):
        pad, segment = bool(each.of(is_pad).all()), int(each.of(batch.segment_ids)[0])
        first, last = each.here.start, each.here.stop - 1
        ids = each.of(batch.input_ids)[:24].tolist()
        beginning = "" if pad else visible(tokenizer.decode(ids, show_control=True))
        table.add_row(
            ">" if segment == chosen and not pad else "",
            "PAD" if pad else str(segment),
            str(first),
            str(last),
            str(last - first + 1),
            str(int(each.of(batch.loss_mask).sum())),
            Text(set_cell_size(beginning, 36).rstrip()),
            style="dim" if pad else "",
        )
    return table


def specials_table(tokenizer: Tokenizer) -> Table:
    """The control tokens and what they are for."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("id", justify="right")
    table.add_column("token", no_wrap=True)
    table.add_column("use")
    for token, use in (
        (tokenizer.eos_id, "ends a document"),
        (tokenizer.pad_id, "fills rows"),
        (tokenizer.im_start_id, "begins a turn"),
        (tokenizer.im_end_id, "ends a turn"),
    ):
        table.add_row(str(token), Text(spelled(token, tokenizer)), use)
    return table


def check_line(finding: Finding) -> Text:
    """A finding in 80 columns: what does not fit goes on below, indented."""
    text = textwrap.fill(finding.line, WIDTH, subsequent_indent=" " * 7, break_on_hyphens=False)
    return Text(text, style="" if finding.ok else "bold red")


def legend(shown: Shown) -> str:
    """The marks that occur, and what they mean."""
    used = {line.mark for line in shown.lines}
    return "; ".join(f"{mark or '(none)'} {text}" for mark, text in MEANINGS.items() if mark in used)


def console() -> Console:
    """A console of 80 columns, or fewer where the terminal has fewer."""
    return Console(width=min(WIDTH, Console().width), highlight=False, markup=False, emoji=False)


VISIBLE = {" ": "·", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
