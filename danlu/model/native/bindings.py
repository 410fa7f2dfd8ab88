"""The library compiled from kernels.c, and how its functions are called with tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.model.native.build import build_library

HERE = Path(__file__).parent
SOURCES = tuple(HERE / name for name in ("kernels.c", "pointwise.inc", "attention.inc", "products.inc"))
# Reordered sums are wanted, so that loops become vector code; flushing of subnormal numbers, which
# -ffast-math would switch on for the whole process, is not.
FLAGS = (
    "-O3",
    "-march=native",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-fassociative-math",
    "-freciprocal-math",
    "-fopenmp",
    "-shared",
    "-fPIC",
)
SUFFIXES = {torch.bfloat16: "_bf16", torch.float32: "_f32"}
# p: tensor, i: whole number, f: float; the number of threads comes last everywhere.
BY_TYPE = {
    "norm": "ppppiif",
    "norm_backward": "pppppppii",
    "rotate": "pippp" + "ippiiif",
    "rotate_backward": "ppippp" + "ipppiii",
    "gate": "ppii",
    "gate_backward": "ppppii",
    "cross_entropy": "pppii",
    "attend": "pppippp" + "iiiiiii",
    "attend_backward": "pppippppppp" + "iiiiiii",
}
PRODUCTS = {
    "pack_rows": "ppii",
    "pack_weight": "ppiiii",
    "pack_transposed": "ppiii",
    "product": "pppppiii",
    "weight_gradient": "pippiiii",
}
TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "f": ctypes.c_float}


@cache
def available() -> bool:
    """Whether the library can be had on this machine; the first call may compile it."""
    return _library() is not None


@cache
def has_products() -> bool:
    """Whether the library was compiled for a processor that its matrix products are written for."""
    library = _library()
    return library is not None and bool(library.has_products())


@cache
def _library() -> ctypes.CDLL | None:
    library = build_library(SOURCES, FLAGS)
    if library is None:
        return None
    signatures = {name + suffix: BY_TYPE[name] for name in BY_TYPE for suffix in SUFFIXES.values()}
    if library.has_products():
        signatures |= PRODUCTS
    for name, signature in signatures.items():
        function = getattr(library, name)
        function.argtypes = [*(TYPES[letter] for letter in signature), ctypes.c_int]
        function.restype = None
    return library


@cache
def _function(name: str) -> Callable[..., Any]:
    return getattr(_library(), name)


def call(name: str, *arguments: Tensor | float | None, dtype: torch.dtype | None = None) -> None:
    """Run a function on tensors laid out as its comment in C says; the caller keeps them alive.

    Args:
        name: without its type.
        arguments: all but the number of threads.
        dtype: of the variant, where there is one for each type.
    """
    plain = [a.data_ptr() if isinstance(a, Tensor) else a for a in arguments]
    suffix = "" if dtype is None else SUFFIXES[dtype]
    _function(name + suffix)(*plain, torch.get_num_threads())
