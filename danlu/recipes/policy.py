"""What recipes that train a policy on rewards share: settings, networks, prompts, and the run itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from danlu.adapters.settings import AdapterConfig
from danlu.adapters.sharing import twin
from danlu.adapters.top_layers import train_top
from danlu.config import ConfigError
from danlu.data.chats import read_chats
from danlu.data.packing import PackedBatches
from danlu.data.records import DataError
from danlu.data.sft import SftBatches
from danlu.data.shards import open_shards
from danlu.generate.sampler import Sampler
from danlu.model.adapted import places
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import load_language_model
from danlu.model.precision import Precision, apply_precision
from danlu.model.quantize import refuse_training
from danlu.objectives.ppo import Surrogate
from danlu.recipes.guard import Watch, build_guard
from danlu.recipes.judge import load_reward_model, reward_by
from danlu.recipes.stage import Stage, adapt, chat_format_of, deliver, frozen_state, settle
from danlu.recipes.tool_settings import ToolsConfig
from danlu.rl.advantages import Estimator
from danlu.rl.batches import Beside, PpoBatches
from danlu.rl.collect import Collected, RolloutConfig
from danlu.rl.controller import AdaptiveKl, KlConfig
from danlu.rl.episodes import Player
from danlu.rl.guard import GuardConfig
from danlu.rl.judges import CheckedReward, Endpoint, Grade, TrueScore
from danlu.rl.rollout import Prompt
from danlu.rl.team import Average, PolicyAndValue, Team
from danlu.tokenizer.chat import ChatFormat
from danlu.tokenizer.interface import AnyChatFormat
from danlu.train.loop import LoopConfig, StepReport
from danlu.train.optim import OptimConfig, Optimizers
from danlu.train.pace import Pace
from danlu.train.run import Run
from danlu.train.schedule import ScheduleConfig

M = TypeVar("M", LanguageModel, ScoreModel)
Text = PackedBatches | SftBatches


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    policy: Path  # model directory to start from, such as the SFT model
    reference: Path | None = (
        None  # model directory that KL is measured from; by default where `policy` begins
    )
    reward_model: Path | None = None  # model or adapter directory; none where something else rewards
    endpoint: Endpoint = field(default_factory=Endpoint)
    grade_timeout_s: float | None = None  # a function that `run` is handed may take so long for an answer
    prompts: Path  # {"id", "messages"} a line
    out: Path
    n_episodes: int = 4096  # completions sampled in all
    minutes: float | None = None  # end in this time instead of after n_episodes
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    objective: Surrogate = field(default_factory=lambda: Surrogate(ptx_coef=0.1, sft_coef=0.5))
    kl: KlConfig = field(default_factory=KlConfig)
    max_approx_kl: float | None = None  # nats a token from the rollout's policy; beyond, the rest is skipped
    ema_decay: float | None = None  # publish the moving average of the weights, which keeps this an update
    pretrain_shards: Path | None = None  # token shards to mix in (PPO-ptx)
    pretrain_rows: int = 4  # rows of text beside each minibatch
    pretrain_seq_len: int = 128
    demonstrations: Path | None = None  # chats to mix in, such as the policy was fine-tuned on
    demonstration_rows: int = 4  # rows of packed chats beside each minibatch
    demonstration_seq_len: int = 256
    seed: int = 0
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(lr=2.5e-4, weight_decay=0.0, beta2=0.95, eps=1e-5)
    )
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(warmup_steps=10, decay_fraction=0.5, final_lr_ratio=0.1)
    )
    max_grad_norm: float = 1.0
    grad_accum_steps: int = 1  # minibatches an update
    save_every: int = 64  # updates; checkpoints lie between rollouts
    adapter: AdapterConfig = field(
        default_factory=AdapterConfig
    )  # of the policy, and of a value model likewise
    top_layers: int | None = None  # train only the last so many, of the policy and of a value model likewise
    guard: GuardConfig = field(default_factory=GuardConfig)  # against over-optimisation
    tools: ToolsConfig = field(default_factory=ToolsConfig)  # run where a prompt comes with tools

    def __post_init__(self) -> None:
        rollout = self.rollout
        if self.n_episodes % rollout.n_episodes:
            raise ConfigError(
                f"n_episodes is {self.n_episodes}; "
                f"it must be a multiple of rollout.n_episodes, {rollout.n_episodes}"
            )
        if self.grad_accum_steps < 1 or rollout.n_minibatches % self.grad_accum_steps:
            raise ConfigError(
                f"grad_accum_steps is {self.grad_accum_steps}; it must divide the {rollout.n_minibatches} "
                "minibatches of a rollout, so that no update mixes two policies' samples"
            )
        if self.objective.temperature != rollout.temperature:
            raise ConfigError(
                f"objective.temperature is {self.objective.temperature}; "
                f"it must equal rollout.temperature, {rollout.temperature}"
            )
        self._check_trained()
        self._check_kept()

    def _check_trained(self) -> None:
        """Which weights are trained, beside which frozen ones."""
        if self.adapter.dropout:
            raise ConfigError(
                f"adapter.dropout is {self.adapter.dropout}; it must be 0 in PPO and its siblings, which "
                "compare probabilities before and after an update"
            )
        if self.adapter.on and self.top_layers is not None:
            raise ConfigError(
                f"top_layers is {self.top_layers} and adapter.kind is {self.adapter.kind!r}; an adapter is "
                "trained and no layer beside it. Use one of the two"
            )
        part = "an adapter" if self.adapter.on else None if self.top_layers is None else "top_layers"
        if self.reference is not None and part:
            raise ConfigError(
                f"reference is {self.reference} and only {part} is trained; "
                "the reference is then the same weights without it"
            )

    def _check_kept(self) -> None:
        """Which of the weights that come by are published."""
        if self.max_approx_kl is not None and self.max_approx_kl <= 0:
            raise ConfigError(
                f"max_approx_kl is {self.max_approx_kl}; it must be above 0, for instance 0.02, or none"
            )
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ConfigError(
                f"ema_decay is {self.ema_decay}; it must lie between 0 and 1, for instance 0.992"
            )
        if self.ema_decay is not None and self.guard.prompts is not None:
            raise ConfigError(
                f"ema_decay is {self.ema_decay} and guard.prompts is {self.guard.prompts}; the guard looks "
                "at weights that an average would replace. Use one of the two"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """A policy about to learn from rewards; PPO and its siblings differ in these values only."""

    name: str  # of the command
    config: PolicyConfig
    run: Run
    chat_format: ChatFormat
    team: Team
    estimator: Estimator
    optimizer: Optimizers
    critic_warmup: int = 0  # rollouts
    true_score: TrueScore | None = None  # logged beside the score; nothing learns from it

    def learn(self) -> Path:
        """Train the policy and publish it."""
        config, trained = self.config, self.team.trained
        policy = cast(LanguageModel, trained.policy)
        longest = policy.config.max_seq_len - config.rollout.max_new_tokens
        prompts = read_prompts(config.prompts, self.chat_format, longest)
        controller = AdaptiveKl(config.kl, config.n_episodes)
        beside = beside_of(config, self.chat_format)
        watch = self._watch(longest)
        batches = PpoBatches(
            team=self.team,
            prompts=prompts,
            config=config.rollout,
            estimator=self.estimator,
            controller=controller,
            beside=beside,
            critic_warmup=self.critic_warmup,
            seed=config.seed,
        )
        stage = self._stage(batches, beside, watch)
        self._follow(stage, batches, watch)
        watch.conclude(stage.pace.n_steps)
        if trained.average is not None:
            trained.average.copy_to(policy)
        deliver(self.run, policy, self.chat_format.tokenizer, config.adapter, config.policy)
        self.run.finish(
            n_episodes=batches.n_rollouts * config.rollout.n_episodes,
            n_prompts=len(prompts),
            kl_coef=controller.coef,
            **watch.summary,
        )
        return config.out

    def _watch(self, longest: int) -> Watch:
        """The guard against over-optimisation, where one is wanted."""
        config = self.config
        if config.guard.prompts is None:
            return Watch(self.run)
        prompts = read_prompts(config.guard.prompts, self.chat_format, longest)
        guard = build_guard(
            config.guard, self.team, prompts, config.rollout, self.run, self.chat_format, self.true_score
        )
        return Watch(self.run, guard)

    def _stage(self, batches: PpoBatches, beside: Mapping[Beside, Text], watch: Watch) -> Stage:
        config = self.config
        per_rollout = config.rollout.n_minibatches // config.grad_accum_steps
        return Stage(
            name=self.name,
            run=self.run,
            model=self.team.trained,
            objective=config.objective,
            optimizer=self.optimizer,
            batches=batches,
            resumables={
                "batches": batches,
                **beside,
                **frozen_state(self.team.trained),
                **watch.resumables,
            },
            lr=config.optim.lr,
            schedule=config.schedule,
            pace=Pace(
                config.n_episodes // config.rollout.n_episodes * per_rollout,
                seconds=None if config.minutes is None else 60 * config.minutes,
                decay_fraction=config.schedule.decay_fraction,
                multiple=per_rollout,
            ),
            loop=LoopConfig(max_grad_norm=config.max_grad_norm, grad_accum_steps=config.grad_accum_steps),
            save_every=config.save_every,
            may_save=lambda: not batches.n_left,
        )

    def _follow(self, stage: Stage, batches: PpoBatches, watch: Watch) -> None:
        """Every update, with each rollout logged once."""
        logged = step = None
        watch.begin()
        try:
            for report, progress in stage.updates():
                step = report.step
                self._steer(stage, batches, report)
                if batches.latest is not None and batches.latest is not logged:
                    logged = batches.latest
                    self._log(step, logged)
                    for warning in logged.warnings:
                        progress.say(f"warning: {warning}")
                if logged is not None and not batches.n_left:
                    progress.say(summary_line(logged.stats))
                watch.follow(step, batches, stage.pace, progress)
        finally:
            # The reward is asked between two updates and two rollouts: exactly here the run can go on.
            if self.team.reward.failed and step is not None:
                stage.save(step)
                print(f"saved after update {step}; the same command goes on from there", file=sys.stderr)

    def _steer(self, stage: Stage, batches: PpoBatches, report: StepReport) -> None:
        """Average the weights, leave a rollout that the policy has left too far behind, plan the rest."""
        config, pace, accumulated = self.config, stage.pace, self.config.grad_accum_steps
        trained = self.team.trained
        if trained.average is not None and config.ema_decay is not None:
            trained.average.follow(trained.policy, config.ema_decay)
        limit = float("inf") if config.max_approx_kl is None else config.max_approx_kl
        if report.metrics.get("approx_kl", 0.0) > limit:
            pace.n_steps -= batches.skip_rest() // accumulated
        updates_to_come = pace.n_steps - report.step - batches.n_left // accumulated
        rollouts_to_come = updates_to_come * accumulated // config.rollout.n_minibatches
        n_rollouts = batches.n_rollouts + rollouts_to_come
        batches.controller.n_episodes = n_rollouts * config.rollout.n_episodes

    def _log(self, step: int, collected: Collected) -> None:
        """The rollout's statistics, and one sample."""
        texts = [str(self.chat_format.parse(r.completion.ids)["content"]) for r in collected.rollouts]
        stats: dict[str, object] = dict(collected.stats)
        if self.true_score is not None:
            told = [self.true_score(r.prompt.id, t) for r, t in zip(collected.rollouts, texts, strict=True)]
            stats["true_score"] = sum(told) / len(told)
        best = int(collected.scores.argmax())
        prompt = self.chat_format.tokenizer.decode(collected.rollouts[best].prompt.ids)
        warned = {"warnings": collected.warnings} if collected.warnings else {}
        self.run.log(step, rollout=stats, sample={"prompt": prompt, "completion": texts[best]}, **warned)


