"""Cross-entropy fused with the output projection: logits exist a chunk at a time and are never kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

CHUNK_ELEMENTS = 1 << 22  # logits held at once: 8 MB in bfloat16
LEAST_ROWS = 256  # fewer rows at once would make the products slow

CrossEntropy = Callable[[Tensor, Tensor], Tensor]
"""Logits (rows, vocab) and targets (rows,) to the summed loss; the logits become its gradient, in place."""


def nll_sum(
    hidden: Tensor, weight: Tensor, target_ids: Tensor, loss_mask: Tensor, cross_entropy: CrossEntropy
) -> Tensor:
    """Summed negative log-likelihood of the counted targets, a float32 scalar.

    Args:
        hidden: what the backbone gave, (batch, seq, d_model).
        weight: of the output projection, (vocab, d_model).
        target_ids: (batch, seq); `loss_mask` likewise, True where the target counts.
        cross_entropy: of one chunk, with its gradient.
    """
    counted = loss_mask.flatten().nonzero().squeeze(1)
    hidden = hidden.flatten(0, 1)
    if len(counted) < len(hidden):  # prompts and padding need no logits
        hidden = hidden.index_select(0, counted)
    return _FusedLoss.apply(hidden, weight, target_ids.flatten()[counted], cross_entropy)


def plain_cross_entropy(logits: Tensor, target_ids: Tensor) -> Tensor:
    """A `CrossEntropy` in torch's own operations."""
    wide, targets = logits.float(), target_ids[:, None]
    log_sum = wide.logsumexp(-1, keepdim=True)
    total = (log_sum - wide.gather(-1, targets)).sum()
    gradient = (wide - log_sum).exp_()
    logits.copy_(gradient.scatter_add_(-1, targets, torch.full_like(log_sum, -1.0)))
    return total


class _FusedLoss(torch.autograd.Function):
    """Makes the gradients while the logits of a chunk exist, so that backward only scales them."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, target_ids: Tensor, cross_entropy: CrossEntropy
    ) -> Tensor:
        cast = weight.to(hidden.dtype)
        hidden_grad = torch.empty_like(hidden) if any(ctx.needs_input_grad) else None
        weight_grad: Tensor | None = None
        total = torch.zeros((), device=hidden.device)
        n_rows = max(CHUNK_ELEMENTS // len(weight), LEAST_ROWS)
        for start in range(0, len(hidden), n_rows):
            part = slice(start, start + n_rows)
            logits = hidden[part] @ cast.t()
            total += cross_entropy(logits, target_ids[part])
            if hidden_grad is not None:
                torch.mm(logits, cast, out=hidden_grad[part])
                chunk = logits.t() @ hidden[part]
                weight_grad = chunk.float() if weight_grad is None else weight_grad.add_(chunk)
        ctx.save_for_backward(hidden_grad, weight_grad)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, weight_grad = ctx.saved_tensors
        scale = grad_outputs[0]
        if weight_grad is None:  # nothing was counted
            return torch.zeros_like(hidden_grad), None, None, None
        return hidden_grad * scale.to(hidden_grad.dtype), weight_grad * scale, None, None
