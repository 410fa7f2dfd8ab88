"""The KL coefficient, steered so that the policy stays near its reference."""

from __future__ import annotations

from dataclasses import dataclass

from danlu.config import ConfigError
from danlu.objectives.kl import KlEstimator, KlPenalty, KlPlace, check_place


@dataclass(frozen=True, slots=True, kw_only=True)
class KlConfig:
    init_coef: float = 0.2
    # Nats a completion: KL summed over its tokens. None keeps the coefficient fixed.
    target: float | None = 1.25
    horizon: int | None = None  # episodes over which an error of 20 % moves the coefficient by as much;
    # None is a tenth of the run's episodes
    estimator: KlEstimator = "k1"
    place: KlPlace = "reward"  # part of the rewards, or a term of the loss

    def __post_init__(self) -> None:
        check_place(self.estimator, self.place)
        if self.init_coef < 0 or min(self.horizon or 1, self.target or 1) <= 0:
            raise ConfigError("kl: init_coef must be 0 or more, horizon and target above 0")


class AdaptiveKl:
    """Proportional controller of the KL coefficient (Ziegler et al. 2019, section 2.2)."""

    def __init__(self, config: KlConfig, n_episodes: int) -> None:
        self.config, self.target, self._horizon = config, config.target, config.horizon
        self.n_episodes = n_episodes  # of the whole run, as planned by now
        self.coef = config.init_coef

    @property
    def horizon(self) -> int:
        """Episodes that the coefficient takes to follow."""
        return self._horizon or max(1, self.n_episodes // 10)

    @property
    def reward_coef(self) -> float:
        """What KL costs in the rewards."""
        return self.coef if self.config.place == "reward" else 0.0

    @property
    def penalty(self) -> KlPenalty | None:
        """KL as a term of the loss, where it is one."""
        return KlPenalty(self.config.estimator, self.coef) if self.config.place == "loss" else None

    def update(self, kl: float, n_episodes: int) -> None:
        """Move the coefficient after `n_episodes` whose mean KL, summed over tokens, was `kl`.

        However short the horizon, one rollout at most halves it: below 0 it would reward going astray.
        """
        if self.target is None:
            return
        error = min(0.2, max(-0.2, kl / self.target - 1))
        self.coef *= max(0.5, 1 + error * n_episodes / self.horizon)