def summary_line(stats: dict[str, float]) -> str:
    return f"  score {stats['score']:+.3f} · KL {stats['kl']:.2f} · length {stats['length']:.1f}"


@dataclass(frozen=True, slots=True)
class Networks:
    """What every method loads: the policy, the same weights frozen, and what judges its answers."""

    policy: LanguageModel
    reference: LanguageModel
    reward_model: ScoreModel | None
    reward: CheckedReward
    precision: Precision
    average: Average | None

    def team(self, trained: PolicyAndValue, config: PolicyConfig, chat_format: ChatFormat) -> Team:
        """With the policy in the form in which it is trained."""
        if self.reward_model is not None:
            self.reward_model.requires_grad_(False)
        sampler = Sampler(self.policy, stop_ids=chat_format.stop_ids, max_batch=config.rollout.n_episodes)
        player = player_of(config.tools, chat_format, self.policy.config.max_seq_len)
        return Team(trained, self.reference, sampler, self.reward, chat_format.tokenizer.pad_id, player)


def player_of(tools: ToolsConfig, chat_format: ChatFormat, max_seq_len: int) -> Player | None:
    """What runs the policy's calls, if there are tools."""
    box = tools.toolbox
    if box is None:
        return None
    return Player(chat=chat_format, toolbox=box, limits=tools.loop, max_seq_len=max_seq_len)


