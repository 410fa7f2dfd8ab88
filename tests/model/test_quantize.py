"""Weights in 8 and 4 bits: the numbers, the kernels, the files, and what such a base can and cannot do."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from danlu.adapters.attach import adapted_layers, attach, merge
from danlu.adapters.settings import AdapterConfig
from danlu.adapters.sharing import base_digest, twin
from danlu.config import ConfigError
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model.config import Experts
from danlu.model.fused_block import supports
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import TokenIds, load_language_model, load_score_model, open_model, save_model
from danlu.model.precision import Precision, apply_precision
from danlu.model.presets import GPT2, QWEN3, QWEN3_MOE
from danlu.model.quantised_weight import Int4Weight, Int8Weight, QuantisedWeight
from danlu.model.quantize import Quantisation, is_quantised, quantise, refuse_training, weight_bytes
from danlu.model.tensor_file import ModelFileError

SIZES: dict[str, Any] = {
    "vocab_size": 80,
    "d_model": 64,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "head_dim": 16,
    "d_ff": 128,
    "max_seq_len": 64,
}
IDS = torch.randint(0, 80, (2, 20), generator=torch.Generator().manual_seed(0))
EVERYTHING = torch.ones_like(IDS, dtype=torch.bool)
BOTH = pytest.mark.parametrize("settings", [Quantisation(bits=8), Quantisation(bits=4)], ids=["int8", "int4"])


def matrix(n_rows: int, width: int) -> Tensor:
    return torch.randn(n_rows, width, generator=torch.Generator().manual_seed(n_rows))


def model(preset: Any = QWEN3, **changed: Any) -> LanguageModel:
    return LanguageModel(preset(**SIZES | changed), seed=1)


def quantised(settings: Quantisation, preset: Any = QWEN3, **changed: Any) -> LanguageModel:
    found = model(preset, **changed)
    quantise(found, settings)
    return found


def numbers(found: nn.Module) -> nn.Module:
    """The same model with ordinary weights of the same values."""
    plain = copy.deepcopy(found)
    for name, parameter in found.named_parameters():
        if isinstance(parameter, QuantisedWeight):
            layer, _, kind = name.rpartition(".")
            setattr(plain.get_submodule(layer), kind, nn.Parameter(parameter.dense(), requires_grad=False))
    if isinstance(plain, LanguageModel) and plain.config.tie_embeddings:
        plain.lm_head.weight = plain.backbone.embedding.weight
    return plain


def test_eight_bits_by_hand():
    weight = Int8Weight.of(torch.tensor([[1.27, -0.5, 0.004], [0.0, 0.0, 0.0]]))
    assert weight.codes.tolist() == [[127, -50, 0], [0, 0, 0]]
    assert_close(weight.dense(), torch.tensor([[1.27, -0.5, 0.0], [0.0, 0.0, 0.0]]))


def test_four_bits_by_hand():
    # 16 levels 0.25 apart fit exactly; scale and middle are exact in bfloat16.
    row = (torch.arange(32) % 16 - 8) * 0.25
    weight = Int4Weight.of(row.expand(16, 32).contiguous(), 32)
    codes, scales = weight.plain()
    assert codes[0].tolist() == [*range(16), *range(16)]
    assert scales[0].tolist() == [[0.25, 0.0]]
    assert torch.equal(weight.dense()[3], row)


@pytest.mark.parametrize("shape", [(48, 64), (64, 64), (112, 128), (192, 256)])
def test_an_error_is_at_most_half_a_step(shape: tuple[int, int]):
    weight = matrix(*shape)
    step = weight.abs().amax(1, keepdim=True) / 127
    assert ((Int8Weight.of(weight).dense() - weight).abs() <= step / 2 + 1e-6).all()
    groups = weight.unflatten(1, (-1, 64))
    # Ends may be drawn in; in the sum of squares that errs no more than rounding to 16 levels of the span.
    low = groups.amin(2, keepdim=True)
    step = (groups.amax(2, keepdim=True) - low) / 15
    plain = ((groups - low) / step).round() * step + low
    ours = (Int4Weight.of(weight, 64).dense() - weight).unflatten(1, (-1, 64)).square().sum(2)
    assert (ours <= 1.03 * (plain - groups).square().sum(2) + 1e-6).all()  # scales are rounded to bfloat16


@pytest.mark.parametrize("capability", ["default", "avx2", "avx512"])
def test_packed_codes_come_back_on_every_kind_of_processor(capability: str):
    """The kernel's order of codes depends on the processor; a subprocess is told which one it has."""
    code = (
        "import torch; from danlu.model.quantised_weight import unpacked\n"
        "for n in (16, 48, 64, 112, 192):\n"
        "    codes = torch.randint(16, (n, 96), dtype=torch.int32)\n"
        "    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)\n"
        "    assert torch.equal(unpacked(packed).int(), codes), n\n"
    )
    env = os.environ | {"ATEN_CPU_CAPABILITY": capability}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=120)


