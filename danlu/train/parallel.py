"""Data parallelism: each process has its rows of every batch, all have the same weights (DDP over gloo).

`torchrun` starts the processes. What one process would compute they compute together, but for rounding: sums
and weights are added over all of them before the division.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from danlu.config import ConfigError
from danlu.objectives.loss import Loss, Objective, Term

P = ParamSpec("P")
R = TypeVar("R")
B = TypeVar("B")


def data_parallel(run: Callable[P, R]) -> Callable[P, R]:
    """Let a stage be run by all processes that torchrun started; a process alone runs it as it is."""

    @wraps(run)
    def together(*args: P.args, **kwargs: P.kwargs) -> R:
        if n_started() == 1:
            return run(*args, **kwargs)
        dist.init_process_group("gloo")
        try:
            return run(*args, **kwargs)
        finally:
            dist.destroy_process_group()

    return together


def n_started() -> int:
    """Processes that torchrun started together with this one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def world() -> int:
    """Processes that work together on this stage."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number among them; 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def refuse_strangers() -> None:
    """An error where processes were started together for a stage in which each would work alone."""
    if n_started() != world():
        raise ConfigError(
            f"{n_started()} processes were started, but this command runs in one; start it without torchrun"
        )


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if world() > 1:
        dist.barrier()


def agreed(number: int) -> int:
    """The number that process 0 has, for all."""
    if world() == 1:
        return number
    shared = torch.tensor(number)
    dist.broadcast(shared, src=0)
    return int(shared)


def rows_each(batch_size: int) -> int:
    """This process's part of a batch."""
    if batch_size % world():
        raise ConfigError(f"batch_size is {batch_size}; it must be a multiple of the {world()} processes")
    return batch_size // world()


class Together(Generic[B]):
    """An objective whose sums run over the batches of all processes.

    The value of each term is the sum over processes, its gradient `world` times this process's own: DDP then
    takes the mean over processes, which makes it their sum.

    `some_idle`: a pass may leave out some parameters, as it does the experts that no token takes.
    """

    def __init__(self, model: nn.Module, objective: Objective[B], *, some_idle: bool = False) -> None:
        self._objective = objective
        # An encoder of pictures has no part in a batch of texts.
        sees = getattr(getattr(model, "config", None), "pictures", None) is not None
        step = _Step(model, objective)
        self._step = DistributedDataParallel(step, find_unused_parameters=some_idle or sees)

    def __call__(self, model: Any, batch: B) -> Loss:
        loss: Loss = self._step(batch)
        terms = {name: Term(_summed_value(term.total), term.coef) for name, term in loss.terms.items()}
        return Loss(terms, {name: (_summed(a), _summed(b)) for name, (a, b) in loss.metrics.items()})

    def weights(self, batch: B) -> Mapping[str, Tensor]:
        return {name: _summed(weight) for name, weight in self._objective.weights(batch).items()}


class _Step(nn.Module):
    """An objective as the forward of a module, which is what DDP can follow."""

    def __init__(self, model: nn.Module, objective: Objective[Any]) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Any) -> Loss:
        return self.objective(self.model, batch)


def _summed(number: Tensor) -> Tensor:
    total = number.detach().clone()
    dist.all_reduce(total)
    return total


def _summed_value(total: Tensor) -> Tensor:
    scaled = world() * total
    return scaled + (_summed(total) - scaled.detach())
