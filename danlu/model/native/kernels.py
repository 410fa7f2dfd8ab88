"""kernels.c for tensors: normalisation, rotation, gating, attention and the loss, each with its gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.model.native.bindings import call


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which keys each query of a batch sees."""

    batch: int
    seq: int
    keys: int
    heads: int
    kv_heads: int
    dim: int  # of a head
    ahead: bool  # False: the queries are keys too, and none sees what comes after itself
    # (batch, seq, 3) int32: a position sees keys from the first to before the second, and unless it sees
    # ahead, from the third to itself
    spans: Tensor

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.batch, self.seq, self.keys, int(self.ahead), self.heads, self.kv_heads, self.dim


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the rows of a flattened batch are to be read; what every block of one forward pass shares."""

    batch: int
    seq: int
    heads: int
    kv_heads: int
    dim: int  # of a head
    cosine: Tensor  # (rows, dim / 2), float32; rows is seq, or batch * seq where positions differ by row
    sine: Tensor
    spans: Tensor  # as in Reach

    @property
    def reach(self) -> Reach:
        """Of queries that are keys too and do not look ahead."""
        return Reach(
            batch=self.batch,
            seq=self.seq,
            keys=self.seq,
            heads=self.heads,
            kv_heads=self.kv_heads,
            dim=self.dim,
            ahead=False,
            spans=self.spans,
        )

    @property
    def angles(self) -> tuple[Tensor, Tensor, int]:
        return self.cosine, self.sine, len(self.cosine)

    def split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where queries, keys and values begin in each row, (tokens, heads of all three * dim)."""
        return qkv, qkv[:, self.heads * self.dim :], qkv[:, (self.heads + self.kv_heads) * self.dim :]


def norm(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x / rms(x) * weight, and 1 / rms; x is (rows, width)."""
    out, scale = torch.empty_like(x), torch.empty(len(x))
    call("norm", x, weight, out, scale, *x.shape, eps, dtype=x.dtype)
    return out, scale


def norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, skip: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The gradient of x, plus `skip` if given, and the gradient of weight."""
    out, parts = torch.empty_like(x), torch.empty(torch.get_num_threads(), x.shape[1])
    call("norm_backward", grad, x, weight, scale, skip, out, parts, *x.shape, dtype=x.dtype)
    return out, parts.sum(0)


def rotate(lay: Layout, x: Tensor, heads: int, weight: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    """The first `heads` heads of each row of x, normalised if there is a weight, and rotated; and 1 / rms."""
    out, scale = x.new_empty(len(x), heads * lay.dim), torch.empty(len(x), heads)
    call(
        "rotate", x, x.stride(0), weight, *lay.angles, out, scale, len(x), heads, lay.dim, eps, dtype=x.dtype
    )  # fmt: skip
    return out, scale


def rotate_backward(
    lay: Layout, grad: Tensor, x: Tensor, weight: Tensor | None, scale: Tensor, out: Tensor
) -> Tensor | None:
    """Write the gradient of x into `out`, which is strided like it; return the gradient of the weight."""
    parts = torch.empty(torch.get_num_threads(), lay.dim)
    tail = (scale, out, parts, len(x), scale.shape[1], lay.dim)
    call("rotate_backward", grad, x, x.stride(0), weight, *lay.angles, *tail, dtype=x.dtype)
    return None if weight is None else parts.sum(0)


def gate(both: Tensor) -> Tensor:
    """silu(left half) * right half."""
    out = both.new_empty(len(both), both.shape[1] // 2)
    call("gate", both, out, *out.shape, dtype=both.dtype)
    return out


def gate_backward(grad: Tensor, both: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of `both`, and once more what `gate` gave."""
    both_grad, out = torch.empty_like(both), torch.empty_like(grad)
    call("gate_backward", grad, both, both_grad, out, *out.shape, dtype=both.dtype)
    return both_grad, out


def attend(reach: Reach, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """What each query gathers, (tokens, heads * dim), and the logarithm of what its softmax divided by."""
    out, log_sums = torch.empty_like(q), torch.empty(reach.batch, reach.heads, reach.seq)
    call("attend", q, k, v, v.stride(0), reach.spans, out, log_sums, *reach.sizes, dtype=q.dtype)
    return out, log_sums


def attend_backward(
    reach: Reach, grad: Tensor, qkv: tuple[Tensor, Tensor, Tensor], out: Tensor, log_sums: Tensor, d_v: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of q and k; that of v is written into `d_v`, which is strided like it."""
    q, k, v = qkv
    d_q, d_k = torch.empty_like(q), torch.empty_like(k)
    given = (grad, q, k, v, v.stride(0), out, reach.spans, log_sums)
    call("attend_backward", *given, d_q, d_k, d_v, *reach.sizes, dtype=q.dtype)
    return d_q, d_k


def cross_entropy(logits: Tensor, target_ids: Tensor) -> Tensor:
    """Summed loss of logits (rows, vocab); they become its gradient, in place."""
    losses = torch.empty(len(logits))
    call("cross_entropy", logits, target_ids.contiguous(), losses, *logits.shape, dtype=logits.dtype)
    return losses.sum()
