"""The guard against over-optimisation beside a run of PPO: its judges, its looks, the end it may bring."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.config import ConfigError
from danlu.model.hf import load_score_model
from danlu.recipes.stage import chat_format_of, settle
from danlu.rl.batches import PpoBatches
from danlu.rl.collect import RolloutConfig
from danlu.rl.guard import Guard, GuardConfig, Judgement
from danlu.rl.judges import TrueScore
from danlu.rl.rollout import Prompt, Reward, Rollout
from danlu.rl.scoring import reward_of
from danlu.rl.team import Team
from danlu.tokenizer.chat import ChatFormat
from danlu.train.checkpoint import latest_step, replace_file
from danlu.train.pace import Pace
from danlu.train.parallel import rank
from danlu.train.progress import Progress
from danlu.train.run import Run


@dataclass(frozen=True, slots=True)
class Watch:
    """A guard that follows a run: it looks now and then, writes `frontier.json`, and ends what must end.

    Without a guard it does nothing.
    """

    run: Run
    guard: Guard | None = None

    @property
    def resumables(self) -> dict[str, Guard]:
        """What a checkpoint must carry."""
        return {} if self.guard is None else {"guard": self.guard}

    @property
    def summary(self) -> dict[str, Any]:
        """Whether the policy fell, and after which update it is published."""
        if self.guard is None:
            return {}
        return {"guard": {"passed": self.guard.passed, "kept_step": self.guard.kept_step}}

    def begin(self) -> None:
        """The first look, before anything is learnt; a run that goes on has it already."""
        if self.guard is not None and latest_step(self.run.checkpoints) is None:
            self._look(self.guard, 0)

    def follow(self, step: int, batches: PpoBatches, pace: Pace, progress: Progress) -> None:
        """After an update: look if it is time, and end the run here if the policy has passed its peak."""
        if self.guard is None or batches.n_left or batches.n_rollouts % self.guard.config.every:
            return
        self._look(self.guard, step)
        if self.guard.passed:
            pace.n_steps = step
            progress.say(verdict(self.guard))

    def conclude(self, step: int) -> None:
        """After the last update: a last look, and the weights of the peak if that was passed."""
        if self.guard is None:
            return
        if self.guard.looks[-1].step != step:
            self._look(self.guard, step)
        if self.guard.passed:
            self.guard.put_back_peak()

    def _look(self, guard: Guard, step: int) -> None:
        guard.look(step)
        if not rank():
            replace_file(self.run.path / "frontier.json", json.dumps(guard.to_tree(), indent=1))


def verdict(guard: Guard) -> str:
    peak, last = guard.looks[guard.peak], guard.looks[-1]
    return (
        f"  {guard.config.measure} fell after update {peak.step} while the score went from "
        f"{peak.score:+.3f} to {last.score:+.3f}: stopped, the weights of update {peak.step} are kept"
    )


def build_guard(
    config: GuardConfig,
    team: Team,
    prompts: Sequence[Prompt],
    rollout: RolloutConfig,
    run: Run,
    chat_format: ChatFormat,
    true_score: TrueScore | None,
) -> Guard:
    """A guard with its judges in memory."""
    judges = {str(path): load_reward(path, run, chat_format) for path in config.judges}
    truth = truth_of(true_score, chat_format)
    judgement = Judgement(team.reward, judges, truth, rollout.missing_end_penalty)
    return Guard(team, prompts, judgement, config, rollout)


def truth_of(true_score: TrueScore | None, chat_format: ChatFormat) -> Reward | None:
    """The truth about rollouts, where there is one."""
    if true_score is None:
        return None

    def truth(rollouts: Sequence[Rollout]) -> list[float]:
        texts = [str(chat_format.parse(r.completion.ids)["content"]) for r in rollouts]
        return [true_score(r.prompt.id, text) for r, text in zip(rollouts, texts, strict=True)]

    return truth


def load_reward(path: Path, run: Run, chat_format: ChatFormat) -> Reward:
    """A frozen reward model, in the precision of a run."""
    tokenizer = chat_format_of(path).tokenizer
    if tokenizer.fingerprint != chat_format.tokenizer.fingerprint:
        raise ConfigError(f"{path} has another tokenizer than the policy; a judge must share it")
    model = load_score_model(path, vocab_size=tokenizer.vocab_size).eval().requires_grad_(False)
    settle(run, model, 64, 64)
    return reward_of(model, tokenizer.pad_id)
