"""A decoder in C for small models on a CPU, where the interpreter would cost more than the arithmetic.

`decode.c` is compiled once with the machine's own compiler and kept in the user's cache folder. Without a
compiler, or with a model made of other parts, the sampler runs the model's own forward instead.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from danlu.generate.decoder import Drawn, make_cache
from danlu.model.adapted import AdaptedLinear, dense_bias, dense_weight
from danlu.model.fused_block import has_native_form
from danlu.model.heads import LanguageModel
from danlu.model.layers import Linear
from danlu.model.native.build import build_library
from danlu.model.quantize import is_quantised
from danlu.model.transformer import Decoder

HERE = Path(__file__).parent
SOURCES = [HERE / name for name in ("decode.c", "matmul.h", "vectors.h")]
FLAGS = ("-O3", "-ffp-contract=fast", "-shared", "-fPIC")
TARGETS = (("-march=native",), ())  # the second for compilers that do not know the first
ROWS_AT_A_TIME = 8  # decode.c multiplies up to this many rows at once; a thread gets a multiple of it

ATTENTION_FIELDS = ("input_norm", "qkv", "qkv_bias", "q_norm", "k_norm", "attention_out")
LAYER_FIELDS = (*ATTENTION_FIELDS, "mlp_norm", "gate_up", "mlp_out")
CONFIG_FIELDS = ("d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_ff", "vocab_size")
SIZE_FIELDS = (*CONFIG_FIELDS, "n_rows", "max_seq_len", "bf16")
WEIGHT_FIELDS = ("embedding", "norm", "lm_head", "cosine", "sine", "keys", "values")


class _Layer(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_void_p) for name in LAYER_FIELDS)


class _Model(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in SIZE_FIELDS),
        ("norm_eps", ctypes.c_float),
        ("layers", ctypes.POINTER(_Layer)),
        *((name, ctypes.c_void_p) for name in WEIGHT_FIELDS),
    )


@dataclass(frozen=True, slots=True)
class _Tokens:
    """What decode.c reads: each (tokens,), a row's tokens in order."""

    ids: NDArray[np.int64]
    rows: NDArray[np.int64]
    positions: NDArray[np.int64]


@cache
def library() -> ctypes.CDLL | None:
    """The compiled decoder, or None where it cannot be had."""
    built = (build_library(SOURCES, [*FLAGS, *target]) for target in TARGETS)
    found = next((library for library in built if library), None)
    if found is not None:
        pointer, integer, model = ctypes.c_void_p, ctypes.c_int64, ctypes.POINTER(_Model)
        found.panel.restype = found.multiplies_bf16.restype = found.scratch_size.restype = integer
        found.scratch_size.argtypes = [model]
        found.pack.argtypes = [pointer, integer, integer, integer, integer, pointer]
        found.forward.argtypes = [model, pointer, pointer, pointer, integer, pointer, pointer]
        found.draw.argtypes = [pointer, integer, integer, pointer, pointer, pointer, pointer]
    return found


def supports(model: LanguageModel) -> bool:
    """Whether the model is on the CPU and has the form that decode.c knows.

    A quantised one runs by PyTorch's packed kernels: decode.c would keep its numbers in full.
    """
    head, backbone = model.lm_head, model.backbone
    adapted = [module for module in backbone.modules() if isinstance(module, AdaptedLinear)]
    known = type(backbone) is Decoder and has_native_form(backbone) and all(a.by_weights for a in adapted)
    known = known and type(head) is Linear and head.weight.device.type == "cpu"
    return known and not is_quantised(model)


