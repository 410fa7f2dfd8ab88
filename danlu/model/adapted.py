"""Places of a model that adapters may change, and what whoever reads weights must know of them.

Most of what runs a model fast reads weights past the layers' own `forward`. So the places are a part of the
model: kernels ask a layer for its `factors`, for its `dense_weight` and `dense_bias`, and refuse what these
cannot tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from danlu.model.layers import Linear

Factors = tuple[Tensor, Tensor]
"""down (rank, in) and up (out, rank), scale included: up @ down is what they add to a weight."""
PLACE = "adapters"  # what lies below this word in a parameter's name was brought by an adapter


class Part(nn.Module):
    """What one adapter brings to one place."""

    kind: str
    merges: ClassVar[bool] = True  # whether a changed weight can stand for it
    generator: torch.Generator | None = None  # where its dropout draws from


class Update(Part):
    """A part that adds to what a linear layer gives."""

    thin: ClassVar[bool] = False  # whether its change of the weight has factors and is all there is

    def forward(self, x: Tensor, out: Tensor, linear: nn.Linear) -> Tensor:
        """What is added, (…, out), to `out`, which the layer itself makes of `x`, (…, in)."""
        raise NotImplementedError

    def change(self, linear: nn.Linear) -> tuple[Tensor, Tensor | None]:
        """What would be added to the layer's weight, and to its bias, to the same effect."""
        raise NotImplementedError

    def factors(self) -> Factors:
        """The change of the weight as two factors, of an update that is thin."""
        raise NotImplementedError

    @property
    def drops(self) -> bool:
        """Whether the input is thinned out at random at present, which no weight can stand for."""
        return False


class Parts(nn.ModuleDict):
    """What adapters bring to one place, by their names, and how much each counts at present."""

    def __init__(self) -> None:
        super().__init__()
        self.active: dict[str, float] = {}
        self.merged = False  # then what counts is in the weights already

    def counting(self) -> list[tuple[Any, float]]:
        """The parts that are to be applied, and the factor of each."""
        if self.merged:
            return []
        return [(self[name], coef) for name, coef in self.active.items() if name in self and coef]


class AdaptedLinear(Linear):
    """y + Σ c · update(x, y), where y = W x + b is what the layer gives without adapters.

    It takes over the very weight of the layer that it replaces, so the weight keeps its name and other models
    may share it.
    """

    def __init__(self, base: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight = base.weight
        self.register_parameter("bias", base.bias)
        self.adapters = Parts()
        self.train(base.training)

    def forward(self, input: Tensor) -> Tensor:
        plain = out = super().forward(input)
        for update, coef in self.adapters.counting():
            added = update(input, plain, self)
            out = out + (added if coef == 1 else coef * added)
        return out

    def factors(self) -> Factors | None:
        """All that is added, by updates that are all thin, as one pair; None where nothing is."""
        found = [(*update.factors(), coef) for update, coef in self.adapters.counting()]
        downs = [down for down, _, _ in found]
        ups = [up if coef == 1 else coef * up for _, up, coef in found]
        if len(found) < 2:
            return (downs[0], ups[0]) if found else None
        return torch.cat(downs), torch.cat(ups, dim=1)

    @property
    def by_factors(self) -> bool:
        """Whether `factors` tell all that is added to the layer's own output."""
        return all(update.thin and not update.drops for update, _ in self.adapters.counting())

    @property
    def by_weights(self) -> bool:
        """Whether `dense_weight` and `dense_bias` tell all that the layer does."""
        return all(update.merges for update, _ in self.adapters.counting())

    def merge(self) -> None:
        """Make what counts a part of the weight.

        The weight is replaced, not written into, so whoever shares it keeps it.
        """
        if self.adapters.merged:
            return
        weight, bias = dense_weight(self).detach(), dense_bias(self)
        self._own = (self.weight, self.bias)  # in a tuple, so that it is no parameter of the module
        self._trained = [each for each in self.adapters.parameters() if each.requires_grad]
        self.adapters.requires_grad_(False)
        self.weight = nn.Parameter(weight, requires_grad=False)
        if bias is not None:
            self.bias = nn.Parameter(bias.detach(), requires_grad=False)
        self.adapters.merged = True

    def unmerge(self) -> None:
        """Undo `merge`: the weight is the one that was there before."""
        if self.adapters.merged:
            self.weight, bias = self._own
            self.register_parameter("bias", bias)
            self.adapters.merged = False
            for each in self._trained:
                each.requires_grad_(True)
            del self._own, self._trained


def dense_weight(linear: nn.Linear) -> Tensor:
    """The weight that a layer multiplies by, with what adapters change, (out, in)."""
    return sum((coef * change for change, _, coef in _changes(linear)), linear.weight)


def dense_bias(linear: nn.Linear) -> Tensor | None:
    """The bias that a layer adds, with what adapters change, (out,); None where there is none."""
    bias = bias_of(linear)
    changes = [coef * change for _, change, coef in _changes(linear) if change is not None]
    return sum(changes, torch.zeros(()) if bias is None else bias) if changes else bias


def bias_of(linear: nn.Linear) -> Tensor | None:
    """The bias that the layer itself adds."""
    return cast(Tensor | None, linear.bias)


def _changes(linear: nn.Linear) -> Iterator[tuple[Tensor, Tensor | None, float]]:
    if isinstance(linear, AdaptedLinear):
        for update, coef in linear.adapters.counting():
            check_mergeable(update)
            yield *update.change(linear), coef


def places(model: nn.Module) -> dict[str, Parts]:
    """Every place of the model that adapters were brought to, by the name of what stands there."""
    return {
        name.rpartition(".")[0]: module for name, module in model.named_modules() if isinstance(module, Parts)
    }


def is_brought(name: str) -> bool:
    """Whether a parameter or module of this name was brought by an adapter."""
    return PLACE in name.split(".")


def check_mergeable(part: Part) -> None:
    """An error where no weight can stand for what an adapter brings."""
    if not part.merges:
        raise ValueError(
            f"an adapter of kind {part.kind!r} cannot be merged: no weight stands for it. Keep it beside its "
            "base, or switch it off"
        )