@pytest.mark.parametrize("make", [Int8Weight.of, lambda w: Int4Weight.of(w, 64)], ids=["int8", "int4"])
@pytest.mark.parametrize("shape", [(48, 64), (176, 128)])
@pytest.mark.parametrize("n_rows", [1, 7, 32, 33])
def test_packed_products_are_those_of_the_numbers(make: Any, shape: tuple[int, int], n_rows: int):
    weight = make(matrix(*shape))
    x = torch.randn(n_rows, shape[1], generator=torch.Generator().manual_seed(3))
    assert_close(F.linear(x, weight), x @ weight.dense().t())
    rounded = x.bfloat16()
    expected = rounded.float() @ weight.dense().t()
    found = F.linear(rounded, weight)
    assert found.dtype is torch.bfloat16
    assert_close(found.float(), expected, atol=0.02 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("width", [33, 40])
def test_widths_on_which_the_eight_bit_kernel_crashes_do_not_reach_it(width: int):
    weight, x = Int8Weight.of(matrix(64, width)), matrix(5, width).bfloat16()
    assert_close(F.linear(x, weight).float(), x.float() @ weight.dense().t(), atol=0.1, rtol=0.02)


@pytest.mark.parametrize("make", [Int8Weight.of, lambda w: Int4Weight.of(w, 64)], ids=["int8", "int4"])
def test_gradients_are_those_of_the_numbers(make: Any):
    weight, x = make(matrix(48, 64)), matrix(5, 64).requires_grad_()
    F.linear(x, weight).square().sum().backward()
    found, x.grad = x.grad, None
    F.linear(x, weight.dense()).square().sum().backward()
    assert_close(found, x.grad)


def test_a_large_matrix_is_made_again_in_parts(monkeypatch: pytest.MonkeyPatch):
    weight, x = Int4Weight.of(matrix(208, 64), 64), matrix(40, 64).requires_grad_()
    whole = F.linear(x, weight)
    (whole_grad,) = torch.autograd.grad(whole.square().sum(), x)
    monkeypatch.setattr("danlu.model.quantised_weight.PART", 64 * 64)
    parts = F.linear(x, weight)
    (parts_grad,) = torch.autograd.grad(parts.square().sum(), x)
    assert_close(parts, whole)
    assert_close(parts_grad, whole_grad, rtol=1e-5, atol=1e-3)  # sums in another order, of numbers near 100


@pytest.mark.parametrize("make", [Int8Weight.of, lambda w: Int4Weight.of(w, 64)], ids=["int8", "int4"])
def test_a_quantised_weight_cannot_be_changed_or_trained(make: Any):
    weight = nn.Parameter(make(matrix(48, 64)), requires_grad=False)
    before = weight.dense()
    with pytest.raises(ConfigError, match="cannot be trained"):
        weight.requires_grad_(True)
    with pytest.raises(ConfigError, match="cannot be written into"):
        weight.add_(1.0)
    assert torch.equal(weight.dense(), before)
    copied = copy.deepcopy(weight)
    assert isinstance(copied, nn.Parameter)
    assert isinstance(copied, QuantisedWeight)
    assert copied.codes is weight.codes  # never changed, so never copied


@BOTH
def test_what_is_quantised_and_what_is_not(settings: Quantisation):
    found = quantised(settings, QWEN3_MOE, experts=Experts(n_experts=2, n_active=1))
    kinds = {n: p.bits for n, p in found.named_parameters() if isinstance(p, QuantisedWeight)}
    assert kinds.pop("backbone.embedding.weight") == 8
    assert set(kinds.values()) == {settings.bits}
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in kinds} == {
        *("q", "k", "v", "out", "gate", "up")
    }
    assert found.lm_head.weight is found.backbone.embedding.weight
    assert found.backbone.compute_dtype is torch.bfloat16


def test_a_matrix_that_four_bits_do_not_fit_gets_eight():
    found = quantised(Quantisation(bits=4, group=128))  # only d_ff is a multiple of 128
    kinds = {n.split(".")[-2]: p.bits for n, p in found.named_parameters() if isinstance(p, QuantisedWeight)}
    assert kinds["up"] == 8
    assert found.backbone.blocks[0].mlp.sublayer.out.weight.bits == 4


