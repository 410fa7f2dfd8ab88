"""The engine of a model that translates: the prompt is the source, the completion its translation.

A source is read once; after that each step gives every translation a token, one translation after another.
So a translation cannot depend on any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.generate.beam import BLOCK_SIZE
from danlu.generate.checks import check_request
from danlu.generate.choose import uniforms
from danlu.generate.reference import Completion, advance
from danlu.generate.request import Event, Request
from danlu.model.kv_cache import KvCache
from danlu.model.translation import TranslationModel


@dataclass(slots=True)
class _Running:
    completion: Completion
    source: Source | None = None  # None until its first step


class TranslationEngine:
    """Implements `Engine`; prompts are ids as the encoder was trained to read them.

    Args:
        model: in evaluation mode.
        start_id: what translations begin after.
        max_extra_tokens: a translation is at most so much longer than its source.
    """

    def __init__(self, model: TranslationModel, *, start_id: int, max_extra_tokens: int) -> None:
        self.max_seq_len = model.config.max_seq_len
        self._model, self._start_id, self._max_extra_tokens = model, start_id, max_extra_tokens
        self._running: dict[int, _Running] = {}
        self._n_added = 0

    @property
    def n_unfinished(self) -> int:
        """Requests whose last event is still to come."""
        return len(self._running)

    def add(self, request: Request) -> int:
        """Queue a request and return its id; ValueError says what is wrong with it."""
        vocab_size = self._model.config.vocab_size
        check_request(request, max_seq_len=self.max_seq_len, vocab_size=vocab_size, adapters=())
        if request.prompt_logprobs:
            raise ValueError("a source is read, not continued, so its tokens have no log-probabilities")
        if request.pictures is not None:
            raise ValueError("the request holds pictures, and this engine reads text only")
        longest = min(len(request.prompt_ids) + self._max_extra_tokens, self.max_seq_len)
        limit = min(request.sampling.max_new_tokens, longest)
        numbers = uniforms(request.sampling.seed, request.key, limit).tolist()
        self._n_added += 1
        self._running[self._n_added] = _Running(Completion(request, numbers, request.forbidden_ids))
        return self._n_added

    def cancel(self, request_id: int) -> None:
        """Forget a request; no event of it comes after this."""
        self._running.pop(request_id, None)

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """One token for every request."""
        events = [self._advance(request_id, running) for request_id, running in self._running.items()]
        for event in events:
            if event.end_reason is not None:
                del self._running[event.request_id]
        return events

    def _advance(self, request_id: int, running: _Running) -> Event:
        completion = running.completion
        if running.source is None:
            request = completion.request
            running.source = Source(self._model, request.prompt_ids, len(completion.uniforms))
        last_id = completion.ids[-1] if completion.ids else self._start_id
        logits = running.source.next_logits(last_id, len(completion.ids))
        return advance(request_id, completion, logits)


class Source:
    """What the decoder attends to: keys and values of a source, and of its translation so far.

    Args:
        limit: tokens that the translation may have.
    """

    def __init__(self, model: TranslationModel, ids: tuple[int, ...], limit: int) -> None:
        self._model, self._device = model, model.lm_head.weight.device
        self._is_pad = torch.zeros(1, len(ids), dtype=torch.int64, device=self._device)
        hidden = model.backbone.encode(torch.tensor([ids], device=self._device), self._is_pad)
        self._memory = model.backbone.read(hidden)
        n_blocks = -(-limit // BLOCK_SIZE)
        self._table = torch.arange(n_blocks, device=self._device)[None]
        self._cache = KvCache(
            n_layers=model.config.n_layers,
            n_blocks=n_blocks,
            n_kv_heads=model.config.n_kv_heads,
            block_size=BLOCK_SIZE,
            head_dim=model.config.head_dim,
            dtype=hidden.dtype,
            device=self._device,
        )

    def next_logits(self, last_id: int, place: int) -> Tensor:
        """What follows the translation's token at a place, from 0, (1, vocab) float32."""
        at = torch.tensor([[place]], device=self._device)
        self._cache.select(self._table, at)
        last = torch.tensor([[last_id]], device=self._device)
        hidden = self._model.backbone.step(last, at, self._memory, self._is_pad, kv_cache=self._cache)
        return self._model.logits(hidden[:, 0])
