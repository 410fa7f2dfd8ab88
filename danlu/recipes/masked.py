"""BERT's pretraining, which `danlu pretrain objective=mlm` runs: hidden words, and the next sentence."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from danlu.data.masked import MaskedBatches
from danlu.data.shards import Shards, open_shards
from danlu.model.encoder_heads import MaskedLanguageModel
from danlu.objectives.masked import MaskedLoss
from danlu.recipes.stage import Stage, publish, settle
from danlu.rl.team import evaluating
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.reader import BpeReader
from danlu.train.optim import build_optimizer
from danlu.train.pace import Pace
from danlu.train.parallel import refuse_strangers
from danlu.train.run import open_run

if TYPE_CHECKING:
    from danlu.recipes.pretrain import PretrainConfig

SENTENCE_ENDS = (".", "!", "?", "。", "！", "？", "…", "”", "」", "\n")


def pretrain_masked(config: PretrainConfig) -> Path:
    """Train an encoder on token shards."""
    refuse_strangers()
    tokenizer = Tokenizer.load(config.tokenizer)
    shards = open_shards(config.shards / "train", fingerprint=tokenizer.fingerprint)
    held_out = open_shards(config.shards / "held_out", fingerprint=tokenizer.fingerprint)
    model = MaskedLanguageModel(config.model.encoder_config(tokenizer.vocab_size), seed=config.seed)
    stage_run = open_run(config.out, config)
    if stage_run.finished:
        return config.out
    settle(stage_run, model, config.batch_size, config.seq_len)
    batches = batches_of(shards, tokenizer, config)
    stage = Stage(
        name="pretrain",
        run=stage_run,
        model=model,
        objective=MaskedLoss(),
        optimizer=build_optimizer(model, config.optim),
        batches=batches,
        resumables={"batches": batches},
        lr=config.optim.lr,
        schedule=config.schedule,
        pace=Pace(
            config.loop.n_steps,
            seconds=None if config.minutes is None else 60 * config.minutes,
            decay_fraction=config.schedule.decay_fraction,
        ),
        loop=config.loop,
        save_every=config.save_every,
    )
    for report, progress in stage.updates():
        if report.step % config.eval_every == 0:
            found = measure(model, held_out, tokenizer, config)
            stage_run.log(report.step, held_out=found)
            progress.say("  held out: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()))
    publish(model, tokenizer, stage_run.model)
    stage_run.finish(
        held_out=measure(model, held_out, tokenizer, config),
        n_parameters=sum(p.numel() for p in model.parameters()),
        n_steps=stage.pace.n_steps,
        epochs=batches.epoch,
    )
    return config.out


def batches_of(shards: Shards, tokenizer: Tokenizer, config: PretrainConfig) -> MaskedBatches:
    ends = [
        i for i in range(tokenizer.vocab_size) if tokenizer.decode([i]).rstrip(" ").endswith(SENTENCE_ENDS)
    ]
    return MaskedBatches(
        shards,
        BpeReader(tokenizer, both_ways=True).marks,
        config.batch_size,
        config.seq_len,
        config.seed,
        config.masking,
        sentence_ends=ends,
    )


@torch.no_grad()
def measure(
    model: MaskedLanguageModel, held_out: Shards, tokenizer: Tokenizer, config: PretrainConfig
) -> dict[str, float]:
    """Mean losses, and shares of words and of next spans told right, on the same pairs each time."""
    batches, objective = batches_of(held_out, tokenizer, config), MaskedLoss()
    n = max(1, config.eval_tokens // (config.batch_size * config.seq_len))
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    with evaluating(model):
        for batch in islice(batches, n):
            loss, weights = objective(model, batch), objective.weights(batch)
            pairs = {name: (term.total, weights[name]) for name, term in loss.terms.items()}
            for name, (total, weight) in {**pairs, **loss.metrics}.items():
                sums[name] = sums.get(name, 0.0) + float(total)
                counts[name] = counts.get(name, 0.0) + float(weight)
    return {name: total / counts[name] for name, total in sums.items()}
