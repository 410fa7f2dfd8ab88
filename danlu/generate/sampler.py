"""Completions of many prompts at once, from a batch whose places are filled again as soon as they fall free.

Every call of `step` gives each running sequence one token. A sequence that ends gives its row of the cache to
the next that waits, so short answers never wait for long ones. The sampler speaks ids; text is its callers'
business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from danlu.config import ConfigError
from danlu.generate.choose import choose, uniforms
from danlu.model.heads import LanguageModel
from danlu.model.kv_cache import KvCache

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingConfig:
    """How a completion is drawn."""

    max_new_tokens: int = 64
    temperature: float = 1.0  # 0 is greedy
    top_k: int = 0  # draw among this many likeliest tokens; 0 is all
    top_p: float = 1.0  # draw among the likeliest tokens that hold this probability; 1 is all
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ConfigError(f"sampling.max_new_tokens is {self.max_new_tokens}; it must be at least 1")
        if self.temperature < 0:
            raise ConfigError(f"sampling.temperature is {self.temperature}; it must not be negative")
        if self.top_k < 0:
            raise ConfigError(f"sampling.top_k is {self.top_k}; it must not be negative (0 is no limit)")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"sampling.top_p is {self.top_p}; it must be in (0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What the model added to a prompt."""

    ids: tuple[int, ...]  # the stop token included, if one ended it
    logprobs: tuple[float, ...]  # at the sampling temperature, over the whole vocabulary
    finish_reason: FinishReason


@dataclass(slots=True)
class _Sequence:
    id: int
    prompt: tuple[int, ...]
    sampling: SamplingConfig
    uniforms: NDArray[np.float32]  # one for each token that may come, so their number is the limit
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.ids)


