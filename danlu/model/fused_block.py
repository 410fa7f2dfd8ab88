"""A decoder's blocks with gradients made by hand: matrix products by torch, everything between them in C.

Same arithmetic as `Block.forward`, which is the reference; the tests hold the two against each other.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from danlu.model import transformer
from danlu.model.native import kernels
from danlu.model.native.kernels import Layout
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
    """Whether the decoder consists of parts that the kernels know, on a machine that can compile them."""
    parts = {Block, PreNorm, Attention, GatedMlp, Linear, RmsNorm, nn.Identity}
    known = all(type(module) in parts for block in decoder.blocks for module in block.modules())
    on_cpu = all(parameter.device.type == "cpu" for parameter in decoder.parameters())
    fits = decoder.config.head_dim % 16 == 0 and decoder.config.head_dim <= 1024
    return known and fits and on_cpu and type(decoder.position) is Rope and kernels.available()


def run_blocks(decoder: Decoder, x: Tensor, angles: Angles, segment_ids: Tensor | None) -> Tensor:
    """What transformer.run_blocks gives, faster; x is (batch, seq, d_model)."""
    layout = layout_of(decoder, x.shape[:2], angles, segment_ids)
    if layout is None:
        return transformer.run_blocks(decoder, x, angles, segment_ids)
    rows = x.flatten(0, 1).contiguous()
    for block in decoder.blocks:
        rows = _FusedBlock.apply(
            layout, decoder.config.norm_eps, rows, *weights_of(cast(Block, block), x.dtype)
        )
    return rows.view_as(x)


def layout_of(
    decoder: Decoder, shape: torch.Size, angles: Angles, segment_ids: Tensor | None
) -> Layout | None:
    """The layout of one pass; None where segments do not lie one after the other, as the kernels assume."""
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
        batch=shape[0],
        seq=shape[1],
        heads=config.n_heads,
        kv_heads=config.n_kv_heads,
        dim=config.head_dim,
        cosine=cosine,
        sine=sine,
        starts=starts,
    )


def weights_of(block: Block, dtype: torch.dtype) -> tuple[Tensor | None, ...]:
    """The block's weights as `_FusedBlock` takes them: matrices in `dtype`, those of one input joined."""
    weight = dict(block.named_parameters())

    def joined(part: str, names: tuple[str, ...], kind: str = "weight") -> Tensor:
        found: list[Tensor] = [weight[f"{part}.sublayer.{name}.{kind}"] for name in names]
        return (found[0] if len(found) == 1 else torch.cat(found)).to(dtype)

    qkv = ("q", "k", "v")
    return (
        weight["self_attn.norm.weight"],
        joined("self_attn", qkv),
        joined("self_attn", qkv, "bias") if "self_attn.sublayer.q.bias" in weight else None,
        weight.get("self_attn.sublayer.q_norm.weight"),
        weight.get("self_attn.sublayer.k_norm.weight"),
        joined("self_attn", ("out",)),
        weight["mlp.norm.weight"],
        joined("mlp", ("gate", "up")),
        joined("mlp", ("out",)),
    )


class _FusedBlock(torch.autograd.Function):
    """x, (tokens, d_model), through one block."""

    @staticmethod
    def forward(ctx: Any, lay: Layout, eps: float, x: Tensor, *weights: Any) -> Tensor:
        attn_norm, w_qkv, b_qkv, q_norm, k_norm, w_out, mlp_norm, w_gate_up, w_down = weights
        h, h_scale = kernels.norm(x, attn_norm, eps)
        qkv = h @ w_qkv.t() if b_qkv is None else torch.addmm(b_qkv, h, w_qkv.t())
        q_raw, k_raw, v = lay.split(qkv)
        q, q_scale = kernels.rotate(lay, q_raw, lay.heads, q_norm, eps)
        k, k_scale = kernels.rotate(lay, k_raw, lay.kv_heads, k_norm, eps)
        gathered, log_sums = kernels.attend(lay, q, k, v)
        middle = torch.addmm(x, gathered, w_out.t())
        m, m_scale = kernels.norm(middle, mlp_norm, eps)
        both = m @ w_gate_up.t()
        ctx.layout = lay
        attention = (x, h, h_scale, qkv, q, q_scale, k, k_scale, gathered, log_sums)
        ctx.save_for_backward(*weights, *attention, middle, m, m_scale, both)
        return torch.addmm(middle, kernels.gate(both), w_down.t())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        lay, grad = ctx.layout, grad_outputs[0].contiguous()
        attn_norm, w_qkv, b_qkv, q_norm, k_norm, w_out, mlp_norm, w_gate_up, w_down = ctx.saved_tensors[:9]
        x, h, h_scale, qkv, q, q_scale, k, k_scale, gathered, log_sums = ctx.saved_tensors[9:19]
        middle, m, m_scale, both = ctx.saved_tensors[19:]

        d_both, gated = kernels.gate_backward(grad @ w_down, both)
        g_down, g_gate_up = grad.t() @ gated, d_both.t() @ m
        d_middle, g_mlp_norm = kernels.norm_backward(d_both @ w_gate_up, middle, mlp_norm, m_scale, grad)

        q_raw, k_raw, v = lay.split(qkv)
        d_qkv = torch.empty_like(qkv)
        d_q_raw, d_k_raw, d_v = lay.split(d_qkv)
        g_out, d_gathered = d_middle.t() @ gathered, d_middle @ w_out
        d_q, d_k = kernels.attend_backward(lay, d_gathered, (q, k, v), gathered, log_sums, d_v)
        g_q_norm = kernels.rotate_backward(lay, d_q, q_raw, q_norm, q_scale, d_q_raw)
        g_k_norm = kernels.rotate_backward(lay, d_k, k_raw, k_norm, k_scale, d_k_raw)
        g_qkv, g_bias = d_qkv.t() @ h, None if b_qkv is None else d_qkv.sum(0)
        d_x, g_attn_norm = kernels.norm_backward(d_qkv @ w_qkv, x, attn_norm, h_scale, d_middle)

        attention = (g_attn_norm, g_qkv, g_bias, g_q_norm, g_k_norm, g_out)
        return (None, None, d_x, *attention, g_mlp_norm, g_gate_up, g_down)
