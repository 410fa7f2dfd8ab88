"""Comparison batches for the reward model: all completions of a prompt together, one a row.

Each row holds a whole sequence, its last token included, because a score is read where that token is the
input: `scores[row, end_index[row]]`. Targets are shifted as everywhere, so the same batch also serves an
auxiliary language-modelling loss on the completions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Literal, Self

import numpy as np
import torch

from danlu.data.chats import Comparison
from danlu.data.packing import check_identity
from danlu.data.records import Batch, DataError, RankingBatch, pad_rows
from danlu.data.sft import padding_id
from danlu.tokenizer.chat import ChatFormat, Message

TooLong = Literal["error", "drop", "shorten"]
POOL_BATCHES = 32


@dataclass(frozen=True, slots=True)
class Group:
    """One comparison as ids: for each completion the whole sequence and where the completion lies in it."""

    rows: Sequence[Sequence[int]]
    masks: Sequence[Sequence[bool]]  # True for the completion's own tokens, its end included
    ranks: Sequence[int]

    @property
    def longest(self) -> int:
        return max(len(row) for row in self.rows)


class RankingBatches:
    """Endless batches of whole comparisons, those of similar length together, in an order from (seed, epoch).

    An epoch is ceil(n / prompts_per_batch) batches, the one that holds the remainder being smaller. What does
    not fit into max_len is an error, left out (`too_long="drop"`), or loses its oldest exchanges, whole turns
    at a time and never the system message (`"shorten"`); what then still does not fit is an error.
    `share` is (rank, world): a process takes every world-th batch.
    """

    def __init__(
        self,
        comparisons: Sequence[Comparison],
        chat_format: ChatFormat,
        prompts_per_batch: int,
        max_len: int,
        seed: int,
        *,
        too_long: TooLong = "error",
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.prompts_per_batch, self.max_len, self.seed = prompts_per_batch, max_len, seed
        self.rank, self.world = share
        self.step = 0
        self.pad_id = padding_id(chat_format)
        self._groups = tokenize_comparisons(comparisons, chat_format, max_len, too_long)
        self.n_dropped = len(comparisons) - len(self._groups)
        self.batches_per_epoch = -(-len(self._groups) // prompts_per_batch)
        self._plan = lru_cache(maxsize=2)(self._arrange)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RankingBatch:
        epoch, index = divmod(self.step * self.world + self.rank, self.batches_per_epoch)
        self.step += 1
        return lay_out([self._groups[i] for i in self._plan(epoch)[index]], self.pad_id)

    @property
    def epoch(self) -> float:
        """How many times the comparisons have been read."""
        return self.step * self.world / self.batches_per_epoch

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_identity("comparison batches", state, self._identity())
        self.step = int(state["step"])

    def _arrange(self, epoch: int) -> list[list[int]]:
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self._groups)).tolist()
        pool = self.prompts_per_batch * POOL_BATCHES
        batches: list[list[int]] = []
        for first in range(0, len(order), pool):
            alike = sorted(order[first : first + pool], key=lambda i: self._groups[i].longest)
            batches += cut(alike, self.prompts_per_batch)
        return [batches[i] for i in rng.permutation(len(batches))]

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "prompts_per_batch": self.prompts_per_batch,
            "world": self.world,
            "n_comparisons": len(self._groups),
            "n_tokens": sum(len(row) for group in self._groups for row in group.rows),
        }


def every_comparison(
    comparisons: Sequence[Comparison],
    chat_format: ChatFormat,
    prompts_per_batch: int,
    max_len: int,
    *,
    too_long: TooLong = "error",
) -> Iterator[RankingBatch]:
    """Each comparison once, in the given order: for evaluation."""
    groups = tokenize_comparisons(comparisons, chat_format, max_len, too_long)
    for batch in cut(groups, prompts_per_batch):
        yield lay_out(batch, padding_id(chat_format))


def tokenize_comparisons(
    comparisons: Sequence[Comparison], chat_format: ChatFormat, max_len: int, too_long: TooLong = "error"
) -> list[Group]:
    """Render every completion of every comparison."""
    groups: list[Group] = []
    for comparison in comparisons:
        group = tokenize_comparison(comparison, chat_format)
        prompt = list(comparison.prompt)
        while (
            group.longest > max_len
            and too_long == "shorten"
            and len(shorter := without_oldest(prompt)) < len(prompt)
        ):
            prompt = shorter
            group = tokenize_comparison(comparison, chat_format, prompt)
        if group.longest <= max_len:
            groups.append(group)
        elif too_long != "drop":
            raise DataError(
                f"{comparison.where}: prompt and completion are {group.longest} tokens long; "
                f"at most max_len, {max_len}, fit (too_long='drop' leaves such records out)"
            )
    if not groups:
        raise DataError(
            f"no comparison to learn from: {len(comparisons)} given, none fits into {max_len} tokens"
        )
    return groups


def tokenize_comparison(
    comparison: Comparison, chat_format: ChatFormat, prompt: Sequence[Message] | None = None
) -> Group:
    """Sequences that end with the completion's last token: <|im_end|>, unless the completion was cut."""
    prompt = list(comparison.prompt if prompt is None else prompt)
    unfinished = comparison.unfinished or [False] * len(comparison.completions)
    rows: list[list[int]] = []
    masks: list[list[bool]] = []
    n_prompt = len(chat_format.prompt(prompt))
    for completion, cut_short in zip(comparison.completions, unfinished, strict=True):
        rendered = chat_format.render([*prompt, {"role": "assistant", "content": completion}])
        # What a format writes after the end of the turn (ChatML: a line break) is not the completion's.
        n_ids = max(i for i, learnt in enumerate(rendered.loss_mask) if learnt) + (0 if cut_short else 1)
        rows.append(rendered.ids[:n_ids])
        masks.append([False] * n_prompt + [True] * (n_ids - n_prompt))
    return Group(rows, masks, comparison.ranks)


def lay_out(groups: Sequence[Group], pad_id: int, *, multiple_of: int = 16) -> RankingBatch:
    """Pad the rows of some comparisons at the right, to a width that compiled code has met before."""
    rows = [row for group in groups for row in group.rows]
    masks = [mask for group in groups for mask in group.masks]
    width = -(-max(map(len, rows)) // multiple_of) * multiple_of
    # One padding id is appended, so that the shift keeps each sequence's last token among the inputs.
    batch = pad_rows([[*row, pad_id] for row in rows], [[*mask, False] for mask in masks], pad_id, width)
    return RankingBatch(
        **{field.name: getattr(batch, field.name) for field in fields(Batch)},
        end_index=torch.tensor([len(row) - 1 for row in rows]),
        group_ids=torch.tensor([i for i, group in enumerate(groups) for _ in group.rows]),
        ranks=torch.tensor([rank for group in groups for rank in group.ranks]),
    )


def without_oldest(messages: Sequence[Message]) -> list[Message]:
    """The dialogue without its first exchange; the system message and the last turn by the user stay."""
    system = [message for message in messages[:1] if message["role"] == "system"]
    turns = list(messages[len(system) :])
    users = [i for i, message in enumerate(turns) if message["role"] == "user"]
    return [*system, *turns[users[1] :]] if len(users) > 1 else list(messages)


def cut(items: Sequence[Any], size: int) -> list[list[Any]]:
    """Consecutive pieces of `size`, the last as long as what remains."""
    return [list(items[first : first + size]) for first in range(0, len(items), size)]
