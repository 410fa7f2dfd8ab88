"""The engine that cannot be wrong: each token from one plain forward of one whole sequence.

It keeps no cache and never batches, so a request's tokens cannot depend on any other. It is what faster
engines are held against.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from danlu.generate.checks import check_pictures, check_request
from danlu.generate.choose import choose, uniforms
from danlu.generate.request import NOTHING_ALLOWED, EndReason, Event, Request, Token
from danlu.generate.shaping import shape
from danlu.model.heads import LanguageModel


@dataclass(slots=True)
class Completion:
    """One completion on its way."""

    request: Request
    uniforms: list[float]  # one for each token that may come, so their number is the limit
    forbidden_ids: frozenset[int]
    ids: list[int] = field(default_factory=list[int])
    counts: Counter[int] = field(default_factory=Counter[int])


@dataclass(slots=True)
class _Running:
    completion: Completion
    model: LanguageModel
    patches: Tensor | None  # what the model saw in the prompt's pictures

    def logits(self) -> Tensor:
        """What follows each token so far, (seq, vocab)."""
        ids = [*self.completion.request.prompt_ids, *self.completion.ids]
        device = self.model.lm_head.weight.device
        return self.model(torch.tensor([ids], device=device), patches=self.patches)[0]


class ReferenceEngine:
    """Implements `Engine`; each step gives every request one token, one request after another.

    Args:
        max_seq_len: longest prompt and completion together; by default what the model was built for.
        adapters: a model for each name that a request's `adapter` may have.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        max_seq_len: int | None = None,
        adapters: Mapping[str, LanguageModel] | None = None,
    ) -> None:
        limit = model.config.max_seq_len
        self.max_seq_len = limit if max_seq_len is None else max_seq_len
        if self.max_seq_len > limit:
            raise ValueError(f"max_seq_len is {self.max_seq_len}; the model was built for at most {limit}")
        self._model, self._adapters = model, dict(adapters or {})
        self._running: dict[int, _Running] = {}
        self._n_added = 0

    @property
    def n_unfinished(self) -> int:
        """Requests whose last event is still to come."""
        return len(self._running)

    def add(self, request: Request) -> int:
        """Queue a request and return its id; ValueError says what is wrong with it."""
        check_request(
            request,
            max_seq_len=self.max_seq_len,
            vocab_size=self._model.config.vocab_size,
            adapters=self._adapters.keys(),
        )
        limit = min(request.sampling.max_new_tokens, self.max_seq_len - len(request.prompt_ids))
        numbers = uniforms(request.sampling.seed, request.key, limit).tolist()
        model = self._model if request.adapter is None else self._adapters[request.adapter]
        check_pictures(request, model.config)
        self._n_added += 1
        completion = Completion(request, numbers, request.forbidden_ids | _markers(model))
        self._running[self._n_added] = _Running(completion, model, _look(model, request))
        return self._n_added

    def cancel(self, request_id: int) -> None:
        """Forget a request; no event of it comes after this."""
        self._running.pop(request_id, None)

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """One token for every request."""
        events = [advance(i, each.completion, each.logits()) for i, each in self._running.items()]
        for event in events:
            if event.end_reason is not None:
                del self._running[event.request_id]
        return events


@torch.inference_mode()
def _look(model: LanguageModel, request: Request) -> Tensor | None:
    """What the model makes of a request's pictures, once for all its tokens."""
    if request.pictures is None:
        return None
    return model.backbone.look(request.pictures.to(model.lm_head.weight.device))


def advance(request_id: int, running: Completion, logits: Tensor) -> Event:
    """The next token of one completion.

    Args:
        logits: what follows each token so far, the last of them at the end, (seq, vocab) float32.
    """
    request = running.request
    logprobs = logits.log_softmax(-1)
    if not logprobs.isfinite().all():
        return _failed(request_id, "the model's logits are not finite; its weights have diverged")
    shaped = _shaped(running, logits[-1])
    if shaped.max() == -torch.inf:
        return _failed(request_id, NOTHING_ALLOWED)
    drawn = _draw(running, shaped)
    _take_note(running, drawn)
    prompt: Sequence[Token] = ()
    if request.prompt_logprobs and len(running.ids) == 1:
        prompt = _prompt_tokens(request, logprobs)
    return Event(
        request_id=request_id,
        token=_token(drawn, logprobs[-1], request.n_top),
        prompt=prompt,
        end_reason=_end_reason(running, drawn),
    )


def _failed(request_id: int, error: str) -> Event:
    return Event(request_id=request_id, end_reason="error", error=error)


def _shaped(running: Completion, logits: Tensor) -> Tensor:
    request = running.request
    shaped = shape(
        logits,
        running.counts,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        logit_bias=request.logit_bias,
        forbidden_ids=running.forbidden_ids,
    )
    if request.token_filter is not None:
        request.token_filter.allow(shaped)
    return shaped


def _markers(model: LanguageModel) -> frozenset[int]:
    """What a completion must not hold: a marker without a picture."""
    marker_id = model.config.marker_id
    return frozenset() if marker_id is None else frozenset({marker_id})


def _draw(running: Completion, shaped: Tensor) -> int:
    sampling = running.request.sampling
    numbers = (
        running.uniforms[len(running.ids)],
        sampling.temperature,
        sampling.top_p,
        running.request.min_p,
    )
    uniform, temperature, top_p, min_p = torch.tensor(numbers, device=shaped.device)[:, None]
    top_k = torch.tensor([sampling.top_k], device=shaped.device)
    ids, _ = choose(shaped[None], uniform, temperature, top_k, top_p, min_p)
    return int(ids)


def _take_note(running: Completion, drawn: int) -> None:
    running.ids.append(drawn)
    running.counts[drawn] += 1
    if running.request.token_filter is not None:
        running.request.token_filter.accept(drawn)


def _end_reason(running: Completion, drawn: int) -> EndReason | None:
    if drawn in running.request.stop_ids:
        return "stop"
    return "length" if len(running.ids) == len(running.uniforms) else None


def _token(i: int, logprobs: Tensor, n_top: int) -> Token:
    """A token and the likeliest ones in its place, from log-probabilities, (vocab,)."""
    top = logprobs.topk(n_top)
    return Token(
        id=i,
        logprob=float(logprobs[i]),
        top=tuple(zip(top.indices.tolist(), top.values.tolist(), strict=True)),
    )


def _prompt_tokens(request: Request, logprobs: Tensor) -> list[Token]:
    """The prompt's tokens, each judged by what the model made of those before it."""
    first, *rest = request.prompt_ids
    judged = [_token(i, row, request.n_top) for i, row in zip(rest, logprobs, strict=False)]
    return [Token(id=first, logprob=None), *judged]
