"""Checks of a batch as the model will read it: masks, ends, the shift, positions, padding.

They look at the laid-out batch only and repeat none of the code that made it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from danlu.data.records import Batch, RankingBatch
from danlu.inspect.finding import Finding


class ControlIds(Protocol):
    """The control ids of a tokenizer."""

    eos_id: int
    pad_id: int
    im_start_id: int
    im_end_id: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive positions of one row."""

    row: int
    here: slice

    def of(self, x: Tensor) -> Tensor:
        """This part of a (batch, seq) tensor, (n,)."""
        return x[self.row, self.here]


def stretches(x: Tensor) -> list[Stretch]:
    """Every run of equal values in the rows of a (batch, seq) tensor, in reading order."""
    found: list[Stretch] = []
    for row in range(len(x)):
        changes = (torch.nonzero(x[row, 1:] != x[row, :-1]).flatten() + 1).tolist()
        found += [Stretch(row, slice(a, b)) for a, b in pairwise([0, *changes, x.shape[1]])]
    return found


def text_segments(batch: Batch, is_pad: Tensor) -> list[Stretch]:
    """The segments of a batch that are not padding throughout."""
    return [each for each in stretches(batch.segment_ids) if not bool(each.of(is_pad).all())]


def special_tokens(tokenizer: ControlIds) -> Finding:
    """Padding must be a token of its own."""
    ids = {
        "PAD": tokenizer.pad_id,
        "end of text": tokenizer.eos_id,
        "begin of turn": tokenizer.im_start_id,
        "end of turn": tokenizer.im_end_id,
    }
    return Finding(
        check="PAD is not EOS",
        ok=len(set(ids.values())) == len(ids),
        found=", ".join(f"{name} is {i}" for name, i in ids.items()),
        wanted="four different ids",
        why="An end that looks like padding is masked, so that the model never learns to stop.",
    )


def mask_sums(batches: Sequence[Batch], is_pad: Sequence[Tensor]) -> Finding:
    """Something is learnt in every segment, and no padding is."""
    n_learnt = n_text = n_pad_learnt = n_idle = n_segments = 0
    for batch, pad in zip(batches, is_pad, strict=True):
        segments = text_segments(batch, pad)
        n_segments += len(segments)
        n_idle += sum(not bool(each.of(batch.loss_mask).any()) for each in segments)
        n_learnt += int(batch.loss_mask.sum())
        n_text += int((~pad).sum())
        n_pad_learnt += int((batch.loss_mask & pad).sum())
    share = f"{n_learnt:,} of {n_text:,} targets are learnt ({n_learnt / max(n_text, 1):.0%})"
    return Finding(
        check="mask sums",
        ok=n_learnt > 0 and not n_idle and not n_pad_learnt,
        found=f"{share}, in {n_segments - n_idle} of {n_segments} segments; {n_pad_learnt} of them are PAD",
        wanted="some in every segment and none in the padding",
        why="A mask that is empty gives no gradient, one that covers padding teaches padding.",
    )


def answers_end(batches: Sequence[Batch], end_ids: Collection[int], *, may_go_on: bool = False) -> Finding:
    """What is learnt in one piece ends with a token that ends something.

    Args:
        batches: laid out for training.
        end_ids: tokens that end a turn or a text.
        may_go_on: a piece that reaches the right edge of its row continues in the next row.
    """
    n_pieces = n_cut = 0
    for batch in batches:
        pieces = [
            each
            for segment in stretches(batch.segment_ids)
            for each in _learnt_pieces(segment, batch.loss_mask)
            if not (may_go_on and each.here.stop == batch.input_ids.shape[1])
        ]
        n_pieces += len(pieces)
        n_cut += sum(int(batch.target_ids[each.row, each.here.stop - 1]) not in end_ids for each in pieces)
    return Finding(
        check="ends are learnt",
        ok=n_cut == 0,
        found=f"{n_pieces - n_cut} of {n_pieces} learnt pieces close with an end token",
        wanted="all of them",
        why="An answer cut off before its end teaches the model to go on for ever.",
    )


def _learnt_pieces(segment: Stretch, loss_mask: Tensor) -> list[Stretch]:
    inside = segment.of(loss_mask)
    return [
        Stretch(segment.row, slice(segment.here.start + each.here.start, segment.here.start + each.here.stop))
        for each in stretches(inside[None])
        if bool(inside[each.here.start])
    ]


def shifted_once(batches: Sequence[Batch]) -> Finding:
    """Within a segment, or a branch of it, the target of a position is the input of the next."""
    n_asked = n_off = 0
    for batch in batches:
        same = (batch.segment_ids[:, 1:] == batch.segment_ids[:, :-1]) & batch.loss_mask[:, :-1]
        if batch.branch_ids is not None:
            same &= batch.branch_ids[:, 1:] == batch.branch_ids[:, :-1]
        n_asked += int(same.sum())
        n_off += int((same & (batch.target_ids[:, :-1] != batch.input_ids[:, 1:])).sum())
    return Finding(
        check="shifted once",
        ok=n_off == 0,
        found=f"{n_asked - n_off:,} of {n_asked:,} targets are the next input",
        wanted="all of them",
        why="Targets shifted twice, or not at all, teach another task than the one that is sampled.",
    )


