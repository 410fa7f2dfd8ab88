"""Completions of many prompts at once, from a batch whose places are filled again as soon as they fall free.

Every call of `step` gives each running sequence one token. A sequence that ends gives its row of the cache to
the next that waits, so short answers never wait for long ones. The sampler speaks ids; text is its callers'
business.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from danlu.config import ConfigError
from danlu.generate.checks import check_prompt
from danlu.generate.choose import choose, uniforms
from danlu.generate.decoder import TorchDecoder
from danlu.generate.native import NativeDecoder, library, supports
from danlu.model.heads import LanguageModel

FinishReason = Literal["stop", "length"]
Kernel = Literal["auto", "native", "torch"]
WORTH_COPYING = 16  # prompts that begin alike for this many tokens are not read twice


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
    uniforms: list[float]  # one for each token that may come, so their number is the limit
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
        kernel: `native` is the decoder in C, `torch` the model's own forward; `auto` takes the first where
            the model's parts and the machine allow it.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        stop_ids: Collection[int],
        forbidden_ids: Collection[int] = (),
        max_batch: int = 64,
        max_seq_len: int | None = None,
        kernel: Kernel = "auto",
    ) -> None:
        limit = model.config.max_seq_len
        self.max_seq_len = limit if max_seq_len is None else max_seq_len
        if self.max_seq_len > limit:
            raise ValueError(f"max_seq_len is {self.max_seq_len}; the model was built for at most {limit}")
        self.max_batch, self.stop_ids = max_batch, frozenset(stop_ids)
        self._model, self._forbidden_ids = model, sorted(forbidden_ids)
        self._kernel: Kernel = kernel
        self._decoder = self._new_decoder()
        self._vocab_size = model.config.vocab_size
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []
        self._done: dict[int, Completion] = {}
        self._n_added = 0

    def refresh(self) -> None:
        """Take over the model's weights after an update; `generate` does so by itself."""
        if type(self._decoder) is _decoder_of(self._model, self._kernel):
            self._decoder.refresh()
        elif self.n_unfinished:
            raise ValueError(
                f"{self.n_unfinished} sequences are running, and the model has been given an adapter that "
                "their decoder cannot run; finish or cancel them first"
            )
        else:
            self.max_seq_len = min(self.max_seq_len, self._model.config.max_seq_len)
            self._decoder = self._new_decoder()

    def _new_decoder(self) -> NativeDecoder | TorchDecoder:
        make = _decoder_of(self._model, self._kernel)
        return make(self._model, self.max_batch, self.max_seq_len, self._forbidden_ids)

    @property
    def n_unfinished(self) -> int:
        """Sequences that wait or run."""
        return len(self._waiting) + len(self._running)

    def add(self, prompt_ids: Sequence[int], sampling: SamplingConfig, key: int | str = 0) -> int:
        """Queue a prompt and return the id of its sequence; `sampling.seed` and `key` decide its tokens."""
        check_prompt(prompt_ids, self.max_seq_len, self._vocab_size)
        limit = min(sampling.max_new_tokens, self.max_seq_len - len(prompt_ids))
        self._n_added += 1
        self._waiting.append(
            _Sequence(
                self._n_added, tuple(prompt_ids), sampling, uniforms(sampling.seed, key, limit).tolist()
            )
        )
        return self._n_added

    def cancel(self, sequence_id: int) -> None:
        """Forget a sequence, whether it waits, runs or is done."""
        self._done.pop(sequence_id, None)
        for waiting in [s for s in self._waiting if s.id == sequence_id]:
            self._waiting.remove(waiting)
        for row in [row for row, s in enumerate(self._running) if s.id == sequence_id]:
            self._vacate(row)

    @torch.inference_mode()
    def step(self) -> list[tuple[int, int, float]]:
        """One token for every sequence that has a row: (sequence id, token, log-probability)."""
        self._admit()
        if not self._running:
            return []
        ids, logprobs = self._choose()
        if not math.isfinite(sum(logprobs)):
            raise FloatingPointError("the model's logits are not finite; its weights have diverged")
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
        self.refresh()
        for prompt in prompts:
            check_prompt(prompt, self.max_seq_len, self._vocab_size)
        keys = range(len(prompts)) if keys is None else keys
        ids = [
            self.add(prompt, sampling, f"{key}/{copy}")
            for prompt, key in zip(prompts, keys, strict=True)
            for copy in range(n)
        ]
        try:
            return [self._run(i) for i in ids]
        except BaseException:
            for i in ids:
                self.cancel(i)
            raise

    def _run(self, sequence_id: int) -> Completion:
        while sequence_id not in self._done:
            self.step()
        return self._done.pop(sequence_id)

    def _admit(self) -> None:
        """Give free rows to those that wait, reading what several prompts begin with only once."""
        n_new = min(self.max_batch - len(self._running), len(self._waiting))
        if not n_new:
            return
        leaders, followers = _by_beginning(self._running, [self._waiting.popleft() for _ in range(n_new)])
        # All but a prompt's last token, which the next decoding step reads.
        self._enter([(leader.prompt[:-1], leader) for leader in leaders])
        row_of = {sequence.id: row for row, sequence in enumerate(self._running)}
        for row, (_, leader, shared) in enumerate(followers, start=len(self._running)):
            self._decoder.cache.copy_row(row_of[leader.id], row, shared)
        self._enter([(follower.prompt[shared:-1], follower) for follower, _, shared in followers])

    def _enter(self, entries: Sequence[tuple[Sequence[int], _Sequence]]) -> None:
        """Give the next rows to these sequences, of which only the named last part is still to be read."""
        first_row = len(self._running)
        self._running += [sequence for _, sequence in entries]
        starts = [len(sequence.prompt) - 1 - len(unread) for unread, sequence in entries]
        if any(unread for unread, _ in entries):
            self._decoder.read(first_row, [unread for unread, _ in entries], starts)

    def _choose(self) -> tuple[list[int], list[float]]:
        """A token for each running sequence and its log-probability."""
        running = self._running
        last = [s.ids[-1] if s.ids else s.prompt[-1] for s in running]
        positions = [s.length - 1 for s in running]
        uniform = [s.uniforms[len(s.ids)] for s in running]
        settings = [s.sampling for s in running]
        temperature = [c.temperature for c in settings]
        if not any(c.top_k or c.top_p < 1 for c in settings):
            return self._decoder.draw(last, positions, uniform, temperature)
        logits = self._decoder.logits(last, positions)
        given = torch.tensor([uniform, temperature, [c.top_p for c in settings]], device=logits.device)
        top_k = torch.tensor([c.top_k for c in settings], device=logits.device)
        ids, logprobs = choose(logits, given[0], given[1], top_k, given[2])
        return ids.tolist(), logprobs.tolist()

    def _release(self) -> None:
        """Hand over the completions of finished sequences and free their rows."""
        for row in reversed(range(len(self._running))):
            sequence = self._running[row]
            if sequence.finish_reason is None:
                continue
            self._done[sequence.id] = Completion(
                ids=tuple(sequence.ids),
                logprobs=tuple(sequence.logprobs),
                finish_reason=sequence.finish_reason,
            )
            self._vacate(row)

    def _vacate(self, row: int) -> None:
        """Free a row, closing the gap with the last one."""
        last = self._running.pop()
        if row < len(self._running):
            self._running[row] = last
            self._decoder.cache.copy_row(len(self._running), row, last.length - 1)


