"""Cross-entropy fused with the output projection: logits exist a chunk at a time and are never kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from danlu.model.native.products import CastProducts, MakeProducts
from danlu.model.quantised_weight import products_of

CHUNK_ELEMENTS = 1 << 22  # logits held at once: 8 MB in bfloat16
LEAST_ROWS = 512  # fewer rows at once would make the products slow

CrossEntropy = Callable[[Tensor, Tensor], Tensor]
"""Logits (rows, vocab) and targets (rows,) to the summed loss; the logits become its gradient, in place."""


@dataclass(frozen=True, slots=True)
class LossKernels:
    """How the two parts of the loss are computed."""

    cross_entropy: CrossEntropy
    products: MakeProducts


def nll_sum(
    hidden: Tensor,
    weight: Tensor,
    target_ids: Tensor,
    loss_mask: Tensor,
    kernels: LossKernels,
    *,
    bias: Tensor | None = None,
) -> Tensor:
    """Summed negative log-likelihood of the counted targets, a float32 scalar.

    Args:
        hidden: what the backbone gave, (batch, seq, d_model).
        weight: of the output projection, (vocab, d_model).
        target_ids: (batch, seq); `loss_mask` likewise, True where the target counts.
        kernels: native or plain ones.
        bias: of the output projection, (vocab,); it is not trained.
    """
    hidden, targets = counted_rows(hidden, target_ids, loss_mask)
    return _FusedLoss.apply(hidden, weight, bias, targets, kernels)


def excess_sum(
    hidden: Tensor, weight: Tensor, target_ids: Tensor, loss_mask: Tensor, *, bias: Tensor | None = None
) -> Tensor:
    """By how much the targets' logits exceed the mean logit, summed over the counted ones.

    Label smoothing (Szegedy et al. 2016, section 7) takes the cross-entropy against the target with weight
    1 - e and every token of the vocabulary with weight e / vocab. That is the negative log-likelihood plus e
    times this; and a mean of logits is one product with the mean of the weights, so no logit is needed.
    The arguments are those of `nll_sum`.
    """
    hidden, targets = counted_rows(hidden, target_ids, loss_mask)
    above = torch.nn.functional.embedding(targets, weight) - weight.mean(0)
    excess = (hidden.float() * above).sum()
    return excess if bias is None else excess + (bias[targets] - bias.mean()).sum()


def counted_rows(hidden: Tensor, target_ids: Tensor, loss_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden vectors and targets of the counted positions, (counted, d_model) and (counted,)."""
    counted = loss_mask.flatten().nonzero().squeeze(1)
    hidden = hidden.flatten(0, 1)
    if len(counted) < len(hidden):  # prompts and padding need no logits
        hidden = hidden.index_select(0, counted)
    return hidden, target_ids.flatten()[counted]


def target_logprobs(
    hidden: Tensor, weight: Tensor, target_ids: Tensor, loss_mask: Tensor, kernels: LossKernels
) -> Tensor:
    """log p of each counted target in the order of the rows, (counted,), float32.

    For losses that weigh sequences differently, as preference optimisation does: `nll_sum` must know the
    weights before its backward pass. Here the logits of a chunk are made once more when the gradient comes.
    The arguments are those of `nll_sum`.
    """
    counted = loss_mask.flatten().nonzero().squeeze(1)
    rows = hidden.flatten(0, 1).index_select(0, counted)
    return _FusedLogprobs.apply(rows, weight, target_ids.flatten()[counted], kernels)


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
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target_ids: Tensor,
        kernels: LossKernels,
    ) -> Tensor:
        head = products_of([weight], hidden.dtype, kernels.products)
        hidden_grad = torch.empty_like(hidden) if any(ctx.needs_input_grad) else None
        weight_grad: Tensor | None = None  # made by the first chunk, for no one has to clear it
        total = torch.zeros((), device=hidden.device)
        for part in chunks(len(hidden), len(weight)):
            logits = head.apply(hidden[part], bias=bias)
            total += kernels.cross_entropy(logits, target_ids[part])
            if hidden_grad is None:
                continue
            hidden_grad[part] = head.input_gradient(logits)
            if not ctx.needs_input_grad[1]:  # a frozen base
                continue
            if weight_grad is None:
                (weight_grad,) = head.weight_gradients(logits, hidden[part])
            else:
                head.add_weight_gradients(logits, hidden[part], [weight_grad])
        ctx.gradients = hidden_grad, weight_grad
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, weight_grad = ctx.gradients
        if hidden_grad is None:
            raise RuntimeError("the gradients of this loss were handed out already; compute it once more")
        ctx.gradients = None, None  # scaled in place: they can be large
        scale = grad_outputs[0]
        if weight_grad is not None:  # None where nothing was counted, or the weight is frozen
            weight_grad.mul_(scale)
        return hidden_grad.mul_(scale), weight_grad, None, None, None


class _FusedLogprobs(torch.autograd.Function):
    """Keeps neither logits nor probabilities: backward makes each chunk anew."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, target_ids: Tensor, kernels: LossKernels) -> Tensor:
        head = products_of([weight], hidden.dtype, kernels.products)
        logprobs = torch.empty(len(hidden), device=hidden.device)
        for part in chunks(len(hidden), len(weight)):
            wide = head.apply(hidden[part]).float()
            chosen = wide.gather(-1, target_ids[part, None]).squeeze(-1)
            logprobs[part] = chosen - wide.logsumexp(-1)
        ctx.save_for_backward(hidden, target_ids)
        ctx.head, ctx.cross_entropy, ctx.weight_shape = head, kernels.cross_entropy, weight.shape
        return logprobs

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden, target_ids = ctx.saved_tensors
        hidden_grad = torch.empty_like(hidden)
        weight_grad = torch.zeros(ctx.weight_shape, device=hidden.device) if ctx.needs_input_grad[1] else None
        for part in chunks(len(hidden), ctx.weight_shape[0]):
            logits = ctx.head.apply(hidden[part])
            ctx.cross_entropy(logits, target_ids[part])  # they become the gradient of -log p
            logits.mul_(-grad_outputs[0][part, None])
            hidden_grad[part] = ctx.head.input_gradient(logits)
            if weight_grad is not None:
                ctx.head.add_weight_gradients(logits, hidden[part], [weight_grad])
        return hidden_grad, weight_grad, None, None


def chunks(n_rows: int, vocab_size: int) -> Iterator[slice]:
    """Rows whose logits are held at once."""
    size = max(CHUNK_ELEMENTS // vocab_size, LEAST_ROWS)
    return (slice(start, start + size) for start in range(0, n_rows, size))


PLAIN_LOSS = LossKernels(plain_cross_entropy, CastProducts)
