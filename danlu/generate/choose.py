"""One token for each row of logits: greedy, or by the inverse of the cumulative distribution."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def uniforms(seed: int, key: int | str, n: int) -> NDArray[np.float32]:
    """The numbers in [0, 1) that decide a sequence's tokens, in their order, (n,).

    They follow from `seed` and `key` alone, so neither batch mates nor the order of work change a sample.
    """
    digest = hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=16).digest()
    philox = np.random.Philox(key=np.frombuffer(digest, dtype=np.uint64))
    return np.random.Generator(philox).random(n, dtype=np.float32)


def choose(
    logits: Tensor,
    uniform: Tensor,
    temperature: Tensor,
    top_k: Tensor | None = None,
    top_p: Tensor | None = None,
    min_p: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw a token from each row, and say how likely it was. A row's result depends on that row alone.

    Limits apply in the order of the arguments: of the `top_k` likeliest as many as hold `top_p` of what these
    hold, and of those all that reach `min_p`. Tokens that are equally likely come in the order of their ids.

    Args:
        logits: (batch, vocab) float32.
        uniform: in [0, 1), (batch,); decides the token.
        temperature: (batch,); 0 takes the likeliest token.
        top_k: only the k likeliest tokens may be drawn, (batch,); 0 is no limit.
        top_p: only the likeliest tokens that together reach this probability, (batch,); 1 is no limit.
        min_p: only tokens at least so many times as likely as the likeliest, (batch,); 0 is no limit.

    Returns:
        Token ids and their log-probabilities at this temperature, both (batch,). The log-probability is over
        the whole vocabulary, before any truncation, so that training can compare it with its own; for a
        greedy row it is the one at temperature 1.
    """
    greedy = temperature == 0
    probs = (logits / torch.where(greedy, 1.0, temperature)[:, None]).softmax(-1)
    ids = invert(probs, uniform)
    if top_k is not None or top_p is not None or min_p is not None:
        limits = _Limits(
            torch.zeros_like(ids) if top_k is None else top_k,
            torch.ones_like(uniform) if top_p is None else top_p,
            torch.zeros_like(uniform) if min_p is None else min_p,
        )
        ids = torch.where(limits.any(), invert_truncated(probs, uniform, limits), ids)
    if greedy.any():
        ids = torch.where(greedy, logits.argmax(-1), ids)
    return ids, probs.gather(-1, ids[:, None])[:, 0].log()


class _Limits(NamedTuple):
    """What may be drawn, each (batch,); see `choose`."""

    top_k: Tensor
    top_p: Tensor
    min_p: Tensor

    def any(self) -> Tensor:
        """Which rows have a limit, (batch,)."""
        return (self.top_k > 0) | (self.top_p < 1) | (self.min_p > 0)


def invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """The first index at which the cumulative share of `weights`, (batch, n), exceeds `uniform`, (batch,)."""
    cumulative = weights.cumsum(-1)
    total = cumulative[:, -1]
    # Strictly below the total, so that rounding never runs past the last token that has any weight.
    target = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
    found = torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]
    return found.clamp(max=weights.shape[-1] - 1)  # past the end only where a weight is NaN


def invert_truncated(probs: Tensor, uniform: Tensor, limits: _Limits) -> Tensor:
    """As `invert`, among each row's likeliest tokens, the likeliest first."""
    ordered, order = probs.sort(descending=True, stable=True)
    highest, width = ordered[:, :1], probs.shape[-1]
    k = torch.where(limits.top_k == 0, width, limits.top_k)
    ordered = ordered * (torch.arange(width, device=probs.device) < k[:, None])
    before = ordered.cumsum(-1) - ordered
    ordered = ordered * (before < limits.top_p[:, None] * ordered.sum(-1, keepdim=True))
    ordered = ordered * (ordered >= limits.min_p[:, None] * highest)
    return order.gather(-1, invert(ordered, uniform)[:, None])[:, 0]