class Sampler:
    """Runs sequences through a language model; rows 0 … n-1 of its cache belong to the n that are running.

    Args:
        stop_ids: a sequence ends with any of these.
        forbidden_ids: never drawn; log-probabilities are then over the other ids. Not for rollouts, where
            training must see the distribution that was drawn from.
        max_batch: how many sequences run at the same time.
        max_seq_len: longest prompt and completion together; by default what the model was built for.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        stop_ids: Collection[int],
        forbidden_ids: Collection[int] = (),
        max_batch: int = 64,
        max_seq_len: int | None = None,
    ) -> None:
        config = model.config
        self.max_seq_len = config.max_seq_len if max_seq_len is None else max_seq_len
        if self.max_seq_len > config.max_seq_len:
            raise ValueError(
                f"max_seq_len is {self.max_seq_len}; the model was built for at most {config.max_seq_len}"
            )
        self.model, self.max_batch, self.stop_ids = model, max_batch, frozenset(stop_ids)
        weight = next(model.parameters())
        self._device = weight.device
        self._forbidden = torch.tensor(sorted(forbidden_ids), dtype=torch.int64, device=weight.device)
        self._cache = KvCache(
            n_layers=config.n_layers,
            n_rows=max_batch,
            n_kv_heads=config.n_kv_heads,
            max_seq_len=self.max_seq_len,
            head_dim=config.head_dim,
            dtype=model.backbone.compute_dtype or weight.dtype,
            device=weight.device,
        )
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []
        self._done: dict[int, Completion] = {}
        self._n_added = 0

    @property
    def n_unfinished(self) -> int:
        """Sequences that wait or run."""
        return len(self._waiting) + len(self._running)

    def add(self, prompt_ids: Sequence[int], sampling: SamplingConfig, key: int | str = 0) -> int:
        """Queue a prompt and return the id of its sequence; `sampling.seed` and `key` decide its tokens."""
        room = self.max_seq_len - len(prompt_ids)
        if not prompt_ids:
            raise ValueError("the prompt is empty; it needs at least one token to answer to")
        if room < 1:
            raise ValueError(
                f"the prompt has {len(prompt_ids)} tokens and the context holds {self.max_seq_len}; "
                f"shorten the prompt to at most {self.max_seq_len - 1}, so that an answer fits"
            )
        draws = uniforms(sampling.seed, key, min(sampling.max_new_tokens, room))
        self._n_added += 1
        self._waiting.append(_Sequence(self._n_added, tuple(prompt_ids), sampling, draws))
        return self._n_added

    @torch.inference_mode()
    def step(self) -> list[tuple[int, int, float]]:
        """One token for every sequence that has a row: (sequence id, token, log-probability)."""
        self._admit()
        if not self._running:
            return []
        ids, logprobs = self._choose(self._decode())
        events = [(s.id, i, p) for s, i, p in zip(self._running, ids, logprobs, strict=True)]
        for sequence, i, p in zip(self._running, ids, logprobs, strict=True):
            sequence.ids.append(i)
            sequence.logprobs.append(p)
            if i in self.stop_ids:
                sequence.finish_reason = "stop"
            elif len(sequence.ids) == len(sequence.uniforms):
                sequence.finish_reason = "length"
        self._release()
        return events

    def take(self, sequence_id: int) -> Completion | None:
        """A finished sequence's completion, which the sampler then forgets; None while it waits or runs."""
        return self._done.pop(sequence_id, None)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: SamplingConfig,
        n: int = 1,
        keys: Sequence[int | str] | None = None,
    ) -> list[Completion]:
        """`n` completions of each prompt, those of one prompt side by side.

        Args:
            keys: names each prompt for the random numbers; by default its place in `prompts`.
        """
        keys = range(len(prompts)) if keys is None else keys
        ids = [
            self.add(prompt, sampling, f"{key}/{copy}")
            for prompt, key in zip(prompts, keys, strict=True)
            for copy in range(n)
        ]
        done: dict[int, Completion] = {}
        while len(done) < len(ids):
            self.step()
            done |= {i: c for i in ids if i not in done and (c := self.take(i)) is not None}
        return [done[i] for i in ids]

    def _admit(self) -> None:
        """Give free rows to those that wait, reading each distinct prompt once."""
        n_new = min(self.max_batch - len(self._running), len(self._waiting))
        if not n_new:
            return
        row_of = {sequence.prompt: row for row, sequence in enumerate(self._running)}
        new = [self._waiting.popleft() for _ in range(n_new)]
        unread = {sequence.prompt: sequence for sequence in new if sequence.prompt not in row_of}
        first = sorted(unread.values(), key=lambda sequence: len(sequence.prompt))
        for group in _of_similar_length(first):
            start = len(self._running)
            self._running += group
            self._prefill(start, group)
        row_of |= {sequence.prompt: row for row, sequence in enumerate(self._running)}
        for sequence in new:
            if unread.get(sequence.prompt) is not sequence:
                self._cache.copy_row(row_of[sequence.prompt], len(self._running), len(sequence.prompt) - 1)
                self._running.append(sequence)

    def _prefill(self, start: int, group: Sequence[_Sequence]) -> None:
        """Read the prompts but for their last token, which the next decoding step reads."""
        width = max(len(sequence.prompt) for sequence in group) - 1
        if not width:
            return
        input_ids = torch.zeros((len(group), width), dtype=torch.int64)
        for i, sequence in enumerate(group):
            n = len(sequence.prompt) - 1
            input_ids[i, :n] = torch.tensor(sequence.prompt[:-1])
        # Shorter prompts are padded at the right: nobody attends to what lies beyond a row's end.
        position_ids = torch.arange(width).expand(len(group), width)
        self._hidden(slice(start, start + len(group)), input_ids, position_ids)

    def _decode(self) -> Tensor:
        """Logits after each running sequence's last token, (running, vocab)."""
        last = [s.ids[-1] if s.ids else s.prompt[-1] for s in self._running]
        input_ids = torch.tensor(last)[:, None]
        position_ids = torch.tensor([s.length - 1 for s in self._running])[:, None]
        hidden = self._hidden(slice(0, len(self._running)), input_ids, position_ids)
        logits = self.model.lm_head(hidden[:, -1]).float()
        return logits.index_fill_(-1, self._forbidden, -torch.inf) if len(self._forbidden) else logits

    def _hidden(self, rows: slice, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        position_ids = position_ids.to(self._device)
        self._cache.select(rows, position_ids)
        return self.model.backbone(input_ids.to(self._device), position_ids, kv_cache=self._cache)

    def _choose(self, logits: Tensor) -> tuple[list[int], list[float]]:
        """A token for each running sequence and its log-probability."""
        uniform = torch.tensor([s.uniforms[len(s.ids)] for s in self._running], device=self._device)
        settings = [s.sampling for s in self._running]
        temperature = torch.tensor([c.temperature for c in settings], device=self._device)
        top_k = top_p = None
        if any(c.top_k or c.top_p < 1 for c in settings):
            top_k = torch.tensor([c.top_k for c in settings], device=self._device)
            top_p = torch.tensor([c.top_p for c in settings], device=self._device)
        ids, logprobs = choose(logits, uniform, temperature, top_k, top_p)
        return ids.tolist(), logprobs.tolist()

    def _release(self) -> None:
        """Move finished sequences out, closing each gap with the last row."""
        for row in reversed(range(len(self._running))):
            sequence = self._running[row]
            if sequence.finish_reason is None:
                continue
            self._done[sequence.id] = Completion(
                ids=tuple(sequence.ids),
                logprobs=tuple(sequence.logprobs),
                finish_reason=sequence.finish_reason,
            )
            last = self._running.pop()
            if last is not sequence:
                self._running[row] = last
                self._cache.copy_row(len(self._running), row, last.length - 1)


def _of_similar_length(sequences: Sequence[_Sequence]) -> Iterator[list[_Sequence]]:
    """Runs of sequences, sorted by length, that waste little on padding when read together."""
    group: list[_Sequence] = []
    for sequence in sequences:
        # One more pass through a small model costs about as much as reading a hundred tokens.
        if group and len(sequence.prompt) > 1.25 * len(group[0].prompt) + 16:
            yield group
            group = []
        group.append(sequence)
    if group:
        yield group
