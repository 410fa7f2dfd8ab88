"""A decoder's blocks with gradients made by hand: matrix products by torch, everything between them in C.

Same arithmetic as `Block.forward`, which is the reference; the tests hold the two against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from danlu.model import transformer
from danlu.model.native.kernels import available, call
from danlu.model.transformer import (
    Angles,
    Attention,
    Block,
    Decoder,
    GatedMlp,
    Linear,
    PreNorm,
    RmsNorm,
    Rope,
)


def supports(decoder: Decoder) -> bool:
    """Whether the decoder consists of the parts that these kernels know, on a machine that can compile them."""
    parts = {Block, PreNorm, Attention, GatedMlp, Linear, RmsNorm, nn.Identity}
    known = all(type(module) in parts for block in decoder.blocks for module in block.modules())
    on_cpu = all(parameter.device.type == "cpu" for parameter in decoder.parameters())
    fits = decoder.config.head_dim % 16 == 0 and decoder.config.head_dim <= 1024
    return known and fits and on_cpu and type(decoder.position) is Rope and available()


@dataclass(frozen=True, slots=True)
class Layout:
    """What every block of one forward pass shares."""

    batch: int
    seq: int
    heads: int
    kv_heads: int
    dim: int
    eps: float
    cosine: Tensor  # (rows, dim / 2), float32; rows is seq, or batch * seq where positions differ by row
    sine: Tensor
    starts: Tensor  # (batch, seq) int32: where each position's segment begins

    @property
    def tokens(self) -> int:
        return self.batch * self.seq


def layout_of(
    decoder: Decoder, shape: torch.Size, angles: tuple[Tensor, Tensor], segment_ids: Tensor | None
) -> Layout | None:
    """The layout of one pass; None where equal segment ids do not lie side by side, which the kernels assume."""
    config = decoder.config
    starts = torch.zeros(shape, dtype=torch.int32)
    if segment_ids is not None:
        change = segment_ids.diff(dim=1)
        if bool((change < 0).any()):
            return None
        here = torch.arange(1, shape[1], dtype=torch.int32)
        starts[:, 1:] = torch.where(change > 0, here, 0).cummax(dim=1).values
    cosine, sine = (angle.reshape(-1, config.head_dim // 2).contiguous() for angle in angles)
    return Layout(
        shape[0],
        shape[1],
        config.n_heads,
        config.n_kv_heads,
        config.head_dim,
        config.norm_eps,
        cosine,
        sine,
        starts,
    )


def run_blocks(decoder: Decoder, x: Tensor, angles: Angles, segment_ids: Tensor | None) -> Tensor:
    """What transformer.run_blocks gives, faster; x is (batch, seq, d_model)."""
    layout = layout_of(decoder, x.shape[:2], angles, segment_ids)
    if layout is None:
        return transformer.run_blocks(decoder, x, angles, segment_ids)
    rows = x.flatten(0, 1).contiguous()
    for block in decoder.blocks:
        rows = run_block(block, rows, layout)
    return rows.view_as(x)


def run_block(block: Block, x: Tensor, layout: Layout) -> Tensor:
    """What `block` makes of `x`, (batch * seq, d_model), contiguous."""
    attention, mlp = block.self_attn.sublayer, block.mlp.sublayer
    biases = [linear.bias for linear in (attention.q, attention.k, attention.v)]
    norms = [getattr(norm, "weight", None) for norm in (attention.q_norm, attention.k_norm)]
    qkv = torch.cat([linear.weight for linear in (attention.q, attention.k, attention.v)])
    gate_up = torch.cat([mlp.gate.weight, mlp.up.weight])
    return _FusedBlock.apply(
        layout,
        x,
        block.self_attn.norm.weight,
        qkv.to(x.dtype),
        None if biases[0] is None else torch.cat(biases).to(x.dtype),
        *norms,
        attention.out.weight.to(x.dtype),
        block.mlp.norm.weight,
        gate_up.to(x.dtype),
        mlp.out.weight.to(x.dtype),
    )


class _FusedBlock(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        lay: Layout,
        x: Tensor,
        attn_norm: Tensor,
        w_qkv: Tensor,
        b_qkv: Tensor | None,
        q_norm: Tensor | None,
        k_norm: Tensor | None,
        w_out: Tensor,
        mlp_norm: Tensor,
        w_gate_up: Tensor,
        w_down: Tensor,
    ) -> Tensor:
        h, h_scale = norm(x, attn_norm, lay.eps)
        qkv = h @ w_qkv.t() if b_qkv is None else torch.addmm(b_qkv, h, w_qkv.t())
        q, q_scale = rotate(lay, qkv, 0, lay.heads, q_norm)
        k, k_scale = rotate(lay, qkv, lay.heads, lay.kv_heads, k_norm)
        gathered, log_sums = attend(lay, q, k, qkv)
        middle = torch.addmm(x, gathered, w_out.t())
        m, m_scale = norm(middle, mlp_norm, lay.eps)
        both = m @ w_gate_up.t()
        gated = both.new_empty(len(x), both.shape[1] // 2)
        call("gate", x.dtype, both, gated, len(x), gated.shape[1])
        ctx.layout = lay
        ctx.save_for_backward(
            x, attn_norm, w_qkv, b_qkv, q_norm, k_norm, w_out, mlp_norm, w_gate_up, w_down,
            h, h_scale, qkv, q, q_scale, k, k_scale, gathered, log_sums, middle, m, m_scale, both,
        )  # fmt: skip
        return torch.addmm(middle, gated, w_down.t())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (
            x, attn_norm, w_qkv, b_qkv, q_norm, k_norm, w_out, mlp_norm, w_gate_up, w_down,
            h, h_scale, qkv, q, q_scale, k, k_scale, gathered, log_sums, middle, m, m_scale, both,
        ) = ctx.saved_tensors  # fmt: skip
        lay, grad = ctx.layout, grad_outputs[0].contiguous()
        d_gated = grad @ w_down
        gated, d_both = torch.empty_like(d_gated), torch.empty_like(both)
        call("gate_backward", x.dtype, d_gated, both, d_both, gated, len(x), gated.shape[1])
        g_down = grad.t() @ gated
        g_gate_up = d_both.t() @ m
        d_middle, g_mlp_norm = norm_backward(d_both @ w_gate_up, middle, mlp_norm, m_scale, grad)
        g_out = d_middle.t() @ gathered
        d_q, d_k, d_qkv = attend_backward(lay, d_middle @ w_out, q, k, qkv, gathered, log_sums)
        g_q_norm = rotate_backward(lay, d_q, qkv, 0, lay.heads, q_norm, q_scale, d_qkv)
        g_k_norm = rotate_backward(lay, d_k, qkv, lay.heads, lay.kv_heads, k_norm, k_scale, d_qkv)
        g_qkv = d_qkv.t() @ h
        g_bias = None if b_qkv is None else d_qkv.sum(0)
        d_x, g_attn_norm = norm_backward(d_qkv @ w_qkv, x, attn_norm, h_scale, d_middle)
        return (
            None, d_x, g_attn_norm, g_qkv, g_bias, g_q_norm, g_k_norm, g_out, g_mlp_norm, g_gate_up, g_down,
        )  # fmt: skip


def norm(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x / rms(x) * weight, and 1 / rms."""
    out, scale = torch.empty_like(x), torch.empty(len(x))
    call("norm", x.dtype, x, weight, out, scale, *x.shape, eps)
    return out, scale


def norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, skip: Tensor
) -> tuple[Tensor, Tensor]:
    """`skip` plus the gradient of `x`, and the gradient of `weight`."""
    out, parts = torch.empty_like(x), torch.empty(torch.get_num_threads(), x.shape[1])
    call("norm_backward", x.dtype, grad, x, weight, scale, skip, out, parts, *x.shape)
    return out, parts.sum(0)


def rotate(lay: Layout, qkv: Tensor, first: int, heads: int, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Normalised and rotated `heads` heads of `qkv` from head `first` on, and what the norm divided by."""
    out, scale = qkv.new_empty(lay.tokens, heads * lay.dim), torch.empty(lay.tokens * heads)
    x = qkv[:, first * lay.dim :]
    angles = (lay.cosine, lay.sine, len(lay.cosine))
    size = (lay.tokens, heads, lay.dim)
    call("rotate", qkv.dtype, x, qkv.shape[1], weight, *angles, out, scale, *size, lay.eps)
    return out, scale


def rotate_backward(
    lay: Layout,
    grad: Tensor,
    qkv: Tensor,
    first: int,
    heads: int,
    weight: Tensor | None,
    scale: Tensor,
    d_qkv: Tensor,
) -> Tensor | None:
    """Write the gradient into its place in `d_qkv` and return the gradient of the norm's weight."""
    parts = torch.empty(torch.get_num_threads(), lay.dim)
    x, out = qkv[:, first * lay.dim :], d_qkv[:, first * lay.dim :]
    angles = (lay.cosine, lay.sine, len(lay.cosine))
    size = (lay.tokens, heads, lay.dim)
    call("rotate_backward", qkv.dtype, grad, x, qkv.shape[1], weight, *angles, scale, out, parts, *size)
    return None if weight is None else parts.sum(0)


def attend(lay: Layout, q: Tensor, k: Tensor, qkv: Tensor) -> tuple[Tensor, Tensor]:
    """What each query gathers, (tokens, heads * dim), and the logarithm of what its softmax divided by."""
    out, log_sums = torch.empty_like(q), torch.empty(lay.batch, lay.heads, lay.seq)
    v = qkv[:, (lay.heads + lay.kv_heads) * lay.dim :]
    size = (lay.batch, lay.seq, lay.heads, lay.kv_heads, lay.dim)
    call("attend", q.dtype, q, k, v, qkv.shape[1], lay.starts, out, log_sums, *size)
    return out, log_sums


def attend_backward(
    lay: Layout, grad: Tensor, q: Tensor, k: Tensor, qkv: Tensor, out: Tensor, log_sums: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q and k, and one shaped like `qkv` of which the values' part is filled."""
    d_q, d_k, d_qkv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(qkv)
    first = (lay.heads + lay.kv_heads) * lay.dim
    v, d_v = qkv[:, first:], d_qkv[:, first:]
    size = (lay.batch, lay.seq, lay.heads, lay.kv_heads, lay.dim)
    call(
        "attend_backward", q.dtype, grad, q, k, v, qkv.shape[1], out, lay.starts, log_sums, d_q, d_k, d_v, *size
    )  # fmt: skip
    return d_q, d_k, d_qkv
