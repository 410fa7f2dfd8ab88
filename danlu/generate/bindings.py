"""The decoder in C as a library: built once with the machine's own compiler, and the structures it reads."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from danlu.model.native.build import build_library

HERE = Path(__file__).parent
SOURCES = [HERE / name for name in ("decode.c", "draw.h", "matmul.h", "team.h", "vectors.h")]
FLAGS = ("-O3", "-ffp-contract=fast", "-shared", "-fPIC", "-pthread")
TARGETS = (("-march=native",), ())  # the second for compilers that do not know the first
FLOAT32, BFLOAT16, INT8, INT4 = range(4)  # forms of a matrix, as matmul.h numbers them

CONFIG_FIELDS = ("d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_ff", "vocab_size")
SIZE_FIELDS = (*CONFIG_FIELDS, "n_blocks", "block_size", "max_seq_len", "rounds", "group", "embedding_form")


class MatrixStruct(ctypes.Structure):
    """`Matrix` of matmul.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("form", "k", "n")),
        ("panels", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
    )


class LayerStruct(ctypes.Structure):
    """`Layer` of decode.c."""

    _fields_ = (
        ("input_norm", ctypes.c_void_p),
        *((name, MatrixStruct) for name in ("q", "k", "v")),
        *((name, ctypes.c_void_p) for name in ("qkv_bias", "q_norm", "k_norm")),
        ("attention_out", MatrixStruct),
        ("mlp_norm", ctypes.c_void_p),
        *((name, MatrixStruct) for name in ("gate", "up", "mlp_out")),
    )


class UpdateStruct(ctypes.Structure):
    """`Update` of decode.c."""

    _fields_ = (("down", ctypes.c_void_p), ("up", ctypes.c_void_p), ("rank", ctypes.c_int64))


class ModelStruct(ctypes.Structure):
    """`Model` of decode.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in SIZE_FIELDS),
        ("norm_eps", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("embedding", "embedding_scales", "norm")),
        ("layers", ctypes.POINTER(LayerStruct)),
        ("lm_head", MatrixStruct),
        *((name, ctypes.c_void_p) for name in ("cosine", "sine", "keys", "values")),
    )


class TokensStruct(ctypes.Structure):
    """`Tokens` of decode.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("ids", "rows", "positions", "updates", "tables")),
        ("table_width", ctypes.c_int64),
    )


@cache
def library() -> ctypes.CDLL | None:
    """The compiled decoder, or None where it cannot be had."""
    built = (build_library(SOURCES, [*FLAGS, *target]) for target in TARGETS)
    found = next((library for library in built if library), None)
    if found is None:
        return None
    pointer, integer, model = ctypes.c_void_p, ctypes.c_int64, ctypes.POINTER(ModelStruct)
    tokens = ctypes.POINTER(TokensStruct)
    for name, result, arguments in (
        ("panel", integer, []),
        ("multiplies_bf16", integer, []),
        ("begin_team", pointer, [integer]),
        ("end_team", None, [pointer]),
        ("matrix_size", integer, [integer] * 3),
        ("pack", None, [integer, pointer, integer, integer, pointer]),
        ("scratch_size", integer, [model, integer]),
        ("draw_scratch_size", integer, [integer, integer]),
        ("forward", None, [model, tokens, integer, pointer, pointer, pointer]),
        ("normalise", None, [pointer, integer, integer, pointer, pointer, pointer]),
        ("draw", None, [pointer, integer, integer, pointer, pointer, pointer, pointer]),
    ):
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found
