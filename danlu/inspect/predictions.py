"""What a model expects: the probability of each token beside its alternatives, and what each layer would say.

A decoder is asked for the token after each; an encoder for each token while that one is masked
(Salazar et al. 2020, section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from danlu.model.encoder_heads import MaskedLanguageModel
from danlu.model.heads import LanguageModel
from danlu.model.translation import TranslationModel

Predictor = LanguageModel | MaskedLanguageModel | TranslationModel


@dataclass(frozen=True, slots=True)
class Guess:
    """A token and its probability."""

    id: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What was expected at one place of a text."""

    at: int  # place of the token, or one after the last
    probability: float | None  # of the token that stands there; None after the last
    rank: int | None  # of that token, 1 is the likeliest
    best: Sequence[Guess]  # the likeliest tokens, likeliest first
    entropy: float  # of the whole distribution, nats


@torch.no_grad()
def next_tokens(
    model: LanguageModel | TranslationModel,
    ids: Sequence[int],
    n_best: int = 5,
    *,
    source: Sequence[int] | None = None,
) -> list[Expectation]:
    """What a decoder expected at every place but the first, and what it expects after the last.

    `source` is what a translation's ids are a translation of.
    """
    probabilities = model(*_inputs(ids, source))[0].softmax(-1)  # (seq, vocab): the row of t is about t + 1
    return [
        _expectation(row, at, ids[at] if at < len(ids) else None, n_best)
        for at, row in enumerate(probabilities, start=1)
    ]


@torch.no_grad()
def masked_tokens(
    model: MaskedLanguageModel, ids: Sequence[int], mask_id: int, places: Sequence[int], n_best: int = 5
) -> list[Expectation]:
    """What an encoder expects at some places, each masked by itself."""
    found: list[Expectation] = []
    for at in places:
        row = torch.tensor([ids])
        row[0, at] = mask_id
        found.append(_expectation(model(row)[0, at].softmax(-1), at, ids[at], n_best))
    return found


def _inputs(ids: Sequence[int], source: Sequence[int] | None) -> tuple[Tensor | None, ...]:
    """Positional arguments of a model that reads one row."""
    row = torch.tensor([ids])
    return (row,) if source is None else (torch.tensor([source]), None, row)


def _expectation(probabilities: Tensor, at: int, there: int | None, n_best: int) -> Expectation:
    best = probabilities.topk(min(n_best, len(probabilities)))
    guesses = [Guess(i, p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
    entropy = float(torch.special.entr(probabilities).sum())
    if there is None:
        return Expectation(at=at, probability=None, rank=None, best=guesses, entropy=entropy)
    own = probabilities[there]
    rank = 1 + int((probabilities > own).sum())
    return Expectation(at=at, probability=float(own), rank=rank, best=guesses, entropy=entropy)


@dataclass(frozen=True, slots=True, kw_only=True)
class LensLayer:
    """What the output projection makes of the residual stream after some layers."""

    n_layers: int  # blocks behind it; 0 is the embedding
    guesses: Sequence[Guess]  # the likeliest token at each place
    final: Sequence[float]  # at each place, the probability of what the whole model finds likeliest there


@torch.no_grad()
def logit_lens(
    model: Predictor, ids: Sequence[int], *, source: Sequence[int] | None = None
) -> list[LensLayer]:
    """What the model would say if it ended after each block (nostalgebraist 2020, "the logit lens").

    Of an encoder-decoder, that is the decoder; `source` is what its encoder reads. The residual stream takes
    the way that the last layer's takes: last norm, then the output head.
    """
    with residual_stream(model) as stream:
        model(*_inputs(ids, source))
    read = _output_of(model)
    rows = [read(model.backbone.norm(hidden))[0].softmax(-1) for hidden in stream]  # each (seq, vocab)
    answers = rows[-1].argmax(-1, keepdim=True)
    layers: list[LensLayer] = []
    for number, row in enumerate(rows):
        best = row.max(-1)
        guesses = [Guess(i, p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
        layers.append(
            LensLayer(n_layers=number, guesses=guesses, final=row.gather(-1, answers)[:, 0].tolist())
        )
    return layers


def _output_of(model: Predictor) -> Callable[[Tensor], Tensor]:
    """From hidden vectors to logits."""
    if isinstance(model, MaskedLanguageModel):
        return model.words
    return model.logits if isinstance(model, TranslationModel) else partial(_read_out, model)


def _read_out(model: LanguageModel, hidden: Tensor) -> Tensor:
    return model.lm_head(hidden).float()


@contextmanager
def residual_stream(model: Predictor) -> Generator[list[Tensor]]:
    """While active, the embedded tokens and then what leaves each block, each (batch, seq, d_model)."""
    stream: list[Tensor] = []

    def enters(module: nn.Module, args: tuple[Any, ...]) -> None:
        stream.append(args[0])

    def leaves(module: nn.Module, args: Any, output: Tensor) -> None:
        stream.append(output)

    blocks = model.backbone.blocks
    hooks = [blocks[0].register_forward_pre_hook(enters)]
    hooks += [block.register_forward_hook(leaves) for block in blocks]
    try:
        yield stream
    finally:
        for hook in hooks:
            hook.remove()
