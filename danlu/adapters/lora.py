"""LoRA: a frozen base, a thin update beside some of its linear layers (Hu et al. 2021).

Several models may stand on one base. `twin` gives another model over the same frozen weights; each is then
adapted, or not, by itself, and nothing needs switching between them.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from danlu.config import ConfigError
from danlu.model.low_rank import FACTOR_NAMES, LowRankLinear, dense_weight
from danlu.model.quantize import dense

M = TypeVar("M", bound=nn.Module)
EVERY_LINEAR = ("q", "k", "v", "out", "gate", "up")
# The loss reads lm_head's weight itself, and a tied one is the embedding; a score head is trained whole.
HEADS = ("lm_head", "score")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """An adapter, or none: then every weight is trained."""

    kind: Literal["none", "lora"] = "none"
    rank: int = 16
    alpha: float = 32.0  # the update is scaled by alpha / rank
    rank_stabilised: bool = False  # by alpha / sqrt(rank) instead (Kalajdzievski 2023)
    dropout: float = 0.0  # share of what enters the update that is dropped while training
    targets: tuple[str, ...] = EVERY_LINEAR  # linear layers, by the end of their name; two are called out
    merge: bool = True  # publish merged weights in model/ too, beside the adapter in adapter/

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"rank is {self.rank}; it must be at least 1")
        if self.alpha <= 0:
            raise ConfigError(f"alpha is {self.alpha}; it must be above 0")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}; it must be in [0, 1)")
        if not self.targets:
            raise ConfigError(f"targets is empty; name linear layers, for instance {','.join(EVERY_LINEAR)}")
        if not self.on and (changed := [f.name for f in fields(self) if getattr(self, f.name) != f.default]):
            raise ConfigError(
                f"{changed[0]} is set, but kind is 'none': nothing would be adapted; set kind=lora"
            )

    @property
    def on(self) -> bool:
        return self.kind != "none"

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilised else self.rank)


def attach_lora(model: nn.Module, config: LoraConfig, *, seed: int = 0) -> None:
    """Freeze `model`, in place, but for an update of every target layer and a score head if it has one.

    The update begins at zero: the model answers as before, bit for bit.
    """
    attach_to(model, target_layers(model, config.targets), config, seed=seed)


def attach_to(model: nn.Module, layers: Sequence[str], config: LoraConfig, *, seed: int = 0) -> None:
    """As `attach_lora`, for layers by their whole names."""
    if adapted_layers(model):
        raise ValueError("the model has an adapter already; attach the new one to another twin of the base")
    linears = linear_layers(model)
    model.requires_grad_(False)
    device = linears[layers[0]].weight.device
    dropout = torch.Generator(device).manual_seed(seed) if config.dropout else None
    generator = torch.Generator().manual_seed(seed)
    for name in layers:
        parent, _, last = name.rpartition(".")
        layer = LowRankLinear(
            linears[name], config.rank, config.scale, dropout=config.dropout, generator=dropout
        )
        bound = layer.in_features**-0.5
        nn.init.uniform_(layer.lora_a, -bound, bound, generator=generator)
        setattr(model.get_submodule(parent), last, layer)
    for name, linear in linears.items():
        if name.rpartition(".")[2] == "score":
            linear.weight = nn.Parameter(linear.weight.detach().clone())  # a twin may share what it was


def target_layers(model: nn.Module, targets: Sequence[str]) -> list[str]:
    """Linear layers whose name ends with one of `targets`; a target that names none is an error."""
    linears = linear_layers(model)
    if heads := [target for target in targets if target.rpartition(".")[2] in HEADS]:
        raise ConfigError(f"targets holds {heads[0]!r}; heads take no adapter, name layers inside the blocks")
    found = {target: [n for n in linears if f".{n}".endswith(f".{target}")] for target in targets}
    if missing := [target for target, names in found.items() if not names]:
        present = {name.rpartition(".")[2] for name in linears} - set(HEADS)
        raise ConfigError(f"targets: no linear layer is named {missing[0]!r}; these are: {sorted(present)}")
    wanted = {name for names in found.values() for name in names}
    return [name for name in linears if name in wanted]


def linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """Every linear layer by name, adapted or not, heads included."""
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def adapted_layers(model: nn.Module) -> dict[str, LowRankLinear]:
    """The layers that have an update, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LowRankLinear)}


