"""A decoder in C for small models on a CPU, where the interpreter would cost more than the arithmetic.

`decode.c` is compiled once with the machine's own compiler and kept in the user's cache folder. Without a
compiler, or with a model made of other parts, the sampler runs the model's own forward instead.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from danlu.generate.decoder import Drawn, make_cache
from danlu.model.heads import LanguageModel
from danlu.model.transformer import Attention, Block, GatedMlp, Linear, PreNorm, RmsNorm, Rope

SOURCE = Path(__file__).with_name("decode.c")
FLAGS = ("-O3", "-ffp-contract=fast", "-shared", "-fPIC")
TARGETS = (("-march=native",), ())  # the second for compilers that do not know the first
COMPILE_TIMEOUT_S = 60
ROWS_AT_A_TIME = 8  # decode.c multiplies up to this many rows at once; a thread gets a multiple of it

ATTENTION_FIELDS = ("input_norm", "qkv", "qkv_bias", "q_norm", "k_norm", "attention_out")
LAYER_FIELDS = (*ATTENTION_FIELDS, "mlp_norm", "gate_up", "mlp_out")
CONFIG_FIELDS = ("d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_ff", "vocab_size")
SIZE_FIELDS = (*CONFIG_FIELDS, "n_rows", "max_seq_len")
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
    path = _compiled()
    if path is None:
        return None
    found = ctypes.CDLL(str(path))
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    found.panel.restype = found.scratch_size.restype = integer
    found.scratch_size.argtypes = [ctypes.POINTER(_Model)]
    found.forward.argtypes = [ctypes.POINTER(_Model), pointer, pointer, pointer, integer, pointer, pointer]
    found.draw.argtypes = [pointer, integer, integer, pointer, pointer, pointer, pointer]
    return found


def _compiled() -> Path | None:
    """Where the shared library lies, after compiling it unless this machine already has."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "danlu"
    made_of = [SOURCE.read_bytes(), repr((compiler, FLAGS, TARGETS)).encode(), _processor()]
    target = folder / f"decode-{hashlib.sha256(b'/'.join(made_of)).hexdigest()[:16]}.so"
    if target.exists():
        return target
    return next((target for flags in TARGETS if _compile(compiler, flags, target)), None)


