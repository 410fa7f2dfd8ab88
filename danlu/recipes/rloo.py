"""`danlu rloo`: each answer against the others to its prompt; with another baseline, REINFORCE."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from danlu.objectives.ppo import Surrogate
from danlu.recipes.grpo import GrpoConfig, align
from danlu.rl.advantages import Baseline
from danlu.rl.collect import RolloutConfig
from danlu.rl.controller import KlConfig
from danlu.rl.judges import Grade, TrueScore

SUMMARY = "align by REINFORCE with a baseline: the other answers (RLOO), the batch, or the past"


@dataclass(frozen=True, slots=True, kw_only=True)
class RlooConfig(GrpoConfig):
    rollout: RolloutConfig = field(default_factory=lambda: RolloutConfig(n_completions=4))
    objective: Surrogate = field(default_factory=lambda: Surrogate(ptx_coef=0.1, sft_coef=0.5))
    kl: KlConfig = field(default_factory=KlConfig)
    advantage: Baseline = field(default_factory=lambda: Baseline(kind="leave_one_out", divide_by_std=False))


def run(config: RlooConfig, true_score: TrueScore | None = None, *, grade: Grade | None = None) -> Path:
    """Train the policy; the arguments are those of `danlu.recipes.ppo.run`."""
    return align("rloo", config, true_score, grade)
