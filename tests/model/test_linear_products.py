"""Linear layers by packed products against torch's own, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from danlu.model.layers import Linear
from danlu.model.linear_products import packed_product
from danlu.model.native.bindings import available, has_products
from danlu.model.precision import Precision, apply_precision
from danlu.model.presets import TRANSFORMER
from danlu.model.translation import TranslationModel

needs_products = pytest.mark.skipif(not has_products(), reason="written for processors with AVX-512 BF16")


def layer(n_in: int, n_out: int, *, bias: bool) -> Linear:
    made = Linear(n_in, n_out, bias=bias)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return made


@needs_products
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("n_in", "n_out"), [(32, 48), (64, 16), (34, 6)])
def test_values_and_gradients_are_those_of_the_plain_layer(n_in: int, n_out: int, bias: bool):
    plain, packed = layer(n_in, n_out, bias=bias), layer(n_in, n_out, bias=bias)
    packed.product = packed_product
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(3, 7, n_in, generator=generator).bfloat16()
    grad = torch.randn(3, 7, n_out, generator=generator).bfloat16()
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [each(given) for each, given in zip((plain, packed), inputs, strict=True)]
    # Both round sums to bfloat16, which has eight bits, and add in another order.
    assert_close(outputs[1].float(), outputs[0].float(), atol=0.1, rtol=0.02)
    for output in outputs:
        output.backward(grad)
    assert_close(inputs[1].grad.float(), inputs[0].grad.float(), atol=0.1, rtol=0.02)
    for mine, other in zip(packed.parameters(), plain.parameters(), strict=True):
        assert mine.grad.dtype == torch.float32
        assert_close(mine.grad, other.grad, atol=0.1, rtol=0.02)


@needs_products
def test_a_frozen_weight_gets_no_gradient():
    made = layer(32, 48, bias=True).requires_grad_(False)
    made.product = packed_product
    x = torch.ones(2, 32, dtype=torch.bfloat16, requires_grad=True)
    made(x).sum().backward()
    assert made.weight.grad is None
    assert_close(x.grad, made.weight.bfloat16().float().sum(0).expand(2, 32).bfloat16(), atol=0.1, rtol=0.02)


@pytest.mark.skipif(not available(), reason="needs a C compiler")
def test_native_kernels_change_a_translation_loss_by_rounding_only():
    shape = {"vocab_size": 64, "d_model": 32, "n_layers": 2, "d_ff": 64}
    model = TranslationModel(TRANSFORMER(**shape, n_heads=2, n_kv_heads=2, head_dim=16))
    ids = torch.randint(64, (8, 10), generator=torch.Generator().manual_seed(3))
    counted = torch.ones_like(ids, dtype=torch.bool)

    def loss_and_gradient() -> tuple[float, torch.Tensor]:
        model.zero_grad()
        loss = model.nll_sum(ids, None, ids, ids.flip(1), counted) / ids.numel()
        loss.backward()
        return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters()])

    expected, gradient = loss_and_gradient()
    for kernels, dtype, accuracy in (("native", "float32", 1e-4), ("packed", "bfloat16", 0.05)):
        apply_precision(model, Precision(dtype=dtype, kernels=kernels))  # type: ignore[arg-type]
        loss, other = loss_and_gradient()
        assert loss == pytest.approx(expected, rel=accuracy)
        assert float((other - gradient).norm() / gradient.norm()) < 10 * accuracy
    apply_precision(model, Precision())
    assert loss_and_gradient()[0] == expected
