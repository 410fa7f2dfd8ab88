"""Attention, and who sees whom: a row's own segments, a cache of earlier tokens, another text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.model.config import ModelConfig
from danlu.model.kv_cache import KvCache
from danlu.model.layers import BIASES, NORMS, Linear
from danlu.model.positions import Angles, rotate

KeysValues = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values that stand before every text."""

    keys: Tensor  # after rotation, (1, n_kv_heads, n, head_dim); `values` likewise
    values: Tensor
    visible: Tensor | None = None  # True = may be attended to, (batch, 1, seq, n); None: by every query


class Attend(Protocol):
    """What queries gather from values."""

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        scale: float | None = None,
        prefix: Prefix | None = None,
    ) -> Tensor:
        """Queries (batch, n_heads, seq, head_dim), keys and values (batch, n_kv_heads, …).

        `scale` multiplies the scores; None is one over the square root of head_dim.
        """
        ...


class Projections(nn.Module):
    """What all attention has: linear layers to queries, keys and values, and from what was gathered."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        q_width, kv_width = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
        has_bias = "qkv" in BIASES[config.bias]
        self.q = Linear(config.d_model, q_width, bias=has_bias)
        self.k = Linear(config.d_model, kv_width, bias=has_bias)
        self.v = Linear(config.d_model, kv_width, bias=has_bias)
        self.out = Linear(q_width, config.d_model, bias="out" in BIASES[config.bias])
        self.scale = None if config.scaled_scores else 1.0
        norm = (
            partial(NORMS[config.norm], config.head_dim, config.norm_eps) if config.qk_norm else nn.Identity
        )
        self.q_norm, self.k_norm = norm(), norm()

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (batch, heads, seq, head_dim)


class Attention(Projections):
    """Grouped-query attention; where the keys come from and what may be seen is the caller's `attend`."""

    def forward(self, x: Tensor, *, angles: Angles | None, attend: Attend) -> Tensor:
        q, k, v = (self._heads(linear(x)) for linear in (self.q, self.k, self.v))
        q, k = rotate(self.q_norm(q), angles), rotate(self.k_norm(k), angles)
        return self.out(attend(q, k, v, scale=self.scale).transpose(1, 2).flatten(2))


class CrossAttention(Projections):
    """Attention to another text: queries are this one's, keys and values come from the other's vectors."""

    def forward(self, x: Tensor, *, memory: KeysValues, across: Attend) -> Tensor:
        q = self.q_norm(self._heads(self.q(x)))
        return self.out(across(q, *memory, scale=self.scale).transpose(1, 2).flatten(2))

    def read(self, hidden: Tensor) -> KeysValues:
        """Keys and values of the other text, (batch, n_kv_heads, source, head_dim) both."""
        return self.k_norm(self._heads(self.k(hidden))), self._heads(self.v(hidden))


def attend_within(segment_ids: Tensor | None, branch_ids: Tensor | None = None) -> Attend:
    """Attention of tokens to themselves and to earlier ones of the same segment.

    Args:
        segment_ids: (batch, seq); None means that a row is one segment.
        branch_ids: (batch, seq); where a segment is a tree, 0 is its stem, and the other numbers are branches
            that see the stem and themselves. None means that all is stem.
    """
    if segment_ids is None:
        return partial(attend, is_causal=True)
    return partial(attend, attention_mask=visible(segment_ids, branch_ids))


def visible(segment_ids: Tensor, branch_ids: Tensor | None) -> Tensor:
    """True where the query's token may see the key's, (batch, 1, seq, seq); see `attend_within`."""
    seen = same_segment(segment_ids)
    if branch_ids is not None:
        key = branch_ids[:, None, None, :]
        seen = seen & ((key == 0) | (key == branch_ids[:, None, :, None]))
    return seen & torch.ones(seen.shape[-2:], dtype=torch.bool, device=seen.device).tril()


def attend_in_window(
    window: int, position_ids: Tensor, segment_ids: Tensor | None, branch_ids: Tensor | None = None
) -> Attend:
    """As `attend_within`, but of the tokens before only those less than `window` positions back.

    Args:
        window: keys that a query sees, its own included.
        position_ids: (batch, seq); distances are between positions, not places in the row.
        segment_ids: (batch, seq), or None; `branch_ids` likewise.
    """
    if segment_ids is None:
        segment_ids = torch.zeros_like(position_ids)
    back = position_ids[:, None, :, None] - position_ids[:, None, None, :]
    return partial(attend, attention_mask=visible(segment_ids, branch_ids) & (back < window))


