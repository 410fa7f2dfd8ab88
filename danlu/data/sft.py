"""SFT batches: chats rendered once, packed several a row by best fit, never split."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from danlu.data.chats import Chat
from danlu.data.images import pixels_of
from danlu.data.packing import check_identity
from danlu.data.records import Batch, DataError
from danlu.tokenizer.chat import ChatError, ChatFormat, images_of


class SftBatches:
    """Endless batches of packed chats; which chats share a row is drawn anew each epoch from (seed, epoch).

    A chat of n ids takes n - 1 positions. Attention never crosses from one chat to the next, and positions
    start at 0 with each. `share` is (rank, world): a process takes every world-th batch.
    """

    def __init__(
        self,
        chats: Sequence[Chat],
        chat_format: ChatFormat,
        batch_size: int,
        seq_len: int,
        seed: int,
        *,
        too_long: Literal["error", "drop"] = "error",
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.batch_size, self.seq_len, self.seed = batch_size, seq_len, seed
        self.rank, self.world = share
        self.pad_id, self._sight = padding_id(chat_format), chat_format.sight
        rendered = [render_chat(chat, chat_format) for chat in chats]
        fits = [len(ids) - 1 <= seq_len for ids, _ in rendered]
        if too_long == "error" and not all(fits):
            raise _too_long(chats[fits.index(False)], len(rendered[fits.index(False)][0]), seq_len)
        self.n_dropped = fits.count(False)
        self._numbers = [number for number, fit in enumerate(fits) if fit]
        self._chats = [rendered[number] for number in self._numbers]
        if not self._chats:
            raise DataError(
                f"no chat to learn from: {len(chats)} given, {self.n_dropped} longer than {seq_len} tokens"
            )
        # What comes after the last answer is not read.
        self._images = [
            images_of(chats[number].messages)[: chat_format.n_images(rendered[number][0])]
            for number in self._numbers
        ]
        self._lengths = [len(ids) - 1 for ids, _ in self._chats]
        self._epoch, self._row = 0, 0
        self._plan = lru_cache(maxsize=2)(self._pack)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        rows = [self._next_row() for _ in range(self.batch_size * self.world)]
        return self._laid_out(rows[self.rank * self.batch_size : (self.rank + 1) * self.batch_size])

    @property
    def epoch(self) -> float:
        """How many times the chats have been read."""
        return self._epoch + self._row / len(self._plan(self._epoch))

    @property
    def rows_per_epoch(self) -> int:
        """Rows of the present epoch; the next may need one more or less."""
        return len(self._plan(self._epoch))

    def row_with(self, number: int) -> tuple[Batch, int]:
        """The row of the first epoch that holds the chat of that number, counted from 0, and its segment."""
        if number not in self._numbers:
            raise DataError(f"chat {number + 1} is longer than {self.seq_len} tokens and left out")
        chat = self._numbers.index(number)
        row = next(row for row in self._plan(0) if chat in row)
        return self._laid_out([row]), row.index(chat)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "row": self._row, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_identity("SFT batches", state, self._identity())
        self._epoch, self._row = int(state["epoch"]), int(state["row"])

    def _laid_out(self, rows: Sequence[Sequence[int]]) -> Batch:
        batch = lay_out([[self._chats[i] for i in row] for row in rows], self.seq_len, self.pad_id)
        urls = [url for row in rows for i in row for url in self._images[i]]
        sight = self._sight
        return replace(batch, pictures=pixels_of(urls, sight.side)) if urls and sight else batch

    def _next_row(self) -> list[int]:
        if self._row == len(self._plan(self._epoch)):
            self._epoch, self._row = self._epoch + 1, 0
        self._row += 1
        return self._plan(self._epoch)[self._row - 1]

    def _pack(self, epoch: int) -> list[list[int]]:
        rng = np.random.default_rng([self.seed, epoch])
        rows = best_fit(self._lengths, rng.permutation(len(self._chats)), self.seq_len)
        return [rows[i] for i in rng.permutation(len(rows))]

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "seq_len": self.seq_len,
            "rows_per_step": self.batch_size * self.world,
            "n_chats": len(self._chats),
            "n_tokens": sum(self._lengths),
        }


def render_chat(chat: Chat, chat_format: ChatFormat) -> tuple[list[int], list[bool]]:
    """Ids of a chat up to the last that is learnt, and which are; a chat that teaches nothing is an error."""
    try:
        rendered = chat_format.render(list(chat.messages), chat.tools)
    except ChatError as error:
        raise DataError(f"{chat.where}: {error}") from None
    if not any(rendered.loss_mask[1:]):
        roles = [message["role"] for message in chat.messages]
        raise DataError(
            f"{chat.where}: no token of this chat is learnt, its turns are {roles}; "
            "it needs an answer by 'assistant'"
        )
    n_ids = 1 + max(i for i, learnt in enumerate(rendered.loss_mask) if learnt)
    return rendered.ids[:n_ids], rendered.loss_mask[:n_ids]


def best_fit(lengths: Sequence[int], order: NDArray[np.int64], capacity: int) -> list[list[int]]:
    """Rows of items, each item put where it leaves the least room, in the given order."""
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (positions left, row), sorted
    for item in order.tolist():
        at = bisect_left(room, (lengths[item], -1))
        if at < len(room):
            left, row = room.pop(at)
        else:
            left, row = capacity, len(rows)
            rows.append([])
        rows[row].append(item)
        insort(room, (left - lengths[item], row))
    return rows


def lay_out(rows: Sequence[Sequence[tuple[list[int], list[bool]]]], seq_len: int, pad_id: int) -> Batch:
    """Rows of rendered chats, each chat shifted on its own and a segment of its own."""
    shape = (len(rows), seq_len)
    input_ids, target_ids = torch.full(shape, pad_id), torch.full(shape, pad_id)
    loss_mask = torch.zeros(shape, dtype=torch.bool)
    position_ids, segment_ids = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    for i, row in enumerate(rows):
        start = 0
        for segment, (ids, mask) in enumerate(row):
            here = slice(start, start + len(ids) - 1)
            input_ids[i, here] = torch.tensor(ids[:-1])
            target_ids[i, here] = torch.tensor(ids[1:])
            loss_mask[i, here] = torch.tensor(mask[1:])
            position_ids[i, here] = torch.arange(len(ids) - 1)
            segment_ids[i, here] = segment
            start = here.stop
        position_ids[i, start:] = torch.arange(seq_len - start)
        segment_ids[i, start:] = len(row)
    return Batch(
        input_ids=input_ids,
        target_ids=target_ids,
        loss_mask=loss_mask,
        position_ids=position_ids,
        segment_ids=segment_ids,
    )


def padding_id(chat_format: ChatFormat) -> int:
    """The id that fills rows; it must not be one that ends anything."""
    tokenizer = chat_format.tokenizer
    if tokenizer.pad_id in {tokenizer.eos_id, tokenizer.im_end_id}:
        raise DataError(
            f"the tokenizer pads with {tokenizer.pad_id}, which also ends a text; "
            "it needs a padding token of its own, such as <|pad|>"
        )
    return tokenizer.pad_id


def _too_long(chat: Chat, n_ids: int, seq_len: int) -> DataError:
    return DataError(
        f"{chat.where}: is {n_ids} tokens long, so that its answer would be cut away by seq_len {seq_len}; "
        "shorten it, raise seq_len, or set too_long='drop'"
    )
