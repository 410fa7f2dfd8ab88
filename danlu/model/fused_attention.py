"""Attention of the encoder-decoder in C: short rows of unequal length, which torch's kernels are slow at.

Padding stands at the right, or else the plain attention of attention.py is taken.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from danlu.model.attention import (
    Attend,
    AttentionKinds,
    attend_across,
    attend_both_ways,
    attend_within,
)
from danlu.model.native import kernels
from danlu.model.native.kernels import Reach


def within(segment_ids: Tensor | None) -> Attend:
    """As `attend_within`."""
    if segment_ids is not None:
        return attend_within(segment_ids)
    return partial(_attend, attend_within(None), None, False)


def both_ways(segment_ids: Tensor | None) -> Attend:
    """As `attend_both_ways`, but for what padding gathers, which nobody reads."""
    return across(segment_ids, None, plain=attend_both_ways(segment_ids))


def across(
    source_segment_ids: Tensor | None, segment_ids: Tensor | None, *, plain: Attend | None = None
) -> Attend:
    """As `attend_across`; `plain` is what stands in where there is no kernel."""
    plain = attend_across(source_segment_ids, segment_ids) if plain is None else plain
    if source_segment_ids is None and segment_ids is None:
        return partial(_attend, plain, None, True)
    if source_segment_ids is None or segment_ids is not None:
        return plain
    lengths = text_lengths(source_segment_ids)
    return plain if lengths is None else partial(_attend, plain, lengths, True)


def text_lengths(segment_ids: Tensor) -> Tensor | None:
    """Tokens of each row, (batch,) int32, where a row is some of segment 0 and then padding; else None."""
    is_text = segment_ids == 0
    lengths = is_text.sum(1, dtype=torch.int32)
    here = torch.arange(segment_ids.shape[1], device=segment_ids.device)
    at_the_left = bool((is_text == (here < lengths[:, None])).all())
    return lengths if at_the_left and bool((lengths > 0).all()) else None


def _attend(
    plain: Attend,
    lengths: Tensor | None,
    ahead: bool,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float | None = None,
) -> Tensor:
    """What `plain` gives, of which each row has `lengths` keys, (batch,), or all; see `Attend`."""
    batch, heads, seq, dim = q.shape
    kv_heads, keys = k.shape[1:3]
    if scale is not None or dim % 16 or q.dtype not in (torch.float32, torch.bfloat16):
        return plain(q, k, v, scale=scale)
    spans = torch.zeros(batch, seq, 3, dtype=torch.int32)
    if ahead:
        spans[:, :, 1:] = keys if lengths is None else lengths[:, None, None]
    reach = Reach(
        batch=batch, seq=seq, keys=keys, heads=heads, kv_heads=kv_heads, dim=dim, ahead=ahead, spans=spans
    )
    rows = (each.transpose(1, 2).reshape(-1, each.shape[1] * dim).contiguous() for each in (q, k, v))
    out: Tensor = _FusedAttention.apply(reach, *rows)
    return out.view(batch, seq, heads, dim).transpose(1, 2)


class _FusedAttention(torch.autograd.Function):
    """Queries (batch * seq, heads * dim), keys and values (batch * keys, kv_heads * dim)."""

    @staticmethod
    def forward(ctx: Any, reach: Reach, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, log_sums = kernels.attend(reach, q, k, v)
        ctx.reach = reach
        ctx.save_for_backward(q, k, v, out, log_sums)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, log_sums = ctx.saved_tensors
        d_v = torch.empty_like(v)
        grad = grad_outputs[0].contiguous()
        d_q, d_k = kernels.attend_backward(ctx.reach, grad, (q, k, v), out, log_sums, d_v)
        return None, d_q, d_k, d_v


NATIVE_ATTENTION = AttentionKinds(within, both_ways, across)
