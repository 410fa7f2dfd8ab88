"""BERT's pretraining batches: two spans of text, of which words are masked and which may not belong together.

Each epoch reads the corpus's windows in an order of its own; a row is a function of the seed and its number,
so a step number is all that resuming needs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from danlu.config import ConfigError
from danlu.data.packing import check_identity
from danlu.data.records import DataError
from danlu.data.shards import Shards
from danlu.tokenizer.reader import Marks

LEAST = 8  # tokens of a window that two spans are made from

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskingConfig:
    """Which words are hidden, and how (Devlin et al. 2018, section 3.1)."""

    share: float = 0.15  # of the words, which are to be told
    masked: float = 0.8  # of these show [MASK]
    replaced: float = 0.1  # of these show any other word; the rest stay as they are

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or min(self.masked, self.replaced) < 0 or self.masked + self.replaced > 1:
            raise ConfigError(
                f"masking is {self}; share must be above 0 and below 1, masked and replaced at least 0 and "
                "together at most 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedBatch:
    """Pairs of spans with hidden words; position t asks which word stands at t."""

    input_ids: Tensor  # (batch, seq) int64
    target_ids: Tensor  # (batch, seq) int64: the words before they were hidden
    loss_mask: Tensor  # (batch, seq) bool: True where a word is to be told
    segment_ids: Tensor  # (batch, seq) int64: 1 in padding, 0 elsewhere
    type_ids: Tensor  # (batch, seq) int64: 1 in the second span and its [SEP]
    strange: Tensor  # (batch,) int64: 1 where the second span does not follow the first

    @property
    def inputs(self) -> tuple[Tensor, None, Tensor, Tensor]:
        """Positional arguments of an encoder's forward."""
        return self.input_ids, None, self.segment_ids, self.type_ids

    def __len__(self) -> int:
        return len(self.input_ids)


class MaskedBatches:
    """Endless batches of pairs: [CLS] first [SEP] second [SEP], half of them torn from elsewhere.

    A pair is a window of one document, cut in two at the end of a sentence near a place drawn at random. For
    half the pairs the second span is the second span of another window.
    """

    def __init__(
        self,
        shards: Shards,
        marks: Marks,
        batch_size: int,
        seq_len: int,
        seed: int,
        masking: MaskingConfig,
        *,
        sentence_ends: Collection[int] = (),
    ) -> None:
        """
        Args:
            shards: the corpus.
            marks: the control tokens.
            batch_size: pairs a batch.
            seq_len: positions of a pair, its three control tokens included.
            seed: decides order, cuts and masks.
            masking: which words are hidden.
            sentence_ends: ids of tokens that end a sentence; without any, spans end anywhere.
        """
        self.shards, self.marks, self.batch_size = shards, marks, batch_size
        self.seq_len, self.seed, self.masking = seq_len, seed, masking
        self.ends = np.array(sorted(sentence_ends), dtype=np.int64)
        self.n_words = min(marks.start, marks.delimiter, marks.end, marks.mask, marks.pad)
        self.windows = _windows(shards, seq_len - 3)
        if not len(self.windows):
            raise DataError(f"{shards.directory}: holds no document of {LEAST} tokens; no pair can be made")
        self.step = 0
        self._order = lru_cache(maxsize=2)(self._shuffle)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> MaskedBatch:
        first = self.step * self.batch_size
        self.step += 1
        return self._lay_out([self._pair(row) for row in range(first, first + self.batch_size)])

    @property
    def epoch(self) -> float:
        """How many times the corpus has been read."""
        return self.step * self.batch_size / len(self.windows)

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_identity("masked batches", state, self._identity())
        self.step = int(state["step"])

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "seq_len": self.seq_len,
            "n_tokens": self.shards.n_tokens,
            "n_documents": len(self.shards),
        }

    def _shuffle(self, epoch: int) -> Ids:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.windows))

    def _pair(self, row: int) -> tuple[Ids, Ids, Ids, int]:
        """Words as they are, as they are shown, of which span, and whether the second is strange."""
        epoch, at = divmod(row, len(self.windows))
        rng = np.random.default_rng([self.seed, epoch, row])
        first, second = self._cut(self._order(epoch)[at], rng)
        strange = bool(rng.random() < 0.5)
        if strange:
            other = (at + 1 + rng.integers(max(1, len(self.windows) - 1))) % len(self.windows)
            second = self._cut(self._order(epoch)[other], rng)[1][: self.seq_len - 3 - len(first)]
        marks = self.marks
        words = np.concatenate([[marks.start], first, [marks.delimiter], second, [marks.delimiter]])
        types = (np.arange(len(words)) >= len(first) + 2).astype(np.int64)
        return words, self._hide(words, rng), types, int(strange)

    def _cut(self, window: int, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """A window's two spans, neither empty."""
        start, end = self.windows[window]
        ids = np.asarray(self.shards.tokens[start:end], dtype=np.int64)
        wanted = int(rng.integers(len(ids) // 4, len(ids) - len(ids) // 4))
        found = np.flatnonzero(np.isin(ids[:-1], self.ends)) + 1
        at = int(found[np.abs(found - wanted).argmin()]) if len(found) else max(1, wanted)
        return ids[:at], ids[at:]

    def _hide(self, words: Ids, rng: np.random.Generator) -> Ids:
        """The words as the model sees them; -1 - word marks those to be told that are shown as they are."""
        config, marks = self.masking, self.marks
        places = np.flatnonzero((words != marks.start) & (words != marks.delimiter))
        chosen = rng.permutation(places)[: max(1, round(config.share * len(places)))]
        how = rng.random(len(chosen))
        anything = rng.integers(0, self.n_words, len(chosen))
        shown = np.where(how < config.masked, marks.mask, anything)
        shown = np.where(how < config.masked + config.replaced, shown, -1 - words[chosen])
        seen = words.copy()
        seen[chosen] = np.where(shown == words[chosen], -1 - shown, shown)
        return seen

    def _lay_out(self, pairs: list[tuple[Ids, Ids, Ids, int]]) -> MaskedBatch:
        shape = (len(pairs), max(len(words) for words, *_ in pairs))
        target_ids, input_ids = np.full(shape, self.marks.pad), np.full(shape, self.marks.pad)
        types, padding = np.zeros(shape, np.int64), np.ones(shape, np.int64)
        for i, (words, seen, kinds, _) in enumerate(pairs):
            n = len(words)
            target_ids[i, :n], input_ids[i, :n], types[i, :n], padding[i, :n] = words, seen, kinds, 0
        asked = input_ids != target_ids
        return MaskedBatch(
            input_ids=torch.from_numpy(np.where(input_ids < 0, -1 - input_ids, input_ids)),
            target_ids=torch.from_numpy(target_ids),
            loss_mask=torch.from_numpy(asked),
            segment_ids=torch.from_numpy(padding),
            type_ids=torch.from_numpy(types),
            strange=torch.tensor([strange for *_, strange in pairs]),
        )


def _windows(shards: Shards, size: int) -> Ids:
    """Start and end of every window of up to `size` tokens of a document less its closing token, (n, 2)."""
    if size < LEAST:
        raise ConfigError(
            f"seq_len is {size + 3}; it must be at least {LEAST + 3} for two spans and three marks"
        )
    found: list[tuple[int, int]] = []
    for start, end in zip(shards.starts[:-1].tolist(), (shards.starts[1:] - 1).tolist(), strict=True):
        found += [
            (at, min(at + size, end)) for at in range(start, end, size) if min(at + size, end) - at >= LEAST
        ]
    return np.array(found, dtype=np.int64).reshape(-1, 2)
