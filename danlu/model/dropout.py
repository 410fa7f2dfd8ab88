"""Dropout: at random, some of what the sublayers and the embedding give is left out while training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from danlu.config import ConfigError
from danlu.model.blocks import PreNorm
from danlu.model.transformer import Stack

SIDES = 1 << 15  # of the die that is thrown for every number
FIFTEEN_BITS = 0x7FFF_7FFF_7FFF_7FFF  # of each of the four throws in a random word


class Dropout(nn.Module):
    """Zero with probability `share`, else divided by 1 - share (Srivastava et al. 2014).

    Fifteen random bits decide on a number, so the share is kept to 1 in 32,768; torch's own dropout spends
    several times as long on a CPU.
    """

    def __init__(self, share: float, generator: torch.Generator) -> None:
        super().__init__()
        self.threshold, self.generator = round(share * SIDES), generator
        self.gain = SIDES / (SIDES - self.threshold)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        words.random_(-(2**63), None, generator=self.generator).bitwise_and_(FIFTEEN_BITS)
        thrown = words.view(torch.int16)[: x.numel()].view(x.shape)
        # The sign of this difference, spread over all bits: ones where the number is kept.
        kept = (self.threshold - 1 - thrown).bitwise_right_shift_(15)
        return _Thinned.apply(x, kept, self.gain)


class _Thinned(torch.autograd.Function):
    """x times `gain` where the bits of `kept` are ones, 0 where they are zeros; int16, of the shape of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, gain: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.gain = gain
        return thin(x, kept, gain)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (kept,) = ctx.saved_tensors
        return thin(grad_outputs[0], kept, ctx.gain), None, None


def thin(x: Tensor, kept: Tensor, gain: float) -> Tensor:
    """See `_Thinned`. Numbers of sixteen bits are masked, which is several times as fast as a product."""
    if x.element_size() == 2:
        return (x.view(torch.int16) & kept).view(x.dtype) * gain
    return x * (kept != 0) * gain


class DropoutState:
    """Where the random numbers stand: what a checkpoint carries, so that a resumed run draws the same."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def state_dict(self) -> dict[str, Any]:
        return {"generator": bytes(self._generator.get_state().tolist()).hex()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        numbers = list(bytes.fromhex(state["generator"]))
        self._generator.set_state(torch.tensor(numbers, dtype=torch.uint8))


def add_dropout(model: nn.Module, share: float, *, seed: int) -> DropoutState:
    """Let what sublayers and embeddings give pass through dropout (Vaswani et al. 2017, section 5.4).

    It belongs to the training of a model and not to the model: it is not saved with it.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"dropout is {share}; it must be at least 0 and below 1")
    generator = torch.Generator().manual_seed(seed)
    if share:
        for module in [*model.modules()]:
            if isinstance(module, PreNorm | Stack):
                module.dropout = Dropout(share, generator).train(module.training)
    return DropoutState(generator)
