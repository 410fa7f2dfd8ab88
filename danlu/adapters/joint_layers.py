"""How updates of layers lie in PEFT's files, also where others keep several of our layers as one.

GPT-1 and GPT-2 keep queries, keys and values as one layer. Adapters of each then lie in it side by side: A
one below the other, B as the blocks of a diagonal, so that the joint layer gives what the three do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from danlu.adapters.adalora import AdaLora
from danlu.adapters.attach import HEADS, LOW_RANK, bottleneck_places, linear_layers
from danlu.adapters.ia3 import Rescale
from danlu.adapters.lora import Dora, Lora, row_norms
from danlu.adapters.settings import AdapterConfig
from danlu.model.adapted import Part
from danlu.model.classifiers import Classifier
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import place_of

Model = LanguageModel | ScoreModel | Classifier
Members = Mapping[int, int]
"""Of a joint layer the thirds that are adapted, and the rank of each."""
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Slot:
    """A linear layer of theirs, and ours that lie in it, in their order."""

    name: str
    layers: tuple[str, ...]
    linears: tuple[nn.Linear, ...]
    transposed: bool  # they keep (in, out)

    @cached_property
    def n_in(self) -> int:
        return self.linears[0].in_features

    @cached_property
    def n_out(self) -> int:
        return sum(linear.out_features for linear in self.linears)

    def heights(self) -> list[int]:
        """Outputs of each of ours."""
        return [linear.out_features for linear in self.linears]


def slots_of(model: Model) -> dict[str, Slot]:
    """Every linear layer of the blocks, by its name in the layout of others."""
    found: dict[str, list[tuple[int, str, nn.Linear, bool]]] = {}
    for name, linear in linear_layers(model).items():
        if name.rpartition(".")[2] not in HEADS:
            place = place_of(name, model.config)
            transposed = place_of(f"{name}.weight", model.config).transposed
            found.setdefault(place.name, []).append((place.part, name, linear, transposed))
    return {
        theirs: Slot(theirs, tuple(e[1] for e in each), tuple(e[2] for e in each), each[0][3])
        for theirs, each in ((theirs, sorted(each, key=lambda e: e[0])) for theirs, each in found.items())
    }


@dataclass(frozen=True, slots=True)
class Layered:
    """How the updates of one slot lie in a file."""

    suffixes: tuple[str, ...]
    write: Callable[[Slot, Mapping[int, Any]], dict[str, Tensor]]
    shapes: Callable[[Slot, int, Tensors], dict[str, tuple[int, ...]]]  # for a rank
    read: Callable[[Slot, Tensors, AdapterConfig, float, Members | None], dict[int, Part]]


def _write_lora(slot: Slot, parts: Mapping[int, Lora]) -> dict[str, Tensor]:
    a, b = _side_by_side(slot, parts)
    return {"lora_A.weight": a, "lora_B.weight": b}


def _write_dora(slot: Slot, parts: Mapping[int, Dora]) -> dict[str, Tensor]:
    lengths = [
        parts[i].magnitude if i in parts else row_norms(linear.weight)
        for i, linear in enumerate(slot.linears)
    ]
    return {**_write_lora(slot, parts), "lora_magnitude_vector": torch.cat(lengths)}


def _write_adalora(slot: Slot, parts: Mapping[int, AdaLora]) -> dict[str, Tensor]:
    a, b = _side_by_side(slot, parts)
    return {"lora_A": a, "lora_B": b, "lora_E": torch.cat([part.lora_e for part in parts.values()])[:, None]}


def _write_ia3(slot: Slot, parts: Mapping[int, Rescale]) -> dict[str, Tensor]:
    first = next(iter(parts.values()))
    if first.on_input:
        return {"ia3_l": first.gain[None]}
    gains = [
        parts[i].gain if i in parts else linear.weight.new_ones(linear.out_features)
        for i, linear in enumerate(slot.linears)
    ]
    return {"ia3_l": torch.cat(gains)[:, None]}


def _side_by_side(slot: Slot, parts: Mapping[int, Lora]) -> tuple[Tensor, Tensor]:
    """A of all, (ranks, in), and B as blocks, (all outs, ranks); the scale is that of the first."""
    scale = next(iter(parts.values())).scale
    b = torch.zeros(slot.n_out, sum(part.rank for part in parts.values()))
    rows, column = b.split(slot.heights()), 0
    for i, part in parts.items():
        same = part.scale == scale
        rows[i][:, column : column + part.rank] = part.lora_b if same else part.lora_b * (part.scale / scale)
        column += part.rank
    return torch.cat([part.lora_a for part in parts.values()]), b


def _lora_shapes(slot: Slot, rank: int, tensors: Tensors) -> dict[str, tuple[int, ...]]:
    return {"lora_A.weight": (rank, slot.n_in), "lora_B.weight": (slot.n_out, rank)}


def _dora_shapes(slot: Slot, rank: int, tensors: Tensors) -> dict[str, tuple[int, ...]]:
    return {**_lora_shapes(slot, rank, tensors), "lora_magnitude_vector": (slot.n_out,)}


def _adalora_shapes(slot: Slot, rank: int, tensors: Tensors) -> dict[str, tuple[int, ...]]:
    return {"lora_A": (rank, slot.n_in), "lora_B": (slot.n_out, rank), "lora_E": (rank, 1)}


def _ia3_shapes(slot: Slot, rank: int, tensors: Tensors) -> dict[str, tuple[int, ...]]:
    found = tensors.get("ia3_l")
    on_input = found is not None and found.ndim == 2 and len(found) == 1
    return {"ia3_l": (1, slot.n_in) if on_input else (slot.n_out, 1)}


def _read_low_rank(
    slot: Slot, tensors: Tensors, config: AdapterConfig, scale: float, members: Members | None
) -> dict[int, Part]:
    a, b = (tensors.get(f"lora_{x}.weight", tensors.get(f"lora_{x}")) for x in "AB")
    assert a is not None
    assert b is not None
    # A joint layer of another program: each of ours has all of A.
    ranks = dict.fromkeys(range(len(slot.layers)), len(a)) if members is None else members
    found: dict[int, Part] = {}
    column, blocks = 0, b.split(slot.heights())
    for i, rank in ranks.items():
        here = slice(column, column + rank)
        part = LOW_RANK[config.kind](slot.linears[i], rank, scale)
        with torch.no_grad():
            part.lora_a.copy_(a[here])
            part.lora_b.copy_(blocks[i][:, here])
            if isinstance(part, AdaLora):
                part.lora_e.copy_(tensors["lora_E"][here, 0])
                part.kept.copy_(part.lora_e != 0)
            if isinstance(part, Dora):
                part.magnitude.copy_(tensors["lora_magnitude_vector"].split(slot.heights())[i])
        column += 0 if members is None else rank
        found[i] = part
    return found


def _read_ia3(
    slot: Slot, tensors: Tensors, config: AdapterConfig, scale: float, members: Members | None
) -> dict[int, Part]:
    gain = tensors["ia3_l"]
    on_input = len(gain) == 1
    gains = [gain[0]] * len(slot.layers) if on_input else list(gain[:, 0].split(slot.heights()))
    found: dict[int, Part] = {}
    for i in range(len(slot.layers)) if members is None else members:
        part = Rescale(slot.linears[i], on_input=on_input)
        part.gain.data.copy_(gains[i])
        found[i] = part
    return found


LAYERED = {
    "lora": Layered(("lora_A.weight", "lora_B.weight"), _write_lora, _lora_shapes, _read_low_rank),
    "dora": Layered(
        ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector"), _write_dora, _dora_shapes, _read_low_rank
    ),
    "adalora": Layered(("lora_A", "lora_B", "lora_E"), _write_adalora, _adalora_shapes, _read_low_rank),
    "ia3": Layered(("ia3_l",), _write_ia3, _ia3_shapes, _read_ia3),
}
BOTTLENECK = {  # our names and those in the file
    "down": "bottleneck.down.weight",
    "down_bias": "bottleneck.down.bias",
    "up": "bottleneck.up.weight",
    "up_bias": "bottleneck.up.bias",
}


def bottleneck_slots(model: Model, kind: str) -> dict[str, str]:
    """Our places of bottlenecks by the names in the file: those of the layers that end the sublayers."""
    return {_end_of(place, model): place for place in bottleneck_places(model, kind)}


def _end_of(place: str, model: Model) -> str:
    """Their name of the layer that ends a sublayer; a mixture's is that of the whole, without its router."""
    if place.endswith(".mlp.sublayer"):
        return place_of(f"{place}.router", model.config).name.rpartition(".")[0]
    return place_of(place, model.config).name
