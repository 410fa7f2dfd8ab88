"""What an adapter is in a file, whatever its kind: PEFT's names, and the heads that come with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.adapters.joint_layers import Model
from danlu.adapters.settings import AdapterConfig
from danlu.model.adapted import Part
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import place_in

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE = "base_model."  # PEFT's wrapper around the model; around one with adapted layers there is another
LAYERS = f"{BASE}model."
EMBEDDINGS = "prompt_embeddings"
ANSWERS_KEY = "answers"  # in the header: what a classifier's outputs stand for
PARTS_KEY = "joint_layers"  # in the header: of layers that others keep as one, which parts are adapted
VIRTUAL = ("prefix", "p_tuning_v2", "prompt")  # kinds that put virtual tokens before the text


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """What an adapter directory holds, checked as far as it can be without its base."""

    path: Path
    base: Path  # model directory that it was trained on
    task: str
    config: AdapterConfig
    tree: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    header: Mapping[str, str]

    @property
    def classifies(self) -> bool:
        """Whether it makes a classifier of ours, which says what its outputs stand for."""
        return ANSWERS_KEY in self.header

    @property
    def scores(self) -> bool:
        """Whether it makes a score model."""
        return self.task == "SEQ_CLS" and not self.classifies


@dataclass(frozen=True, slots=True)
class Written:
    """What an adapter is in a file, the score head apart."""

    tensors: dict[str, Tensor]
    tree: dict[str, Any]
    header: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One kind as a file."""

    peft_type: str
    write: Callable[[Model, Mapping[str, Any], AdapterConfig], Written]
    parts: Callable[[Model, AdapterFile], dict[str, Part]]
    settings: Callable[[Mapping[str, Any]], AdapterConfig]
    numbers: str  # what must hold of the settings
    reads: frozenset[str]
    ignored: frozenset[str] = frozenset()
    allowed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])


def heads_of(model: Model) -> dict[str, Tensor]:
    """The weights that stand on a backbone and come with an adapter, by their names in the layout of others.

    A language model has none: its output projection is the base's.
    """
    if isinstance(model, LanguageModel):
        return {}
    if isinstance(model, ScoreModel):
        return {place_in(model, "score.weight").name: model.score.weight}
    return {place_in(model, name).name: weight for name, weight in model.head_parameters()}


def head_key(config: AdapterConfig, theirs: str) -> str:
    """PEFT does not wrap the layers of a model before which virtual tokens stand."""
    return f"{BASE if config.kind in VIRTUAL else LAYERS}{theirs}"


def saved_modules(model: Model) -> list[str] | None:
    """What PEFT is to load whole."""
    layers = (name.rpartition(".")[0].removesuffix(".dense") for name in heads_of(model))
    return sorted({layer.rpartition(".")[2] for layer in layers}) or None


def head_shapes(model: Model, file: AdapterFile) -> dict[str, torch.Size]:
    return {head_key(file.config, theirs): weight.shape for theirs, weight in heads_of(model).items()}