def positions_restart(batches: Sequence[Batch], is_pad: Sequence[Tensor], max_seq_len: int) -> Finding:
    """Positions count from 0 in every segment, on from the stem in branches, and stay within the context."""
    n_off = n_segments = longest = 0
    for batch, pad in zip(batches, is_pad, strict=True):
        for each in text_segments(batch, pad):
            found = each.of(batch.position_ids)
            n_segments += 1
            n_off += not torch.equal(found, counted(batch, each))
            longest = max(longest, int(found.max()))
    return Finding(
        check="positions",
        ok=n_off == 0 and longest < max_seq_len,
        found=f"{n_segments - n_off} of {n_segments} segments count from 0; the last position is {longest}",
        wanted=f"every segment from 0 to at most {max_seq_len - 1}",
        why="Positions that are never sampled are learnt in vain, and those beyond the context mean nothing.",
    )


def counted(batch: Batch, segment: Stretch) -> Tensor:
    """Where the tokens of a segment should stand: each branch goes on where the stem ends, (n,)."""
    places = torch.arange(segment.here.stop - segment.here.start)
    if batch.branch_ids is None:
        return places
    branches = segment.of(batch.branch_ids)
    n_stem = int((branches == 0).sum())
    lengths = branches[branches > 0].unique_consecutive(return_counts=True)[1].tolist()
    within = [torch.arange(n) + n_stem for n in lengths]
    return torch.cat([places[:n_stem], *within])


def prompt_is_prefix(prompts: Sequence[Sequence[int]], rendered: Sequence[Sequence[int]]) -> Finding:
    """What the model is given to answer is what it saw before the answer in training."""
    n_off = sum(
        list(ids[: len(prompt)]) != list(prompt) for prompt, ids in zip(prompts, rendered, strict=True)
    )
    return Finding(
        check="template",
        ok=n_off == 0,
        found=f"{len(prompts) - n_off} of {len(prompts)} prompts are how their training text begins",
        wanted="all of them",
        why="A model that is asked in another format than it was taught answers another question.",
    )


def fitting(n_given: int, n_dropped: int, limit: str) -> Finding:
    """How many records are too long, and that it is the smaller part."""
    return Finding(
        check="truncation",
        ok=2 * n_dropped < n_given,
        found=f"{n_dropped:,} of {n_given:,} records are longer than {limit} and left out; none is cut",
        wanted="fewer than half of them",
        why="What is left out is what is long, so the model learns short answers only.",
    )


def ranks_teach(batches: Sequence[RankingBatch]) -> Finding:
    """Rankings prefer something, and never a text to its own copy."""
    n_pairs = n_strict = n_contradicting = 0
    for batch in batches:
        texts = completions_of(batch)
        for a in range(len(texts)):
            for b in range(a):
                if batch.group_ids[a] != batch.group_ids[b]:
                    continue
                strict = bool(batch.ranks[a] != batch.ranks[b])
                n_pairs, n_strict = n_pairs + 1, n_strict + strict
                n_contradicting += strict and texts[a] == texts[b]
    return Finding(
        check="rankings",
        ok=n_strict > 0 and not n_contradicting,
        found=f"{n_strict:,} of {n_pairs:,} pairs prefer one text, {n_contradicting} of them to its copy",
        wanted="some preferences, and none between equal texts",
        why="Ties alone make all scores equal, and no text is better than itself.",
    )


def completions_of(batch: RankingBatch) -> list[list[int]]:
    """The ids of each completion of a batch, in the order of `end_index`."""
    width = batch.input_ids.shape[1]
    found: list[list[int]] = []
    for end in batch.end_index.tolist():
        row, last = divmod(end, width)
        first = last
        while first and batch.branch_ids[row, first - 1] == batch.branch_ids[row, last]:
            first -= 1
        found.append(batch.input_ids[row, first : last + 1].tolist())
    return found


def scores_at_ends(batches: Sequence[RankingBatch], end_id: int, n_cut: int) -> Finding:
    """A score is read where a completion ends, unless the record says that it was cut."""
    ends = torch.cat([batch.input_ids.flatten()[batch.end_index] for batch in batches])
    n_off = int((ends != end_id).sum())
    return Finding(
        check="scores are read at the end",
        ok=n_off <= n_cut,
        found=f"{len(ends) - n_off} of {len(ends)} completions are scored at their end of turn",
        wanted=f"all but the {n_cut} that their record calls unfinished",
        why="A score read elsewhere, as on padding, is of another text.",
    )
