"""AdaLoRA: updates in the form of a singular value decomposition, and a budget of values that falls.

All updates of a model share the budget. Those singular values that matter least are set to zero, a few at a
time, so rank goes where it serves most (Zhang et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from danlu.adapters.lora import Lora
from danlu.adapters.settings import Budget
from danlu.model.adapted import Factors
from danlu.model.transformer import Stack

FACTORS = ("lora_a", "lora_e", "lora_b")


class AdaLora(Lora):
    """s · P Λ Q x (Zhang et al. 2023, eq. 3): Q is `lora_a`, (rank, in); Λ `lora_e`, (rank,); P `lora_b`.

    It begins as zero: P and Q are drawn, Λ is not. The buffers are smoothed sensitivity and uncertainty of
    every weight, and which singular values are kept.
    """

    kind = "adalora"
    kept: Tensor

    def __init__(self, linear: nn.Linear, rank: int, scale: float, dropout: float = 0.0) -> None:
        super().__init__(linear, rank, scale, dropout)
        self.lora_e = nn.Parameter(linear.weight.new_zeros(rank))
        self.budget = Budget()
        self.register_buffer("kept", torch.ones(rank, dtype=torch.bool, device=linear.weight.device))
        for name in FACTORS:
            for kind in ("sensitivity", "uncertainty"):
                self.register_buffer(f"{kind}_{name}", torch.zeros_like(getattr(self, name)))

    def draw(self, generator: torch.Generator) -> None:
        """Give P and Q their first values."""
        for weight in (self.lora_a, self.lora_b):
            nn.init.normal_(weight, std=0.02, generator=generator)

    def factors(self) -> Factors:
        return self.lora_a * self.lora_e[:, None], self.lora_b * self.scale

    def observe(self) -> None:
        """Take the gradients at hand into the moving averages (Zhang et al. 2023, section 3.2)."""
        budget = self.budget
        for name in FACTORS:
            weight = getattr(self, name)
            if weight.grad is None:
                continue
            sensitivity, uncertainty = (
                self.get_buffer(f"{kind}_{name}") for kind in ("sensitivity", "uncertainty")
            )
            now = (weight * weight.grad).detach().abs()
            sensitivity.lerp_(now, 1 - budget.sensitivity_beta)
            uncertainty.lerp_((now - sensitivity).abs(), 1 - budget.uncertainty_beta)

    def importance(self) -> Tensor:
        """How much each singular value with its two vectors matters, (rank,) (section 3.2 there)."""
        of_a, of_e, of_b = (
            self.get_buffer(f"sensitivity_{name}") * self.get_buffer(f"uncertainty_{name}")
            for name in FACTORS
        )
        return of_e + of_a.mean(1) + of_b.mean(0)

    @torch.no_grad()
    def project(self) -> None:
        """Set what is not kept to zero."""
        self.lora_e.mul_(self.kept)

    def orthogonality(self) -> Tensor:
        """‖Pᵀ P − I‖ + ‖Q Qᵀ − I‖, a scalar (Zhang et al. 2023, eq. 4; as in their code not squared)."""
        eye = torch.eye(self.rank, device=self.lora_a.device)
        p, q = self.lora_b, self.lora_a
        return torch.linalg.matrix_norm(p.T @ p - eye) + torch.linalg.matrix_norm(q @ q.T - eye)


class RankAllocation:
    """Which singular values of a model's AdaLoRA updates are kept, by a budget that falls as it is trained.

    To be observed before every step of the optimizer and applied after it: then the step is one of projected
    gradient descent (Zhang et al. 2023, section 3.2). Each backbone in the model has a budget of its own.
    """

    def __init__(self, model: nn.Module, n_steps: Callable[[], int], *, step: int = 0) -> None:
        """`n_steps` tells how many steps there will be in all; `step` have been done."""
        self._n_steps, self.step = n_steps, step
        self.pools = list(_pools(model))
        self.allocated = False  # whether the last step chose anew what is kept

    def __bool__(self) -> bool:
        return bool(self.pools)

    def observe(self) -> None:
        """Look at the gradients of the step to come."""
        for update in self._updates():
            update.observe()

    def project(self) -> None:
        """Put the singular values back into the budget."""
        self.step += 1
        self.allocated = False
        share = self.step / max(self._n_steps(), 1)
        for pool in self.pools:
            updates = list(pool.values())
            budget, size = updates[0].budget, size_at(updates[0].budget, share, pool)
            is_last = share >= 1 - budget.keep_last
            if is_last and sum(int(update.kept.sum()) for update in updates) <= size:
                for update in updates:  # the choice stands
                    update.project()
            elif is_last or (share >= budget.keep_first and self.step % budget.every == 0):
                allocate(updates, size)
                self.allocated = True

    def orthogonality(self) -> Tensor:
        """The mean of all matrices' distance from orthogonality, a scalar."""
        found = [update.orthogonality() for update in self._updates()]
        return torch.stack(found).sum() / (2 * len(found))

    @property
    def coefficient(self) -> float:
        """Of the orthogonality in the loss."""
        return next(self._updates()).budget.orthogonality

    def trace(self) -> dict[str, Any]:
        """How many singular values are kept, in all and by layer."""
        ranks = {name: int(update.kept.sum()) for pool in self.pools for name, update in pool.items()}
        return {"kept": sum(ranks.values()), "ranks": ranks}

    def _updates(self) -> Iterator[AdaLora]:
        return (update for pool in self.pools for update in pool.values())


def size_at(budget: Budget, share: float, pool: Mapping[str, AdaLora]) -> int:
    """Singular values in the budget when this share of the training is done (Zhang et al. 2023, section 3.3).

    From all there are it falls to `final_rank` a matrix, as the cube of what is left of the way.
    """
    first = sum(update.rank for update in pool.values())
    last = round(budget.final_rank * len(pool))
    way = (share - budget.keep_first) / (1 - budget.keep_first - budget.keep_last)
    left = 1 - min(max(way, 0.0), 1.0)
    return last + int((first - last) * left**3)


def allocate(updates: Sequence[AdaLora], size: int) -> None:
    """Keep the `size` most important singular values of all, and set the others to zero."""
    scores = torch.cat([update.importance() for update in updates])
    kept = torch.zeros_like(scores, dtype=torch.bool)
    kept[scores.argsort(descending=True, stable=True)[:size]] = True
    for update, mine in zip(updates, kept.split([update.rank for update in updates]), strict=True):
        update.kept.copy_(mine)
        update.project()


def _pools(model: nn.Module) -> Iterator[dict[str, AdaLora]]:
    """Of each backbone in the model the updates that are trained, by the name of their layer."""
    for prefix, backbone in model.named_modules():
        if isinstance(backbone, Stack):
            found = {
                f"{prefix}.{name}".removeprefix(".").partition(".adapters.")[0]: module
                for name, module in backbone.named_modules()
                if isinstance(module, AdaLora) and module.lora_e.requires_grad
            }
            if found:
                yield found