class NativeDecoder:
    """A decoder of the Llama and Qwen families on the CPU; see `supports` for which models.

    It computes in float32; where the model computes in bfloat16 and the processor multiplies that, matrix
    products take rounded operands.
    """

    def __init__(
        self, model: LanguageModel, n_rows: int, max_seq_len: int, forbidden_ids: Sequence[int]
    ) -> None:
        native = library()
        assert native is not None
        self._native, self._model = native, model
        self.cache = make_cache(model, n_rows, max_seq_len, torch.float32)
        self._n_threads = torch.get_num_threads()
        self._threads = ThreadPoolExecutor(max(1, self._n_threads - 1))  # and the caller's own
        angles = model.backbone.position.angles(torch.arange(max_seq_len)[None])
        assert angles is not None  # rope has them
        self._angles = [angle.contiguous() for angle in angles]
        self._logits = np.empty((n_rows, model.config.vocab_size), np.float32)
        self._forbidden = np.array(forbidden_ids, np.int64)
        self._buffers: dict[tuple[str, bool], NDArray[Any]] = {}
        self.refresh()
        size = native.scratch_size(self._struct)
        self._scratch = [np.empty(size, np.float32) for _ in range(self._n_threads)]

    def refresh(self) -> None:
        """Copy the weights, laid out for decode.c."""
        backbone, config = self._model.backbone, self._model.config
        self._bf16 = backbone.compute_dtype is torch.bfloat16 and bool(self._native.multiplies_bf16())
        layers = [
            _Layer(*(self._keep(f"{i}.{name}", weights) for name, weights in _weights(block).items()))
            for i, block in enumerate(backbone.blocks)
        ]
        self._layers = (_Layer * len(layers))(*layers)
        self._struct = _Model(
            *(getattr(config, name) for name in CONFIG_FIELDS),
            self.cache.keys.shape[1],
            self.cache.max_seq_len,
            self._bf16,
            config.norm_eps,
            self._layers,
            self._keep("embedding", [backbone.embedding.weight.flatten()]),
            self._keep("norm", [*backbone.norm.parameters()]),
            self._keep("lm_head", [self._model.lm_head.weight]),
            *(t.data_ptr() for t in (*self._angles, self.cache.keys, self.cache.values)),
        )

    def _keep(self, place: str, weights: Sequence[Tensor]) -> int | None:
        """Copy weights side by side into the buffer of that place and return its address; None for none.

        Matrices go into panels. Torch's threads take no part: where the cores are shared with others, handing
        them dozens of small copies costs a hundred times the copying.
        """
        if not weights:
            return None
        align = self._native.panel() if place.endswith(".gate_up") else 1
        starts = [0]
        for weight in weights:
            starts.append(_round_up(starts[-1] + len(weight), align))
        make = self._new_vector if weights[0].ndim == 1 else self._new_matrix
        buffer = self._buffers.get((place, self._bf16))
        if buffer is None:
            buffer = self._buffers[place, self._bf16] = make(starts[-1], *weights[0].shape[1:])
        for weight, start in zip(weights, starts, strict=False):
            plain = weight.detach().float().contiguous().numpy()
            if plain.ndim == 1:
                buffer[start : start + len(plain)] = plain
            else:
                self._native.pack(plain.ctypes.data, *plain.shape, start, self._bf16, buffer.ctypes.data)
        return buffer.ctypes.data

    def _new_vector(self, n: int) -> NDArray[Any]:
        return np.zeros(n, np.float32)

    def _new_matrix(self, n: int, k: int) -> NDArray[Any]:
        """Room for k rows and n columns in panels; bfloat16 comes in pairs of rows."""
        n = _round_up(n, self._native.panel())
        return np.zeros(n * _round_up(k, 2), np.uint16) if self._bf16 else np.zeros(n * k, np.float32)

    def read(self, first_row: int, texts: Sequence[Sequence[int]], starts: Sequence[int]) -> None:
        lengths = np.array([len(text) for text in texts])
        ends = lengths.cumsum()
        ids = np.concatenate([np.asarray(text, np.int64) for text in texts])
        rows = np.repeat(np.arange(first_row, first_row + len(texts)), lengths)
        positions = np.arange(len(ids)) + np.repeat(np.array(starts) - (ends - lengths), lengths)
        # Whole texts to a thread: a token attends to those before it.
        shares = np.searchsorted(ends, np.linspace(0, ends[-1], self._n_threads + 1)[1:-1])
        cuts = [0, *(int(ends[share]) for share in shares), int(ends[-1])]
        tokens = _Tokens(ids, rows, positions)
        self._share_out(cuts, partial(self._forward, tokens, None))

    def logits(self, ids: Sequence[int], positions: Sequence[int]) -> Tensor:
        tokens = _Tokens(np.array(ids), np.arange(len(ids)), np.array(positions))
        self._share_out(self._cuts(len(ids)), partial(self._forward, tokens, self._logits))
        return torch.from_numpy(self._logits[: len(ids)])

    def draw(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        uniform: Sequence[float],
        temperature: Sequence[float],
    ) -> Drawn:
        n = len(ids)
        tokens = _Tokens(np.array(ids), np.arange(n), np.array(positions))
        given = np.array([uniform, temperature], np.float32)
        drawn, logprobs = np.empty(n, np.int64), np.empty(n, np.float32)

        def work(thread: int, start: int, stop: int) -> None:
            self._forward(tokens, self._logits, thread, start, stop)
            self._native.draw(
                self._logits[start:].ctypes.data,
                stop - start,
                self._logits.shape[1],
                *(array[start:].ctypes.data for array in (given[0], given[1], drawn, logprobs)),
            )

        self._share_out(self._cuts(n), work)
        return drawn.tolist(), logprobs.tolist()

    def _forward(
        self, tokens: _Tokens, logits: NDArray[np.float32] | None, thread: int, start: int, stop: int
    ) -> None:
        """Run the tokens from `start` to `stop`; fills these rows of `logits`, (tokens, vocab)."""
        self._native.forward(
            self._struct,
            *(array[start:].ctypes.data for array in (tokens.ids, tokens.rows, tokens.positions)),
            stop - start,
            self._scratch[thread].ctypes.data,
            None if logits is None else logits[start:].ctypes.data,
        )
        if logits is not None and len(self._forbidden):
            logits[start:stop, self._forbidden] = -np.inf

    def _cuts(self, n_rows: int) -> list[int]:
        """Where to cut rows into even shares for the threads."""
        blocks = -(-n_rows // ROWS_AT_A_TIME)
        share = -(-blocks // self._n_threads) * ROWS_AT_A_TIME
        return [*range(0, n_rows, share), n_rows]

    def _share_out(self, cuts: Sequence[int], work: Callable[[int, int, int], None]) -> None:
        """Call `work(thread, start, stop)` between each two cuts, the last in this thread."""
        spans = [(start, stop) for start, stop in pairwise(cuts) if start < stop]
        others = [self._threads.submit(work, i, *span) for i, span in enumerate(spans[:-1])]
        work(len(spans) - 1, *spans[-1])
        for other in others:
            other.result()


def _weights(block: Any) -> dict[str, list[Tensor]]:
    """What each field of the C struct `Layer` is made of; what adapters change is part of the weights."""
    attention, mlp = block.self_attn.sublayer, block.mlp.sublayer
    projections = (attention.q, attention.k, attention.v)
    return {
        "input_norm": [block.self_attn.norm.weight],
        "qkv": [dense_weight(projection) for projection in projections],
        "qkv_bias": [bias for bias in map(dense_bias, projections) if bias is not None],
        "q_norm": [*attention.q_norm.parameters()],
        "k_norm": [*attention.k_norm.parameters()],
        "attention_out": [dense_weight(attention.out)],
        "mlp_norm": [block.mlp.norm.weight],
        "gate_up": [dense_weight(mlp.gate), dense_weight(mlp.up)],
        "mlp_out": [dense_weight(mlp.out)],
    }


def _round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
