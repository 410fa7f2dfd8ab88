"""The KL coefficient, steered so that the policy stays near its reference."""

from __future__ import annotations

from dataclasses import dataclass

from danlu.config import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class KlConfig:
    init_coef: float = 0.2
    # Nats a completion: KL summed over its tokens. None keeps the coefficient fixed.
    target: float | None = 1.25
    horizon: int | None = None  # episodes over which an error of 20 % moves the coefficient by as much;
    # None is a tenth of the run's episodes

    def __post_init__(self) -> None:
        if self.init_coef < 0 or min(self.horizon or 1, self.target or 1) <= 0:
            raise ConfigError("kl: init_coef must be 0 or more, horizon and target above 0")


class AdaptiveKl:
    """Proportional controller of the KL coefficient (Ziegler et al. 2019, section 2.2)."""

    def __init__(self, config: KlConfig, n_episodes: int) -> None:
        self.target, self._horizon = config.target, config.horizon
        self.n_episodes = n_episodes  # of the whole run, as planned by now
        self.coef = config.init_coef

    @property
    def horizon(self) -> int:
        """Episodes that the coefficient takes to follow."""
        return self._horizon or max(1, self.n_episodes // 10)

    def update(self, kl: float, n_episodes: int) -> None:
        """Move the coefficient after `n_episodes` whose mean KL, summed over tokens, was `kl`."""
        if self.target is None:
            return
        error = min(0.2, max(-0.2, kl / self.target - 1))
        self.coef *= 1 + error * n_episodes / self.horizon
