"""Which weights of a model are kept in 8 or 4 bits, and how they lie in a model directory.

The matrices of the blocks get the bits asked for. The embedding and the output projection, which are read
a row at a time and decide every word, and matrices that the 4-bit kernel does not take, get 8. Norms, biases,
positions, a router and a score head stay as they are.

On disk a quantised `NAME.weight` is two tensors, under our own names: `NAME.weight.codes` and
`NAME.weight.scales`.

    8 bits: codes (out, in) int8; scales (out,) float32; number = code * scale.
    4 bits: codes (out, in / 2) uint8, of two columns the first in the low half; scales (out, in / group, 2)
            bfloat16, a scale and a middle; number = (code - 8) * scale + middle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from danlu.config import ConfigError
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.layouts.settings import Settings
from danlu.model.quantised_weight import (
    FROZEN,
    Bits,
    Int4Weight,
    Int8Weight,
    QuantisedWeight,
    fits_int4,
    paired,
)
from danlu.model.tensor_file import ModelFileError, Stored, ToWrite

KEY, METHOD = "quantization_config", "danlu"  # in config.json
GROUPS = (32, 64, 128, 256)  # what torch's kernel takes
CODES, SCALES = ".codes", ".scales"
BITS: dict[torch.dtype, Bits] = {torch.int8: 8, torch.uint8: 4}
CODE_DTYPES: dict[Bits, torch.dtype] = {8: torch.int8, 4: torch.uint8}
SCALE_DTYPES: dict[Bits, torch.dtype] = {8: torch.float32, 4: torch.bfloat16}
SHOWN: dict[Bits, torch.dtype] = {8: torch.int8, 4: torch.quint4x2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """How the blocks' matrices are kept."""

    bits: Bits
    group: int = 64  # at 4 bits: columns that share a scale

    def __post_init__(self) -> None:
        if self.bits not in SHOWN:
            raise ConfigError(f"bits is {self.bits!r}; it must be 8 or 4")
        if self.group not in GROUPS:
            raise ConfigError(f"group is {self.group!r}; it must be one of {', '.join(map(str, GROUPS))}")

    def weight(self, bits: Bits, weight: Tensor) -> QuantisedWeight:
        """A matrix in that many bits."""
        return Int8Weight.of(weight) if bits == 8 else Int4Weight.of(weight, self.group)

    def to_tree(self) -> dict[str, Any]:
        """As it stands in config.json."""
        return {"quant_method": METHOD, "bits": self.bits, "group": self.group}


def quantise(model: LanguageModel | ScoreModel, settings: Quantisation) -> None:
    """Give `model`, in place, quantised weights; it then computes in bfloat16."""
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    for name, bits in bits_of(shapes, settings).items():
        layer, _, kind = name.rpartition(".")
        module = model.get_submodule(layer)
        weight = settings.weight(bits, module.get_parameter(kind))
        setattr(module, kind, nn.Parameter(weight, requires_grad=False))
    finish(model)


def finish(model: nn.Module) -> None:
    """What a model whose weights have become quantised needs besides."""
    if not isinstance(model, LanguageModel | ScoreModel):
        return
    if isinstance(model, LanguageModel) and model.config.tie_embeddings:
        model.lm_head.weight = model.backbone.embedding.weight
    model.backbone.compute_dtype = torch.bfloat16  # the packed kernels' own


def is_quantised(model: nn.Module) -> bool:
    """Whether any weight is."""
    return any(isinstance(parameter, QuantisedWeight) for parameter in model.parameters())


def weight_bytes(model: nn.Module) -> int:
    """What all weights take in memory."""
    return sum(p.n_bytes if isinstance(p, QuantisedWeight) else p.nbytes for p in model.parameters())


def refuse_training(model: nn.Module, where: str) -> None:
    """A quantised model is a base for adapters only; to be called where the model itself is to be trained."""
    if is_quantised(model):
        raise ConfigError(f"{where} holds a quantised model, whose weights cannot be trained: {FROZEN}")


def bits_of(shapes: Mapping[str, torch.Size], settings: Quantisation) -> dict[str, Bits]:
    """Which weights, of these names and shapes, are quantised, and to how many bits."""
    found: dict[str, Bits] = {}
    for name, shape in shapes.items():
        if name in EIGHT_BITS:
            found[name] = 8
        elif ".blocks." in name and name.endswith(".weight") and len(shape) == 2 and ".router." not in name:
            found[name] = 4 if settings.bits == 4 and fits_int4(shape, settings.group) else 8
    return found


