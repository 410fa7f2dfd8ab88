"""`danlu reward`: people's rankings become a reward model."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import sqrt
from pathlib import Path
from typing import Any, Literal

from danlu.adapters.settings import AdapterConfig
from danlu.config import ConfigError
from danlu.data.chats import Comparison, read_comparisons
from danlu.data.rankings import RankingBatches, check_preferences
from danlu.evaluate.judging import Judged, most_wrong
from danlu.evaluate.ranking import counted_accuracy
from danlu.evaluate.raters import fold_of
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import load_model
from danlu.objectives.ranking import Ranking
from danlu.recipes.jsonl import write_jsonl
from danlu.recipes.rater_settings import RatersConfig, rater_model, weighted
from danlu.recipes.reward_ensemble import ensemble_report
from danlu.recipes.reward_report import judge, measure, pairs_by, rater_report, warnings
from danlu.recipes.score_scale import normalise
from danlu.recipes.stage import Stage, adapt, chat_format_of, check_base, deliver, frozen_state, settle
from danlu.train.loop import LoopConfig
from danlu.train.optim import OptimConfig, build_optimizer
from danlu.train.pace import Pace
from danlu.train.run import Run, open_run
from danlu.train.schedule import ScheduleConfig

REPLANNED = 0.2  # share of the updates after which their number is fixed
WATCHED = 256  # held-out rankings, about, behind each point of the curve; at the end all are measured
RATER_LR_SCALE = 50.0  # a logarithm has further to go than a weight
SUMMARY = "train a reward model on people's rankings"


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig:
    base: Path  # model directory to start from: the SFT model, or a reward model of other preferences
    comparisons: Path  # ranked completions, one prompt a line
    out: Path
    held_out: Path | None = None  # rankings to measure accuracy on
    demonstrations: Path | None = None  # chats whose mean score becomes zero
    reference: Path | None = None  # or chats by the policy to be trained: mean score 0, deviation 1
    objective: Ranking = field(default_factory=Ranking)
    raters: RatersConfig = field(default_factory=RatersConfig)
    members: int = 1  # models in all, of seeds that count on from `seed`; two or more are an ensemble
    prompts_per_batch: int = 8  # rankings a micro-batch
    max_len: int = 256  # tokens of prompt and completion together, or the base's context if that is less
    too_long: Literal["error", "drop", "shorten"] = "error"
    n_epochs: float = 1.0
    minutes: float | None = None  # end in this time if it is less than n_epochs take
    seed: int = 0
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(kind="muon", lr=8e-4, weight_decay=0.01))
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(kind="cosine", final_lr_ratio=0.1, warmup_steps=10)
    )
    loop: LoopConfig = field(default_factory=LoopConfig)  # n_steps is set by n_epochs
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    eval_every: int = 200  # updates
    save_every: int = 200  # updates

    def __post_init__(self) -> None:
        if self.demonstrations is not None and self.reference is not None:
            raise ConfigError("demonstrations and reference are both set; one fixes the zero of scores")
        if self.members < 1:
            raise ConfigError(f"members is {self.members}; it must be at least 1")
        if self.members > 1 and self.demonstrations is None and self.reference is None:
            raise ConfigError(
                f"members is {self.members}, and their scores have no zero in common; "
                "set demonstrations or reference"
            )


def run(config: RewardConfig) -> Path:
    chat_format = chat_format_of(config.base)
    base = load_model(config.base, vocab_size=chat_format.tokenizer.vocab_size)
    check_base(base, config.adapter, config.base)
    model = scorer_from(base, config.seed)
    train, measured_on = read_rankings(config)
    raters = rater_model(config.objective, train)
    adapt(model, config.adapter, config.seed, config.base)
    model.raters = raters  # after the adapter, which freezes all that it finds
    longest = min(config.max_len, model.config.max_seq_len)
    batches = RankingBatches(
        train, chat_format, config.prompts_per_batch, longest, config.seed, too_long=config.too_long
    )
    check_preferences(batches.groups)
    stage_run = open_run(config.out, config)  # when nothing is left that could be wrong
    if stage_run.finished:
        return config.out
    settle(stage_run, model, config.prompts_per_batch, longest)
    stage = build_stage(config, stage_run, model, batches)
    watched = evenly(measured_on.get("held_out", ()), WATCHED)
    for report, _ in stage.updates():
        if watched and report.step % config.eval_every == 0:
            judged = judge(model, watched, chat_format, longest)
            strict = [pair for pair in pairs_by(model, judged) if not pair.tie]
            stage_run.log(report.step, held_out_accuracy=counted_accuracy(strict)["accuracy"])
    normalise(model, chat_format, demonstrations=config.demonstrations, reference=config.reference)
    deliver(stage_run, model, chat_format.tokenizer, config.adapter, config.base)
    judged_of = {name: judge(model, some, chat_format, longest) for name, some in measured_on.items()}
    if judged_of:
        write_jsonl(config.out / "most_wrong.jsonl", most_wrong([*chain(*judged_of.values())]))
    stage_run.finish(
        n_comparisons=len(train),
        n_dropped=batches.n_dropped,
        n_steps=stage.pace.n_steps,
        shift=float(model.shift),
        gain=float(model.gain),
        log_tie=None if model.raters is None else model.raters.to_tree()["log_tie"],
        **report_of(config, model, train, judged_of),
    )
    return config.out


def scorer_from(base: LanguageModel | ScoreModel, seed: int) -> ScoreModel:
    """A language model's backbone under a fresh head; or a reward model without its zero, unit and raters.

    The second is preference-model pretraining (Askell et al. 2021): learn from plentiful preferences first,
    from those that matter afterwards.
    """
    if isinstance(base, LanguageModel):
        return ScoreModel.on(base.backbone, seed=seed)
    base.shift.zero_()
    base.gain.fill_(1.0)
    base.raters = None
    return base


def read_rankings(config: RewardConfig) -> tuple[list[Comparison], dict[str, list[Comparison]]]:
    """What to learn from, and what to measure on, by name."""
    comparisons = weighted(read_comparisons(config.comparisons), config.raters.weights)
    if config.raters.left_out is not None:
        fold = fold_of(comparisons, config.raters.folds, config.raters.left_out)
        return fold.train, {"known_raters": fold.known_raters, "new_raters": fold.new_raters}
    for k in range(config.raters.folds):  # what cannot be divided is told before hours of training
        rater_model(config.objective, fold_of(comparisons, config.raters.folds, k).train)
    return comparisons, {"held_out": read_comparisons(config.held_out)} if config.held_out else {}


def evenly(comparisons: Sequence[Comparison], n: int) -> Sequence[Comparison]:
    """About `n`, and fewer than `2 n`, from all places alike."""
    return comparisons[:: max(1, len(comparisons) // n)]


def build_stage(config: RewardConfig, stage_run: Run, model: ScoreModel, batches: RankingBatches) -> Stage:
    n_steps = max(1, round(config.n_epochs * batches.batches_per_epoch / config.loop.grad_accum_steps))
    lr_scales = {} if model.raters is None else {"raters": RATER_LR_SCALE}
    return Stage(
        name="reward",
        run=stage_run,
        model=model,
        objective=config.objective,
        optimizer=build_optimizer(model, config.optim, lr_scales=lr_scales),
        batches=batches,
        resumables={"batches": batches, **frozen_state(model)},
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
        unit="rankings",
    )


def report_of(
    config: RewardConfig,
    model: ScoreModel,
    train: Sequence[Comparison],
    judged_of: Mapping[str, Sequence[Judged]],
) -> dict[str, Any]:
    """How the model fares, who disagrees, and what further models say, of other raters or other seeds."""
    measured = {name: measure(model, judged) for name, judged in judged_of.items()}
    raters = rater_report(model, train, measured.get("held_out"))
    if config.raters.folds and config.raters.left_out is None:
        raters["cross_validation"] = cross_validate(config)
    for told in warnings(raters):
        print(f"warning: {told}")
    found = {"raters": raters, "held_out": None, **measured}
    if config.members > 1:
        outs = [config.out, *train_members(config)]
        found["ensemble"] = ensemble_report(outs, judged_of.get("held_out", ()), config.max_len)
    return found


def train_members(config: RewardConfig) -> list[Path]:
    """The run directories of the ensemble's further models, each of another seed."""
    alone = replace(config, members=1, raters=replace(config.raters, folds=0))
    return [
        run(replace(alone, seed=config.seed + k, out=config.out / "members" / str(k)))
        for k in range(1, config.members)
    ]


def cross_validate(config: RewardConfig) -> dict[str, Any]:
    """Accuracy on raters that a model has not learnt from, beside raters it has (Ouyang et al. 2022, 4.1).

    Of each fold a model is trained without a group of raters and without a share of the prompts, and measured
    on these prompts.
    """
    found: dict[str, list[float]] = {"known_raters": [], "new_raters": []}
    for k in range(config.raters.folds):
        out = run(
            replace(
                config,
                out=config.out / "folds" / str(k),
                raters=replace(config.raters, left_out=k),
                members=1,
                held_out=None,
                demonstrations=None,
                reference=None,
            )
        )
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        for name, values in found.items():
            if summary[name]["accuracy"] is not None:
                values.append(summary[name]["accuracy"]["mean"])
    return {name: over_folds(values) for name, values in found.items() if values}


def over_folds(values: Sequence[float]) -> dict[str, Any]:
    """Mean over the folds and its standard error."""
    error = statistics.stdev(values) / sqrt(len(values)) if len(values) > 1 else None
    return {"accuracy": statistics.fmean(values), "standard_error": error, "folds": list(values)}
