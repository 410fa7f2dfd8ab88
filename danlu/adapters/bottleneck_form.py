"""Bottleneck adapters as files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from danlu.adapters.attach import new_bottleneck
from danlu.adapters.file_form import (
    CONFIG,
    LAYERS,
    WEIGHTS,
    AdapterFile,
    Form,
    Written,
    head_shapes,
    saved_modules,
)
from danlu.adapters.joint_layers import BOTTLENECK, Model, bottleneck_slots
from danlu.adapters.settings import AdapterConfig, Bottleneck
from danlu.config import ConfigError
from danlu.model.adapted import Part
from danlu.model.weights import check_tensors


def _write_bottlenecks(model: Model, brought: Mapping[str, Any], config: AdapterConfig) -> Written:
    slots = bottleneck_slots(model, config.kind)
    tensors = {
        f"{LAYERS}{theirs}.{suffix}": getattr(brought[ours], name)
        for theirs, ours in slots.items()
        for name, suffix in BOTTLENECK.items()
    }
    tree = {
        "variant": config.kind,
        "bottleneck_width": config.bottleneck.width,
        "activation": config.bottleneck.activation,
        "target_modules": sorted(slots),
        "modules_to_save": saved_modules(model),
    }
    return Written(tensors, tree)


def _bottleneck_parts(model: Model, file: AdapterFile) -> dict[str, Part]:
    found: dict[str, Part] = {}
    into: dict[str, Tensor] = {}
    for theirs, place in bottleneck_slots(model, file.config.kind).items():
        found[place] = part = new_bottleneck(model, place, file.config)
        into |= {f"{LAYERS}{theirs}.{s}": getattr(part, name) for name, s in BOTTLENECK.items()}
    shapes = {key: tensor.shape for key, tensor in into.items()} | head_shapes(model, file)
    check_tensors(file.path / WEIGHTS, file.tensors, shapes, f"{CONFIG} and the base")
    with torch.no_grad():
        for key, tensor in into.items():
            tensor.copy_(file.tensors[key])
    return found


def _bottleneck_settings(tree: Mapping[str, Any]) -> AdapterConfig:
    if tree["variant"] not in ("houlsby", "pfeiffer"):
        raise ConfigError(f"variant is {tree['variant']!r}")
    if tree["activation"] not in ("relu", "gelu", "tanh"):
        raise ConfigError(f"activation is {tree['activation']!r}")
    settings = Bottleneck(width=int(tree["bottleneck_width"]), activation=tree["activation"])
    return AdapterConfig(kind=tree["variant"], bottleneck=settings)


BOTTLENECK_FORM = Form(
    peft_type="BOTTLENECK",
    write=_write_bottlenecks,
    parts=_bottleneck_parts,
    settings=_bottleneck_settings,
    numbers="variant must be 'houlsby' or 'pfeiffer', activation 'relu', 'gelu' or 'tanh', and "
    "bottleneck_width a number above 0",
    reads=frozenset({"variant", "activation", "bottleneck_width"}),
)
