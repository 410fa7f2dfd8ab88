"""In which number format a model computes, and with which kernels: chosen by measuring, applied to a model.

Weights, their gradients and the optimizer's state stay in float32 whatever is chosen here.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor

from danlu.model import fused_block, transformer
from danlu.model.fused_loss import plain_cross_entropy
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.native.kernels import cross_entropy

Head = LanguageModel | ScoreModel
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ROUNDS = 3
TRIAL_TOKENS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """To be stored with a run: resuming under another choice would not give the same bits."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    kernels: Literal["plain", "native"] = "plain"


def apply_precision(model: Head, precision: Precision) -> Precision:
    """Let `model` compute as `precision` says, from now on.

    Returns:
        What is in force: where the native kernels cannot be had, the plain ones.
    """
    native = precision.kernels == "native" and fused_block.supports(model.backbone)
    model.backbone.compute_dtype = DTYPES[precision.dtype]
    model.backbone.run_blocks = fused_block.run_blocks if native else transformer.run_blocks
    if isinstance(model, LanguageModel):
        model.cross_entropy = cross_entropy if native else plain_cross_entropy
    return Precision(dtype=precision.dtype, kernels="native" if native else "plain")


def choose_precision(model: Head, *, batch_size: int, seq_len: int) -> Precision:
    """The fastest precision for training this model in such batches on this machine, and apply it.

    Bfloat16 is taken only where it is clearly faster: it costs accuracy, though little.
    """
    rows = min(batch_size, max(TRIAL_TOKENS // seq_len, 1))
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(model.config.vocab_size, (rows, seq_len), generator=generator)
    kernels: Literal["plain", "native"] = "native" if fused_block.supports(model.backbone) else "plain"
    options = [Precision(dtype=dtype, kernels=kernels) for dtype in ("float32", "bfloat16")]
    seconds = dict.fromkeys(options, float("inf"))
    for _ in range(ROUNDS):  # in turns, so that a busy moment is nobody's alone
        for option in options:
            apply_precision(model, option)
            began = perf_counter()
            _trial(model, input_ids)
            seconds[option] = min(seconds[option], perf_counter() - began)
    model.zero_grad(set_to_none=True)
    exact, rounded = options
    return apply_precision(model, rounded if seconds[rounded] < 0.9 * seconds[exact] else exact)


def _trial(model: Head, input_ids: Tensor) -> None:
    if isinstance(model, LanguageModel):
        everything = torch.ones_like(input_ids, dtype=torch.bool)
        total = model.nll_sum(input_ids, None, None, input_ids, everything)
    else:
        total = model(input_ids).sum()
    total.backward()
