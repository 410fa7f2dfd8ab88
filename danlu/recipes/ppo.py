"""`danlu ppo`: the assistant learns to write what is rewarded, near to where it began."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import nn

from danlu.adapters.sharing import twin
from danlu.config import ConfigError
from danlu.model.heads import ScoreModel, ValueHead
from danlu.model.precision import apply_precision
from danlu.objectives.ppo import Ppo
from danlu.recipes.judge import check_judge
from danlu.recipes.policy import Alignment, Networks, PolicyConfig, learner, load_networks
from danlu.recipes.stage import chat_format_of
from danlu.rl.advantages import Gae
from danlu.rl.judges import Grade, TrueScore
from danlu.rl.team import PolicyAndValue, SharedTrunk, Team
from danlu.tokenizer.chat import ChatFormat
from danlu.train.optim import build_optimizer
from danlu.train.run import Run, open_run

SUMMARY = "align an assistant with a reward model by PPO"


@dataclass(frozen=True, slots=True, kw_only=True)
class PpoConfig(PolicyConfig):
    objective: Ppo = field(default_factory=lambda: Ppo(ptx_coef=0.1, sft_coef=0.5))
    advantage: Gae = field(default_factory=Gae)
    value_model: Literal["reward_model", "policy", "shared"] = "reward_model"
    """What the critic starts from; shared is no network of its own but a head on the policy's."""
    value_lr_scale: float = 2.0  # the value model's learning rate relative to the policy's
    critic_warmup: int = 0  # first rollouts, from which only the value model learns

    def __post_init__(self) -> None:
        PolicyConfig.__post_init__(self)
        if self.value_model == "reward_model" and self.reward_model is None:
            raise ConfigError(
                "value_model is 'reward_model' and reward_model is not set; name a model directory, or where "
                "something else rewards, use value_model='policy' or 'shared'"
            )
        if self.critic_warmup and self.value_model == "shared":
            raise ConfigError(
                f"critic_warmup is {self.critic_warmup} and value_model is 'shared'; a critic on the "
                "policy's network cannot learn while that stays. Use another value_model, or no warm-up"
            )


def run(config: PpoConfig, true_score: TrueScore | None = None, *, grade: Grade | None = None) -> Path:
    """Train the policy.

    Args:
        config: the settings.
        true_score: where the truth is known, it is logged beside the reward model's score; nothing learns
            from it.
        grade: a function of prompt and answer that rewards in the reward model's place.
    """
    check_judge(config, grade)
    chat_format = chat_format_of(config.policy)
    stage_run = open_run(config.out, config)
    if stage_run.finished:
        return config.out
    team = build_team(config, chat_format, stage_run, grade)
    return Alignment(
        name="ppo",
        config=config,
        run=stage_run,
        chat_format=chat_format,
        team=team,
        estimator=config.advantage,
        optimizer=build_optimizer(team.trained, config.optim, lr_scales={"value": config.value_lr_scale}),
        critic_warmup=config.critic_warmup,
        true_score=true_score,
    ).learn()


def build_team(
    config: PpoConfig, chat_format: ChatFormat, stage_run: Run, grade: Grade | None = None
) -> Team:
    """Policy with its critic, reference, sampler and reward."""
    networks = load_networks(config, chat_format, stage_run, grade)
    return networks.team(with_critic(config, networks), config, chat_format)


def with_critic(config: PpoConfig, networks: Networks) -> PolicyAndValue:
    """The policy and its value model or head."""
    policy, average = networks.policy, networks.average
    if config.value_model == "shared":
        return SharedTrunk(policy, ValueHead(policy.config.d_model), average=average)
    if config.value_model == "policy":
        value = ScoreModel.on(twin(policy.backbone))
        nn.init.zeros_(value.score.weight)
    else:
        assert networks.reward_model is not None
        value = learner(networks.reward_model, config, config.seed + 1)
        value.raters = None  # a critic is asked for no rankings
    apply_precision(value.eval(), networks.precision)
    return PolicyAndValue(policy, value, average=average)
