"""`danlu ppo`: the assistant learns to write what the reward model prefers, near to where it began."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from danlu.adapters.files import is_adapter, load_score_adapter
from danlu.adapters.lora import LoraConfig, twin
from danlu.config import ConfigError
from danlu.data.chats import read_chats
from danlu.data.packing import PackedBatches
from danlu.data.records import DataError
from danlu.data.sft import SftBatches
from danlu.data.shards import open_shards
from danlu.generate.sampler import Sampler
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import load_language_model, load_score_model
from danlu.model.precision import apply_precision
from danlu.objectives.ppo import Ppo
from danlu.recipes.guard import TrueScore, Watch, build_guard
from danlu.recipes.stage import Stage, adapt, chat_format_of, deliver, frozen_state, settle
from danlu.rl.batches import PpoBatches
from danlu.rl.collect import Collected, PolicyAndValue, Prompt, RolloutConfig, Team
from danlu.rl.controller import AdaptiveKl, KlConfig
from danlu.rl.guard import GuardConfig
from danlu.rl.scoring import reward_of
from danlu.tokenizer.chat import ChatFormat
from danlu.train.loop import LoopConfig
from danlu.train.optim import OptimConfig, build_optimizer
from danlu.train.pace import Pace
from danlu.train.run import Run, open_run
from danlu.train.schedule import ScheduleConfig

SUMMARY = "align an assistant with a reward model by PPO"


@dataclass(frozen=True, slots=True, kw_only=True)
class PpoConfig:
    policy: Path  # model directory to start from: the SFT model, which is also the reference
    reward_model: Path  # model or adapter directory; the value model starts from it too
    prompts: Path  # {"id", "messages"} a line
    out: Path
    reference: Path | None = None  # what KL is measured from; none is `policy` as it begins
    n_episodes: int = 4096  # completions sampled in all
    minutes: float | None = None  # end in this time instead of after n_episodes
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    objective: Ppo = field(default_factory=lambda: Ppo(ptx_coef=0.1, sft_coef=0.5))
    kl: KlConfig = field(default_factory=KlConfig)
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
    value_lr_scale: float = 2.0  # the value model's learning rate relative to the policy's
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(warmup_steps=10, decay_fraction=0.5, final_lr_ratio=0.1)
    )
    max_grad_norm: float = 1.0
    save_every: int = 64  # updates; checkpoints lie between rollouts
    adapter: LoraConfig = field(default_factory=LoraConfig)  # of the policy, and of the value model likewise
    guard: GuardConfig = field(default_factory=GuardConfig)  # against over-optimisation

    def __post_init__(self) -> None:
        if self.n_episodes % self.rollout.n_episodes:
            raise ConfigError(
                f"n_episodes is {self.n_episodes}; "
                f"it must be a multiple of rollout.n_episodes, {self.rollout.n_episodes}"
            )
        if self.objective.temperature != self.rollout.temperature:
            raise ConfigError(
                f"objective.temperature is {self.objective.temperature}; "
                f"it must equal rollout.temperature, {self.rollout.temperature}"
            )
        if self.adapter.dropout:
            raise ConfigError(
                f"adapter.dropout is {self.adapter.dropout}; it must be 0 in PPO, which compares "
                "probabilities before and after an update"
            )
        if self.reference is not None and self.adapter.on:
            raise ConfigError(
                f"reference is {self.reference} and an adapter is trained; its reference is what it stands on"
            )


def run(config: PpoConfig, true_score: TrueScore | None = None) -> Path:
    """Train the policy.

    Args:
        config: the settings.
        true_score: where the truth is known, it is logged beside the reward model's score; nothing learns
            from it.
    """
    chat_format = chat_format_of(config.policy)
    stage_run = open_run(config.out, config)
    if stage_run.finished:
        return config.out
    team = build_team(config, chat_format, stage_run)
    longest = team.sampler.max_seq_len - config.rollout.max_new_tokens
    prompts = read_prompts(config.prompts, chat_format, longest)
    text, chats = text_of(config, chat_format), chats_of(config, chat_format)
    watch = watch_of(config, team, stage_run, chat_format, true_score)
    controller = AdaptiveKl(config.kl, config.n_episodes)
    batches = PpoBatches(
        team, prompts, config.rollout, controller, pretrain=text, demonstrations=chats, seed=config.seed
    )
    beside = {name: each for name, each in {"text": text, "chats": chats}.items() if each is not None}
    per_rollout = batches.updates_per_rollout
    stage = Stage(
        name="ppo",
        run=stage_run,
        model=team.trained,
        objective=config.objective,
        optimizer=build_optimizer(team.trained, config.optim, lr_scales={"value": config.value_lr_scale}),
        batches=batches,
        resumables={"batches": batches, **beside, **frozen_state(team.trained), **watch.resumables},
        lr=config.optim.lr,
        schedule=config.schedule,
        pace=Pace(
            config.n_episodes // config.rollout.n_episodes * per_rollout,
            seconds=None if config.minutes is None else 60 * config.minutes,
            decay_fraction=config.schedule.decay_fraction,
            multiple=per_rollout,
        ),
        loop=LoopConfig(max_grad_norm=config.max_grad_norm),
        save_every=config.save_every,
        boundary=per_rollout,
    )
    watch.begin()
    for report, progress in stage.updates():
        controller.n_episodes = stage.pace.n_steps // per_rollout * config.rollout.n_episodes
        if report.step % per_rollout == 1 % per_rollout and batches.latest is not None:
            log_rollout(stage_run, report.step, batches.latest, chat_format, true_score)
        if report.step % per_rollout == 0 and batches.latest is not None:
            stats = batches.latest.stats
            progress.say(
                f"  score {stats['score']:+.3f} · KL {stats['kl']:.2f} · length {stats['length']:.1f}"
            )
        watch.follow(report.step, stage.pace, progress)
    watch.conclude(stage.pace.n_steps)
    policy = cast(LanguageModel, team.trained.policy)
    deliver(stage_run, policy, chat_format.tokenizer, config.adapter, config.policy)
    stage_run.finish(
        n_episodes=batches.n_rollouts * config.rollout.n_episodes,
        n_prompts=len(prompts),
        kl_coef=controller.coef,
        **watch.summary,
    )
    return config.out


def watch_of(
    config: PpoConfig, team: Team, stage_run: Run, chat_format: ChatFormat, true_score: TrueScore | None
) -> Watch:
    """The guard against over-optimisation, where one is wanted."""
    if config.guard.prompts is None:
        return Watch(stage_run)
    longest = team.sampler.max_seq_len - config.rollout.max_new_tokens
    prompts = read_prompts(config.guard.prompts, chat_format, longest)
    guard = build_guard(config.guard, team, prompts, config.rollout, stage_run, chat_format, true_score)
    return Watch(stage_run, guard)


def build_team(config: PpoConfig, chat_format: ChatFormat, stage_run: Run) -> Team:
    """Policy and frozen reference from the SFT model, value model from the reward model, in one precision."""
    tokenizer = chat_format.tokenizer
    policy, reference = policy_and_reference(config, tokenizer.vocab_size)
    reward_model, value = reward_and_value(config, reference)
    precision = settle(stage_run, policy, config.rollout.minibatch_size, 64)
    for model in (policy, reference, reward_model, value):
        apply_precision(model.eval(), precision)
    sampler = Sampler(policy, stop_ids=chat_format.stop_ids, max_batch=config.rollout.n_episodes)
    return Team(
        PolicyAndValue(policy, value),
        reference,
        sampler,
        reward_of(reward_model, tokenizer.pad_id),
        tokenizer.pad_id,
    )


def policy_and_reference(config: PpoConfig, vocab_size: int) -> tuple[LanguageModel, LanguageModel]:
    """The trained policy, and frozen what it stays near; with an adapter both stand on the same weights."""
    begun = config.reference or config.policy
    if chat_format_of(begun).tokenizer.fingerprint != chat_format_of(config.policy).tokenizer.fingerprint:
        raise ConfigError(f"reference: {begun} has another tokenizer than {config.policy}")
    reference = load_language_model(begun, vocab_size=vocab_size).requires_grad_(False)
    if not config.adapter.on:
        return load_language_model(config.policy), reference
    policy = twin(reference)
    adapt(policy, config.adapter, config.seed)
    return policy, reference


def reward_and_value(config: PpoConfig, reference: LanguageModel) -> tuple[ScoreModel, ScoreModel]:
    """The frozen reward model, and the value model that starts from it; adapters share what is frozen."""
    if is_adapter(config.reward_model):
        reward_model = load_score_adapter(config.reward_model, base=reference, base_dir=config.policy)
        value = twin(reward_model)
        return reward_model.requires_grad_(False), value
    reward_model = load_score_model(config.reward_model, vocab_size=reference.config.vocab_size)
    if not config.adapter.on:
        return reward_model.requires_grad_(False), load_score_model(config.reward_model)
    value = twin(reward_model.requires_grad_(False))
    adapt(value, config.adapter, config.seed + 1)
    return reward_model, value


def text_of(config: PpoConfig, chat_format: ChatFormat) -> PackedBatches | None:
    """Text to be modelled beside the rollouts."""
    if config.pretrain_shards is None:
        return None
    shards = open_shards(config.pretrain_shards, fingerprint=chat_format.tokenizer.fingerprint)
    return PackedBatches(
        shards, config.pretrain_rows, config.pretrain_seq_len, config.seed, lead_with_eos=True
    )


def chats_of(config: PpoConfig, chat_format: ChatFormat) -> SftBatches | None:
    """Demonstrations to be modelled beside the rollouts."""
    if config.demonstrations is None:
        return None
    return SftBatches(
        read_chats(config.demonstrations),
        chat_format,
        config.demonstration_rows,
        config.demonstration_seq_len,
        config.seed,
        too_long="drop",
    )


def read_prompts(path: Path, chat_format: ChatFormat, longest: int) -> list[Prompt]:
    """Prompts of at most `longest` tokens; a line is `{"id", "messages"}` and ends with a user turn."""
    prompts: list[Prompt] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line)
                prompt = Prompt(str(record["id"]), chat_format.prompt(record["messages"]))
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


def log_rollout(
    stage_run: Run, step: int, collected: Collected, chat_format: ChatFormat, true_score: TrueScore | None
) -> None:
    """The rollout's statistics, and one sample."""
    texts = [str(chat_format.parse(r.completion.ids)["content"]) for r in collected.rollouts]
    stats: dict[str, object] = dict(collected.stats)
    if true_score is not None:
        stats["true_score"] = mean_of(
            [true_score(r.prompt.id, t) for r, t in zip(collected.rollouts, texts, strict=True)]
        )
    best = int(collected.scores.argmax())
    prompt = chat_format.tokenizer.decode(collected.rollouts[best].prompt.ids)
    stage_run.log(step, rollout=stats, sample={"prompt": prompt, "completion": texts[best]})


def mean_of(values: Sequence[float]) -> float:
    return sum(values) / len(values)
