"""An objective with one more term: what a model's weights cost by themselves, whatever the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from danlu.objectives.loss import Loss, Objective, Term

B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Penalised(Generic[B]):
    """`objective` and a penalty that counts once in each micro-batch, so its mean is the penalty itself."""

    objective: Objective[B]
    name: str
    penalty: Callable[[], Tensor]  # a scalar, with its graph
    coef: float

    def __call__(self, model: Any, batch: B) -> Loss:
        loss = self.objective(model, batch)
        return Loss({**loss.terms, self.name: Term(self.penalty(), self.coef)}, loss.metrics)

    def weights(self, batch: B) -> Mapping[str, Tensor]:
        return {**self.objective.weights(batch), self.name: torch.ones(())}
