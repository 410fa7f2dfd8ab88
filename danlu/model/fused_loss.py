"""Cross-entropy fused with the output projection: logits exist a chunk at a time and are never kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK_ELEMENTS = 1 << 23  # logits held at once: 16 MB in bfloat16


def nll_sum(hidden: Tensor, weight: Tensor, target_ids: Tensor, loss_mask: Tensor) -> Tensor:
    """Summed negative log-likelihood of the counted targets, a float32 scalar.

    Args:
        hidden: what the backbone gave, (batch, seq, d_model).
        weight: of the output projection, (vocab, d_model).
        target_ids: (batch, seq); `loss_mask` likewise, True where the target counts.
    """
    counted = loss_mask.flatten().nonzero().squeeze(1)
    hidden = hidden.flatten(0, 1)
    if len(counted) < len(hidden):  # prompts and padding need no logits
        hidden = hidden.index_select(0, counted)
    return _FusedLoss.apply(hidden, weight, target_ids.flatten()[counted])


class _FusedLoss(torch.autograd.Function):
    """Makes the gradients while the logits of a chunk exist, so that backward only scales them."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, target_ids: Tensor) -> Tensor:
        cast = weight.to(hidden.dtype)
        needs_grad = any(ctx.needs_input_grad)
        hidden_grad = torch.empty_like(hidden) if needs_grad else None
        weight_grad = torch.zeros_like(weight, dtype=torch.float32) if needs_grad else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        rows = max(CHUNK_ELEMENTS // len(weight), 1)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            logits = (hidden[part] @ cast.t()).float()
            lse = logits.logsumexp(-1, keepdim=True)
            targets = target_ids[part, None]
            total += (lse - logits.gather(-1, targets)).sum()
            if hidden_grad is None or weight_grad is None:
                continue
            logits_grad = (logits - lse).exp_()
            logits_grad.scatter_add_(-1, targets, torch.full_like(lse, -1.0))
            logits_grad = logits_grad.to(hidden.dtype)
            torch.mm(logits_grad, cast, out=hidden_grad[part])
            weight_grad += logits_grad.t() @ hidden[part]
        ctx.save_for_backward(hidden_grad, weight_grad)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        hidden_grad, weight_grad = ctx.saved_tensors
        scale = grad_outputs[0]
        return hidden_grad * scale.to(hidden_grad.dtype), weight_grad * scale, None
