"""How a completion is drawn: the settings that every caller shares."""

from __future__ import annotations

from dataclasses import dataclass

from danlu.config import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingConfig:
    """How a completion is drawn."""

    max_new_tokens: int = 64
    temperature: float = 1.0  # 0 is greedy
    top_k: int = 0  # draw among this many likeliest tokens; 0 is all
    top_p: float = 1.0  # draw among the likeliest tokens that hold this probability; 1 is all
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ConfigError(f"sampling.max_new_tokens is {self.max_new_tokens}; it must be at least 1")
        if self.temperature < 0:
            raise ConfigError(f"sampling.temperature is {self.temperature}; it must not be negative")
        if self.top_k < 0:
            raise ConfigError(f"sampling.top_k is {self.top_k}; it must not be negative (0 is no limit)")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"sampling.top_p is {self.top_p}; it must be in (0, 1]")
