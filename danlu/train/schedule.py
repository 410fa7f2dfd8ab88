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
    kind: Literal["wsd", "cosine", "constant"] = "wsd"
    warmup_steps: int = 20
    decay_fraction: float = 0.5  # share of the run that ends it, for wsd
    final_lr_ratio: float = 0.0  # last rate relative to the peak

    def __post_init__(self) -> None:
        if not 0 <= self.decay_fraction <= 1:
            raise ConfigError(f"schedule.decay_fraction is {self.decay_fraction}; it must be in [0, 1]")
        if self.warmup_steps < 0:
            raise ConfigError(f"schedule.warmup_steps is {self.warmup_steps}; it must be 0 or more")


def build_schedule(config: ScheduleConfig, peak: float, pace: Pace) -> Callable[[int], float]:
    """The rate for the update that follows `step` updates of the `pace.n_steps` planned."""

    def lr_at(step: int) -> float:
        warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
        return peak * min(warmup, decay(config, step / pace.n_steps))

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
