"""A model's weights as the decoder in C reads them: matrices in panels, in the bits that they are kept in."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from danlu.generate.bindings import BFLOAT16, FLOAT32, INT4, INT8, LayerStruct, MatrixStruct
from danlu.model.adapted import AdaptedLinear, dense_bias, dense_weight
from danlu.model.heads import LanguageModel
from danlu.model.quantised_weight import Int4Weight, Int8Weight, QuantisedWeight

INT8_GROUP = 128  # numbers of what is multiplied with 8-bit codes that share a step


def group_of(model: LanguageModel) -> int:
    """How many numbers share a step where weights are codes; 0 where none are."""
    groups = _groups(model)
    return max(groups) if groups else INT8_GROUP * _has_codes(model)


def fits_panels(model: LanguageModel) -> bool:
    """Whether the weights can be laid out: codes under adapters in use cannot, they would lose their form."""
    over_codes = any(
        isinstance(module.weight, QuantisedWeight) and module.adapters.counting()
        for module in model.modules()
        if isinstance(module, AdaptedLinear)
    )
    return not over_codes and len(_groups(model)) <= 1


def _groups(model: LanguageModel) -> set[int]:
    return {weight.group for weight in model.parameters() if isinstance(weight, Int4Weight)}


def _has_codes(model: LanguageModel) -> bool:
    return any(isinstance(weight, QuantisedWeight) for weight in model.parameters())


class Panels:
    """The weights' copies, each kept under its place in the model, to be filled again after an update.

    Torch's threads take no part: where the cores are shared with others, handing them dozens of small copies
    costs a hundred times the copying.

    Args:
        native: the library.
        bf16: matrices of float32 are rounded to bfloat16; those kept in bfloat16 stay so in any case.
    """

    def __init__(self, native: ctypes.CDLL, *, bf16: bool) -> None:
        self._native, self.bf16 = native, bf16
        self._buffers: dict[tuple[str, Any], NDArray[Any]] = {}
        self._codes: dict[str, Tensor] = {}  # what a place was last packed from; codes never change

    def vector(self, place: str, weights: Sequence[Tensor]) -> int | None:
        """The address of vectors side by side, float32; None of none."""
        if not weights:
            return None
        joined = np.concatenate([weight.detach().float().numpy() for weight in weights])
        buffer = self._buffer(place, joined.dtype, joined.size)
        buffer[:] = joined
        return buffer.ctypes.data

    def table(self, place: str, weight: Tensor) -> tuple[int, int, int | None]:
        """A matrix by rows, as it is kept: its form, its address and that of the scales of its codes."""
        if isinstance(weight, Int8Weight):
            self._codes[place] = weight.codes
            return INT8, weight.codes.data_ptr(), self.vector(f"{place}.scales", [weight.scales])
        form = BFLOAT16 if weight.dtype is torch.bfloat16 else FLOAT32
        plain = weight.detach().flatten()
        plain = plain.view(torch.uint16) if form == BFLOAT16 else plain.float()
        buffer = self._buffer(place, plain.numpy().dtype, plain.numel())
        buffer[:] = plain.numpy()
        return form, buffer.ctypes.data, None

    def matrix(self, place: str, weight: Tensor) -> MatrixStruct:
        """A linear layer's weight, (out, in)."""
        n, k = weight.shape
        form = self._form(weight)
        panels = self._buffer(place, form, self._native.matrix_size(form, n, k))
        if not isinstance(weight, QuantisedWeight):
            plain = weight.detach().float().contiguous().numpy()
            self._native.pack(form, plain.ctypes.data, n, k, panels.ctypes.data)
            return MatrixStruct(form, k, n, panels.ctypes.data, None)
        scales = self._buffer(f"{place}.scales", np.uint32, self._scales_of(weight).size)
        if self._codes.get(place) is not weight.codes:
            panels[:] = 0
            codes = weight.plain()[0] if isinstance(weight, Int4Weight) else weight.codes
            self._native.pack(form, codes.contiguous().data_ptr(), n, k, panels.ctypes.data)
            scales[:] = self._scales_of(weight)
            self._codes[place] = weight.codes
        return MatrixStruct(form, k, n, panels.ctypes.data, scales.ctypes.data)

    def _form(self, weight: Tensor) -> int:
        if isinstance(weight, QuantisedWeight):
            return INT4 if isinstance(weight, Int4Weight) else INT8
        return BFLOAT16 if self.bf16 or weight.dtype is torch.bfloat16 else FLOAT32

    def _scales_of(self, weight: QuantisedWeight) -> NDArray[np.uint32]:
        """In the order of the panels, 32 bits a column: float32, or scale and middle of each group."""
        width = self._native.panel()
        if not isinstance(weight, Int4Weight):
            lines = weight.scales[None]
        else:
            lines = weight.scales.contiguous().view(torch.int32).squeeze(-1)  # (groups, out)
        padded = torch.nn.functional.pad(lines, (0, -lines.shape[1] % width))
        by_panel = padded.unflatten(1, (-1, width)).transpose(0, 1)
        return by_panel.contiguous().flatten().numpy().view(np.uint32)

    def _buffer(self, place: str, kind: Any, size: int) -> NDArray[Any]:
        """Room of that size for a place; the same every time."""
        key = (place, kind)
        if key not in self._buffers:
            dtype = np.uint8 if isinstance(kind, int) else kind
            self._buffers[key] = np.zeros(size, dtype)
        return self._buffers[key]


def layer_of(panels: Panels, index: int, block: Any) -> LayerStruct:
    """A block of the model; what adapters change is part of the weights."""
    attention, mlp = block.self_attn.sublayer, block.mlp.sublayer
    projections = {"q": attention.q, "k": attention.k, "v": attention.v}
    linears = projections | {
        "attention_out": attention.out,
        "gate": mlp.gate,
        "up": mlp.up,
        "mlp_out": mlp.out,
    }
    biases = [bias for bias in map(dense_bias, projections.values()) if bias is not None]
    vectors = {
        "input_norm": [block.self_attn.norm.weight],
        "qkv_bias": biases,
        "q_norm": [*attention.q_norm.parameters()],
        "k_norm": [*attention.k_norm.parameters()],
        "mlp_norm": [block.mlp.norm.weight],
    }
    return LayerStruct(
        **{name: panels.vector(f"{index}.{name}", each) for name, each in vectors.items()},
        **{name: panels.matrix(f"{index}.{name}", dense_weight(each)) for name, each in linears.items()},
    )