@BOTH
def test_a_quantised_model_answers_as_one_with_its_numbers(settings: Quantisation):
    found = quantised(settings)
    plain = numbers(found)
    found.backbone.compute_dtype = plain.backbone.compute_dtype = None
    assert_close(found(IDS), plain(IDS), atol=1e-5, rtol=0)
    assert_close(
        found.nll_sum(IDS, None, None, IDS, EVERYTHING), plain.nll_sum(IDS, None, None, IDS, EVERYTHING)
    )
    found.backbone.compute_dtype = torch.bfloat16
    expected = plain(IDS).detach()
    assert_close(found(IDS).detach(), expected, atol=0.02 * float(expected.abs().max()), rtol=0)


@BOTH
@pytest.mark.parametrize("preset", [QWEN3, GPT2])
@pytest.mark.parametrize("tied", [True, False])
def test_files_give_back_the_same_model(settings: Quantisation, preset: Any, tied: bool, tmp_path: Path):
    source = model(preset, tie_embeddings=tied, n_kv_heads=4)
    save_model(source, tmp_path, dtype="float32", quantisation=settings, token_ids=TokenIds(stop=(3,)))
    quantise(source, settings)
    found = load_language_model(tmp_path)
    assert torch.equal(found(IDS), source(IDS))
    assert weight_bytes(found) == weight_bytes(source)
    assert (found.lm_head.weight is found.backbone.embedding.weight) == tied
    tree = json.loads((tmp_path / "config.json").read_text())
    assert tree["quantization_config"] == {"quant_method": "danlu", "bits": settings.bits, "group": 64}


