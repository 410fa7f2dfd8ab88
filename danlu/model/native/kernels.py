"""kernels.c for tensors: normalisation, rotation, gating, attention and the loss, each with its gradient."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.model.native.build import build_library

HERE = Path(__file__).parent
# Reordered sums are wanted, so that loops become vector code; flushing of subnormal numbers, which
# -ffast-math would switch on for the whole process, is not.
FLAGS = (
    "-O3",
    "-march=native",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-fassociative-math",
    "-freciprocal-math",
    "-fopenmp",
    "-shared",
    "-fPIC",
)
SUFFIXES = {torch.bfloat16: "bf16", torch.float32: "f32"}
# p: tensor, i: whole number, f: float; the number of threads comes last everywhere.
SIGNATURES = {
    "norm": "ppppiif",
    "norm_backward": "pppppppii",
    "rotate": "pippp" + "ippiiif",
    "rotate_backward": "ppippp" + "ipppiii",
    "gate": "ppii",
    "gate_backward": "ppppii",
    "cross_entropy": "ppii",
    "attend": "pppippp" + "iiiii",
    "attend_backward": "pppippppppp" + "iiiii",
}
TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "f": ctypes.c_float}


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
    starts: Tensor  # (batch, seq) int32: where each position's segment begins

    @property
    def sizes(self) -> tuple[int, int, int, int, int]:
        return self.batch, self.seq, self.heads, self.kv_heads, self.dim

    @property
    def angles(self) -> tuple[Tensor, Tensor, int]:
        return self.cosine, self.sine, len(self.cosine)

    def split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where queries, keys and values begin in each row, (tokens, heads of all three * dim)."""
        return qkv, qkv[:, self.heads * self.dim :], qkv[:, (self.heads + self.kv_heads) * self.dim :]


def norm(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x / rms(x) * weight, and 1 / rms; x is (rows, width)."""
    out, scale = torch.empty_like(x), torch.empty(len(x))
    _call("norm", x.dtype, x, weight, out, scale, *x.shape, eps)
    return out, scale


def norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, skip: Tensor
) -> tuple[Tensor, Tensor]:
    """`skip` plus the gradient of x, and the gradient of weight."""
    out, parts = torch.empty_like(x), torch.empty(torch.get_num_threads(), x.shape[1])
    _call("norm_backward", x.dtype, grad, x, weight, scale, skip, out, parts, *x.shape)
    return out, parts.sum(0)


def rotate(lay: Layout, x: Tensor, heads: int, weight: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    """The first `heads` heads of each row of x, normalised if there is a weight, and rotated; and 1 / rms."""
    out, scale = x.new_empty(len(x), heads * lay.dim), torch.empty(len(x), heads)
    _call(
        "rotate", x.dtype, x, x.stride(0), weight, *lay.angles, out, scale, len(x), heads, lay.dim, eps
    )  # fmt: skip
    return out, scale


def rotate_backward(
    lay: Layout, grad: Tensor, x: Tensor, weight: Tensor | None, scale: Tensor, out: Tensor
) -> Tensor | None:
    """Write the gradient of x into `out`, which is strided like it; return the gradient of the weight."""
    parts = torch.empty(torch.get_num_threads(), lay.dim)
    tail = (scale, out, parts, len(x), scale.shape[1], lay.dim)
    _call("rotate_backward", x.dtype, grad, x, x.stride(0), weight, *lay.angles, *tail)
    return None if weight is None else parts.sum(0)


def gate(both: Tensor) -> Tensor:
    """silu(left half) * right half."""
    out = both.new_empty(len(both), both.shape[1] // 2)
    _call("gate", both.dtype, both, out, *out.shape)
    return out


def gate_backward(grad: Tensor, both: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of `both`, and once more what `gate` gave."""
    both_grad, out = torch.empty_like(both), torch.empty_like(grad)
    _call("gate_backward", both.dtype, grad, both, both_grad, out, *out.shape)
    return both_grad, out


def attend(lay: Layout, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """What each query gathers, (tokens, heads * dim), and the logarithm of what its softmax divided by."""
    out, log_sums = torch.empty_like(q), torch.empty(lay.batch, lay.heads, lay.seq)
    _call("attend", q.dtype, q, k, v, v.stride(0), lay.starts, out, log_sums, *lay.sizes)
    return out, log_sums


def attend_backward(
    lay: Layout, grad: Tensor, qkv: tuple[Tensor, Tensor, Tensor], out: Tensor, log_sums: Tensor, d_v: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of q and k; that of v is written into `d_v`, which is strided like it."""
    q, k, v = qkv
    d_q, d_k = torch.empty_like(q), torch.empty_like(k)
    given = (grad, q, k, v, v.stride(0), out, lay.starts, log_sums)
    _call("attend_backward", q.dtype, *given, d_q, d_k, d_v, *lay.sizes)
    return d_q, d_k


def cross_entropy(logits: Tensor, target_ids: Tensor) -> Tensor:
    """Summed loss of logits (rows, vocab); they become its gradient, in place."""
    total = _call("cross_entropy", logits.dtype, logits, target_ids.contiguous(), *logits.shape)
    return torch.tensor(total, dtype=torch.float32)


@cache
def available() -> bool:
    """Whether the library can be had on this machine; the first call may compile it."""
    return _library() is not None


@cache
def _library() -> ctypes.CDLL | None:
    library = build_library((HERE / "kernels.c", HERE / "kernels.inc"), FLAGS)
    if library is None:
        return None
    for name, signature in SIGNATURES.items():
        for suffix in SUFFIXES.values():
            function = getattr(library, f"{name}_{suffix}")
            function.argtypes = [*(TYPES[letter] for letter in signature), ctypes.c_int]
            function.restype = ctypes.c_double if name == "cross_entropy" else None
    return library


@cache
def _function(name: str, dtype: torch.dtype) -> Callable[..., Any]:
    return getattr(_library(), f"{name}_{SUFFIXES[dtype]}")


def _call(name: str, dtype: torch.dtype, *arguments: Tensor | float | None) -> Any:
    """Run a kernel on tensors laid out as kernels.inc says; the caller keeps them alive."""
    plain = [a.data_ptr() if isinstance(a, Tensor) else a for a in arguments]
    return _function(name, dtype)(*plain, torch.get_num_threads())
