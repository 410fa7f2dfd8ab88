"""PPO's data: an endless stream of minibatches that samples whenever a rollout is used up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from danlu.data.records import Batch
from danlu.objectives.ppo import PpoBatch
from danlu.rl.collect import Collected, Prompt, RolloutConfig, Team, collect
from danlu.rl.controller import AdaptiveKl
from danlu.rl.packing import packed


class PpoBatches:
    """Minibatches drawn from the weights that the last update left; never put a prefetching loader around it.

    Its position is a number of rollouts: every random choice derives from the seed and that number, so a run
    resumed between two rollouts draws what an uninterrupted one would have drawn.
    """

    def __init__(
        self,
        team: Team,
        prompts: Sequence[Prompt],
        config: RolloutConfig,
        controller: AdaptiveKl,
        *,
        pretrain: Iterator[Batch] | None = None,
        demonstrations: Iterator[Batch] | None = None,
        seed: int = 0,
    ) -> None:
        self.team, self.prompts, self.config, self.controller = team, prompts, config, controller
        self.pretrain, self.demonstrations = pretrain, demonstrations
        self.seed, self.n_rollouts = seed, 0
        self.latest: Collected | None = None  # the rollout being trained on

    @property
    def updates_per_rollout(self) -> int:
        """Minibatches between one sampling and the next."""
        return self.config.n_epochs * self.config.n_episodes // self.config.minibatch_size

    def __iter__(self) -> Iterator[PpoBatch]:
        while True:
            n = self.n_rollouts
            seed = self.seed * 1_000_003 + n
            self.latest = collect(
                self.team, self.next_prompts(n), self.config, kl_coef=self.controller.coef, seed=seed
            )
            self.controller.update(self.latest.stats["kl"], self.config.n_episodes)
            self.n_rollouts += 1
            for epoch in range(self.config.n_epochs):
                for minibatch in self.latest.batch.shuffled(self.config.minibatch_size, seed * 101 + epoch):
                    yield PpoBatch(packed(minibatch), drawn(self.pretrain), drawn(self.demonstrations))

    def next_prompts(self, n: int) -> list[Prompt]:
        """Prompts of rollout `n`: all of them once an epoch, each epoch in an order of its own."""
        size, total = self.config.n_episodes, len(self.prompts)
        positions = range(n * size, (n + 1) * size)
        orders = {epoch: self.order(epoch) for epoch in {position // total for position in positions}}
        return [self.prompts[orders[position // total][position % total]] for position in positions]

    def order(self, epoch: int) -> list[int]:
        """All prompts' numbers, shuffled for one epoch."""
        generator = torch.Generator().manual_seed(self.seed * 7919 + epoch)
        return torch.randperm(len(self.prompts), generator=generator).tolist()

    def state_dict(self) -> dict[str, Any]:
        return {"n_rollouts": self.n_rollouts, "kl_coef": self.controller.coef}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.n_rollouts, self.controller.coef = state["n_rollouts"], state["kl_coef"]


def drawn(batches: Iterator[Batch] | None) -> Batch | None:
    """The next batch, where there are any."""
    return None if batches is None else next(batches)
