"""kernels.c for tensors: normalisation, rotation, gating, attention and the loss, each with its gradient."""

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
# Reordered sums are wanted, so that loops become vector code; flushing of subnormal numbers, which -ffast-math
# would switch on for the whole process, is not.
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
SUFFIXES = {torch.bfloat16: "bf16", torch.float32: "f32"}
# p: tensor, i: whole number, f: float.
SIGNATURES = {
    "norm": "ppppiif",
    "norm_backward": "pppppppii",
    "rotate": "pippp" + "ippiiif",
    "rotate_backward": "ppippp" + "ipppiii",
    "gate": "ppii",
    "gate_backward": "ppppii",
    "cross_entropy": "ppii",
    "attend": "pppippp" + "iiiii",
    "attend_backward": "pppippppppp" + "iiiii",
}
TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "f": ctypes.c_float}


@cache
def available() -> bool:
    """Whether the library can be had on this machine; the first call may compile it."""
    return _library() is not None


@cache
def _library() -> ctypes.CDLL | None:
    library = build_library((HERE / "kernels.c", HERE / "kernels.inc"), FLAGS)
    if library is None:
        return None
    for name, signature in SIGNATURES.items():
        for suffix in SUFFIXES.values():
            function = getattr(library, f"{name}_{suffix}")
            function.argtypes = [*(TYPES[letter] for letter in signature), ctypes.c_int]
            function.restype = ctypes.c_double if name == "cross_entropy" else None
    return library


@cache
def _function(name: str, dtype: torch.dtype) -> Callable[..., Any]:
    return getattr(_library(), f"{name}_{SUFFIXES[dtype]}")


def call(name: str, dtype: torch.dtype, *arguments: Tensor | float | None) -> Any:
    """Run a kernel; tensors must be laid out as kernels.inc says, and stay alive until it returns."""
    plain = [a.data_ptr() if isinstance(a, Tensor) else a for a in arguments]
    return _function(name, dtype)(*plain, torch.get_num_threads())
