"""What a Hugging Face layout says of a model: its settings, its classes, and where each weight lies."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.layouts.settings import Settings

Renames = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one of our weights lies in their files."""

    name: str
    part: int = 0
    n_parts: int = 1  # some keep queries, keys and values as one
    transposed: bool = False  # some keep (in, out)

    def cut(self, theirs: Tensor) -> Tensor:
        """Our weight, seen inside their tensor."""
        whole = theirs.t() if self.transposed and theirs.ndim == 2 else theirs
        return whole if self.n_parts == 1 else whole.chunk(self.n_parts)[self.part]


def join(places: Sequence[Place], ours: Sequence[Tensor]) -> Tensor:
    """Their tensor from all of our weights that lie in it, in the order of their parts."""
    whole = ours[0] if len(ours) == 1 else torch.cat([*ours])
    return whole.t() if places[0].transposed and whole.ndim == 2 else whole


def joined_shape(places: Sequence[Place], ours: Sequence[torch.Size]) -> torch.Size:
    """The shape of what `join` gives."""
    shape = (sum(each[0] for each in ours), *ours[0][1:])
    return torch.Size(shape[::-1] if places[0].transposed else shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One class of theirs, and ours that it stands for."""

    name: str
    kind: type[nn.Module]
    build: Callable[[ModelConfig, Settings, Collection[str]], nn.Module]  # the last: names of the weights
    suits: Callable[[Any], bool] = lambda model: True


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One model type of theirs."""

    model_type: str
    heads: Sequence[Head]
    suits: Callable[[ModelConfig], bool]  # whether it can express a configuration
    read: Callable[[Settings], ModelConfig]
    write: Callable[[ModelConfig], dict[str, Any]]
    renames: Renames  # from our names to theirs, applied in turn
    prefix: str  # of the backbone's weights; files of a bare backbone leave it out
    fused: Renames = ()  # likewise, for what they keep as thirds of one tensor; the name's end tells which
    transposed: str = r"(?!)"  # our names of matrices that they keep as (in, out)
    unread: str = r"(?!)"  # their names of what is no weight, or a weight's second copy
    aliases: Renames = ()  # from older names of theirs to newer ones
    buffers: Sequence[str] = ()  # ours that lie in their files beside the weights

    def tensors_of(self, model: nn.Module) -> dict[str, Tensor]:
        """All of a model that lies in their files, under our names."""
        buffers = {name: model.get_buffer(name) for name in self.buffers}
        return {**dict(model.named_parameters()), **buffers}

    def place(self, ours: str) -> Place:
        """Where a weight of ours lies."""
        theirs, part, n_parts = ours, 0, 1
        for pattern, replacement in self.fused:
            if match := re.search(pattern, theirs):
                theirs, part, n_parts = re.sub(pattern, replacement, theirs), "qkv".index(match["part"]), 3
        for pattern, replacement in self.renames:
            theirs = re.sub(pattern, replacement, theirs)
        return Place(theirs, part, n_parts, bool(re.search(self.transposed, ours)))

    def name_now(self, theirs: str, known: Collection[str]) -> str:
        """What a tensor of a file is called in this layout's present form."""
        for pattern, replacement in self.aliases:
            theirs = re.sub(pattern, replacement, theirs)
        return self.prefix + theirs if theirs not in known and self.prefix + theirs in known else theirs


def decoder_heads(language: str, score: str) -> tuple[Head, ...]:
    """The two classes of a decoder: a language model, and a score model."""
    return (
        Head(name=language, kind=LanguageModel, build=lambda config, *_: LanguageModel(config)),
        Head(name=score, kind=ScoreModel, build=_score_model),
    )


def _score_model(config: ModelConfig, settings: Settings, names: Collection[str]) -> ScoreModel:
    labels = settings.get("id2label", {"0": ""})
    if settings.get("num_labels", len(labels)) != 1:
        raise settings.wrong("id2label", labels, "of one label: a score")
    return ScoreModel(config)


def same_settings(config: ModelConfig, **values: Any) -> bool:
    """Whether the configuration has just these values."""
    return all(getattr(config, name) == value for name, value in values.items())


def sizes_from(settings: Settings, names: Mapping[str, str]) -> dict[str, Any]:
    """Our sizes under their names."""
    return {ours: settings.integer(theirs) for ours, theirs in names.items()}


def sizes_to(config: ModelConfig, names: Mapping[str, str]) -> dict[str, Any]:
    """Their names with our sizes."""
    return {theirs: getattr(config, ours) for ours, theirs in names.items()}
