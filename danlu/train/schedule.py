"""Learning rate over a run: warm up, hold, decay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from danlu.config import ConfigError
from danlu.train.pace import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    kind: Literal["wsd", "cosine", "constant", "inverse_sqrt"] = "wsd"
    warmup_steps: int = 20
    decay_fraction: float = 0.5  # share of the run that ends it, for wsd
    final_lr_ratio: float = 0.0  # last rate relative to the peak

    def __post_init__(self) -> None:
        if not 0 <= self.decay_fraction <= 1:
            raise ConfigError(f"schedule.decay_fraction is {self.decay_fraction}; it must be in [0, 1]")
        if self.warmup_steps < 0:
            raise ConfigError(f"schedule.warmup_steps is {self.warmup_steps}; it must be 0 or more")
        if self.kind == "inverse_sqrt" and not self.warmup_steps:
            raise ConfigError("schedule.warmup_steps is 0; with inverse_sqrt it must be at least 1")


def build_schedule(config: ScheduleConfig, peak: float, pace: Pace) -> Callable[[int], float]:
    """The rate for the update that follows `step` updates of the `pace.n_steps` planned."""
    if config.kind == "inverse_sqrt":
        return inverse_sqrt(peak, config.warmup_steps)

    def lr_at(step: int) -> float:
        warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
        return peak * min(warmup, decay(config, step / pace.n_steps))

    return lr_at


def inverse_sqrt(peak: float, warmup_steps: int) -> Callable[[int], float]:
    """The schedule of the 2017 Transformer (Vaswani et al. 2017, eq. 3), which knows no end.

    Theirs is d_model^-0.5 · min(n^-0.5, n · warmup^-1.5) in the n-th update: in update `warmup_steps` it
    peaks at (d_model · warmup_steps)^-0.5, and for that `peak` this is the same.
    """

    def lr_at(step: int) -> float:
        number = step + 1
        return peak * min(number / warmup_steps, (warmup_steps / number) ** 0.5)

    return lr_at


def decay(config: ScheduleConfig, progress: float) -> float:
    """Factor on the peak rate when `progress` (0 to 1) of the run lies behind."""
    if config.kind == "constant":
        return 1.0
    if config.kind == "cosine":
        falling = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    else:
        # Warm-up, stable, decay (Hu et al. 2024, MiniCPM), with a linear fall.
        falling = min(1.0, max(0.0, 1 - progress) / max(config.decay_fraction, 1e-9))
    return config.final_lr_ratio + (1 - config.final_lr_ratio) * falling
