"""Products with packed weights against torch's, for sizes that fill no panel, chunk or vector."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from danlu.model.native.bindings import available, has_products
from danlu.model.native.products import CastProducts, PackedProducts, packed_where_it_fits

needs_products = pytest.mark.skipif(not has_products(), reason="written for processors with AVX-512 BF16")
# rows, inputs, outputs of each joined weight; 1100 is more than one stretch of the common side
SIZES = [(1, 2, (2,)), (7, 30, (16, 32, 6)), (100, 96, (64, 64)), (193, 1100, (80,)), (2300, 50, (34,))]


def rounded(*shape: int, seed: int) -> Tensor:
    """Numbers that bfloat16 holds exactly, so that only the sums differ."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).bfloat16().float()


@needs_products
@pytest.mark.parametrize(("rows", "inputs", "outputs"), SIZES)
def test_packed_products_are_torchs(rows: int, inputs: int, outputs: tuple[int, ...]):
    weights = [rounded(out, inputs, seed=out) for out in outputs]
    joined = torch.cat(weights)
    x, grad, skip = (
        rounded(rows, inputs, seed=1),
        rounded(rows, len(joined), seed=2),
        rounded(rows, len(joined), seed=3),
    )
    bias = torch.randn(len(joined), generator=torch.Generator().manual_seed(4))
    packed = PackedProducts(weights, torch.bfloat16)
    tolerance = {"rtol": 1e-2, "atol": 0.02 * inputs**0.5}
    assert_close(packed.apply(x.bfloat16()).float(), x @ joined.t(), **tolerance)
    both = packed.apply(x.bfloat16(), bias=bias, skip=skip.bfloat16()).float()
    assert_close(both, x @ joined.t() + bias + skip, **tolerance)
    assert_close(packed.input_gradient(grad.bfloat16()).float(), grad @ joined, rtol=1e-2, atol=0.2)
    gradients = packed.weight_gradients(grad.bfloat16(), x.bfloat16())
    # Sums of exact products in float32: far closer than bfloat16.
    assert_close(torch.cat(gradients), grad.t() @ x, rtol=1e-4, atol=1e-3)
    packed.add_weight_gradients(grad.bfloat16(), x.bfloat16(), gradients)
    assert_close(torch.cat(gradients), 2 * grad.t() @ x, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize(("rows", "inputs", "outputs"), SIZES)
def test_cast_products_are_torchs(rows: int, inputs: int, outputs: tuple[int, ...]):
    weights = [rounded(out, inputs, seed=out) for out in outputs]
    x, grad = rounded(rows, inputs, seed=1), rounded(rows, sum(outputs), seed=2)
    products = CastProducts(weights, torch.float32)
    assert_close(products.apply(x), x @ torch.cat(weights).t())
    assert_close(products.input_gradient(grad), grad @ torch.cat(weights), rtol=1e-4, atol=1e-4)
    gradients = products.weight_gradients(grad, x)
    products.add_weight_gradients(grad, x, gradients)
    assert_close(torch.cat(gradients), 2 * grad.t() @ x, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("outputs", [(3,), (24, 8)])
def test_sizes_that_cannot_be_packed_are_left_to_torch(outputs: tuple[int, ...]):
    weights = [torch.randn(out, 8) for out in outputs]
    assert isinstance(packed_where_it_fits(weights, torch.bfloat16), CastProducts)


@pytest.mark.skipif(not available(), reason="needs a C compiler")
def test_float32_is_left_to_torch():
    assert isinstance(packed_where_it_fits([torch.randn(16, 8)], torch.float32), CastProducts)
