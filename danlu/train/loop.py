"""The one training loop: it yields after every weight update and knows no stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from danlu.config import ConfigError
from danlu.data.records import DataError
from danlu.objectives.loss import Loss, Objective, parts_of
from danlu.train.optim import Optimizers

B = TypeVar("B")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    n_steps: int = 1000  # weight updates in all
    grad_accum_steps: int = 1  # micro-batches an update
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        for name in ("n_steps", "grad_accum_steps", "max_grad_norm"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"loop.{name} is {getattr(self, name)}; it must be above 0")


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one weight update did."""

    step: int  # updates done so far
    loss: float
    metrics: Mapping[str, float]  # the terms of the loss and what the objective reported, as means
    grad_norm: float  # before clipping
    lr: float
    seconds: float  # since the update before
    weights: Mapping[str, float] = field(default_factory=dict)  # units each term counted


def train(
    model: nn.Module,
    batches: Iterable[B],
    objective: Objective[B],
    optimizer: Optimizer | Optimizers,
    lr_at: Callable[[int], float],
    config: LoopConfig,
    *,
    start: int = 0,
) -> Iterator[StepReport]:
    """Yield one report per weight update; the caller's `for` body is where saving and evaluating happen.

    Stops after `config.n_steps` updates, or sooner if `batches` runs out.

    Args:
        model: what is trained, or a wrapper that casts and compiles it.
        batches: pulled lazily, so that a generator may sample from the weights of the last update.
        objective: what is minimised.
        optimizer: over the trainable parameters; a group's `lr_scale` multiplies the rate.
        lr_at: learning rate for the update that follows `step` updates.
        start: updates done before, when resuming.
    """
    stream = iter(batches)
    trainable = [p for p in model.parameters() if p.requires_grad]
    for step in range(start, config.n_steps):
        began = perf_counter()
        micro_batches = list(islice(stream, config.grad_accum_steps))
        if not micro_batches:
            return
        weights = total_weights(objective, micro_batches, step)
        losses = [
            backward(loss, weights) for batch in micro_batches for loss in parts_of(objective, model, batch)
        ]
        lr = lr_at(step)
        for group in optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        grad_norm = float(clip_grad_norm_(trainable, config.max_grad_norm))
        if not grad_norm < float("inf"):
            raise FloatingPointError(
                f"gradient norm is {grad_norm} at update {step + 1}; the learning rate is {lr:.3g}"
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield report(step + 1, losses, weights, grad_norm, lr, perf_counter() - began)


def total_weights(objective: Objective[B], micro_batches: Sequence[B], step: int) -> dict[str, Tensor]:
    """Units each term counts over the whole update; counting nothing is an error, not a loss of zero."""
    totals: dict[str, Tensor] = {}
    for batch in micro_batches:
        for name, weight in objective.weights(batch).items():
            totals[name] = totals.get(name, torch.zeros((), dtype=torch.int64)) + weight
    for name, weight in totals.items():
        if weight <= 0:
            raise DataError(
                f"the batches of update {step + 1} count no target for {name!r}; every label is masked"
            )
    return totals


def backward(loss: Loss, weights: Mapping[str, Tensor]) -> Loss:
    """Add this micro-batch's share of the gradient and return the loss without its graph."""
    sum(
        ((term.coef / weights[name]) * term.total for name, term in loss.terms.items()), torch.zeros(())
    ).backward()
    terms = {name: type(term)(term.total.detach(), term.coef) for name, term in loss.terms.items()}
    return Loss(terms, loss.metrics)


def report(
    step: int,
    losses: Sequence[Loss],
    weights: Mapping[str, Tensor],
    grad_norm: float,
    lr: float,
    seconds: float,
) -> StepReport:
    """Means over the update of every term and metric."""
    means = {
        name: float(sum(loss.terms[name].total for loss in losses if name in loss.terms) / weight)
        for name, weight in weights.items()
    }
    coefs = {name: term.coef for loss in losses for name, term in loss.terms.items()}
    total = sum(coefs[name] * mean for name, mean in means.items())
    for name in {name: None for loss in losses for name in loss.metrics}:
        pairs = [loss.metrics[name] for loss in losses if name in loss.metrics]
        means[name] = ratio(sum(float(a) for a, _ in pairs), sum(float(b) for _, b in pairs))
    return StepReport(step, total, means, grad_norm, lr, seconds, {k: float(w) for k, w in weights.items()})


def ratio(total: float, weight: float) -> float:
    """A mean, or NaN where nothing was counted."""
    return total / weight if weight else float("nan")
