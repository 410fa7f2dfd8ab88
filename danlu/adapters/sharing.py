"""Several models on one base: twins over the same frozen weights, and the digest that says which these are.

Each twin is then adapted, or not, by itself, and nothing needs switching between them.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from danlu.config import ConfigError
from danlu.model.adapted import Part, is_brought, places
from danlu.model.quantize import dense

M = TypeVar("M", bound=nn.Module)
# Beside what adapters brought: parts of the names of weights that come with an adapter.
OWN = ("score", "raters", "classifier", "pooler", "span")


def twin(model: M) -> M:
    """Another model over the same frozen weights; what is trained, and every buffer, is copied."""
    return copy.deepcopy(model, {id(p): p for p in model.parameters() if not p.requires_grad})


def base_digest(model: nn.Module) -> str:
    """SHA-256 of the weights under an adapter: on any other base it would say nothing sensible."""
    if merged := [name for name, parts in places(model).items() if parts.merged]:
        raise ValueError(f"the adapter of {merged[0]} is merged into its weight; unmerge first")
    own = ((name, p) for name, p in model.named_parameters() if not is_brought(name))
    return _digest((name, p) for name, p in own if not set(OWN).intersection(name.split(".")))


def model_digest(model: nn.Module) -> str:
    """SHA-256 of all weights, an adapter's among them."""
    return _digest(model.named_parameters())


class FrozenState:
    """What a checkpoint, which holds trained weights only, must carry besides.

    It is which frozen weights they belong to, and where the random numbers of an adapter's dropout stand.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._sha256 = model, ""
        parts = [module for module in model.modules() if isinstance(module, Part)]
        self._generators = list(
            {id(part.generator): part.generator for part in parts if part.generator}.values()
        )

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
