"""Which decoder runs a model, and whether it says what the model's own forward says."""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from danlu.generate.decoder import Decoder, LogprobsOf, Span, TorchDecoder, make_cache
from danlu.generate.native import NativeDecoder, library, supports, updates_over
from danlu.model.heads import LanguageModel
from danlu.model.quantize import is_quantised

Kernel = Literal["auto", "native", "torch"]
"""native is the decoder in C, torch the model's own forward, auto the first where parts and machine allow."""
N_PROBED = 8  # tokens
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25}  # of a log-probability


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """How a model is run."""

    kernel: Kernel = "auto"
    verify: bool = True  # hold the decoder in C against the model's own forward before it is used
    exact: bool = False  # with the model's own forward too, the same bits in whatever company; slow
    logprobs: LogprobsOf = "model"


def runs_natively(model: LanguageModel, adapted: Iterable[LanguageModel], config: DecoderConfig) -> bool:
    """Whether the decoder in C is to run a model and those that adapters make of it."""
    native = config.kernel != "torch" and supports(model) and library() is not None
    native = native and all(updates_over(model, each) is not None for each in adapted)
    if config.kernel == "native" and not native:
        raise ValueError(
            "kernel is 'native'; that takes a C compiler, a Llama or Qwen model on the CPU, and adapters "
            "that are LoRA over its frozen weights"
        )
    return native


def make_decoder(
    model: LanguageModel,
    tables: NDArray[np.int32],
    n_blocks: int,
    block_size: int,
    config: DecoderConfig,
    *,
    native: bool,
) -> Decoder:
    """The decoder for a model.

    Args:
        tables: which blocks the sequence in each row has, (rows, blocks of a row).
        n_blocks: of the cache, with block 0, which belongs to nobody.
        block_size: positions of a block, an even number.
        config: how it is run.
        native: what `runs_natively` says; where the decoder in C fails its test, another runs, with a
            warning.
    """
    if native:
        cache = make_cache(model, n_blocks, block_size, torch.float32)
        decoder = NativeDecoder(model, tables, cache, logprobs=config.logprobs)
        gap = disagreement(model, decoder) if config.verify else 0.0
        allowed = TOLERANCE[_dtype_of_sums(model)]
        if gap <= allowed:
            return decoder
        warnings.warn(
            f"the decoder in C differs from the model's own forward by {gap:.2g} in log-probability, more "
            f"than {allowed}; going on without it, slower. Please report this with processor and compiler",
            RuntimeWarning,
            stacklevel=2,
        )
    dtype = model.backbone.compute_dtype or model.lm_head.weight.dtype
    if config.exact and dtype is not torch.float32:
        raise ValueError(f"the exact mode computes in float32; this model computes in {dtype}")
    cache = make_cache(model, n_blocks, block_size, dtype)
    return TorchDecoder(model, tables, cache, logprobs=config.logprobs, exact=config.exact)


@torch.inference_mode()
def disagreement(model: LanguageModel, decoder: Decoder) -> float:
    """How far a decoder's log-probabilities lie from the model's own on a few tokens; infinite if NaN."""
    n = min(N_PROBED, model.config.max_seq_len - 1)
    ids = np.linspace(0, model.config.vocab_size - 1, n + 1).astype(int).tolist()
    said = torch.tensor(decoder.judge(Span(0, 0, ids[:-1]), ids[1:]))
    with _computing_in(model, _dtype_of_sums(model)):
        logprobs = model(torch.tensor([ids[:-1]]))[0].log_softmax(-1)
    own = logprobs.gather(-1, torch.tensor(ids[1:])[:, None])[:, 0]
    gap = float((said - own).abs().max())
    return math.inf if math.isnan(gap) else gap


def _dtype_of_sums(model: LanguageModel) -> torch.dtype:
    """What the model's own forward is to compute in to be compared: decode.c multiplies codes in float32."""
    if is_quantised(model):
        return torch.float32
    return model.backbone.compute_dtype or model.lm_head.weight.dtype


@contextmanager
def _computing_in(model: LanguageModel, dtype: torch.dtype) -> Generator[None]:
    before, model.backbone.compute_dtype = model.backbone.compute_dtype, dtype
    try:
        yield
    finally:
        model.backbone.compute_dtype = before
