"""What an objective returns: sums over what it counts, so that micro-batches of any size add up exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

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


@runtime_checkable
class InParts(Protocol[B]):
    """An objective over several networks or texts, whose graphs need not be in memory together."""

    def parts(self, model: Any, batch: B) -> Iterator[Loss]:
        """The terms, some at a time: the gradient of each part may be taken before the next is computed."""
        ...


def parts_of(objective: Objective[B], model: Any, batch: B) -> Iterable[Loss]:
    """An objective's loss in as many parts as it comes in."""
    return objective.parts(model, batch) if isinstance(objective, InParts) else [objective(model, batch)]


def whole(parts: Iterable[Loss]) -> Loss:
    """All parts as one loss."""
    terms: dict[str, Term] = {}
    metrics: dict[str, tuple[Tensor, Tensor]] = {}
    for part in parts:
        terms |= part.terms
        metrics |= part.metrics
    return Loss(terms, metrics)