def load_networks(
    config: PolicyConfig, chat_format: ChatFormat, stage_run: Run, grade: Grade | None
) -> Networks:
    """Policy and frozen reference from one model directory, and the reward, all in one precision."""
    begun = load_language_model(config.policy, vocab_size=chat_format.tokenizer.vocab_size)
    policy = learner(begun, config, config.seed)
    reference = begun if config.reference is None else load_reference(config.reference, chat_format)
    reward_model = load_reward_model(config, begun)
    precision = settle(stage_run, policy, config.rollout.minibatch_size, 64)
    for model in (policy, reference, reward_model):
        if model is not None:
            apply_precision(model.eval(), precision)
    return Networks(
        policy,
        reference,
        reward_model,
        reward_by(config, reward_model, grade, chat_format),
        precision,
        Average(policy) if config.ema_decay is not None else None,
    )


def load_reference(path: Path, chat_format: ChatFormat) -> LanguageModel:
    """A model of the policy's tokenizer, frozen, to stay near to."""
    if chat_format_of(path).tokenizer.fingerprint != chat_format.tokenizer.fingerprint:
        raise ConfigError(f"reference is {path}, which has another tokenizer than the policy")
    return load_language_model(path, vocab_size=chat_format.tokenizer.vocab_size).requires_grad_(False)