def _decoder_of(model: LanguageModel, kernel: Kernel) -> type[NativeDecoder] | type[TorchDecoder]:
    native = kernel != "torch" and supports(model) and library() is not None
    if kernel == "native" and not native:
        raise ValueError("kernel is 'native'; that takes a C compiler and a Llama or Qwen model on the CPU")
    return NativeDecoder if native else TorchDecoder


def _by_beginning(
    running: Sequence[_Sequence], new: Sequence[_Sequence]
) -> tuple[list[_Sequence], list[tuple[_Sequence, _Sequence, int]]]:
    """Which new prompts to read whole, and which begin like another, with that one and how far.

    Both are in ascending order of what is to be read.
    """
    is_new = {sequence.id for sequence in new}
    leaders: list[_Sequence] = []
    followers: list[tuple[_Sequence, _Sequence, int]] = []
    leader: _Sequence | None = None
    for sequence in sorted([*running, *new], key=lambda sequence: sequence.prompt):
        needed = len(sequence.prompt) - 1
        shared = 0 if leader is None else min(needed, _n_shared(leader.prompt[:-1], sequence.prompt))
        if sequence.id not in is_new:
            leader = sequence
        elif leader is not None and shared >= min(needed, WORTH_COPYING):
            followers.append((sequence, leader, shared))
        else:
            leader = sequence
            leaders.append(sequence)
    leaders.sort(key=lambda sequence: len(sequence.prompt))
    followers.sort(key=lambda entry: len(entry[0].prompt) - entry[2])
    return leaders, followers


def _n_shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many ids two sequences begin with alike."""
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
