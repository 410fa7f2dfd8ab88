"""Who sees whom: attention within a row of packed segments, and attention to a cache of earlier tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.model.kv_cache import KvCache

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries (batch, n_heads, seq, head_dim), keys and values (batch, n_kv_heads, …) → what each gathers."""


def attend_within(segment_ids: Tensor | None, branch_ids: Tensor | None = None) -> Attend:
    """Attention of tokens to themselves and to earlier ones of the same segment.

    Args:
        segment_ids: (batch, seq); None means that a row is one segment.
        branch_ids: (batch, seq); where a segment is a tree, 0 is its stem, and the other numbers are branches
            that see the stem and themselves. None means that all is stem.
    """
    if segment_ids is None:
        return partial(attend, is_causal=True)
    seen = segment_ids[:, None, :, None] == segment_ids[:, None, None, :]
    if branch_ids is not None:
        key = branch_ids[:, None, None, :]
        seen = seen & ((key == 0) | (key == branch_ids[:, None, :, None]))
    causal = torch.ones(seen.shape[-2:], dtype=torch.bool, device=seen.device).tril()
    return partial(attend, attention_mask=seen & causal)


def attend_with_cache(kv_cache: KvCache, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of new tokens to everything their sequence holds, themselves included."""
    keys, values = kv_cache.append(layer, k, v)
    return attend(q, keys.to(q.dtype), values.to(q.dtype), attention_mask=kv_cache.attention_mask)


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, attention_mask: Tensor | None = None, is_causal: bool = False
) -> Tensor:
    """Weighted mean of the values, (batch, n_heads, seq, head_dim)."""
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=attention_mask, is_causal=is_causal, enable_gqa=q.shape[1] != k.shape[1]
    )
