"""`danlu grpo`: the answers to one prompt are compared with each other, so that no value model is needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from danlu.objectives.ppo import Surrogate
from danlu.recipes.judge import check_judge
from danlu.recipes.policy import Alignment, PolicyConfig, load_networks
from danlu.recipes.stage import chat_format_of
from danlu.rl.advantages import Baseline
from danlu.rl.collect import RolloutConfig
from danlu.rl.controller import KlConfig
from danlu.rl.judges import Grade, TrueScore
from danlu.rl.team import PolicyAndValue, Team
from danlu.tokenizer.chat import ChatFormat
from danlu.train.optim import build_optimizer
from danlu.train.run import Run, open_run

SUMMARY = "align by comparing several answers to each prompt (GRPO); no value model"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpoConfig(PolicyConfig):
    rollout: RolloutConfig = field(default_factory=lambda: RolloutConfig(n_completions=8))
    objective: Surrogate = field(
        default_factory=lambda: Surrogate(average="completions", ptx_coef=0.1, sft_coef=0.5)
    )
    kl: KlConfig = field(
        default_factory=lambda: KlConfig(init_coef=0.04, target=None, estimator="k3", place="loss")
    )
    advantage: Baseline = field(default_factory=Baseline)

    def __post_init__(self) -> None:
        PolicyConfig.__post_init__(self)
        self.advantage.check(self.rollout.n_completions)


def run(config: GrpoConfig, true_score: TrueScore | None = None, *, grade: Grade | None = None) -> Path:
    """Train the policy; the arguments are those of `danlu.recipes.ppo.run`."""
    return align("grpo", config, true_score, grade)


def align(name: str, config: GrpoConfig, true_score: TrueScore | None, grade: Grade | None) -> Path:
    """Train the policy under the name of a command."""
    check_judge(config, grade)
    chat_format = chat_format_of(config.policy)
    stage_run = open_run(config.out, config)
    if stage_run.finished:
        return config.out
    team = build_team(config, chat_format, stage_run, grade)
    return Alignment(
        name=name,
        config=config,
        run=stage_run,
        chat_format=chat_format,
        team=team,
        estimator=config.advantage,
        optimizer=build_optimizer(team.trained, config.optim),
        true_score=true_score,
    ).learn()


def build_team(
    config: GrpoConfig, chat_format: ChatFormat, stage_run: Run, grade: Grade | None = None
) -> Team:
    """Policy, reference, sampler and reward."""
    networks = load_networks(config, chat_format, stage_run, grade)
    trained = PolicyAndValue(networks.policy, average=networks.average)
    return networks.team(trained, config, chat_format)
