"""`danlu dpo`: the assistant learns from rankings or thumbs directly, without reward model and sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from danlu.adapters.settings import AdapterConfig
from danlu.adapters.sharing import twin
from danlu.config import ConfigError
from danlu.data.chats import Comparison, read_comparisons, read_ratings
from danlu.data.preferences import (
    Logprobs,
    PreferenceBatches,
    RatingBatches,
    Reference,
    lay_out_completions,
    single,
)
from danlu.data.rankings import RankingBatches
from danlu.data.records import PreferenceBatch
from danlu.evaluate.judging import all_pairs, judge
from danlu.evaluate.ranking import summarise_pairs
from danlu.model.heads import LanguageModel
from danlu.model.hf import load_language_model
from danlu.model.precision import apply_precision
from danlu.objectives.preference import Preference, completion_logprobs
from danlu.recipes.sft import samples
from danlu.recipes.stage import (
    Resumable,
    Stage,
    adapt,
    chat_format_of,
    check_base,
    deliver,
    frozen_state,
    settle,
)
from danlu.tokenizer.chat import ChatFormat
from danlu.train.loop import LoopConfig
from danlu.train.optim import OptimConfig, build_optimizer
from danlu.train.pace import Pace
from danlu.train.run import open_run
from danlu.train.schedule import ScheduleConfig

REPLANNED = 0.2  # share of the updates after which their number is fixed
SUMMARY = "align an assistant with rankings or thumbs, without a reward model (DPO, IPO, SimPO, ORPO, KTO)"


@dataclass(frozen=True, slots=True, kw_only=True)
class DpoConfig:
    policy: Path  # model directory to start from: the SFT model, which is also the reference
    out: Path
    comparisons: Path | None = None  # ranked completions, one prompt a line; all variants but kto
    ratings: Path | None = None  # chats with a thumb up or down, one a line; kto
    held_out: Path | None = None  # rankings to measure accuracy on, for any variant
    objective: Preference = field(default_factory=Preference)
    prompts_per_batch: int = 8  # rankings, or thumbs, a micro-batch
    max_len: int = 256  # tokens of prompt and completion together
    too_long: Literal["error", "drop", "shorten"] = "error"
    n_epochs: float = 1.0
    minutes: float | None = None  # end in this time if it is less than n_epochs take
    seed: int = 0
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=1e-4, weight_decay=0.0))
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(kind="cosine", final_lr_ratio=0.1, warmup_steps=10)
    )
    loop: LoopConfig = field(default_factory=LoopConfig)  # n_steps is set by n_epochs
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    eval_every: int = 50  # updates
    save_every: int = 100  # updates
    sample_prompts: tuple[str, ...] = ("Who are you?", "你是谁？")

    def __post_init__(self) -> None:
        wanted, other = ("ratings", "comparisons") if self.learns_from_thumbs else ("comparisons", "ratings")
        if getattr(self, wanted) is None:
            raise ConfigError(f"{wanted} is not set; objective.variant {self.objective.variant!r} needs it")
        if getattr(self, other) is not None:
            raise ConfigError(
                f"{other} is set; objective.variant {self.objective.variant!r} learns from {wanted} only"
            )

        if self.adapter.dropout:
            raise ConfigError(
                f"adapter.dropout is {self.adapter.dropout}; it must be 0 here, where probabilities of "
                "policy and reference are compared"
            )

    @property
    def learns_from_thumbs(self) -> bool:
        return self.objective.variant == "kto"


def load_pair(config: DpoConfig, vocab_size: int) -> tuple[LanguageModel, LanguageModel | None]:
    """The policy, and the model that it begins as where scores compare the two.

    With an adapter they are one base: the reference is what the policy would be without.
    """
    start = load_language_model(config.policy, vocab_size=vocab_size)
    check_base(start, config.adapter, config.policy)
    if config.adapter.on:
        policy = twin(start.requires_grad_(False))
        adapt(policy, config.adapter, config.seed, config.policy)
        return policy, start if config.objective.has_reference else None
    reference = load_language_model(config.policy) if config.objective.has_reference else None
    return start, reference


def run(config: DpoConfig) -> Path:
    chat_format = chat_format_of(config.policy)
    policy, reference = load_pair(config, chat_format.tokenizer.vocab_size)
    records = read_records(config)
    held_out = read_comparisons(config.held_out) if config.held_out else []
    rankings = RankingBatches(
        records,
        chat_format,
        config.prompts_per_batch,
        config.max_len,
        config.seed,
        too_long=config.too_long,
    )
    batches, resumables = batches_of(config, rankings, policy, reference)
    stage_run = open_run(config.out, config)
    if stage_run.finished:
        return config.out
    precision = settle(stage_run, policy.eval(), config.prompts_per_batch, config.max_len)
    if reference is not None:
        apply_precision(reference.requires_grad_(False).eval(), precision)
    n_steps = max(1, round(config.n_epochs * rankings.batches_per_epoch / config.loop.grad_accum_steps))
    stage = Stage(
        name="dpo",
        run=stage_run,
        model=policy,
        objective=config.objective,
        optimizer=build_optimizer(policy, config.optim),
        batches=batches,
        resumables={**resumables, **frozen_state(policy)},
        lr=config.optim.lr,
        schedule=config.schedule,
        # The rate falls from the start, by little at first: only then is the length planned again.
        pace=Pace(
            n_steps,
            seconds=None if config.minutes is None else 60 * config.minutes,
            decay_fraction=1 - REPLANNED,
            most=n_steps,
        ),
        loop=config.loop,
        save_every=config.save_every,
        unit="ratings" if config.learns_from_thumbs else "rankings",
    )
    for report, progress in stage.updates():
        if report.step % config.eval_every == 0:
            if held_out:
                measured = measure(policy, reference, held_out, chat_format, config)
                stage_run.log(report.step, held_out_accuracy=measured["accuracy"])
            for question, answer in samples(policy, chat_format, config.sample_prompts):
                progress.say(f"  {question} → {answer}")
    deliver(stage_run, policy, chat_format.tokenizer, config.adapter, config.policy)
    stage_run.finish(
        n_records=len(records),
        n_dropped=rankings.n_dropped,
        n_steps=stage.pace.n_steps,
        epochs=rankings.epoch,
        knobs=config.objective.knobs,
        held_out=measure(policy, reference, held_out, chat_format, config) if held_out else None,
        samples=samples(policy, chat_format, config.sample_prompts),
    )
    return config.out


def read_records(config: DpoConfig) -> list[Comparison]:
    """What the variant learns from; thumbs as rankings of one."""
    if config.comparisons is not None:
        return read_comparisons(config.comparisons)
    assert config.ratings is not None
    return [single(rating) for rating in read_ratings(config.ratings)]


def batches_of(
    config: DpoConfig, rankings: RankingBatches, policy: LanguageModel, reference: LanguageModel | None
) -> tuple[PreferenceBatches | RatingBatches, Mapping[str, Resumable]]:
    """What the loop reads, and what of it is saved with the weights."""
    if config.learns_from_thumbs:
        assert reference is not None
        rated = RatingBatches(
            rankings,
            logprobs_of(policy),
            logprobs_of(reference),
            per_update=config.loop.grad_accum_steps,
        )
        own, foreign = rated.reference, rated.foreign_reference
        return rated, {"batches": rankings, "reference": own, "foreign_reference": foreign}
    remembered = None if reference is None else Reference(logprobs_of(reference))
    batches = PreferenceBatches(rankings, remembered)
    return batches, {"batches": rankings} | ({} if remembered is None else {"reference": remembered})


def logprobs_of(model: LanguageModel) -> Logprobs:
    """A model as the function that gives its completions' log-probabilities."""

    @torch.no_grad()
    def logprobs(batch: PreferenceBatch) -> torch.Tensor:
        return completion_logprobs(model, batch)

    return logprobs


def measure(
    policy: LanguageModel,
    reference: LanguageModel | None,
    comparisons: Sequence[Comparison],
    chat_format: ChatFormat,
    config: DpoConfig,
) -> dict[str, Any]:
    """How the rewards that the policy implies order people's rankings: accuracy and calibration."""

    def rewards(batch: PreferenceBatch) -> torch.Tensor:
        if reference is not None:
            batch = replace(batch, ref_logprobs=completion_logprobs(reference, batch))
        return config.objective.rewards(policy, batch)

    judged = judge(comparisons, chat_format, config.max_len, lay_out_completions, rewards)
    return summarise_pairs(list(all_pairs(judged)))
