"""Completions of many prompts at once, for callers that want them whole: rollouts, evaluation, `generate`.

A face of the engine: places in the batch are filled again as soon as they fall free, so short answers never
wait for long ones, and what several prompts begin with is read once. The sampler speaks ids; text is its
callers' business.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from danlu.generate.engine import EngineConfig, PagedEngine
from danlu.generate.kernel import DecoderConfig, Kernel
from danlu.generate.request import Request
from danlu.generate.sampling import SamplingConfig
from danlu.generate.scheduler import Stream
from danlu.generate.speculation import Guessing
from danlu.model.heads import LanguageModel

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What the model added to a prompt."""

    ids: tuple[int, ...]  # the stop token included, if one ended it
    logprobs: tuple[float, ...]  # at the sampling temperature, over the whole vocabulary
    finish_reason: FinishReason


class Sampler:
    """Runs sequences through a language model.

    Args:
        stop_ids: a sequence ends with any of these.
        forbidden_ids: never drawn; log-probabilities are then over the other ids. Not for rollouts, where
            training must see the distribution that was drawn from.
        max_batch: how many sequences run at the same time.
        max_seq_len: longest prompt and completion together; by default what the model was built for.
        kernel: see `Kernel`.
        guessing: how tokens are guessed ahead, which changes no result.
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
        guessing: Guessing | None = None,
    ) -> None:
        guessing = guessing or Guessing()
        config = EngineConfig(
            max_batch=max_batch,
            max_seq_len=max_seq_len,
            prefill_tokens=max_batch * model.config.max_seq_len,
            keep_prefixes=False,
            n_draft=guessing.n_draft,
            # Not verified: rollouts compare every batch with the model's own forward.
            decoder=DecoderConfig(kernel=kernel, logprobs="drawn", verify=False),
        )
        self._engine = PagedEngine(model, config, draft=guessing.draft)
        self.max_batch = max_batch
        self.stop_ids, self._forbidden_ids = frozenset(stop_ids), frozenset(forbidden_ids)
        self._done: dict[int, Completion] = {}

    @property
    def max_seq_len(self) -> int:
        """Of the longest prompt and completion together; virtual tokens of an adapter leave less."""
        return self._engine.max_seq_len

    def refresh(self) -> None:
        """Take over the model's weights after an update; `generate` does so by itself."""
        self._engine.refresh()

    @property
    def n_unfinished(self) -> int:
        """Sequences that wait or run."""
        return self._engine.n_unfinished

    def add(self, prompt_ids: Sequence[int], sampling: SamplingConfig, key: int | str = 0) -> int:
        """Queue a prompt and return the id of its sequence; `sampling.seed` and `key` decide its tokens."""
        return self._engine.add(self._request(prompt_ids, sampling, key))

    def cancel(self, sequence_id: int) -> None:
        """Forget a sequence, whether it waits, runs or is done."""
        self._done.pop(sequence_id, None)
        self._engine.cancel(sequence_id)

    def step(self) -> list[tuple[int, int, float]]:
        """A token for every sequence that runs, more where guesses were right.

        Returns:
            Of each its sequence id, the token and its log-probability.
        """
        moved, made = self._engine.advance(), list[tuple[int, int, float]]()
        for stream in moved:
            if stream.end == "error":
                raise FloatingPointError(stream.error)
            if stream.end is not None:
                self._done[stream.id] = _completion(stream, stream.end)
            for n in range(stream.n_told, stream.n_drawn):
                made.append((stream.id, stream.ids[stream.n_prompt + n], stream.logprobs[n]))
            stream.n_told = stream.n_drawn
        return made

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
        keys = range(len(prompts)) if keys is None else keys
        ids: list[int] = []
        try:
            for prompt, key in zip(prompts, keys, strict=True):
                ids += [self.add(prompt, sampling, f"{key}/{copy}") for copy in range(n)]
            return [self._run(i) for i in ids]
        except BaseException:
            for i in ids:
                self.cancel(i)
            raise

    def _request(self, prompt_ids: Sequence[int], sampling: SamplingConfig, key: int | str) -> Request:
        return Request(
            prompt_ids=tuple(prompt_ids),
            sampling=sampling,
            key=key,
            stop_ids=self.stop_ids,
            forbidden_ids=self._forbidden_ids,
        )

    def _run(self, sequence_id: int) -> Completion:
        while sequence_id not in self._done:
            self.step()
        return self._done.pop(sequence_id)


def _completion(stream: Stream, finish_reason: FinishReason) -> Completion:
    return Completion(
        ids=tuple(stream.ids[stream.n_prompt :]),
        logprobs=tuple(stream.logprobs),
        finish_reason=finish_reason,
    )
