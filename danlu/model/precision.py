"""In which number format a model computes, and with which kernels: chosen by measuring, applied to a model.

Weights, their gradients and the optimizer's state stay in float32 whatever is chosen here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor

from danlu.model import fused_block, transformer
from danlu.model.attention import PLAIN_ATTENTION
from danlu.model.classifiers import Classifier
from danlu.model.encoder_heads import MaskedLanguageModel
from danlu.model.fused_attention import NATIVE_ATTENTION
from danlu.model.fused_loss import PLAIN_LOSS, LossKernels
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.layers import Linear, cast_product
from danlu.model.linear_products import packed_product
from danlu.model.native.bindings import available, has_products
from danlu.model.native.kernels import cross_entropy
from danlu.model.native.products import CastProducts, packed_where_it_fits
from danlu.model.transformer import Decoder
from danlu.model.translation import TranslationModel

Head = LanguageModel | ScoreModel | Classifier | MaskedLanguageModel | TranslationModel
KernelChoice = Literal["plain", "native", "packed"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PRODUCTS = {"native": CastProducts, "packed": packed_where_it_fits}
ROUNDS = 3
TRIAL_TOKENS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """To be stored with a run: resuming under another choice would not give the same bits."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    # torch's own operations; in C all but the large matrix products; in C those too
    kernels: KernelChoice = "plain"


def apply_precision(model: Head, precision: Precision) -> Precision:
    """Let `model` compute as `precision` says, from now on.

    Returns:
        What is in force: where native kernels cannot be had, others.
    """
    kernels = _possible(model, precision.kernels)
    backbone = model.backbone
    backbone.compute_dtype = DTYPES[precision.dtype]
    native = kernels != "plain"
    if isinstance(backbone, Decoder):
        fused = partial(fused_block.run_blocks, make=PRODUCTS[kernels]) if native else None
        backbone.run_blocks = fused or transformer.run_blocks
    if isinstance(model, TranslationModel):
        model.backbone.attention = NATIVE_ATTENTION if native else PLAIN_ATTENTION
        linear_product = packed_product if kernels == "packed" else cast_product
        for module in backbone.modules():
            if type(module) is Linear:
                module.product = linear_product
    if isinstance(model, LanguageModel | Classifier | TranslationModel):
        model.loss_kernels = LossKernels(cross_entropy, PRODUCTS[kernels]) if native else PLAIN_LOSS
    return Precision(dtype=precision.dtype, kernels=kernels)


def _possible(model: Head, kernels: KernelChoice) -> KernelChoice:
    if kernels == "plain" or not _has_native_parts(model):
        return "plain"
    return "packed" if kernels == "packed" and has_products() else "native"


def choose_precision(model: Head, *, batch_size: int, seq_len: int) -> Precision:
    """The fastest precision for training this model in such batches on this machine, and apply it.

    Bfloat16 is taken only where it is clearly faster: it costs accuracy, though little.
    """
    rows = min(batch_size, max(TRIAL_TOKENS // seq_len, 1))
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(model.config.vocab_size, (rows, seq_len), generator=generator)
    was_training = model.training
    model.eval()  # an adapter's dropout must not use up random numbers here
    seconds = dict.fromkeys(_options(model), float("inf"))
    for _ in range(ROUNDS):  # in turns, so that a busy moment is nobody's alone
        for option in seconds:
            apply_precision(model, option)
            began = perf_counter()
            _trial(model, input_ids)
            seconds[option] = min(seconds[option], perf_counter() - began)
    model.zero_grad(set_to_none=True)
    model.train(was_training)
    cost = {option: time * (1.1 if option.dtype == "bfloat16" else 1.0) for option, time in seconds.items()}
    return apply_precision(model, min(cost, key=cost.__getitem__))


def _has_native_parts(model: Head) -> bool:
    """Whether kernels in C have a part in the model: whole blocks, or attention, products and the loss."""
    if isinstance(model, TranslationModel):
        return available() and model.lm_head.weight.device.type == "cpu"
    backbone = model.backbone
    return isinstance(backbone, Decoder) and fused_block.supports(backbone)


def _options(model: Head) -> list[Precision]:
    native = _possible(model, "native")
    options = [Precision(dtype="float32", kernels=native), Precision(dtype="bfloat16", kernels=native)]
    if _possible(model, "packed") == "packed":
        options.append(Precision(dtype="bfloat16", kernels="packed"))
    return options


def _trial(model: Head, input_ids: Tensor) -> None:
    everything = torch.ones_like(input_ids, dtype=torch.bool)
    if isinstance(model, TranslationModel):
        total = model.nll_sum(input_ids, None, input_ids, input_ids, everything)
    elif isinstance(model, LanguageModel):
        total = model.nll_sum(input_ids, None, None, input_ids, everything)
    else:
        total = model(input_ids).sum()
    total.backward()
