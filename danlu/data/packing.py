"""Pretraining batches: documents in a shuffled order, end to end, cut into rows of equal length.

What is packed are questions, not tokens: a document of n ids asks n - 1 of them (what follows its first id,
its second, …; its last id is eos_id, after which nothing is asked). So no position is spent on a masked
target, no document's answer is another's first token, and a document cut by the end of a row goes on in the
next row as a new segment without losing a target. Every question of the corpus is asked once an epoch.

Nothing here carries random state: row r of epoch e is a function of (seed, e, r), so a step number is all
that resuming needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from danlu.data.records import Batch, DataError
from danlu.data.shards import Shards


@dataclass(frozen=True, slots=True)
class Layout:
    """Some documents in some order, end to end; row r holds questions r * seq_len to (r + 1) * seq_len."""

    shards: Shards
    order: NDArray[np.int64]  # (n,) documents by index
    ends: NDArray[np.int64]  # (n + 1,) questions before each document
    lead_with_eos: bool

    @classmethod
    def of(cls, shards: Shards, order: NDArray[np.int64], *, lead_with_eos: bool = False) -> Self:
        n_questions = (shards.starts[1:] - shards.starts[:-1])[order] - (0 if lead_with_eos else 1)
        return cls(shards, order, np.concatenate([[0], np.cumsum(n_questions)]), lead_with_eos)

    @property
    def n_questions(self) -> int:
        return int(self.ends[-1])

    def rows(self, rows: NDArray[np.int64], seq_len: int) -> Batch:
        """Lay out rows by number; positions past the last question are padding."""
        question = rows[:, None] * seq_len + np.arange(seq_len)  # (batch, seq)
        document = np.searchsorted(self.ends, question, side="right") - 1
        is_pad = document >= len(self.order)
        document = np.minimum(document, len(self.order) - 1)
        offset = question - self.ends[document]
        token = self.shards.starts[self.order[document]] + offset
        token = np.where(is_pad, 0, token)
        input_ids, target_ids = self._question(token, offset)
        eos_id = self.shards.eos_id
        segment = document + is_pad - document[:, :1]
        # A segment opens where its document does, or at the row's left edge.
        position = question - np.maximum(self.ends[document + is_pad], question[:, :1])
        return Batch(
            input_ids=_tensor(np.where(is_pad, eos_id, input_ids)),
            target_ids=_tensor(np.where(is_pad, eos_id, target_ids)),
            loss_mask=torch.from_numpy(~is_pad),
            position_ids=_tensor(position),
            segment_ids=_tensor(segment),
        )

    def _question(
        self, token: NDArray[np.int64], offset: NDArray[np.int64]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        tokens = self.shards.tokens
        if not self.lead_with_eos:
            return tokens[token], tokens[np.minimum(token + 1, len(tokens) - 1)]
        opening = np.where(offset == 0, self.shards.eos_id, tokens[np.maximum(token - 1, 0)])
        return opening, tokens[token]


class PackedBatches:
    """Endless batches of packed rows; each epoch has its own order of documents, and of the rows they fill.

    Rows are shuffled after packing: a long document fills many rows, and a batch of nothing else would pull
    the weights towards it.

    With several processes, each takes its own rows: process `rank` of `world` sees every `world`-th batch.
    With `lead_with_eos`, each document is read after an eos_id, so that its first token is a question too.
    """

    def __init__(
        self,
        shards: Shards,
        batch_size: int,
        seq_len: int,
        seed: int,
        *,
        rank: int = 0,
        world: int = 1,
        lead_with_eos: bool = False,
    ) -> None:
        self.shards, self.batch_size, self.seq_len, self.seed = shards, batch_size, seq_len, seed
        self.rank, self.world, self.lead_with_eos = rank, world, lead_with_eos
        self.step = 0
        # Two, because a batch may straddle two epochs.
        self._layout = lru_cache(maxsize=2)(self._lay_out)
        self._order = lru_cache(maxsize=2)(self._shuffle)
        n_questions = self._layout(0).n_questions
        if not n_questions:
            raise DataError(
                f"{shards.directory}: holds no document of two tokens or more; nothing can be predicted"
            )
        self.rows_per_epoch = -(-n_questions // seq_len)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        first = (self.step * self.world + self.rank) * self.batch_size
        self.step += 1
        return self.rows(first, self.batch_size)

    def rows(self, first: int, n: int) -> Batch:
        """Some rows of the endless sequence, by number."""
        rows = np.arange(first, first + n)
        epochs = rows // self.rows_per_epoch
        parts = [
            self._layout(int(epoch)).rows(
                self._order(int(epoch))[rows[epochs == epoch] % self.rows_per_epoch], self.seq_len
            )
            for epoch in np.unique(epochs)
        ]
        return join(parts)

    @property
    def epoch(self) -> float:
        """How many times the corpus has been read."""
        return self.step * self.world * self.batch_size / self.rows_per_epoch

    def row_with(self, document: int) -> tuple[Batch, int]:
        """The row of the first epoch in which a document begins, by its number, and its segment there."""
        layout = self._layout(0)
        first = int(layout.ends[np.flatnonzero(layout.order == document)[0]])
        batch = layout.rows(np.array([first // self.seq_len]), self.seq_len)
        return batch, int(batch.segment_ids[0, first % self.seq_len])

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, **self.identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_identity("pretraining batches", state, self.identity())
        self.step = int(state["step"])

    def identity(self) -> dict[str, Any]:
        """What a position is counted over, and in which units."""
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "seq_len": self.seq_len,
            "world": self.world,
            "lead_with_eos": self.lead_with_eos,
            "n_tokens": self.shards.n_tokens,
            "n_documents": len(self.shards),
        }

    def _lay_out(self, epoch: int) -> Layout:
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.shards))
        return Layout.of(self.shards, order, lead_with_eos=self.lead_with_eos)

    def _shuffle(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, epoch, 1]).permutation(self.rows_per_epoch)


@dataclass(frozen=True, slots=True)
class Window:
    """A batch to evaluate, and how many bytes of text its counted targets stand for."""

    batch: Batch
    n_bytes: int


def windows(
    shards: Shards,
    batch_size: int,
    seq_len: int,
    *,
    lang: str | None = None,
    max_tokens: int | None = None,
    lead_with_eos: bool = False,
) -> Iterator[Window]:
    """Each question of a held-out set once, in stored order; the last batch may be smaller.

    Args:
        shards: the held-out set.
        batch_size: rows a batch.
        seq_len: positions a row.
        lang: only the documents of this language, so that bits per byte can be had by language.
        max_tokens: stop at the first batch that reaches so many positions.
        lead_with_eos: as in the training batches.
    """
    order = shards.of_language(lang)
    if not len(order):
        return
    layout = Layout.of(shards, order, lead_with_eos=lead_with_eos)
    wanted = layout.n_questions if max_tokens is None else min(layout.n_questions, max_tokens)
    n_rows = -(-wanted // seq_len)
    for first in range(0, n_rows, batch_size):
        batch = layout.rows(np.arange(first, min(first + batch_size, n_rows)), seq_len)
        yield Window(batch, shards.count_bytes(batch.target_ids[batch.loss_mask].numpy()))


def check_identity(what: str, state: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuse a saved position that was counted over other data or in other units."""
    for name, value in identity.items():
        if state.get(name) != value:
            raise DataError(
                f"{what}: {name} is {value!r}, but was {state.get(name)!r} when the position was saved; "
                "resume with the same data and settings"
            )


def join(parts: list[Batch]) -> Batch:
    """The rows of several batches of equal width as one."""
    if len(parts) == 1:
        return parts[0]
    return Batch(
        input_ids=torch.cat([part.input_ids for part in parts]),
        target_ids=torch.cat([part.target_ids for part in parts]),
        loss_mask=torch.cat([part.loss_mask for part in parts]),
        position_ids=torch.cat([part.position_ids for part in parts]),
        segment_ids=torch.cat([part.segment_ids for part in parts]),
    )


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.int64, copy=False))
