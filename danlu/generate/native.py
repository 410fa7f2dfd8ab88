"""A decoder in C for small models on a CPU, where the interpreter would cost more than the arithmetic.

`decode.c` is compiled once with the machine's own compiler and kept in the user's cache folder. Without a
compiler, or with a model made of other parts, the engine runs the model's own forward instead. What a token
gives depends on its own sequence alone, bit for bit, whoever shares the batch.
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

from danlu.generate.decoder import Drawn, LogprobsOf, Span, Tokens, Wishes, likeliest, tokens_of
from danlu.model.adapted import AdaptedLinear, Factors, dense_bias, dense_weight, is_brought, places
from danlu.model.fused_block import LINEARS, has_native_form
from danlu.model.heads import LanguageModel
from danlu.model.kv_cache import KvCache
from danlu.model.layers import Linear
from danlu.model.native.build import build_library
from danlu.model.quantize import is_quantised
from danlu.model.transformer import Decoder

HERE = Path(__file__).parent
SOURCES = [HERE / name for name in ("decode.c", "draw.h", "matmul.h", "vectors.h")]
FLAGS = ("-O3", "-ffp-contract=fast", "-shared", "-fPIC")
TARGETS = (("-march=native",), ())  # the second for compilers that do not know the first
ROWS_AT_A_TIME = 8  # decode.c multiplies up to this many rows at once; a thread gets a multiple of it

ATTENTION_FIELDS = ("input_norm", "qkv", "qkv_bias", "q_norm", "k_norm", "attention_out")
LAYER_FIELDS = (*ATTENTION_FIELDS, "mlp_norm", "gate_up", "mlp_out")
CONFIG_FIELDS = ("d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_ff", "vocab_size")
SIZE_FIELDS = (*CONFIG_FIELDS, "n_blocks", "block_size", "max_seq_len", "bf16")
WEIGHT_FIELDS = ("embedding", "norm", "lm_head", "cosine", "sine", "keys", "values")


class _Layer(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_void_p) for name in LAYER_FIELDS)


class _Update(ctypes.Structure):
    _fields_ = (("down", ctypes.c_void_p), ("up", ctypes.c_void_p), ("rank", ctypes.c_int64))


class _Model(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in SIZE_FIELDS),
        ("norm_eps", ctypes.c_float),
        ("layers", ctypes.POINTER(_Layer)),
        *((name, ctypes.c_void_p) for name in WEIGHT_FIELDS),
    )


class _Tokens(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("ids", "rows", "positions", "updates", "tables")),
        ("table_width", ctypes.c_int64),
    )


@dataclass(frozen=True, slots=True)
class _Adapter:
    updates: ctypes.Array[_Update]  # (layers, linear layers), as decode.c numbers them
    kept: list[NDArray[np.float32]]  # what they point to

    @property
    def address(self) -> int:
        return ctypes.addressof(self.updates)


@cache
def library() -> ctypes.CDLL | None:
    """The compiled decoder, or None where it cannot be had."""
    built = (build_library(SOURCES, [*FLAGS, *target]) for target in TARGETS)
    found = next((library for library in built if library), None)
    if found is not None:
        pointer, integer, model = ctypes.c_void_p, ctypes.c_int64, ctypes.POINTER(_Model)
        for size in (found.panel, found.multiplies_bf16, found.scratch_size, found.draw_scratch_size):
            size.restype = integer
        found.scratch_size.argtypes, found.draw_scratch_size.argtypes = [model], [integer]
        found.pack.argtypes = [pointer, integer, integer, integer, integer, pointer]
        found.forward.argtypes = [model, ctypes.POINTER(_Tokens), integer, integer, pointer, pointer]
        found.normalise.argtypes = [pointer, integer, integer, pointer, pointer]
        found.draw.argtypes = [pointer, integer, integer, pointer, pointer, pointer]
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


def updates_over(base: LanguageModel, model: LanguageModel) -> dict[str, Factors] | None:
    """What thin updates of linear layers make another model of the very weights of `base`.

    Returns:
        Updates by the layers' names; None where anything else makes the difference.
    """
    weights = dict(base.named_parameters())
    own = [(name, p) for name, p in model.named_parameters() if not is_brought(name)]
    if any(weights.get(name) is not p for name, p in own):
        return None
    if any(parts.counting() for parts in places(base).values()):
        return None
    known, found = set(_linears(base)), dict[str, Factors]()
    for name, parts in places(model).items():
        linear = model.get_submodule(name)
        if not parts.counting():
            continue
        if name not in known or not isinstance(linear, AdaptedLinear) or not linear.by_factors:
            return None
        factors = linear.factors()
        assert factors is not None
        found[name] = factors
    return found


def _linears(model: LanguageModel) -> list[str]:
    """Names of the layers that decode.c knows updates of, in its order."""
    blocks = range(model.config.n_layers)
    return [f"backbone.blocks.{block}.{each}" for block in blocks for each in LINEARS]


class NativeDecoder:
    """A decoder of the Llama and Qwen families on the CPU; see `supports` for which models.

    It computes in float32; where the model computes in bfloat16 and the processor multiplies that, matrix
    products take rounded operands.
    """

    def __init__(
        self,
        model: LanguageModel,
        tables: NDArray[np.int32],
        cache: KvCache,
        *,
        logprobs: LogprobsOf = "model",
    ) -> None:
        native = library()
        assert native is not None
        self._native, self._model = native, model
        self._tables, self._cache, self._logprobs_of = tables, cache, logprobs
        self._n_threads = torch.get_num_threads()
        self._threads = ThreadPoolExecutor(max(1, self._n_threads - 1))  # and the caller's own
        self._max_seq_len = tables.shape[1] * cache.block_size
        angles = model.backbone.position.angles(torch.arange(self._max_seq_len)[None])
        assert angles is not None  # rope has them
        self._angles = [angle.contiguous() for angle in angles]
        self._logits = np.empty((0, model.config.vocab_size), np.float32)
        self._buffers: dict[tuple[str, bool], NDArray[Any]] = {}
        self._adapters: dict[str, _Adapter] = {}
        self.refresh()
        size = max(native.scratch_size(self._struct), native.draw_scratch_size(model.config.vocab_size))
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
            self._cache.n_blocks,
            self._cache.block_size,
            self._max_seq_len,
            self._bf16,
            config.norm_eps,
            self._layers,
            self._keep("embedding", [backbone.embedding.weight.flatten()]),
            self._keep("norm", [*backbone.norm.parameters()]),
            self._keep("lm_head", [self._model.lm_head.weight]),
            *(t.data_ptr() for t in (*self._angles, self._cache.keys, self._cache.values)),
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

    def read(self, spans: Sequence[Span]) -> None:
        tokens = tokens_of(spans)
        self._share_out(self._cuts(tokens), partial(self._forward, self._packed(tokens), None))

    def judge(self, span: Span, next_ids: Sequence[int]) -> list[float]:
        tokens = tokens_of([span])
        self._make_room(len(tokens))
        self._forward(self._packed(tokens), self._logits, 0, 0, len(tokens))
        return self._judged(np.array(next_ids)).tolist()

    def draw(self, tokens: Tokens, wishes: Wishes) -> Drawn:
        n = len(tokens)
        self._make_room(n)
        packed, table, logits = self._packed(tokens), wishes.table, self._logits
        table["logits"] = self._addresses[:n]
        ids, logprobs = np.empty(n, np.int64), np.empty(n, np.float32)

        def work(thread: int, start: int, stop: int) -> None:
            self._forward(packed, logits, thread, start, stop)
            changed = {i: self._filtered(i, wishes) for i in wishes.filters if start <= i < stop}
            for i, each in changed.items():
                table["logits"][i], table["offsets"][i] = each.ctypes.data, 0
            self._native.draw(
                table[start:].ctypes.data,
                stop - start,
                logits.shape[1],
                self._scratch[thread].ctypes.data,
                ids[start:].ctypes.data,
                logprobs[start:].ctypes.data,
            )

        self._share_out(self._cuts(tokens), work)
        if self._logprobs_of == "model":
            logprobs = self._judged(ids)
        return ids.tolist(), logprobs.tolist()

    def top(self, token: int, n: int) -> tuple[tuple[int, float], ...]:
        return likeliest(self._logits[token] - self._highest[token] - self._log_sums[token], n)

    def copy_block(self, source: int, target: int, length: int) -> None:
        self._cache.copy_block(source, target, length)

    def load_adapter(self, name: str, model: LanguageModel) -> None:
        factors, linears = updates_over(self._model, model), _linears(self._model)
        assert factors is not None
        updates, kept = (_Update * len(linears))(), list[NDArray[np.float32]]()
        for place, each in enumerate(linears):
            if each in factors:
                down, up = (factor.detach().float() for factor in factors[each])
                kept += [down.contiguous().numpy().copy(), up.t().contiguous().numpy().copy()]
                updates[place] = _Update(kept[-2].ctypes.data, kept[-1].ctypes.data, len(down))
        self._adapters[name] = _Adapter(updates, kept)

    def unload_adapter(self, name: str) -> None:
        del self._adapters[name]

    def _make_room(self, n: int) -> None:
        """Have a row of logits for each of n tokens."""
        if len(self._logits) < n:
            self._logits = np.empty((n, self._logits.shape[1]), np.float32)
            self._addresses = self._logits.ctypes.data + np.arange(n) * self._logits.strides[0]

    def _judged(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The model's log-probability of an id after each token, (tokens,); what `top` goes by is kept."""
        n = len(ids)
        self._highest, self._log_sums = np.empty(n, np.float32), np.empty(n, np.float32)
        self._native.normalise(
            self._logits.ctypes.data,
            n,
            self._logits.shape[1],
            self._highest.ctypes.data,
            self._log_sums.ctypes.data,
        )
        return self._logits[np.arange(n), ids] - self._highest - self._log_sums

    def _filtered(self, token: int, wishes: Wishes) -> NDArray[np.float32]:
        """A copy of a token's logits with its offsets, and without what its filter forbids."""
        changed = self._logits[token].copy()
        if token in wishes.offsets:
            changed += wishes.offsets[token]
        wishes.filters[token].allow(torch.from_numpy(changed))
        return changed

    def _packed(self, tokens: Tokens) -> tuple[_Tokens, list[Any]]:
        """What decode.c reads, and what must stay alive meanwhile."""
        updates = None
        if tokens.adapters is not None:
            addresses = {name: each.address for name, each in self._adapters.items()}
            updates = np.array([addresses[name] if name else 0 for name in tokens.adapters], np.uint64)
        arrays = (tokens.ids, tokens.rows, tokens.positions, updates, self._tables)
        pointers = (None if array is None else array.ctypes.data for array in arrays)
        return _Tokens(*pointers, self._tables.shape[1]), [*arrays]

    def _forward(
        self,
        packed: tuple[_Tokens, list[Any]],
        logits: NDArray[np.float32] | None,
        thread: int,
        start: int,
        stop: int,
    ) -> None:
        """Run the tokens from `start` to `stop`; fills these rows of `logits`, (tokens, vocab)."""
        self._native.forward(
            self._struct,
            packed[0],
            start,
            stop - start,
            self._scratch[thread].ctypes.data,
            None if logits is None else logits[start:].ctypes.data,
        )

    def _cuts(self, tokens: Tokens) -> list[int]:
        """Where to cut tokens into even shares for the threads; a sequence's tokens go to one of them."""
        n = len(tokens)
        if self._n_threads == 1 or n == 1:
            return [0, n]
        starts = np.flatnonzero(np.diff(tokens.rows)) + 1
        blocks = -(-n // ROWS_AT_A_TIME)
        share = -(-blocks // self._n_threads) * ROWS_AT_A_TIME
        wanted = np.arange(share, n, share)
        cuts = np.append(starts, n)[np.searchsorted(starts, wanted)]
        return [0, *cuts.tolist(), n]

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
