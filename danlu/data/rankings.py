"""Comparison batches for the reward model: a prompt once, and all of its completions after it.

A score is read where a completion's last token is the input, so that token stands in the row too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from danlu.data.chats import Comparison
from danlu.data.packing import check_identity
from danlu.data.records import DataError, RankingBatch
from danlu.data.sft import padding_id
from danlu.tokenizer.chat import ChatFormat, Message

TooLong = Literal["error", "drop", "shorten"]
ROW_TOKENS = 256  # of a row, unless one comparison is longer


@dataclass(frozen=True, slots=True)
class Group:
    """One comparison as ids."""

    prompt: Sequence[int]
    completions: Sequence[Sequence[int]]  # each with its last token
    comparison: Comparison  # what it was made from

    @property
    def ranks(self) -> Sequence[int]:
        """One for each completion."""
        return self.comparison.ranks

    @property
    def sequences(self) -> list[list[int]]:
        """The prompt with each completion."""
        return [[*self.prompt, *completion] for completion in self.completions]

    @property
    def longest(self) -> int:
        """Tokens of the prompt and its longest completion."""
        return len(self.prompt) + max(map(len, self.completions))

    @property
    def n_tokens(self) -> int:
        """Positions that it takes in a row."""
        return len(self.prompt) + sum(map(len, self.completions))


class RankingBatches:
    """Endless batches of whole comparisons, in an order from (seed, epoch).

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
        self.groups = tokenize_comparisons(comparisons, chat_format, max_len, too_long)
        self.n_dropped = len(comparisons) - len(self.groups)
        self.batches_per_epoch = -(-len(self.groups) // prompts_per_batch)
        self._plan = lru_cache(maxsize=2)(self._arrange)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RankingBatch:
        return lay_out([self.groups[i] for i in self.next_numbers()], self.pad_id)

    def next_numbers(self) -> list[int]:
        """Which of `groups` the next batch holds; the position moves on."""
        epoch, index = divmod(self.step * self.world + self.rank, self.batches_per_epoch)
        self.step += 1
        return self._plan(epoch)[index]

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
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.groups)).tolist()
        return cut(order, self.prompts_per_batch)

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "prompts_per_batch": self.prompts_per_batch,
            "world": self.world,
            "n_comparisons": len(self.groups),
            "n_tokens": sum(group.n_tokens for group in self.groups),
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
    stem = chat_format.prompt(prompt)
    completions: list[Sequence[int]] = []
    for completion, cut_short in zip(comparison.completions, unfinished, strict=True):
        rendered = chat_format.render([*prompt, {"role": "assistant", "content": completion}])
        # What a format writes after the end of the turn (ChatML: a line break) is not the completion's.
        n_ids = max(i for i, learnt in enumerate(rendered.loss_mask) if learnt) + (0 if cut_short else 1)
        if n_ids == len(stem):
            raise DataError(
                f"{comparison.where}: a completion has no token, being empty and marked as unfinished; "
                "leave it out"
            )
        completions.append(rendered.ids[len(stem) : n_ids])
    return Group(stem, completions, comparison)


def check_preferences(groups: Sequence[Group]) -> None:
    """Rankings of which each is one tie teach nothing but that all answers are alike."""
    if all(len(set(group.ranks)) == 1 for group in groups):
        raise DataError(f"each of the {len(groups)} comparisons is a tie; none says which answer is better")


def lay_out(groups: Sequence[Group], pad_id: int) -> RankingBatch:
    """Rows of comparisons, filled evenly, as long as a multiple of 16: compiled code meets few lengths."""
    rows = spread(groups)
    longest = max(sum(groups[i].n_tokens for i in row) for row in rows)
    shape = (len(rows), -(-longest // 16) * 16)
    input_ids, positions = torch.full(shape, pad_id), torch.zeros(shape, dtype=torch.int64)
    segments, branches = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    ends: list[int] = []
    for r, row in enumerate(rows):
        at = 0
        for segment, index in enumerate(row):
            stem = len(groups[index].prompt)
            for branch, ids in enumerate((groups[index].prompt, *groups[index].completions)):
                here = slice(at, at + len(ids))
                input_ids[r, here] = torch.tensor(ids)
                positions[r, here] = torch.arange(len(ids)) + (stem if branch else 0)
                segments[r, here], branches[r, here] = segment, branch
                at = here.stop
                if branch:
                    ends.append(r * shape[1] + at - 1)
        positions[r, at:] = torch.arange(shape[1] - at)
        segments[r, at:] = len(row)
    order = [index for row in rows for index in row]
    ordered = [groups[i] for i in order]
    return RankingBatch(
        input_ids=input_ids,
        position_ids=positions,
        segment_ids=segments,
        branch_ids=branches,
        end_index=torch.tensor(ends),
        group_ids=torch.tensor([i for i in order for _ in groups[i].completions]),
        ranks=torch.tensor([rank for group in ordered for rank in group.ranks]),
        raters=[group.comparison.annotator for group in ordered for _ in group.completions],
        **_where_given(ordered),
    )


def _where_given(groups: Sequence[Group]) -> dict[str, Tensor]:
    """Strengths and weights, if there are any."""
    found: dict[str, Tensor] = {}
    if any(group.comparison.strengths for group in groups):
        found["levels"] = torch.tensor([level for group in groups for level in group.comparison.levels])
    if any(group.comparison.weight != 1 for group in groups):
        found["weights"] = torch.tensor(
            [group.comparison.weight for group in groups for _ in group.completions]
        )
    return found


def spread(groups: Sequence[Group]) -> list[list[int]]:
    """Groups by number in as many rows as they need, the largest first, each to the row that is emptiest."""
    sizes = [group.n_tokens for group in groups]
    rows: list[list[int]] = [[] for _ in range(max(1, -(-sum(sizes) // ROW_TOKENS)))]
    filled = [0] * len(rows)
    for index in sorted(range(len(groups)), key=lambda i: -sizes[i]):
        row = filled.index(min(filled))
        rows[row].append(index)
        filled[row] += sizes[index]
    return [row for row in rows if row]


def without_oldest(messages: Sequence[Message]) -> list[Message]:
    """The dialogue without its first exchange; the system message and the last turn by the user stay."""
    system = [message for message in messages[:1] if message["role"] == "system"]
    turns = list(messages[len(system) :])
    users = [i for i, message in enumerate(turns) if message["role"] == "user"]
    return [*system, *turns[users[1] :]] if len(users) > 1 else list(messages)


def cut(items: Sequence[Any], size: int) -> list[list[Any]]:
    """Consecutive pieces of `size`, the last as long as what remains."""
    return [list(items[first : first + size]) for first in range(0, len(items), size)]