@contextmanager
def adapters_off(model: nn.Module) -> Generator[None]:
    """Within, the model is its untouched base, bit for bit: the reference of its own policy."""
    layers = adapted_layers(model)
    if merged := [name for name, layer in layers.items() if layer.merged]:
        raise ValueError(f"the update of {merged[0]} is merged into its weight; unmerge before switching off")
    before = {name: layer.enabled for name, layer in layers.items()}
    for layer in layers.values():
        layer.enabled = False
    try:
        yield
    finally:
        for name, layer in layers.items():
            layer.enabled = before[name]


def merge(model: nn.Module) -> None:
    """Make each update part of its weight; the adapter rests until `unmerge`.

    Weights are replaced, not written into, so whoever shares the base keeps it.
    """
    for layer in adapted_layers(model).values():
        if not layer.merged:
            layer.weight = nn.Parameter(dense_weight(layer).detach(), requires_grad=False)
            layer.merged = True
            layer.lora_a.requires_grad_(False)
            layer.lora_b.requires_grad_(False)


def unmerge(model: nn.Module) -> None:
    """Undo `merge`: the weights are the base's again but for rounding, and the adapter can be trained."""
    for layer in adapted_layers(model).values():
        if layer.merged:
            layer.merged = False
            down, up = layer.lora_a.detach(), layer.lora_b.detach() * layer.scale
            layer.weight = nn.Parameter(layer.weight.detach() - up @ down, requires_grad=False)
            layer.lora_a.requires_grad_(True)
            layer.lora_b.requires_grad_(True)


def twin(model: M) -> M:
    """Another model over the same frozen weights; what is trained, and every buffer, is copied."""
    return copy.deepcopy(model, {id(p): p for p in model.parameters() if not p.requires_grad})


def base_digest(model: nn.Module) -> str:
    """SHA-256 of the weights under an adapter: on any other base it would say nothing sensible."""
    if merged := [name for name, layer in adapted_layers(model).items() if layer.merged]:
        raise ValueError(f"the update of {merged[0]} is merged into its weight; unmerge first")
    return _digest((name, p) for name, p in model.named_parameters() if not OWN.intersection(name.split(".")))


def model_digest(model: nn.Module) -> str:
    """SHA-256 of all weights, an adapter's among them."""
    return _digest(model.named_parameters())


class FrozenState:
    """What a checkpoint, which holds trained weights only, must carry besides.

    It is which frozen weights they belong to, and where the random numbers of an adapter's dropout stand.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._sha256 = model, ""
        generators = {id(layer.generator): layer.generator for layer in adapted_layers(model).values()}
        self._generators = [generator for generator in generators.values() if generator is not None]

    def state_dict(self) -> dict[str, Any]:
        # Once a run: what is frozen stays as it is.
        frozen = ((name, p) for name, p in self._model.named_parameters() if not p.requires_grad)
        self._sha256 = self._sha256 or _digest(frozen)
        dropout = [bytes(generator.get_state().tolist()).hex() for generator in self._generators]
        return {"sha256": self._sha256, "dropout": dropout}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["sha256"] != self.state_dict()["sha256"]:
            raise ConfigError(
                "the base model's weights are not those that this run began with; put them back, "
                "or use another out="
            )
        for generator, text in zip(self._generators, state["dropout"], strict=True):
            generator.set_state(torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8))


def _digest(weights: Iterable[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, weight in sorted(weights, key=lambda pair: pair[0]):
        digest.update(name.encode())
        digest.update(dense(weight.detach()).float().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


OWN = {*FACTOR_NAMES, "score", "raters"}  # parts of the names of weights that an adapter brings with it
