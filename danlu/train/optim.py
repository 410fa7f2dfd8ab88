"""Which parameter is updated how: Muon for the matrices inside the blocks, AdamW for everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from danlu.config import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    kind: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-3  # peak learning rate; Muon's update is scaled to AdamW's size, so both share it
    weight_decay: float = 0.1  # on matrices only
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    muon_momentum: float = 0.95
    muon_lr_scale: float = 1.0  # Muon's rate relative to `lr`
    muon_steps: int = 3  # Newton-Schulz iterations; 5 cost a tenth of a small model's time and gain nothing

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ConfigError(f"optim.lr is {self.lr}; it must be above 0")


class Optimizers:
    """Several optimizers over disjoint parameters, stepped as one."""

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self.parts = list(parts)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def state_of(self, parameter: Tensor) -> dict[str, Any]:
        """The live state of one parameter: moments and step counts."""
        for part in self.parts:
            if parameter in part.state:
                return part.state[parameter]
        return {}


class Projection(Protocol):
    """A set that weights must stay in, chosen by what the gradients say."""

    def observe(self) -> None:
        """Look at the gradients of the step to come."""
        ...

    def project(self) -> None:
        """Put the weights back into the set."""
        ...


class ProjectedOptimizers(Optimizers):
    """Optimizers whose every step ends with a projection: projected gradient descent."""

    def __init__(self, inner: Optimizers, projection: Projection) -> None:
        super().__init__(inner.parts)
        self.projection = projection

    def step(self) -> None:
        self.projection.observe()
        super().step()
        self.projection.project()


def build_optimizer(
    model: nn.Module, config: OptimConfig, *, lr_scales: Mapping[str, float] | None = None
) -> Optimizers:
    """Optimizers over the trainable parameters of `model`.

    Args:
        model: whose parameters are updated; names with `embed`, `head`, `score` or `adapters` in them never
            take Muon: half of an adapter's product is no map from vectors to vectors by itself.
        config: the settings.
        lr_scales: learning-rate factors by the first part of a parameter's name, for instance
            `{"value": 3.0}` for a critic that learns faster than its policy.
    """
    matrices: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for scale, name, parameter in scaled_parameters(model, lr_scales or {}):
        hidden = parameter.ndim == 2 and not any(word in name for word in NEVER_MUON)
        group = {
            "params": [parameter],
            "lr_scale": scale,
            "weight_decay": config.weight_decay * (parameter.ndim >= 2),
        }
        if config.kind == "muon" and hidden:
            matrices.append({**group, "lr_scale": scale * config.muon_lr_scale})
        else:
            others.append(group)
    parts: list[Optimizer] = []
    if matrices:
        # Liu et al. 2025 (Muon is scalable for LLM training): RMS matched to AdamW's.
        parts.append(
            Muon(
                merge_groups(matrices),
                lr=config.lr,
                momentum=config.muon_momentum,
                ns_steps=config.muon_steps,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    if others:
        betas = (config.beta1, config.beta2)
        parts.append(AdamW(merge_groups(others), lr=config.lr, betas=betas, eps=config.eps, foreach=True))
    return Optimizers(parts)


def scaled_parameters(
    model: nn.Module, lr_scales: Mapping[str, float]
) -> Iterator[tuple[float, str, Tensor]]:
    """Learning-rate factor, name and tensor of everything that is trained."""
    unknown = set(lr_scales) - {name.split(".")[0] for name, _ in model.named_parameters()}
    if unknown:
        raise ConfigError(f"no parameter's name begins with {sorted(unknown)}")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield lr_scales.get(name.split(".")[0], 1.0), name, parameter


NEVER_MUON = ("embed", "head", "score", "adapters")


def merge_groups(groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One group for all parameters with the same settings, so that updates run in few calls."""
    merged: dict[tuple[float, float], dict[str, Any]] = {}
    for group in groups:
        key = (group["lr_scale"], group["weight_decay"])
        merged.setdefault(key, {**group, "params": []})["params"].extend(group["params"])
    return list(merged.values())
