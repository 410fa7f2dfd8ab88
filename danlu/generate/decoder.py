"""How the engine runs a model: tokens with their places in a paged cache go in, drawn tokens come out."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from danlu.generate.choose import choose
from danlu.generate.request import TokenFilter, TokenMask
from danlu.model.heads import LanguageModel
from danlu.model.kv_cache import KvCache

LogprobsOf = Literal["model", "drawn"]
"""Under the model alone, or under what was drawn from: at the temperature, with offsets and filters."""
Drawn = tuple[list[int], list[float]]
WISH = np.dtype(
    [
        ("logits", np.uint64),
        ("offsets", np.uint64),
        ("uniform", np.float32),
        ("temperature", np.float32),
        ("top_p", np.float32),
        ("min_p", np.float32),
        ("top_k", np.int64),
        ("allowed", np.uint64),
    ]
)
"""How a token is drawn, as `choose` takes it; addresses are for draw.h, whose `Wish` this is."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one sequence: `ids` stand at `start` and after; its blocks are `tables[row]`."""

    row: int
    start: int
    ids: Sequence[int]
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens to run, each list (tokens,); those of one sequence are neighbours and in order."""

    ids: NDArray[np.int64]
    rows: NDArray[np.int64]
    positions: NDArray[np.int64]
    adapters: Sequence[str | None] | None = None  # None: no token has one

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Wishes:
    """How to draw what follows each token."""

    table: NDArray[Any]  # of WISH, (tokens,)
    offsets: Mapping[int, NDArray[np.float32]]  # by token: what is added to its logits, (vocab,)
    filters: Mapping[int, TokenFilter]  # by token
    masks: Mapping[int, TokenMask]  # those of the filters that tell bits too


class Decoder(Protocol):
    """What the engine asks of a model. `tables[row]` lists a sequence's blocks; block 0 belongs to nobody."""

    def refresh(self) -> None:
        """Take over the model's weights as they are by now."""
        ...

    def read(self, spans: Sequence[Span]) -> None:
        """Put the keys and values of these tokens into the cache; no span depends on another."""
        ...

    def judge(self, span: Span, next_ids: Sequence[int]) -> list[float]:
        """Read a span, and say how likely the model held the id that follows each of its tokens."""
        ...

    def draw(self, tokens: Tokens, wishes: Wishes) -> Drawn:
        """Read each token and draw what follows: ids, -1 where nothing may, and their log-probabilities."""
        ...

    def top(self, token: int, n: int) -> tuple[tuple[int, float], ...]:
        """The model's likeliest ids after that token of the last `judge` or `draw`, best first."""
        ...

    def copy_block(self, source: int, target: int, length: int) -> None:
        """Let a block begin as another does."""
        ...

    def load_adapter(self, name: str, model: LanguageModel) -> None:
        """Let tokens name an adapter, which has made `model` of the decoder's own."""
        ...

    def unload_adapter(self, name: str) -> None:
        """Forget it; no token that runs may still need it."""
        ...


def make_cache(model: LanguageModel, n_blocks: int, block_size: int, dtype: torch.dtype) -> KvCache:
    """An empty cache for `model`, on its device."""
    return KvCache(
        n_layers=model.config.n_layers,
        n_blocks=n_blocks,
        n_kv_heads=model.config.n_kv_heads,
        block_size=block_size,
        head_dim=model.config.head_dim,
        dtype=dtype,
        device=model.lm_head.weight.device,
    )


def tokens_of(spans: Sequence[Span]) -> Tokens:
    """All tokens of the spans, one after the other."""
    lengths = [len(span.ids) for span in spans]
    positions = [np.arange(span.start, span.start + len(span.ids)) for span in spans]
    adapters = [span.adapter for span in spans for _ in span.ids]
    return Tokens(
        np.concatenate([np.asarray(span.ids, np.int64) for span in spans]),
        np.repeat(np.array([span.row for span in spans], np.int64), lengths),
        np.concatenate(positions),
        adapters if any(adapters) else None,
    )


