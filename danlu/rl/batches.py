"""What a policy is trained on: a stream of minibatches that samples whenever a rollout is used up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from danlu.data.records import Batch, RolloutBatch
from danlu.objectives.ppo import PpoBatch
from danlu.rl.advantages import Estimator
from danlu.rl.collect import Collected, Memory, RolloutConfig, collect
from danlu.rl.controller import AdaptiveKl
from danlu.rl.packing import packed
from danlu.rl.rollout import Prompt
from danlu.rl.team import Team

Beside = Literal["pretrain", "demonstrations"]


@dataclass(slots=True, kw_only=True)
class PpoBatches:
    """Minibatches drawn from the weights that the last update left; never put a prefetching loader around it.

    Its position is a number of rollouts: every random choice derives from the seed and that number, so a run
    resumed between two rollouts draws what an uninterrupted one would have drawn.
    """

    team: Team
    prompts: Sequence[Prompt]
    config: RolloutConfig
    estimator: Estimator
    controller: AdaptiveKl
    beside: Mapping[Beside, Iterator[Batch]] = field(default_factory=dict)  # modelled beside each minibatch
    critic_warmup: int = 0  # first rollouts, from which only the critic learns
    seed: int = 0
    memory: Memory = field(init=False)
    n_rollouts: int = field(init=False, default=0)
    n_left: int = field(init=False, default=0)  # minibatches of this rollout still to come
    latest: Collected | None = field(init=False, default=None)  # the rollout being trained on

    def __post_init__(self) -> None:
        self.memory = Memory(self.controller)

    def __iter__(self) -> Iterator[PpoBatch]:
        while True:
            seed = self.seed * 1_000_003 + self.n_rollouts
            warming_up = self.n_rollouts < self.critic_warmup
            prompts = self.next_prompts(self.n_rollouts)
            self.latest = collect(self.team, prompts, self.config, self.estimator, self.memory, seed=seed)
            penalty = self.controller.penalty
            if not warming_up:
                self.controller.update(self.latest.stats["kl"], self.config.n_episodes)
            self.n_rollouts += 1
            for minibatch in self.minibatches(self.latest, seed):
                text = {} if warming_up else {name: next(batches) for name, batches in self.beside.items()}
                yield PpoBatch(
                    packed(minibatch), **text, kl=penalty, entropy=self.latest.entropy, value_only=warming_up
                )

    def minibatches(self, collected: Collected, seed: int) -> Iterator[RolloutBatch]:
        """A rollout in shuffled minibatches, several times, until the rest is skipped."""
        self.n_left = self.config.n_minibatches
        for epoch in range(self.config.n_epochs):
            for minibatch in collected.batch.shuffled(
                self.config.minibatch_size, seed * 101 + epoch, together=self.config.n_completions
            ):
                if not self.n_left:
                    return
                self.n_left -= 1
                yield minibatch

    def skip_rest(self) -> int:
        """Use no more of this rollout; the number of minibatches that are left out."""
        skipped, self.n_left = self.n_left, 0
        return skipped

    def next_prompts(self, n: int) -> list[Prompt]:
        """Prompts of rollout `n`: all of them once an epoch, each epoch in an order of its own."""
        size, total = self.config.n_episodes // self.config.n_completions, len(self.prompts)
        positions = range(n * size, (n + 1) * size)
        orders = {epoch: self.order(epoch) for epoch in {position // total for position in positions}}
        return [self.prompts[orders[position // total][position % total]] for position in positions]

    def order(self, epoch: int) -> list[int]:
        """All prompts' numbers, shuffled for one epoch."""
        generator = torch.Generator().manual_seed(self.seed * 7919 + epoch)
        return torch.randperm(len(self.prompts), generator=generator).tolist()

    def state_dict(self) -> dict[str, Any]:
        return {"n_rollouts": self.n_rollouts, **self.memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.n_rollouts = state["n_rollouts"]
        self.memory.load_state_dict(state)