def test_the_documented_layout_gives_the_numbers(tmp_path: Path):
    """By another route than our reader's: safetensors and the page's formula."""
    save_model(model(), tmp_path, quantisation=Quantisation(bits=4, group=32))
    tensors, found = load_file(tmp_path / "model.safetensors"), load_language_model(tmp_path)
    name = "backbone.blocks.1.mlp.sublayer.out.weight"
    codes, scales = tensors[f"{name}.codes"], tensors[f"{name}.scales"].float()
    assert codes.shape == (64, 64)
    assert scales.shape == (64, 4, 2)
    row, column = 17, 101
    byte = int(codes[row, column // 2])
    code = byte >> 4 if column % 2 else byte & 15
    scale, middle = scales[row, column // 32].tolist()
    number = found.get_parameter(name).dense()[row, column]
    assert float(number) == pytest.approx((code - 8) * scale + middle)
    eight = tensors["backbone.embedding.weight.codes"][5] * tensors["backbone.embedding.weight.scales"][5]
    assert_close(found.backbone.embedding.weight.dense()[5], eight)


def test_a_score_model_is_quantised_but_for_its_head(tmp_path: Path):
    scorer = ScoreModel(QWEN3(**SIZES), seed=2)
    scorer.shift.fill_(0.25)
    save_model(scorer, tmp_path, dtype="float32", quantisation=Quantisation(bits=8))
    found = load_score_model(tmp_path)
    assert torch.equal(found.score.weight, scorer.score.weight)
    assert float(found.shift) == 0.25
    assert_close(found(IDS), scorer(IDS), atol=0.05, rtol=0)


def test_a_quantised_model_goes_out_as_the_numbers_it_stands_for(tmp_path: Path):
    found = quantised(Quantisation(bits=4))
    save_model(found, tmp_path)
    plain = load_language_model(tmp_path)
    assert not is_quantised(plain)
    assert torch.equal(plain.lm_head.weight, found.lm_head.weight.dense())


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fused_kernels_read_quantised_weights(settings: Quantisation, dtype: Any):
    found = quantised(settings)
    attach(found, AdapterConfig(kind="lora", rank=4), seed=1)
    for layer in adapted_layers(found).values():
        nn.init.normal_(layer.adapters["default"].lora_b, std=0.1, generator=torch.Generator().manual_seed(2))
    if not supports(found.backbone):
        pytest.skip("the kernels in C cannot be had here")
    plain = numbers(found)
    assert isinstance(plain, LanguageModel)
    apply_precision(plain, Precision(dtype=dtype, kernels="packed"))
    apply_precision(found, Precision(dtype=dtype, kernels="packed"))
    expected, wanted = loss_and_gradients(plain)
    total, gradients = loss_and_gradients(found)
    assert gradients.keys() == wanted.keys()
    close = {"float32": 1e-4, "bfloat16": 0.1}[dtype]  # rounded in other places; to float32 it is 0.07
    assert_close(total, expected, rtol=close, atol=0)
    for name, gradient in gradients.items():
        assert float((gradient - wanted[name]).norm()) < close * float(wanted[name].norm()), name


def loss_and_gradients(found: LanguageModel) -> tuple[Tensor, dict[str, Tensor]]:
    found.zero_grad()
    total = found.nll_sum(IDS, None, None, IDS, EVERYTHING)
    total.backward()
    trained = {name: p for name, p in found.named_parameters() if p.requires_grad}
    assert all(".lora_" in name for name in trained)
    return total.detach(), {name: p.grad.clone() for name, p in trained.items() if p.grad is not None}


@BOTH
def test_an_adapter_over_a_quantised_base(settings: Quantisation):
    base = quantised(settings)
    base.requires_grad_(False)
    before, digest = base(IDS), base_digest(base)
    found = twin(base)
    attach(found, AdapterConfig(kind="lora", rank=4), seed=1)
    assert torch.equal(found(IDS), before)  # the identity at first
    assert base_digest(found) == digest == base_digest(numbers(base))
    assert all(
        layer.adapters["default"].lora_a.dtype == torch.float32 for layer in adapted_layers(found).values()
    )
    for layer in adapted_layers(found).values():
        nn.init.normal_(layer.adapters["default"].lora_b, std=0.2, generator=torch.Generator().manual_seed(2))
    found.backbone.compute_dtype = None
    apart = found(IDS)
    merge(found)
    assert_close(found(IDS), apart, atol=1e-5, rtol=0)
    assert torch.equal(base(IDS), before)


@BOTH
def test_a_quantised_model_generates_what_its_logits_say(settings: Quantisation):
    found = quantised(settings).eval()
    sampler = Sampler(found, stop_ids=(), max_seq_len=32)
    prompt = [5, 6, 7]
    (completion,) = sampler.generate([prompt], SamplingConfig(max_new_tokens=8, temperature=0))
    ids = prompt + list(completion.ids)
    logits = found(torch.tensor([ids]))[0, len(prompt) - 1 : -1]
    chosen = logits.gather(-1, torch.tensor(completion.ids)[:, None])[:, 0]
    assert_close(chosen, logits.amax(-1), atol=0.05, rtol=0)  # other shapes of product round otherwise


def test_a_quantised_model_is_not_trained_in_full():
    refuse_training(model(), "here")
    with pytest.raises(ConfigError, match=r"here holds a quantised model.*Train an adapter over it"):
        refuse_training(quantised(Quantisation(bits=8)), "here")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(model(), tmp_path, quantisation=Quantisation(bits=4))
    return tmp_path


def changed_config(path: Path, **quantization: Any) -> None:
    tree = json.loads((path / "config.json").read_text())
    tree["quantization_config"] |= quantization
    (path / "config.json").write_text(json.dumps(tree))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"quant_method": "gptq"}, "quantised by 'gptq', which cannot be read"),
        ({"bits": 3}, "bits is 3; it must be 8 or 4"),
        ({"group": 48}, "group is 48; it must be one of 32, 64, 128, 256"),
    ],
)
def test_other_quantisations_are_refused(changed: dict[str, Any], message: str, saved: Path):
    changed_config(saved, **changed)
    with pytest.raises(ModelFileError, match=message):
        open_model(saved)


NAME = "backbone.blocks.0.mlp.sublayer.up.weight"


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (f"{NAME}.scales", None, "has no .*up.weight.scales beside it"),
        (f"{NAME}.codes", None, "missing backbone.*up.weight.*unknown backbone.*up.weight.scales"),
        (f"{NAME}.scales", torch.zeros(128, 1, 2), "scales is torch.float32"),
        (f"{NAME}.scales", torch.zeros(128, 3, 2, dtype=torch.bfloat16), "does not fit codes of 4 bits"),
        (f"{NAME}.codes", torch.zeros(64, 32, dtype=torch.uint8), "does not fit codes of 4 bits"),
        (f"{NAME}.codes", torch.zeros(128, 32, dtype=torch.int16), "must be a matrix of int8"),
        ("backbone.norm.weight", torch.zeros(64, dtype=torch.int8), "only codes may be whole numbers"),
        ("stray", torch.zeros(1), "unknown stray"),
    ],
)
def test_damaged_quantised_files_are_refused(name: str, tensor: Tensor | None, message: str, saved: Path):
    tensors = load_file(saved / "model.safetensors")
    tensors.pop(name, None)
    if tensor is not None:
        tensors[name] = tensor
    save_file(tensors, saved / "model.safetensors")
    with pytest.raises(ModelFileError, match=message):
        open_model(saved)