def learner(start: M, config: PolicyConfig, seed: int) -> M:
    """A model to be trained from `start`, which is frozen; what both have alike is in memory once."""
    if places(start):  # an adapter that a stage left is trained on
        model = twin(start)
    elif config.adapter.on:
        model = twin(start.requires_grad_(False))
        adapt(model, config.adapter, seed, config.policy)
    else:
        refuse_training(start, "policy or reward_model")
        if config.top_layers is not None:
            train_top(start, config.top_layers)
        model = twin(start)
    start.requires_grad_(False)
    return model


def beside_of(config: PolicyConfig, chat_format: ChatFormat) -> dict[Beside, Text]:
    """Text and demonstrations to be modelled beside the rollouts."""
    beside: dict[Beside, Text] = {}
    if config.pretrain_shards is not None:
        shards = open_shards(config.pretrain_shards, fingerprint=chat_format.tokenizer.fingerprint)
        beside["pretrain"] = PackedBatches(
            shards, config.pretrain_rows, config.pretrain_seq_len, config.seed, lead_with_eos=True
        )
    if config.demonstrations is not None:
        beside["demonstrations"] = SftBatches(
            read_chats(config.demonstrations),
            chat_format,
            config.demonstration_rows,
            config.demonstration_seq_len,
            config.seed,
            too_long="drop",
        )
    return beside


def read_prompts(path: Path, chat_format: AnyChatFormat, longest: int) -> list[Prompt]:
    """Prompts of at most `longest` tokens; a line is `{"id", "messages"}` and ends with a user turn."""
    prompts: list[Prompt] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line)
                messages, tools = record["messages"], record.get("tools") or ()
                prompt = Prompt(str(record["id"]), chat_format.prompt(messages, tools), messages, tools)
            except (ValueError, KeyError, TypeError) as error:
                wanted = 'an object with "id" and "messages" that end with a user turn'
                raise DataError(f"{path}:{number}: {error}; each line must be {wanted}") from None
            if len(prompt.ids) > longest:
                raise DataError(
                    f"{path}:{number}: the prompt has {len(prompt.ids)} tokens; at most {longest} leave room "
                    "for a completion of rollout.max_new_tokens"
                )
            prompts.append(prompt)
    if not prompts:
        raise DataError(f"{path}: holds no prompt")
    return prompts
