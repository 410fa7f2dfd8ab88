"""`danlu reward`: people's rankings become a reward model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from danlu.adapters.lora import LoraConfig
from danlu.data.chats import Chat, Comparison, read_chats, read_comparisons
from danlu.data.rankings import RankingBatches, every_comparison
from danlu.data.sft import render_chat
from danlu.evaluate.ranking import Pair, pairs_of, summarise_pairs
from danlu.model.heads import ScoreModel
from danlu.model.hf import load_language_model
from danlu.objectives.ranking import Ranking, end_scores
from danlu.recipes.stage import Stage, adapt, chat_format_of, deliver, frozen_state, settle
from danlu.rl.collect import evaluating
from danlu.rl.scoring import score_sequences
from danlu.tokenizer.chat import ChatFormat
from danlu.train.loop import LoopConfig
from danlu.train.optim import OptimConfig, build_optimizer
from danlu.train.pace import Pace
from danlu.train.run import open_run
from danlu.train.schedule import ScheduleConfig

JUDGED_AT_ONCE = 16  # comparisons in one forward pass
REPLANNED = 0.2  # share of the updates after which their number is fixed
CENTRED_ON = 1000  # demonstrations, about: the mean of more is no surer
SUMMARY = "train a reward model on people's rankings"


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig:
    base: Path  # model directory to start from: the SFT model
    comparisons: Path  # ranked completions, one prompt a line
    out: Path
    held_out: Path | None = None  # rankings to measure accuracy on
    demonstrations: Path | None = None  # chats whose mean score becomes zero
    prompts_per_batch: int = 8  # rankings a micro-batch
    max_len: int = 256  # tokens of prompt and completion together
    too_long: Literal["error", "drop", "shorten"] = "error"
    n_epochs: float = 1.0
    minutes: float | None = None  # end in this time if it is less than n_epochs take
    seed: int = 0
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(kind="muon", lr=8e-4, weight_decay=0.01))
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(kind="cosine", final_lr_ratio=0.1, warmup_steps=10)
    )
    loop: LoopConfig = field(default_factory=LoopConfig)  # n_steps is set by n_epochs
    adapter: LoraConfig = field(default_factory=LoraConfig)
    eval_every: int = 200  # updates
    save_every: int = 200  # updates


def run(config: RewardConfig) -> Path:
    chat_format = chat_format_of(config.base)
    base = load_language_model(config.base, vocab_size=chat_format.tokenizer.vocab_size)
    comparisons = read_comparisons(config.comparisons)
    held_out = read_comparisons(config.held_out) if config.held_out else []
    stage_run = open_run(config.out, config)
    if stage_run.finished:
        return config.out
    model = ScoreModel.on(base.backbone, seed=config.seed)
    adapt(model, config.adapter, config.seed)
    settle(stage_run, model, config.prompts_per_batch, config.max_len)
    batches = RankingBatches(
        comparisons,
        chat_format,
        config.prompts_per_batch,
        config.max_len,
        config.seed,
        too_long=config.too_long,
    )
    n_steps = max(1, round(config.n_epochs * batches.batches_per_epoch / config.loop.grad_accum_steps))
    stage = Stage(
        name="reward",
        run=stage_run,
        model=model,
        objective=Ranking(),
        optimizer=build_optimizer(model, config.optim),
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
    for report, _ in stage.updates():
        if held_out and report.step % config.eval_every == 0:
            accuracy = summarise_pairs(judge(model, held_out, chat_format, config))["accuracy"]
            stage_run.log(report.step, held_out_accuracy=accuracy)
    demonstrations = read_chats(config.demonstrations) if config.demonstrations else []
    shift = centre(model, demonstrations, chat_format)
    deliver(stage_run, model, chat_format.tokenizer, config.adapter, config.base)
    measured = summarise_pairs(judge(model, held_out, chat_format, config)) if held_out else None
    stage_run.finish(
        n_comparisons=len(comparisons),
        n_dropped=batches.n_dropped,
        n_steps=stage.pace.n_steps,
        shift=shift,
        held_out=measured,
    )
    return config.out


def centre(model: ScoreModel, demonstrations: Sequence[Chat], chat_format: ChatFormat) -> float:
    """Shift scores so that people's own answers score zero on average (Ouyang et al. 2022, section 3.5)."""
    if not demonstrations:
        return 0.0
    every = max(1, len(demonstrations) // CENTRED_ON)
    rendered = [render_chat(chat, chat_format) for chat in demonstrations[::every]]
    ids = [ids[: max(i for i, learnt in enumerate(mask) if learnt) + 1] for ids, mask in rendered]
    with evaluating(model):
        scores = score_sequences(model, ids, chat_format.tokenizer.pad_id)
    model.shift += sum(scores) / len(scores)
    return float(model.shift)


@torch.no_grad()
def judge(
    model: ScoreModel, comparisons: Sequence[Comparison], chat_format: ChatFormat, config: Any
) -> list[Pair]:
    """The model's margin on every pair of every ranking."""
    pairs: list[Pair] = []
    batches = every_comparison(comparisons, chat_format, JUDGED_AT_ONCE, config.max_len, too_long="drop")
    for number, batch in enumerate(batches):
        with evaluating(model):
            scores = end_scores(model, batch)
        for group in batch.group_ids.unique():
            here = batch.group_ids == group
            pairs += pairs_of(f"{number}/{int(group)}", scores[here].tolist(), batch.ranks[here].tolist())
    return pairs
