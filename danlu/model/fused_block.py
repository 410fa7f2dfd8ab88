"""A decoder's blocks with gradients made by hand: matrix products by torch, everything between them in C.

Same arithmetic as `Block.forward`, which is the reference; the tests hold the two against each other.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from danlu.model import transformer
from danlu.model.adapted import AdaptedLinear, is_brought
from danlu.model.attention import Attention
from danlu.model.blocks import Block, PreNorm
from danlu.model.layers import Linear, RmsNorm
from danlu.model.low_rank import UpdatedProducts
from danlu.model.mlp import GatedMlp
from danlu.model.native import kernels
from danlu.model.native.bindings import available
from danlu.model.native.kernels import Layout
from danlu.model.native.products import CastProducts, MakeProducts
from danlu.model.positions import Angles, Rope
from danlu.model.quantised_weight import products_of
from danlu.model.transformer import Decoder


def supports(decoder: Decoder) -> bool:
    """Whether the kernels know all that the decoder does, on a machine that can compile them."""
    return has_native_form(decoder) and decoder.config.head_dim <= 1024 and available()


def has_native_form(decoder: Decoder) -> bool:
    """Whether the decoder is on the CPU and of the form that kernels in C are written for.

    That is Llama's, Qwen 2's and Qwen 3's: pre-norm blocks of RMSNorm, rope, full attention and SwiGLU,
    biases on queries, keys and values at most, and head_dim a multiple of 16. What adapters bring to linear
    layers is not looked at: `run_blocks` asks for its factors, others for the weights that stand for it.
    """
    parts = {Block, PreNorm, Attention, GatedMlp, Linear, AdaptedLinear, RmsNorm, nn.Identity}
    own = [module for name, module in decoder.blocks.named_modules() if name and not is_brought(name)]
    known = all(type(module) in parts for module in own)
    ends = type(decoder.position) is Rope and type(decoder.norm) is RmsNorm
    config = decoder.config
    plain = config.window is None and config.scaled_scores and config.bias in ("none", "qkv")
    plain = plain and not config.scaled_embedding
    on_cpu = all(parameter.device.type == "cpu" for parameter in decoder.parameters())
    return known and ends and plain and on_cpu and config.head_dim % 16 == 0


def run_blocks(
    decoder: Decoder,
    x: Tensor,
    angles: Angles | None,
    segment_ids: Tensor | None,
    branch_ids: Tensor | None = None,
    position_ids: Tensor | None = None,
    *,
    make: MakeProducts = CastProducts,
) -> Tensor:
    """What transformer.run_blocks gives, faster.

    Args:
        decoder: one that `supports` accepts.
        x: embedded tokens, (batch, seq, d_model).
        angles: of the positions.
        segment_ids: (batch, seq), or None.
        branch_ids: (batch, seq), or None.
        position_ids: not read; what is accepted has no windows.
        make: how the products with weights are computed.
    """
    assert angles is not None
    spans = spans_of(x.shape[:2], segment_ids, branch_ids)
    if spans is None or not all(
        each.by_factors for each in decoder.modules() if isinstance(each, AdaptedLinear)
    ):
        return transformer.run_blocks(decoder, x, angles, segment_ids, branch_ids)
    layout = layout_of(decoder, angles, spans)
    eps, rows = decoder.config.norm_eps, x.flatten(0, 1).contiguous()
    for block in decoder.blocks:
        weights = dict(block.named_parameters())
        given = (weights.get(name) for name in WEIGHTS)
        rows = _FusedBlock.apply(layout, eps, make, rows, *given, *factors_of(block))
    return _FusedNorm.apply(eps, rows, decoder.norm.weight).view_as(x)


def factors_of(block: nn.Module) -> list[Tensor | None]:
    """Down and up of every linear layer in the order of `LINEARS`; None where a layer has no update."""
    found: list[Tensor | None] = []
    for name in LINEARS:
        linear = block.get_submodule(name)
        factors = linear.factors() if isinstance(linear, AdaptedLinear) else None
        found += factors or (None, None)
    return found


def spans_of(shape: torch.Size, segment_ids: Tensor | None, branch_ids: Tensor | None) -> Tensor | None:
    """`Layout.spans`; None where segments, or branches in them, do not lie one after the other."""
    here = torch.arange(shape[1], dtype=torch.int32).expand(shape)
    if segment_ids is None:
        return torch.zeros(*shape, 3, dtype=torch.int32)
    branch_ids = torch.zeros_like(segment_ids) if branch_ids is None else branch_ids
    segment_step, branch_step = segment_ids.diff(dim=1), branch_ids.diff(dim=1)
    new_segment = segment_step > 0
    if bool((segment_step < 0).any() or ((branch_step < 0) & ~new_segment).any()):
        return None
    first, after, gap = (torch.zeros(shape, dtype=torch.int32) for _ in range(3))
    first[:, 1:] = torch.where(new_segment, here[:, 1:], 0)
    first = first.cummax(dim=1).values
    after[:, 1:] = torch.where(new_segment | (branch_step > 0), here[:, 1:], 0)
    after = after.cummax(dim=1).values
    # The stem's end: where the segment's first branch begins.
    leaves_stem = new_segment | ((branch_ids[:, :-1] == 0) & (branch_step > 0))
    gap[:, 1:] = torch.where(leaves_stem, here[:, 1:], 0)
    gap = gap.cummax(dim=1).values
    return torch.stack([first, gap, after], dim=-1).contiguous()


def layout_of(decoder: Decoder, angles: Angles, spans: Tensor) -> Layout:
    """The layout of one pass."""
    config = decoder.config
    cosine, sine = (angle.reshape(-1, config.head_dim // 2).contiguous() for angle in angles)
    return Layout(
        batch=spans.shape[0],
        seq=spans.shape[1],
        heads=config.n_heads,
        kv_heads=config.n_kv_heads,
        dim=config.head_dim,
        cosine=cosine,
        sine=sine,
        spans=spans,
    )


class _FusedNorm(torch.autograd.Function):
    """x, (tokens, d_model), through the last norm."""

    @staticmethod
    def forward(ctx: Any, eps: float, x: Tensor, weight: Tensor) -> Tensor:
        out, scale = kernels.norm(x, weight, eps)
        ctx.save_for_backward(x, weight, scale)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        d_x, g_weight = kernels.norm_backward(grad_outputs[0].contiguous(), x, weight, scale, None)
        return None, d_x, g_weight


class _FusedBlock(torch.autograd.Function):
    """x, (tokens, d_model), through one block: weights come as in `WEIGHTS`, then factors as in `LINEARS`."""

    @staticmethod
    def forward(ctx: Any, lay: Layout, eps: float, make: MakeProducts, x: Tensor, *weights: Any) -> Tensor:
        weights, factors = weights[: len(WEIGHTS)], weights[len(WEIGHTS) :]
        attn_norm, w_q, w_k, w_v, *biases, q_norm, k_norm, w_out, mlp_norm, w_gate, w_up, w_down = weights
        joined = ((w_q, w_k, w_v), (w_out,), (w_gate, w_up), (w_down,))
        pairs = iter(zip(factors[::2], factors[1::2], strict=True))
        qkv_weights, out_weight, gate_up_weights, down_weight = products = [
            UpdatedProducts(products_of(some, x.dtype, make), some, [next(pairs) for _ in some])
            for some in joined
        ]
        h, h_scale = kernels.norm(x, attn_norm, eps)
        qkv = qkv_weights.apply(h, bias=None if biases[0] is None else torch.cat(biases))
        q_raw, k_raw, v = lay.split(qkv)
        q, q_scale = kernels.rotate(lay, q_raw, lay.heads, q_norm, eps)
        k, k_scale = kernels.rotate(lay, k_raw, lay.kv_heads, k_norm, eps)
        gathered, log_sums = kernels.attend(lay.reach, q, k, v)
        middle = out_weight.apply(gathered, skip=x)
        m, m_scale = kernels.norm(middle, mlp_norm, eps)
        both = gate_up_weights.apply(m)
        ctx.layout, ctx.products, ctx.has_bias = lay, products, biases[0] is not None
        norms = (attn_norm, q_norm, k_norm, mlp_norm)
        attention = (x, h, h_scale, qkv, q, q_scale, k, k_scale, gathered, log_sums)
        ctx.save_for_backward(*norms, *attention, middle, m, m_scale, both)
        return down_weight.apply(kernels.gate(both), skip=middle)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        lay, grad = ctx.layout, grad_outputs[0].contiguous()
        qkv_weights, out_weight, gate_up_weights, down_weight = ctx.products
        attn_norm, q_norm, k_norm, mlp_norm = ctx.saved_tensors[:4]
        x, h, h_scale, qkv, q, q_scale, k, k_scale, gathered, log_sums = ctx.saved_tensors[4:14]
        middle, m, m_scale, both = ctx.saved_tensors[14:]

        d_both, gated = kernels.gate_backward(down_weight.input_gradient(grad), both)
        g_down, u_down = down_weight.gradients(grad, gated)
        g_gate_up, u_gate_up = gate_up_weights.gradients(d_both, m)
        d_m = gate_up_weights.input_gradient(d_both)
        d_middle, g_mlp_norm = kernels.norm_backward(d_m, middle, mlp_norm, m_scale, grad)

        g_out, u_out = out_weight.gradients(d_middle, gathered)
        d_gathered = out_weight.input_gradient(d_middle)
        q_raw, k_raw, v = lay.split(qkv)
        d_qkv = torch.empty_like(qkv)
        d_q_raw, d_k_raw, d_v = lay.split(d_qkv)
        d_q, d_k = kernels.attend_backward(lay.reach, d_gathered, (q, k, v), gathered, log_sums, d_v)
        g_q_norm = kernels.rotate_backward(lay, d_q, q_raw, q_norm, q_scale, d_q_raw)
        g_k_norm = kernels.rotate_backward(lay, d_k, k_raw, k_norm, k_scale, d_k_raw)
        g_qkv, u_qkv = qkv_weights.gradients(d_qkv, h)
        widths = [len(weight) for weight in qkv_weights.weights]
        g_biases = d_qkv.float().sum(0).split(widths) if ctx.has_bias else (None, None, None)
        d_x = g_attn_norm = None
        if any(ctx.needs_input_grad[3:5]):  # not so in the first block over a frozen base
            d_h = qkv_weights.input_gradient(d_qkv)
            d_x, g_attn_norm = kernels.norm_backward(d_h, x, attn_norm, h_scale, d_middle)

        attention = (g_attn_norm, *g_qkv, *g_biases, g_q_norm, g_k_norm, *g_out)
        updates = (*u_qkv, *u_out, *u_gate_up, *u_down)
        return (None, None, None, d_x, *attention, g_mlp_norm, *g_gate_up, *g_down, *updates)


_QKV = tuple(f"{name}.{kind}" for kind in ("weight", "bias") for name in ("q", "k", "v"))
WEIGHTS = (
    "self_attn.norm.weight",
    *(f"self_attn.sublayer.{name}" for name in (*_QKV, "q_norm.weight", "k_norm.weight", "out.weight")),
    "mlp.norm.weight",
    *(f"mlp.sublayer.{name}.weight" for name in ("gate", "up", "out")),
)
LINEARS = (
    *(f"self_attn.sublayer.{name}" for name in ("q", "k", "v", "out")),
    *(f"mlp.sublayer.{name}" for name in ("gate", "up", "out")),
)
