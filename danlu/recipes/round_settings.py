"""The settings of `danlu rlhf`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from danlu.config import ConfigError
from danlu.recipes.ppo import PpoConfig
from danlu.recipes.reward import RewardConfig

Rankers = Literal["annotators", "people", "files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingsConfig:
    """What is ranked in a round, and by whom."""

    by: Rankers = "annotators"  # the embedded world's, people who are sent tasks, or files that exist
    files: tuple[Path, ...] = ()  # by files: one for each round
    n_prompts: int = 800  # a round, each of them new
    n_completions: int = 6  # of a prompt, 2 to 16
    n_borrowed: int = 3  # by annotators: of these, answers that were given to other prompts
    n_annotators: int = 8
    least_ranked: float = 1.0  # by people: share of the tasks that must come back
    held_out: float = 0.1  # share of the prompts that reward models are measured on

    def __post_init__(self) -> None:
        if (self.by == "files") != bool(self.files):
            raise ConfigError(
                f"by is {self.by!r} and {len(self.files)} files are named; by=files needs files"
            )
        if not 2 <= self.n_completions <= 16:
            raise ConfigError(f"n_completions is {self.n_completions}; a ranking needs 2 to 16")
        if not 0 <= self.n_borrowed < self.n_completions:
            raise ConfigError(
                f"n_borrowed is {self.n_borrowed}; it must leave some of the {self.n_completions} completions"
            )
        if not 0 < self.least_ranked <= 1:
            raise ConfigError(f"least_ranked is {self.least_ranked}; it must be above 0 and at most 1")
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"held_out is {self.held_out}; it must be at least 0 and below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RlhfConfig:
    sft: Path  # model directory to start from, best inside the directory of a `danlu run`
    out: Path = Path("runs/rlhf")
    rounds: int = 3
    prompts: Path | None = None  # {"id", "messages"} a line; none: the embedded world asks
    rankings: RankingsConfig = field(default_factory=RankingsConfig)
    n_prompts: int = 4000  # a round's, for PPO, where the embedded world asks
    n_watched: int = 128  # held-out prompts for the guard and for best-of-n
    judges: int = 2  # reward models that PPO does not see, each of one half of the rankings
    best_of: int = 16  # completions of each watched prompt for the best-of-n curve; 0 is none
    reference: Literal["round", "sft"] = "round"  # KL is measured from where a round begins, or from `sft`
    demonstrations: Path | None = (
        None  # chats beside PPO's rollouts; by default those of the run around `sft`
    )
    pretrain_shards: Path | None = None  # text beside PPO's rollouts; likewise
    exam_per_cell: int = 20  # exam questions for each category and language, where the embedded world asks
    seed: int = 0
    reward: RewardConfig = field(default_factory=lambda: OPEN_REWARD)
    ppo: PpoConfig = field(default_factory=lambda: OPEN_PPO)

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("judges", 0), ("best_of", 0), ("n_watched", 8)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        refuse_taken("reward", self.reward, OPEN_REWARD)
        refuse_taken("ppo", self.ppo, OPEN_PPO)
        refuse_taken("ppo.guard", self.ppo.guard, OPEN_PPO.guard)
        self._check_rankings()
        self._check_adapters()

    def _check_rankings(self) -> None:
        if self.rankings.by == "annotators" and self.prompts is not None:
            raise ConfigError(
                "rankings.by is 'annotators' and prompts is set; annotators know the embedded world only. "
                "Use rankings.by=people or rankings.by=files"
            )
        if self.rankings.by == "files" and len(self.rankings.files) < self.rounds:
            raise ConfigError(
                f"rankings.files names {len(self.rankings.files)} files for {self.rounds} rounds; name one "
                "for each, or fewer rounds: more can be added when their files are there"
            )

    def _check_adapters(self) -> None:
        for name, adapter in (("reward", self.reward.adapter), ("ppo", self.ppo.adapter)):
            if adapter.on and not adapter.merge:
                raise ConfigError(f"{name}.adapter.merge is false; the next stage needs merged weights")
        if self.reference == "sft" and self.ppo.adapter.on:
            raise ConfigError("reference is 'sft', and an adapter of PPO stands on where the round begins")


def refuse_taken(where: str, settings: Any, defaults: Any) -> None:
    """What every round decides anew cannot be set."""
    for name in TAKEN:
        if getattr(settings, name, None) != getattr(defaults, name, None):
            raise ConfigError(f"{where}.{name} is {getattr(settings, name)}; the rounds set it, leave it out")


OPEN = Path("(by round)")
OPEN_REWARD = RewardConfig(base=OPEN, comparisons=OPEN, out=OPEN)
OPEN_PPO = PpoConfig(policy=OPEN, reward_model=OPEN, prompts=OPEN, out=OPEN)
TAKEN = (
    *("base", "policy", "reward_model", "reference", "comparisons", "held_out", "prompts", "out", "data"),
    *("demonstrations", "pretrain_shards", "judges", "seed", "endpoint", "members"),
)