class TorchDecoder:
    """The model's own forward: any part, any device.

    Args:
        tables: the blocks of each row, (rows, blocks of a row); the caller writes, the decoder reads.
        exact: run every token in a batch of fixed shape, so that a token's result depends on its own sequence
            alone, bit for bit. Slow; on the CPU in float32.
    """

    EXACT_TOKENS = 16  # that go through the model at a time
    EXACT_POSITIONS = 512  # of which so many, or a multiple, are attended to

    def __init__(
        self,
        model: LanguageModel,
        tables: NDArray[np.int32],
        cache: KvCache,
        *,
        logprobs: LogprobsOf = "model",
        exact: bool = False,
    ) -> None:
        self._device, self._vocab_size = model.lm_head.weight.device, model.config.vocab_size
        self._models: dict[str | None, LanguageModel] = {None: model}
        self._tables, self._cache, self._logprobs_of = tables, cache, logprobs
        self._exact = exact
        self._multiple = -(-self.EXACT_POSITIONS // cache.block_size) if exact else 1
        self._logprobs = torch.zeros(0, 0)

    def refresh(self) -> None:
        """Nothing to do: the weights are read where they are."""

    def read(self, spans: Sequence[Span]) -> None:
        if self._exact:
            self._run_exactly(tokens_of(spans))
            return
        ordered = sorted(spans, key=lambda span: (span.adapter or "", len(span.ids)))
        for adapter, group in groupby(ordered, key=lambda span: span.adapter):
            some = list(group)
            for start, stop in _of_similar_length([len(span.ids) for span in some]):
                self._read_padded(some[start:stop], adapter)

    def judge(self, span: Span, next_ids: Sequence[int]) -> list[float]:
        logits = self.logits(tokens_of([span]))
        return self._judged(logits, torch.tensor(next_ids, device=self._device)).tolist()

    def draw(self, tokens: Tokens, wishes: Wishes) -> Drawn:
        logits = self.logits(tokens)
        changed = self._changed(logits, wishes)
        uniform, temperature, top_k, top_p, min_p = (
            torch.tensor(wishes.table[name], device=self._device)
            for name in ("uniform", "temperature", "top_k", "top_p", "min_p")
        )
        limited = bool(((top_k > 0) | (top_p < 1) | (min_p > 0)).any())
        limits = (top_k, top_p, min_p) if limited else ()
        ids, logprobs = choose(changed, uniform, temperature, *limits)
        if self._logprobs_of == "model":
            logprobs = self._judged(logits, ids)
        ids = torch.where(changed.amax(-1) == -torch.inf, -1, ids)
        return ids.tolist(), logprobs.tolist()

    def top(self, token: int, n: int) -> tuple[tuple[int, float], ...]:
        return likeliest(self._logprobs[token].numpy(force=True), n)

    def copy_block(self, source: int, target: int, length: int) -> None:
        self._cache.copy_block(source, target, length)

    def load_adapter(self, name: str, model: LanguageModel) -> None:
        self._models[name] = model

    def unload_adapter(self, name: str) -> None:
        del self._models[name]

    def _judged(self, logits: Tensor, ids: Tensor) -> Tensor:
        self._logprobs = logits.log_softmax(-1)
        return self._logprobs.gather(-1, ids[:, None])[:, 0]

    def _changed(self, logits: Tensor, wishes: Wishes) -> Tensor:
        """The logits with offsets and filters."""
        if not wishes.offsets and not wishes.filters:
            return logits
        changed = logits.clone()
        for token, offsets in wishes.offsets.items():
            changed[token] += torch.tensor(offsets, device=self._device)
        for token, each in wishes.filters.items():
            each.allow(changed[token])
        return changed

    def logits(self, tokens: Tokens) -> Tensor:
        """Read each token; what follows each token, (tokens, vocab) float32."""
        if self._exact:
            return self._run_exactly(tokens)
        if tokens.adapters is None:
            return self._run(tokens.ids[:, None], tokens.positions[:, None], self._tables[tokens.rows], None)
        logits = torch.empty(len(tokens), self._vocab_size, device=self._device)
        for adapter in dict.fromkeys(tokens.adapters):
            at = np.flatnonzero([each == adapter for each in tokens.adapters])
            tables = self._tables[tokens.rows[at]]
            some = self._run(tokens.ids[at, None], tokens.positions[at, None], tables, adapter)
            logits[torch.from_numpy(at)] = some
        return logits

    def _run_exactly(self, tokens: Tokens) -> Tensor:
        """As `logits`, always so many tokens at a time; surplus ones write into block 0."""
        logits = torch.empty(len(tokens), self._vocab_size, device=self._device)
        adapters, size = tokens.adapters or [None] * len(tokens), self.EXACT_TOKENS
        for adapter in dict.fromkeys(adapters):
            at = np.flatnonzero([each == adapter for each in adapters])
            for start in range(0, len(at), size):
                some = at[start : start + size]
                ids, positions = (np.zeros((size, 1), np.int64) for _ in range(2))
                tables = np.zeros((size, self._tables.shape[1]), self._tables.dtype)
                ids[: len(some), 0], positions[: len(some), 0] = tokens.ids[some], tokens.positions[some]
                tables[: len(some)] = self._tables[tokens.rows[some]]
                with one_thread():
                    found = self._run(ids, positions, tables, adapter)
                logits[torch.from_numpy(some)] = found[: len(some)]
        return logits

    def _read_padded(self, spans: Sequence[Span], adapter: str | None) -> None:
        width = max(len(span.ids) for span in spans)
        ids = np.zeros((len(spans), width), np.int64)
        for row, span in enumerate(spans):
            ids[row, : len(span.ids)] = span.ids
        # Padding at the right: nobody attends to what lies beyond a sequence's end before it is overwritten.
        positions = np.array([span.start for span in spans])[:, None] + np.arange(width)
        tables = self._tables[[span.row for span in spans]]
        last = self._models[adapter].config.max_seq_len - 1
        self._hidden(ids, positions.clip(max=last), tables, adapter)

    def _run(
        self,
        ids: NDArray[np.int64],
        positions: NDArray[np.int64],
        tables: NDArray[np.int32],
        adapter: str | None,
    ) -> Tensor:
        return self._models[adapter].lm_head(self._hidden(ids, positions, tables, adapter)[:, -1]).float()

    def _hidden(
        self,
        ids: NDArray[np.int64],
        positions: NDArray[np.int64],
        tables: NDArray[np.int32],
        adapter: str | None,
    ) -> Tensor:
        position_ids = torch.from_numpy(positions).to(self._device)
        blocks = torch.from_numpy(tables).to(self._device, torch.int64)
        self._cache.select(blocks, position_ids, multiple=self._multiple)
        input_ids = torch.from_numpy(ids).to(self._device)
        return self._models[adapter].backbone(input_ids, position_ids, kv_cache=self._cache)


@contextmanager
def one_thread() -> Generator[None]:
    """No work is shared out: which thread computes a row, and so its last bit, depends on the row's place."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def likeliest(logprobs: NDArray[np.float32], n: int) -> tuple[tuple[int, float], ...]:
    """The n likeliest ids with their log-probabilities, (vocab,), best first; of equals the lower id."""
    n = min(n, len(logprobs))
    bound = np.partition(logprobs, -n)[-n]
    found = np.flatnonzero(logprobs >= bound)
    order = found[np.lexsort((found, -logprobs[found]))][:n]
    return tuple((int(i), float(logprobs[i])) for i in order)


def _of_similar_length(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Stretches of an ascending list that waste little on padding when read together."""
    starts: list[int] = []
    for i, length in enumerate(lengths):
        # One more pass through a small model costs about as much as reading a hundred tokens.
        if not starts or length > 1.25 * lengths[starts[-1]] + 16:
            starts.append(i)
    return list(zip(starts, [*starts[1:], len(lengths)], strict=True))
