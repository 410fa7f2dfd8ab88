"""The fused loss against the plain one."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from danlu.model import fused_loss
from danlu.model.fused_loss import PLAIN_LOSS, LossKernels, nll_sum, target_logprobs
from danlu.model.native.bindings import available
from danlu.model.native.kernels import cross_entropy
from danlu.model.native.products import CastProducts

KERNELS = [PLAIN_LOSS, *([LossKernels(cross_entropy, CastProducts)] if available() else [])]


def plain(hidden: torch.Tensor, weight: torch.Tensor, target_ids: torch.Tensor, mask: torch.Tensor):
    logits = (hidden @ weight.t()).flatten(0, 1)
    losses = F.cross_entropy(logits, target_ids.flatten(), reduction="none")
    return losses[mask.flatten()].sum()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("share", [1.0, 0.4, 0.0])
def test_loss_and_gradients_equal_plain_cross_entropy(
    kernel: LossKernels, share: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fused_loss, "LEAST_ROWS", 7)  # the last chunk is shorter
    monkeypatch.setattr(fused_loss, "CHUNK_ELEMENTS", 1)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 11, 8, generator=generator, requires_grad=True)
    weight = torch.randn(50, 8, generator=generator, requires_grad=True)
    target_ids = torch.randint(50, (3, 11), generator=generator)
    mask = torch.rand(3, 11, generator=generator) < share
    results = []
    for loss in (partial(nll_sum, kernels=kernel), plain):
        total = loss(hidden, weight, target_ids, mask)
        (0.5 * total).backward()
        results.append(
            (total.detach(), hidden.grad, torch.zeros_like(weight) if weight.grad is None else weight.grad)
        )
        hidden.grad = weight.grad = None
    for ours, theirs in zip(*results, strict=True):
        assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_without_gradients_the_loss_is_the_same(kernel: LossKernels):
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(1, 5, 8, generator=generator), torch.randn(20, 8, generator=generator)
    target_ids = torch.randint(20, (1, 5), generator=generator)
    mask = torch.ones(1, 5, dtype=torch.bool)
    assert_close(nll_sum(hidden, weight, target_ids, mask, kernel), plain(hidden, weight, target_ids, mask))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("share", [1.0, 0.4, 0.0])
def test_log_probabilities_and_their_gradients_equal_those_of_all_logits(
    kernel: LossKernels, share: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fused_loss, "LEAST_ROWS", 7)  # the last chunk is shorter
    monkeypatch.setattr(fused_loss, "CHUNK_ELEMENTS", 1)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 11, 8, generator=generator, requires_grad=True)
    weight = torch.randn(50, 8, generator=generator, requires_grad=True)
    target_ids = torch.randint(50, (3, 11), generator=generator)
    mask = torch.rand(3, 11, generator=generator) < share
    upstream = torch.randn(int(mask.sum()), generator=generator)  # each token pulls by its own weight
    every = (hidden @ weight.t()).log_softmax(-1).gather(-1, target_ids[..., None])[..., 0][mask]
    found = target_logprobs(hidden, weight, target_ids, mask, kernel)
    assert_close(found, every, atol=1e-5, rtol=1e-5)
    wanted = torch.autograd.grad((every * upstream).sum(), [hidden, weight])
    for ours, theirs in zip(
        torch.autograd.grad((found * upstream).sum(), [hidden, weight]), wanted, strict=True
    ):
        assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_frozen_projection_gets_no_gradient_from_log_probabilities(kernel: LossKernels):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, 5, 8, generator=generator, requires_grad=True)
    weight, mask = torch.randn(20, 8, generator=generator), torch.ones(1, 5, dtype=torch.bool)
    target_logprobs(hidden, weight, torch.zeros(1, 5, dtype=torch.int64), mask, kernel).sum().backward()
    assert weight.grad is None
    assert float(hidden.grad.abs().sum()) > 0
