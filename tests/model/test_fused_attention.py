"""Attention in C of short rows against torch's, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from danlu.model.attention import PLAIN_ATTENTION, Attend
from danlu.model.fused_attention import NATIVE_ATTENTION, text_lengths
from danlu.model.native.bindings import available

pytestmark = pytest.mark.skipif(not available(), reason="needs a C compiler")

LENGTHS = torch.tensor([7, 21, 1, 40])


def padding(keys: int) -> Tensor:
    return (torch.arange(keys) >= LENGTHS.clamp(max=keys)[:, None]).long()


def values_and_gradients(
    attend: Attend,
    seq: int,
    keys: int,
    dtype: torch.dtype,
    *,
    kv_heads: int = 4,
    read: Tensor | None = None,
) -> list[Tensor]:
    """What is gathered, and the gradients of queries, keys and values; only what is `read` counts."""
    generator = torch.Generator().manual_seed(seq)
    shapes = [(4, seq, 4, 16), (4, keys, kv_heads, 16), (4, keys, kv_heads, 16)]
    given = [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]
    out = attend(*(each.transpose(1, 2) for each in given))
    if read is not None:
        out = out * read[:, None, :, None]
    out.backward(torch.randn(out.shape, generator=generator).to(dtype))
    return [out.detach(), *(each.grad for each in given if each.grad is not None)]


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize(("dtype", "accuracy"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize(("seq", "keys"), [(1, 5), (12, 12), (19, 40), (70, 33), (33, 70)])
@pytest.mark.parametrize("padded", [False, True])
def test_another_text_is_read_as_torch_reads_it(padded, seq, keys, dtype, accuracy, kv_heads):
    segments = padding(keys) if padded else None
    mine, plain = (
        values_and_gradients(kinds.across(segments, None), seq, keys, dtype, kv_heads=kv_heads)
        for kinds in (NATIVE_ATTENTION, PLAIN_ATTENTION)
    )
    for left, right in zip(mine, plain, strict=True):
        assert_close(left.float(), right.float(), atol=accuracy, rtol=accuracy)


@pytest.mark.parametrize(("dtype", "accuracy"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("seq", [1, 12, 33, 70])
def test_a_text_is_read_both_ways_and_backwards_as_torch_reads_it(seq, dtype, accuracy):
    for kind, segments in (("within", None), ("both_ways", None), ("both_ways", padding(seq))):
        read = None if segments is None else segments == 0
        mine, plain = (
            values_and_gradients(getattr(kinds, kind)(segments), seq, seq, dtype, read=read)
            for kinds in (NATIVE_ATTENTION, PLAIN_ATTENTION)
        )
        for left, right in zip(mine, plain, strict=True):
            assert_close(left.float(), right.float(), atol=accuracy, rtol=accuracy)


def test_what_the_kernel_does_not_know_is_left_to_torch():
    left = padding(12).flip(1)
    assert text_lengths(left) is None
    assert text_lengths(torch.ones(2, 3, dtype=torch.int64)) is None
    segments = torch.tensor([[0] * 7 + [1] * 5] * 4)
    for given in ((left, None), (segments, segments)):
        mine, plain = (
            values_and_gradients(kinds.across(*given), 12, 12, torch.float32)
            for kinds in (NATIVE_ATTENTION, PLAIN_ATTENTION)
        )
        for ours, theirs in zip(mine, plain, strict=True):
            assert torch.equal(ours, theirs)


def test_scores_that_are_not_divided_are_left_to_torch():
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, 4, 5, 16, generator=generator) for _ in range(3))
    mine, plain = (
        kinds.across(None, None)(q, k, v, scale=1.0) for kinds in (NATIVE_ATTENTION, PLAIN_ATTENTION)
    )
    assert torch.equal(mine, plain)
