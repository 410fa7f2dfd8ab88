"""What an objective returns: sums over what it counts, so that micro-batches of any size add up exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from torch import Tensor

B = TypeVar("B", contravariant=True)


@dataclass(frozen=True, slots=True)
class Term:
    """One quantity to minimise, summed over the units it counts (tokens, rankings)."""

    total: Tensor  # scalar, with its graph
    coef: float = 1.0


@dataclass(frozen=True, slots=True)
class Loss:
    """Named terms, each to be divided by its own weight over all micro-batches of an update.

    `metrics` are pairs of a sum and the weight to divide it by; they are logged and never differentiated.
    """

    terms: Mapping[str, Term]
    metrics: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


class Objective(Protocol[B]):
    """What a stage minimises: a frozen dataclass of its own hyper-parameters."""

    def __call__(self, model: Any, batch: B) -> Loss:
        """The summed terms of one micro-batch."""
        ...

    def weights(self, batch: B) -> Mapping[str, Tensor]:
        """How many units each term counts, known before the forward pass, so that the loop can divide."""
        ...
