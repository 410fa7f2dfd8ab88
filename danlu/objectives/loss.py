"""A loss in sum form: the loop divides, so that micro-batches of any size add up exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor, nn

B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Term:
    """One quantity to minimise, summed over the units it counts (tokens, rankings)."""

    total: Tensor  # scalar, with its graph
    weight: Tensor | float  # how many units that was
    coef: float = 1.0


@dataclass(frozen=True, slots=True)
class Loss:
    """Named terms, each divided by its own weight over all micro-batches of an update.

    `metrics` are sums with their own weights, logged as means and never differentiated.
    """

    terms: Mapping[str, Term]
    metrics: Mapping[str, tuple[Tensor | float, Tensor | float]] = field(default_factory=dict)


Objective = Callable[[nn.Module, B], Loss]
