"""`danlu teach`: what people said of a model's answers becomes the next model, measured against the last."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from danlu.config import ConfigError
from danlu.feedback.store import Store
from danlu.recipes import lessons
from danlu.recipes.job import Ledger
from danlu.recipes.lessons import OPEN_SFT, Lesson, Stage
from danlu.recipes.model_files import model_dir
from danlu.recipes.ppo import PpoConfig
from danlu.recipes.reward import RewardConfig
from danlu.recipes.round_settings import OPEN_PPO, OPEN_REWARD, refuse_taken
from danlu.recipes.sft import SftConfig
from danlu.recipes.stage import chat_format_of
from danlu.train.checkpoint import replace_file
from danlu.train.run import open_run

SUMMARY = "teach a model what people said of its answers: SFT, reward model, PPO, or all three"
POSITIONAL = ("model",)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeachConfig:
    model: Path  # model directory or run directory that is taught
    out: Path
    db: str = "feedback.db"  # the feedback: SQLite file, or postgresql://user@host/name
    stage: Stage = "round"  # round: SFT on the demonstrations, if there are any, a reward model, PPO
    reward_model: Path | None = None  # with stage=ppo: model directory or run directory
    minutes: float = 5.0  # for each stage at most
    held_out: float = 0.2  # of the prompts: only measured on
    seed: int = 0
    sft: SftConfig = field(default_factory=lambda: OPEN_SFT)
    reward: RewardConfig = field(default_factory=lambda: OPEN_REWARD)
    ppo: PpoConfig = field(default_factory=lambda: OPEN_PPO)

    def __post_init__(self) -> None:
        if self.minutes <= 0:
            raise ConfigError(f"minutes is {self.minutes}; it must be above 0")
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"held_out is {self.held_out}; it must be at least 0 and below 1")
        if (self.stage == "ppo") != (self.reward_model is not None):
            raise ConfigError(
                f"stage is {self.stage!r} and reward_model is {self.reward_model}; PPO needs one"
            )
        refuse_taken("sft", self.sft, OPEN_SFT)
        refuse_taken("reward", self.reward, OPEN_REWARD)
        refuse_taken("ppo", self.ppo, OPEN_PPO)


def run(config: TeachConfig) -> Path:
    """Every step that is not done."""
    # The studio stops a lesson by this signal, also where whoever started the studio ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    console, model = Console(), model_dir(config.model)
    chat_format_of(model)
    Store.open(config.db, create=False).close()
    open_run(config.out, config)
    job = Lesson(
        out=config.out,
        model=model,
        db=config.db,
        stage=config.stage,
        given_reward_model=None if config.reward_model is None else model_dir(config.reward_model),
        minutes=config.minutes,
        held_out=config.held_out,
        seed=config.seed,
        sft=config.sft,
        reward=config.reward,
        ppo=config.ppo,
    )
    job.do("collect", lessons.collect)
    names = job.steps()
    replace_file(job / "steps.json", json.dumps(["collect", *names]))
    for name in names:
        console.rule(name)
        job.do(name, STEPS[name])
    show(job, console)
    return config.out


def show(job: Ledger, console: Console) -> None:
    """What was gained, and how to talk with what was made."""
    result = json.loads((job / "result.json").read_text(encoding="utf-8"))
    table = Table("measured on held-out prompts", "n", "before", "after")
    for row in result["table"]:
        before, after = ("-" if row[name] is None else f"{row[name]:.3f}" for name in ("before", "after"))
        table.add_row(row["what"], f"{row['n']:,}", before, after)
    console.print(table)
    if result["model"]:
        console.print(f"talk to it: danlu chat {job / result['model']}", highlight=False, markup=False)


STEPS = {
    "sft": lessons.demonstrate,
    "reward": lessons.train_reward,
    "ppo": lessons.align,
    "compare": lessons.compare,
}