def _compile(compiler: str, flags: Sequence[str], target: Path) -> bool:
    """Whether `target` could be made; it appears whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as work:
            fresh = Path(work) / target.name
            command = [compiler, *FLAGS, *flags, str(SOURCE), "-o", str(fresh), "-lm"]
            subprocess.run(command, check=True, capture_output=True, timeout=COMPILE_TIMEOUT_S)
            fresh.replace(target)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _processor() -> bytes:
    """What tells processors of different instructions apart: machines may share a cache folder."""
    info = Path("/proc/cpuinfo")
    lines = info.read_bytes().splitlines() if info.exists() else []
    features = next((line for line in lines if line.startswith((b"flags", b"Features"))), b"")
    return features or f"{platform.machine()} {platform.processor()}".encode()


def supports(model: LanguageModel) -> bool:
    """Whether the model is on the CPU and made of just the parts that decode.c knows."""
    parts = {Block, PreNorm, Attention, GatedMlp, Linear, RmsNorm, torch.nn.Identity}
    known = all(type(module) in parts for block in model.backbone.blocks for module in block.modules())
    return (
        known
        and type(model.backbone.position) is Rope
        and type(model.backbone.norm) is RmsNorm
        and type(model.lm_head) is Linear
        and model.lm_head.weight.device.type == "cpu"
        and model.config.head_dim % 16 == 0
    )


class NativeDecoder:
    """A decoder of the Llama and Qwen families in float32 on the CPU; see `supports` for which models."""

    def __init__(self, model: LanguageModel, n_rows: int, max_seq_len: int) -> None:
        native = library()
        assert native is not None
        self._native, self._model = native, model
        self.cache = make_cache(model, n_rows, max_seq_len, torch.float32)
        self._n_threads = torch.get_num_threads()
        self._threads = ThreadPoolExecutor(max(1, self._n_threads - 1))  # and the caller's own
        angles = model.backbone.position.angles(torch.arange(max_seq_len)[None])
        self._angles = [angle.contiguous() for angle in angles]
        self._logits = torch.empty((n_rows, model.config.vocab_size))
        self.refresh()
        size = native.scratch_size(self._struct)
        self._scratch = [np.empty(size, np.float32) for _ in range(self._n_threads)]

    def refresh(self) -> None:
        """Copy the weights, laid out for decode.c."""
        with torch.no_grad():
            self._weights = [self._layer(block) for block in self._model.backbone.blocks]
            backbone, head = self._model.backbone, self._model.lm_head.weight
            self._shared = [
                _plain(backbone.embedding.weight),
                _plain(backbone.norm.weight),
                self._panels(head),
            ]
        layers = [_Layer(*[w if w is None else w.data_ptr() for w in weights]) for weights in self._weights]
        self._layers = (_Layer * len(layers))(*layers)
        config = self._model.config
        self._struct = _Model(
            *(getattr(config, name) for name in CONFIG_FIELDS),
            self.cache.keys.shape[1],
            self.cache.max_seq_len,
            config.norm_eps,
            self._layers,
            *[w.data_ptr() for w in (*self._shared, *self._angles, self.cache.keys, self.cache.values)],
        )

    def read(self, first_row: int, prompts: Sequence[Sequence[int]]) -> None:
        ids = np.concatenate([np.asarray(prompt, np.int64) for prompt in prompts])
        lengths = [len(prompt) for prompt in prompts]
        rows = np.repeat(np.arange(first_row, first_row + len(prompts)), lengths)
        positions = np.concatenate([np.arange(n) for n in lengths])
        ends = np.cumsum(lengths)
        if not ends[-1]:
            return
        # Whole prompts to a thread: a token attends to those before it.
        shares = np.searchsorted(ends, np.linspace(0, ends[-1], self._n_threads + 1)[1:-1])
        cuts = [0, *(int(ends[share]) for share in shares), int(ends[-1])]
        tokens = _Tokens(ids, rows, positions)
        self._share_out(cuts, partial(self._forward, tokens, None))

    def logits(self, ids: Sequence[int], positions: Sequence[int]) -> Tensor:
        tokens = _Tokens(np.array(ids), np.arange(len(ids)), np.array(positions))
        self._share_out(self._cuts(len(ids)), partial(self._forward, tokens, self._logits))
        return self._logits[: len(ids)]

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
                self._logits[start].data_ptr(),
                stop - start,
                self._logits.shape[1],
                *(array[start:].ctypes.data for array in (given[0], given[1], drawn, logprobs)),
            )

        self._share_out(self._cuts(n), work)
        return drawn.tolist(), logprobs.tolist()

    def _forward(self, tokens: _Tokens, logits: Tensor | None, thread: int, start: int, stop: int) -> None:
        """Run the tokens from `start` to `stop`; fills these rows of `logits`, (tokens, vocab)."""
        self._native.forward(
            self._struct,
            *(array[start:].ctypes.data for array in (tokens.ids, tokens.rows, tokens.positions)),
            stop - start,
            self._scratch[thread].ctypes.data,
            None if logits is None else logits[start].data_ptr(),
        )

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

    def _layer(self, block: Any) -> list[Tensor | None]:
        """One layer's weights in the order of the C struct."""
        attention, mlp = block.self_attn.sublayer, block.mlp.sublayer
        projections = (attention.q, attention.k, attention.v)
        biases = [p.bias for p in projections]
        gate, up = (self._pad(p.weight) for p in (mlp.gate, mlp.up))
        return [
            _plain(block.self_attn.norm.weight),
            self._panels(torch.cat([p.weight for p in projections])),
            None if biases[0] is None else _plain(torch.cat(biases)),
            *(
                None if not hasattr(n, "weight") else _plain(n.weight)
                for n in (attention.q_norm, attention.k_norm)
            ),
            self._panels(attention.out.weight),
            _plain(block.mlp.norm.weight),
            self._panels(torch.cat([gate, up])),
            self._panels(mlp.out.weight),
        ]

    def _pad(self, weight: Tensor) -> Tensor:
        """With rows of zeros, up to whole panels."""
        return F.pad(weight, (0, 0, 0, -len(weight) % self._native.panel()))

    def _panels(self, weight: Tensor) -> Tensor:
        """A linear layer's weight, (out, in), as decode.c wants it: (panels, in, outputs of a panel)."""
        panels = self._pad(weight.float()).unflatten(0, (-1, self._native.panel()))
        return panels.transpose(1, 2).contiguous()


def _plain(weight: Any) -> Tensor:
    """A copy, so that all weights change together, at `refresh`."""
    return weight.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
