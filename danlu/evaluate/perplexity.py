"""Bits per byte of held-out text by language: a loss that no choice of tokenizer can flatter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from danlu.data.packing import Window, windows
from danlu.data.shards import Shards


class ScoresText(Protocol):
    """A language model that sums the negative log-likelihood of counted targets, in nats."""

    def nll_sum(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None,
        segment_ids: Tensor | None,
        target_ids: Tensor,
        loss_mask: Tensor,
    ) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class TextLoss:
    """Sums over some text, so that texts add up exactly."""

    nll: float = 0.0  # nats
    n_tokens: int = 0
    n_bytes: int = 0

    def __add__(self, other: TextLoss) -> TextLoss:
        return TextLoss(self.nll + other.nll, self.n_tokens + other.n_tokens, self.n_bytes + other.n_bytes)

    @property
    def per_token(self) -> float:
        """Nats a token, the unit of the training loss."""
        return self.nll / self.n_tokens if self.n_tokens else math.nan

    @property
    def bits_per_byte(self) -> float:
        return self.nll / math.log(2) / self.n_bytes if self.n_bytes else math.nan


def text_loss(model: ScoresText, held_out: Iterable[Window]) -> TextLoss:
    """Sum the loss of each window; the sums are kept in double precision."""
    total = TextLoss()
    with torch.no_grad():
        for window in held_out:
            batch = window.batch
            nll = model.nll_sum(*batch.inputs, batch.target_ids, batch.loss_mask)
            total += TextLoss(float(nll), int(batch.loss_mask.sum()), window.n_bytes)
    return total


def loss_by_language(
    model: ScoresText,
    shards: Shards,
    batch_size: int,
    seq_len: int,
    *,
    max_tokens: int | None = None,
    lead_with_eos: bool = False,
) -> dict[str, TextLoss]:
    """The loss on each language of a held-out set.

    Args:
        model: weights as they are; nothing is switched to evaluation mode.
        shards: the held-out set.
        batch_size: rows a pass.
        seq_len: positions a row.
        max_tokens: positions to read of each language; by default all.
        lead_with_eos: as in the training batches, so that first tokens are asked here if they are there.
    """
    return {
        lang: text_loss(
            model,
            windows(
                shards, batch_size, seq_len, lang=lang, max_tokens=max_tokens, lead_with_eos=lead_with_eos
            ),
        )
        for lang in shards.languages
    }


def bits_per_byte(losses: Mapping[str, TextLoss]) -> dict[str, float]:
    """Bits per byte of each language that has text, and of all together under `all`."""
    total = sum(losses.values(), TextLoss())
    return {name: loss.bits_per_byte for name, loss in {**losses, "all": total}.items() if loss.n_bytes}


def summarise_losses(losses: Mapping[str, TextLoss]) -> dict[str, Any]:
    """What a stage's summary keeps: loss a token over all text and bits per byte by language."""
    total = sum(losses.values(), TextLoss())
    return {
        "eval_loss": total.per_token,
        "bits_per_byte": bits_per_byte(losses),
        "eval_tokens": total.n_tokens,
        "eval_bytes": total.n_bytes,
    }
