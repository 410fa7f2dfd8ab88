"""Adapters of layers as files: LoRA, DoRA, AdaLoRA and (IA)³."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from danlu.adapters.file_form import (
    CONFIG,
    LAYERS,
    PARTS_KEY,
    WEIGHTS,
    AdapterFile,
    Form,
    Written,
    head_shapes,
    saved_modules,
)
from danlu.adapters.joint_layers import LAYERED, Model, Slot, slots_of
from danlu.adapters.settings import AdapterConfig, Budget
from danlu.model.adapted import Part
from danlu.model.weights import ModelFileError, check_tensors


def _write_layers(model: Model, brought: Mapping[str, Any], config: AdapterConfig) -> Written:
    layered = LAYERED[config.kind]
    tensors: dict[str, Tensor] = {}
    members: dict[str, dict[int, int]] = {}
    adapted: dict[str, Slot] = {}
    for theirs, slot in slots_of(model).items():
        mine = {i: brought[ours] for i, ours in enumerate(slot.layers) if ours in brought}
        if mine:
            adapted[theirs] = slot
            tensors |= {f"{LAYERS}{theirs}.{key}": each for key, each in layered.write(slot, mine).items()}
            if len(slot.layers) > 1:
                members[theirs] = {i: getattr(part, "rank", 1) for i, part in mine.items()}
    tree = {
        "target_modules": _ends(model, adapted) or sorted(adapted),
        "modules_to_save": saved_modules(model),
        "fan_in_fan_out": any(slot.transposed for slot in adapted.values()),
    }
    header = {PARTS_KEY: json.dumps(members)} if members else {}
    if config.kind == "ia3":
        return Written(tensors, tree | _ia3_tree(model, tensors, adapted), header)
    return Written(tensors, tree | _low_rank_tree(config, brought, tensors, adapted), header)


def _ia3_tree(model: Model, tensors: Mapping[str, Tensor], adapted: Mapping[str, Slot]) -> dict[str, Any]:
    """Which layers are rescaled at their input; PEFT wants them named as among all."""
    inputs = [theirs for theirs in adapted if len(tensors[f"{LAYERS}{theirs}.ia3_l"]) == 1]
    ends, ends_of_inputs = _ends(model, adapted), _ends(model, inputs)
    named = {"feedforward_modules": ends_of_inputs}
    if ends is None or ends_of_inputs is None:
        named = {"target_modules": sorted(adapted), "feedforward_modules": inputs}
    return {**named, "init_ia3_weights": True}


def _low_rank_tree(
    config: AdapterConfig,
    brought: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    adapted: Mapping[str, Slot],
) -> dict[str, Any]:
    """Ranks and what updates are multiplied by."""
    scales = {
        theirs: next(brought[ours].scale for ours in slot.layers if ours in brought)
        for theirs, slot in adapted.items()
    }
    first = LAYERED[config.kind].suffixes[0]
    ranks = {theirs: len(tensors[f"{LAYERS}{theirs}.{first}"]) for theirs in adapted}
    common = {"lora_dropout": config.dropout, "bias": "none", "init_lora_weights": True}
    if config.kind == "adalora":
        return common | _adalora_tree(config, ranks, next(iter(scales.values())))
    alphas = {
        theirs: scale * (math.sqrt(ranks[theirs]) if config.rank_stabilised else ranks[theirs])
        for theirs, scale in scales.items()
    }
    return common | {
        "r": config.rank,
        "lora_alpha": config.alpha,
        "use_rslora": config.rank_stabilised,
        "use_dora": config.kind == "dora",
        "rank_pattern": {theirs: rank for theirs, rank in ranks.items() if rank != config.rank},
        "alpha_pattern": {
            theirs: alpha for theirs, alpha in alphas.items() if not math.isclose(alpha, config.alpha)
        },
    }


def _adalora_tree(config: AdapterConfig, ranks: Mapping[str, int], scale: float) -> dict[str, Any]:
    """PEFT has one rank for all layers, of which a pattern says what is left, and one alpha."""
    rank, budget = max(ranks.values()), config.budget
    less = {f"{theirs}.lora_E": [i < r for i in range(rank)] for theirs, r in ranks.items() if r < rank}
    return {
        "init_r": rank,
        "target_r": max(1, round(budget.final_rank)),
        "lora_alpha": config.alpha * scale / config.scale(rank),
        "rank_pattern": less or None,
        "beta1": budget.sensitivity_beta,
        "beta2": budget.uncertainty_beta,
        "orth_reg_weight": budget.orthogonality,
        "deltaT": budget.every,
        # PEFT counts these in updates; all are done.
        "total_step": 1,
        "tinit": 0,
        "tfinal": 0,
    }


def _layer_parts(model: Model, file: AdapterFile) -> dict[str, Part]:
    layered, slots, where = LAYERED[file.config.kind], slots_of(model), file.path / WEIGHTS
    heads = head_shapes(model, file)
    wanted = {_layer_of(key, layered.suffixes) for key in file.tensors.keys() - heads.keys()}
    if unknown := sorted(wanted - slots.keys()):
        raise ModelFileError(
            f"{where}: adapts {unknown[0]}; no layer of that name in {file.base} takes an adapter"
        )
    if not wanted:
        raise ModelFileError(
            f"{where}: holds no {' and '.join(layered.suffixes)}; it must adapt at least one layer"
        )
    members, found = _members(file), dict[str, Part]()
    of_each = {
        theirs: {
            s: t for s in layered.suffixes if (t := file.tensors.get(f"{LAYERS}{theirs}.{s}")) is not None
        }
        for theirs in wanted
    }
    ranks = {theirs: _rank_of(file, theirs) for theirs in wanted}
    shapes = {
        f"{LAYERS}{theirs}.{suffix}": torch.Size(shape)
        for theirs in wanted
        for suffix, shape in layered.shapes(slots[theirs], ranks[theirs], of_each[theirs]).items()
    }
    check_tensors(where, file.tensors, shapes | heads, f"{CONFIG} and the base")
    for theirs in (theirs for theirs in slots if theirs in wanted):
        slot, own = slots[theirs], members.get(theirs)
        parts = layered.read(slot, of_each[theirs], file.config, _scale_of(file, theirs), own)
        found |= {slot.layers[i]: part for i, part in parts.items()}
    return found


def _rank_of(file: AdapterFile, theirs: str) -> int:
    """The rank that the settings give a layer."""
    pattern = file.tree.get("rank_pattern") or {}
    if file.config.kind == "adalora":
        return sum(pattern.get(f"{theirs}.lora_E", [True] * file.config.rank))
    return int(_by_ending(pattern, theirs, file.config.rank))


def _scale_of(file: AdapterFile, theirs: str) -> float:
    if file.config.kind in ("ia3", "adalora"):
        return file.config.scale(file.config.rank)
    alpha = float(_by_ending(file.tree.get("alpha_pattern") or {}, theirs, file.config.alpha))
    return replace(file.config, alpha=alpha).scale(_rank_of(file, theirs))


def _by_ending(pattern: Mapping[str, Any], theirs: str, default: Any) -> Any:
    """What the first ending that names a layer says of it."""
    return next((value for end, value in pattern.items() if f".{theirs}".endswith(f".{end}")), default)


def _members(file: AdapterFile) -> dict[str, dict[int, int]]:
    """Of layers that others keep as one, the rank of each part that is adapted."""
    try:
        tree = json.loads(file.header.get(PARTS_KEY, "{}"))
        return {name: {int(i): int(rank) for i, rank in each.items()} for name, each in tree.items()}
    except (ValueError, AttributeError) as error:
        raise ModelFileError(f"{file.path / WEIGHTS}: its header is damaged: {error}") from error


def _layer_of(key: str, suffixes: tuple[str, ...]) -> str:
    layer = key.removeprefix(LAYERS)
    suffix = next((suffix for suffix in suffixes if layer.endswith(f".{suffix}")), None)
    return key if layer == key or suffix is None else layer.removesuffix(f".{suffix}")


def _ends(model: Model, layers: Iterable[str]) -> list[str] | None:
    """The ends of names that stand for just these layers; None where no ends do."""
    layers = set(layers)
    ends = {name.rpartition(".")[2] for name in layers}
    named = {name for name in slots_of(model) if name.rpartition(".")[2] in ends}
    return sorted(ends) if named == layers else None


def _lora_settings(tree: Mapping[str, Any]) -> AdapterConfig:
    return AdapterConfig(
        kind="dora" if tree.get("use_dora") else "lora",
        rank=int(tree["r"]),
        alpha=float(tree["lora_alpha"]),
        rank_stabilised=bool(tree.get("use_rslora", False)),
    )


def _adalora_settings(tree: Mapping[str, Any]) -> AdapterConfig:
    rank = int(tree["init_r"])
    alpha = float(tree["lora_alpha"])
    budget = Budget(final_rank=min(rank, float(tree.get("target_r", rank))))
    return AdapterConfig(kind="adalora", rank=rank, alpha=alpha if alpha > 0 else rank, budget=budget)


def _ia3_settings(tree: Mapping[str, Any]) -> AdapterConfig:
    return AdapterConfig(kind="ia3")


_OF_LORA = frozenset(
    {
        "fan_in_fan_out",
        "loftq_config",
        "lora_dropout",
        "megatron_config",
        "megatron_core",
        "qalora_group_size",
    }
)
_LORA_ALLOWED: dict[str, tuple[Any, ...]] = {
    "bias": ("none",),
    # Others, such as PiSSA, also change the base.
    "init_lora_weights": (True, False, "gaussian", "orthogonal"),
}
LORA = Form(
    peft_type="LORA",
    write=_write_layers,
    parts=_layer_parts,
    settings=_lora_settings,
    numbers="r and lora_alpha must be numbers above 0",
    reads=frozenset({"r", "lora_alpha", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern"}),
    ignored=_OF_LORA,
    allowed=_LORA_ALLOWED,
)
ADALORA = Form(
    peft_type="ADALORA",
    write=_write_layers,
    parts=_layer_parts,
    settings=_adalora_settings,
    numbers="init_r and lora_alpha must be numbers above 0",
    reads=frozenset({"init_r", "target_r", "lora_alpha", "rank_pattern"}),
    ignored=_OF_LORA | {"beta1", "beta2", "deltaT", "orth_reg_weight", "r", "tfinal", "tinit", "total_step"},
    allowed=_LORA_ALLOWED,
)
IA3 = Form(
    peft_type="IA3",
    write=_write_layers,
    parts=_layer_parts,
    settings=_ia3_settings,
    numbers="it must be a table of settings",
    reads=frozenset(),
    ignored=frozenset({"fan_in_fan_out", "feedforward_modules", "init_ia3_weights"}),
)
