"""The blocks in C against the blocks in torch: values and every gradient."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from danlu.model import fused_block, transformer
from danlu.model.config import ModelConfig
from danlu.model.fused_block import supports
from danlu.model.heads import LanguageModel
from danlu.model.native import bindings, build
from danlu.model.native.products import CastProducts, MakeProducts, packed_where_it_fits
from danlu.model.presets import LLAMA, QWEN2, QWEN3
from danlu.model.transformer import Decoder

pytestmark = pytest.mark.skipif(
    not bindings.available(), reason="needs a C compiler; the plain blocks are used without one"
)
# batch, seq, heads, kv_heads, head_dim: odd lengths, one token, groups, blocks of queries that are not full
SHAPES = [(2, 37, 4, 2, 16), (3, 64, 4, 4, 32), (2, 100, 6, 2, 48), (2, 1, 2, 1, 16), (1, 130, 2, 1, 128)]


def decoder(preset: type[ModelConfig], heads: int, kv_heads: int, head_dim: int) -> Decoder:
    sizes = dict(vocab_size=64, d_model=72, n_layers=2, d_ff=96)  # noqa: C408 (keyword names read better)
    config = preset(**sizes, n_heads=heads, n_kv_heads=kv_heads, head_dim=head_dim)
    model = LanguageModel(config).backbone
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases and norms start at 0 and 1, where mistakes hide
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def results(
    model: Decoder,
    run: transformer.RunBlocks,
    dtype: torch.dtype,
    seq: int,
    batch: int,
    *,
    branching: bool = False,
) -> list[Tensor]:
    """Output, gradient of the input, gradients of all weights, for one random packed batch."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(batch, seq, 72, generator=generator, requires_grad=True)
    weights = torch.randn(batch, seq, 72, generator=generator)
    segment_ids = (torch.rand(batch, seq, generator=generator) < 0.05).cumsum(1)
    branch_ids = tree_of(segment_ids, generator) if branching else None
    position_ids = torch.randint(500, (batch, seq), generator=generator)
    model.zero_grad()
    y = run(model, x.to(dtype), model.position.angles(position_ids), segment_ids, branch_ids)
    (y.float() * weights).sum().backward()
    grads = [x.grad, *(parameter.grad for parameter in model.blocks.parameters())]
    return [y.detach().float(), *(grad for grad in grads if grad is not None)]


def tree_of(segment_ids: Tensor, generator: torch.Generator) -> Tensor:
    """A stem and branches of random lengths in every segment, some of them without a stem."""
    branch_ids = (torch.rand(segment_ids.shape, generator=generator) < 0.2).cumsum(1)
    first = (segment_ids[:, 1:] != segment_ids[:, :-1]).nonzero().tolist()
    for row, before in first:
        branch_ids[row, before + 1 :] -= branch_ids[row, before + 1] - int(before % 2)
    return branch_ids


def difference(ours: Tensor, theirs: Tensor, scale: float) -> float:
    """Largest difference, relative to the largest value or to `scale` where all are tiny."""
    return float((ours - theirs).abs().max()) / max(float(theirs.abs().max()), scale)


@pytest.mark.parametrize("make", [CastProducts, packed_where_it_fits])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-6), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("preset", [LLAMA, QWEN2, QWEN3])
def test_values_and_gradients_are_those_of_the_plain_blocks(
    preset: type[ModelConfig],
    shape: tuple[int, int, int, int, int],
    dtype: torch.dtype,
    tolerance: float,
    make: MakeProducts,
):
    batch, seq, *heads = shape
    model = decoder(preset, *heads)
    assert supports(model)
    fused = results(model, partial(fused_block.run_blocks, make=make), dtype, seq, batch)
    plain = results(model, transformer.run_blocks, torch.float32, seq, batch)
    assert len(fused) == len(plain)
    for ours, theirs in zip(fused, plain, strict=True):
        assert difference(ours, theirs, scale=1.0) < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-6), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("shape", SHAPES)
def test_branches_see_their_stem_and_themselves(
    shape: tuple[int, int, int, int, int], dtype: torch.dtype, tolerance: float
):
    batch, seq, *heads = shape
    model = decoder(QWEN3, *heads)
    fused = results(model, fused_block.run_blocks, dtype, seq, batch, branching=True)
    plain = results(model, transformer.run_blocks, torch.float32, seq, batch, branching=True)
    for ours, theirs in zip(fused, plain, strict=True):
        assert difference(ours, theirs, scale=1.0) < tolerance


def test_segments_out_of_order_are_left_to_the_plain_blocks():
    model = decoder(QWEN3, 4, 2, 16)
    x, segment_ids = torch.randn(1, 6, 72), torch.tensor([[0, 0, 1, 1, 0, 0]])
    angles = model.position.angles(torch.arange(6)[None])
    fused, plain = (
        run(model, x, angles, segment_ids) for run in (fused_block.run_blocks, transformer.run_blocks)
    )
    assert torch.equal(fused, plain)


def test_a_later_token_never_changes_an_earlier_vector():
    model = decoder(QWEN3, 4, 2, 16)
    x = torch.randn(2, 70, 72, generator=torch.Generator().manual_seed(0))
    angles = model.position.angles(torch.arange(70)[None])
    before = fused_block.run_blocks(model, x, angles, None)
    x[:, 41] += 1
    after = fused_block.run_blocks(model, x, angles, None)
    assert torch.equal(before[:, :41], after[:, :41])
    assert not torch.equal(before[:, 41:], after[:, 41:])


@pytest.mark.skipif(not bindings.has_products(), reason="torch's products may depend on the number of rows")
def test_a_rows_bits_do_not_depend_on_what_else_is_in_the_batch():
    """Log-probabilities sampled in one batch and trained on in another must agree."""
    model = decoder(QWEN3, 4, 2, 16)
    x = torch.randn(5, 70, 72, generator=torch.Generator().manual_seed(0)).bfloat16()
    run = partial(fused_block.run_blocks, make=packed_where_it_fits)
    angles = model.position.angles(torch.arange(70)[None])
    together, alone = run(model, x, angles, None), run(model, x[2:3], angles, None)
    assert torch.equal(together[2:3], alone)
    short = run(model, x[2:3, :33], model.position.angles(torch.arange(33)[None]), None)
    assert torch.equal(alone[:, :33], short)


def test_two_threads_give_the_values_of_one():
    model = decoder(QWEN3, 4, 2, 16)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    two = results(model, fused_block.run_blocks, torch.float32, 50, 3)
    torch.set_num_threads(1)
    one = results(model, fused_block.run_blocks, torch.float32, 50, 3)
    torch.set_num_threads(threads)
    for a, b in zip(two, one, strict=True):
        assert difference(a, b, scale=0.1) < 1e-5


def test_without_a_compiler_there_is_no_library(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    assert build.build_library((bindings.HERE / "kernels.c",), ("-O1",)) is None