@dataclass(frozen=True, slots=True)
class StoredQuantised:
    """A quantised weight in a file, not read yet."""

    bits: Bits
    codes: Stored
    scales: Stored

    @property
    def shape(self) -> torch.Size:
        n_rows, width = self.codes.shape
        return torch.Size((n_rows, width * 8 // self.bits))

    @property
    def dtype(self) -> torch.dtype:
        return SHOWN[self.bits]

    @property
    def n_bytes(self) -> int:
        return self.codes.n_bytes + self.scales.n_bytes

    def read(self) -> QuantisedWeight:
        """The weight, laid out for the kernels."""
        codes, scales = self.codes.read(), self.scales.read()
        if self.bits == 8:
            return Int8Weight(codes, scales, self.shape)
        return Int4Weight.from_pairs(codes, scales)


def read_quantisation(settings: Settings) -> Quantisation | None:
    """What a `config.json` says of quantisation; only our own can be read."""
    tree = settings.get(KEY)
    if tree is None:
        return None
    known = cast(dict[str, Any], tree) if isinstance(tree, dict) else {}
    method = known.get("quant_method")
    if method != METHOD:
        raise ModelFileError(
            f"{settings.where}: the weights are quantised by {method!r}, which cannot be read; "
            "take the model before it was quantised, and let `danlu export` quantise it"
        )
    try:
        return Quantisation(bits=known.get("bits", 0), group=known.get("group", 0))
    except ConfigError as error:
        raise ModelFileError(f"{settings.where}: {KEY}: {error}") from error


def pair_up(stored: Mapping[str, Stored]) -> dict[str, Stored | StoredQuantised]:
    """The tensors of a quantised model's files as weights, each checked by itself."""
    found: dict[str, Stored | StoredQuantised] = {}
    for name, each in stored.items():
        if name.endswith(CODES):
            weight = name.removesuffix(CODES)
            found[weight] = _pair(weight, each, stored.get(weight + SCALES))
        elif not name.endswith(SCALES) or name.removesuffix(SCALES) + CODES not in stored:
            found[name] = each
            if not each.dtype.is_floating_point:
                raise ModelFileError(f"{each.path}: {name} is {each.dtype}; only codes may be whole numbers")
    return found


def _pair(name: str, codes: Stored, scales: Stored | None) -> StoredQuantised:
    bits = BITS.get(codes.dtype)
    if bits is None or len(codes.shape) != 2:
        raise ModelFileError(
            f"{codes.path}: {name}{CODES} is {codes.dtype} {tuple(codes.shape)}; it must be a matrix of int8 "
            "or of uint8 with two codes in each number"
        )
    if scales is None:
        raise ModelFileError(f"{codes.path}: {name}{CODES} has no {name}{SCALES} beside it")
    found = StoredQuantised(bits, codes, scales)
    if scales.dtype != SCALE_DTYPES[bits] or not _scales_fit(found):
        raise ModelFileError(
            f"{codes.path}: {name}{SCALES} is {scales.dtype} {tuple(scales.shape)}; that does not fit codes "
            f"of {bits} bits for a matrix of {tuple(found.shape)}"
        )
    return found


def _scales_fit(found: StoredQuantised) -> bool:
    n_rows, width = found.shape
    shape = tuple(found.scales.shape)
    if found.bits == 8:
        return shape == (n_rows,)
    groups = shape[1] if len(shape) == 3 else 0
    known = groups > 0 and width // groups in GROUPS and width % groups == 0
    return shape == (n_rows, groups, 2) and known and n_rows % 16 == 0


def quantised_tensors(
    weights: Mapping[str, tuple[torch.Size, Callable[[], Tensor]]],
    settings: Quantisation,
    dtype: torch.dtype,
) -> dict[str, ToWrite]:
    """What a model directory holds of these weights, each given by its shape and how to make it.

    `dtype` is that of what is not quantised.
    """
    bits = bits_of({name: shape for name, (shape, _) in weights.items()}, settings)
    # The scales are asked for right after the codes that they were made with.
    made = lru_cache(maxsize=1)(lambda name: settings.weight(bits[name], dense(weights[name][1]())))
    tensors: dict[str, ToWrite] = {}
    for name, (shape, make) in weights.items():
        if name in bits:
            tensors |= _two(name, bits[name], shape, settings.group, made)
        else:
            tensors[name] = ToWrite(dtype, shape, make)
    return tensors


def _two(name: str, bits: Bits, shape: torch.Size, group: int, made: Any) -> dict[str, ToWrite]:
    n_rows, width = shape
    scales = (n_rows,) if bits == 8 else (n_rows, width // group, 2)
    return {
        name + CODES: ToWrite(
            CODE_DTYPES[bits], torch.Size((n_rows, width * bits // 8)), lambda: _codes(made(name))
        ),
        name + SCALES: ToWrite(SCALE_DTYPES[bits], torch.Size(scales), lambda: _scales(made(name))),
    }


def _codes(weight: QuantisedWeight) -> Tensor:
    return paired(weight.plain()[0]) if isinstance(weight, Int4Weight) else weight.codes


def _scales(weight: QuantisedWeight) -> Tensor:
    return weight.plain()[1] if isinstance(weight, Int4Weight) else weight.scales


def dense(weight: Tensor) -> Tensor:
    """The numbers of a weight, made again where it is quantised."""
    return weight.dense() if isinstance(weight, QuantisedWeight) else weight


EIGHT_BITS = {"backbone.embedding.weight", "lm_head.weight"}
