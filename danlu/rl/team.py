"""Who takes part in a rollout: what is trained, the reference, the sampler, the reward."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from danlu.rl.episodes import Player
from danlu.rl.judges import CheckedReward
from danlu.rl.rollout import Generates


class Average(nn.Module):
    """Exponential moving average of the weights that a model trains: in its checkpoints, never trained."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        for name, weight in trained_weights(model):
            self.register_buffer(name, weight.detach().clone())

    @torch.no_grad()
    def follow(self, model: nn.Module, decay: float) -> None:
        """Forget all but `decay` of itself, in favour of the model as it is."""
        for name, weight in trained_weights(model):
            self.get_buffer(name).lerp_(weight, 1 - decay)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Give the model the weights of the average."""
        for name, weight in trained_weights(model):
            weight.copy_(self.get_buffer(name))


def trained_weights(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters that are trained, under names that a buffer may have."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name.replace(".", "/"), parameter


class PolicyAndValue(nn.Module):
    """What is trained: the policy and, where there is one, its critic."""

    shares_trunk = False  # whether the critic reads the policy's hidden vectors

    def __init__(
        self, policy: nn.Module, value: nn.Module | None = None, *, average: Average | None = None
    ) -> None:
        super().__init__()
        self.policy, self.value, self.average = policy, value, average

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits, (batch, seq, vocab), and values, (batch, seq)."""
        return self.policy(*inputs), None if self.value is None else self.value(*inputs)


class SharedTrunk(PolicyAndValue):
    """A policy whose hidden vectors the critic reads too: `value` is a head, not a network."""

    shares_trunk = True

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        policy: Any = self.policy
        value: Any = self.value
        hidden = policy.backbone(*inputs)
        return policy.lm_head(hidden).float(), value(hidden)


@dataclass(frozen=True, slots=True)
class Team:
    """The four networks of RLHF; `trained` holds two of them, `reward` hides the fourth behind a function."""

    trained: PolicyAndValue
    reference: nn.Module
    sampler: Generates
    reward: CheckedReward
    pad_id: int
    player: Player | None = None  # runs the tools that prompts come with


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Dropout off within, as it was before after."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