def attend_both_ways(segment_ids: Tensor | None) -> Attend:
    """Attention of tokens to all tokens of the same segment, (batch, seq), before and after them."""
    return partial(attend, attention_mask=None if segment_ids is None else same_segment(segment_ids))


def attend_across(source_segment_ids: Tensor | None, segment_ids: Tensor | None) -> Attend:
    """Attention of tokens to all tokens of another text that are in a segment of the same number.

    Args:
        source_segment_ids: of the other text, (batch, source); None means that all of it is segment 0.
        segment_ids: of the queries' text, (batch, seq); None likewise.
    """
    if source_segment_ids is None and segment_ids is None:
        return partial(attend, attention_mask=None)
    if source_segment_ids is None:
        raise ValueError("segment_ids are given without source_segment_ids; both texts need them")
    if segment_ids is None:
        return partial(attend, attention_mask=(source_segment_ids == 0)[:, None, None, :])
    same = segment_ids[:, None, :, None] == source_segment_ids[:, None, None, :]
    return partial(attend, attention_mask=same)


@dataclass(frozen=True, slots=True)
class AttentionKinds:
    """What an encoder-decoder's blocks attend by, made from segments; fused_attention.py has faster ones."""

    within: Callable[[Tensor | None], Attend]
    both_ways: Callable[[Tensor | None], Attend]
    across: Callable[[Tensor | None, Tensor | None], Attend]


PLAIN_ATTENTION = AttentionKinds(attend_within, attend_both_ways, attend_across)


def attend_from_several(across: Attend) -> Attend:
    """Attention of several rows of one token each to the same text, whose keys are not copied for it.

    Rows of one text lie side by side: queries are (batch * several, n_heads, 1, head_dim), keys and values
    (batch, …).
    """

    def gathered(q: Tensor, k: Tensor, v: Tensor, **how: Any) -> Tensor:
        together = q.unflatten(0, (len(k), -1)).squeeze(3).transpose(1, 2)  # (batch, heads, several, dim)
        out = across(together, k, v, **how)
        return out.transpose(1, 2).flatten(0, 1).unsqueeze(2)

    return gathered


def attend_with_cache(
    kv_cache: KvCache,
    layer: int,
    window: int | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    **how: Any,
) -> Tensor:
    """Attention of new tokens to what their sequence holds, themselves included, or to its last `window`.

    `how` is the rest of what `Attend` takes.
    """
    keys, values = kv_cache.append(layer, k, v)
    mask = kv_cache.attention_mask if window is None else kv_cache.mask_of_window(window)
    return attend(q, keys.to(q.dtype), values.to(q.dtype), attention_mask=mask, **how)


def same_segment(segment_ids: Tensor) -> Tensor:
    """True where query and key have the same number, (batch, 1, seq, seq)."""
    return segment_ids[:, None, :, None] == segment_ids[:, None, None, :]


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    attention_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    prefix: Prefix | None = None,
) -> Tensor:
    """Weighted mean of the values, (batch, n_heads, seq, head_dim)."""
    if prefix is not None:
        seen = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device)
        seen = (seen.tril() if is_causal else seen) if attention_mask is None else attention_mask
        attention_mask, is_causal = _behind(prefix, seen, len(q)), False
        k, v = (
            torch.cat([first.to(rest.dtype).expand(len(q), -1, -1, -1), rest], dim=2)
            for first, rest in ((prefix.keys, k), (prefix.values, v))
        )
    grouped = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=attention_mask, is_causal=is_causal, scale=scale, enable_gqa=grouped
    )


def _behind(prefix: Prefix, seen: Tensor, batch: int) -> Tensor:
    """A mask, (…, seq, keys), with the columns of the prefix before it, (batch, 1, seq, n + keys)."""
    seen = seen.expand(batch, 1, *seen.shape[-2:])
    first = seen.new_ones(*seen.shape[:-1], prefix.keys.shape[2])
    return torch.cat([first if prefix.visible is None else prefix.visible.expand_as(first), seen], dim=-1)
