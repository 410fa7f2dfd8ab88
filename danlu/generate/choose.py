"""One token for each row of logits: greedy, or by the inverse of the cumulative distribution."""

from __future__ import annotations

import hashlib

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
) -> tuple[Tensor, Tensor]:
    """Draw a token from each row, and say how likely it was.

    Args:
        logits: (batch, vocab) float32.
        uniform: in [0, 1), (batch,); decides the token.
        temperature: (batch,); 0 takes the likeliest token.
        top_k: only the k likeliest tokens may be drawn, (batch,); 0 is no limit.
        top_p: only the likeliest tokens that together reach this probability, (batch,); 1 is no limit.

    Returns:
        Token ids and their log-probabilities at this temperature, both (batch,). The log-probability is over
        the whole vocabulary, before any truncation, so that training can compare it with its own; for a
        greedy row it is the one at temperature 1.
    """
    greedy = temperature == 0
    probs = (logits / torch.where(greedy, 1.0, temperature)[:, None]).softmax(-1)
    if top_k is None or top_p is None:
        ids = invert(probs, uniform)
    else:
        ids = invert_truncated(probs, uniform, top_k, top_p)
    if greedy.any():
        ids = torch.where(greedy, logits.argmax(-1), ids)
    return ids, probs.gather(-1, ids[:, None])[:, 0].log()


def invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """The first index at which the cumulative share of `weights`, (batch, n), exceeds `uniform`, (batch,)."""
    cumulative = weights.cumsum(-1)
    total = cumulative[:, -1]
    # Strictly below the total, so that rounding never runs past the last token that has any weight.
    target = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
    found = torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]
    return found.clamp(max=weights.shape[-1] - 1)  # past the end only where a weight is NaN


def invert_truncated(probs: Tensor, uniform: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """As `invert`, among each row's likeliest tokens: first the `top_k`, then `top_p` of what those hold."""
    unlimited = torch.where(top_k == 0, probs.shape[-1], top_k).clamp(max=probs.shape[-1])
    width = int(unlimited.max())
    ordered, order = probs.topk(width)
    ordered = ordered * (torch.arange(width, device=probs.device) < unlimited[:, None])
    before = ordered.cumsum(-1) - ordered
    ordered = ordered * (before < top_p[:, None] * ordered.sum(-1, keepdim=True))
    return order.gather(-1, invert(ordered, uniform)[:, None])[:, 0]
