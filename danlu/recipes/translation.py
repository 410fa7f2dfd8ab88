"""How `danlu translate train` makes a translator: pairs in, a model directory and its scores out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from danlu.data.pairs import Languages, Pair, divide, read_pairs
from danlu.data.translation import TranslationBatches, each_once, longest
from danlu.evaluate.translation import Score, score
from danlu.generate.beam import BeamConfig
from danlu.model.config import ModelConfig
from danlu.model.dropout import add_dropout
from danlu.model.presets import TRANSFORMER
from danlu.model.translation import TranslationModel
from danlu.objectives.token_loss import SmoothedTokenLoss
from danlu.recipes.data import located
from danlu.recipes.stage import Stage, settle
from danlu.recipes.translator import Translator
from danlu.rl.team import evaluating
from danlu.tokenizer.bpe import Pattern, Tokenizer
from danlu.train.loop import LoopConfig
from danlu.train.optim import OptimConfig, build_optimizer
from danlu.train.pace import Pace
from danlu.train.parallel import data_parallel, rank, wait_for_all, world
from danlu.train.run import open_run
from danlu.train.schedule import ScheduleConfig

N_SHOWN = 3  # held-out sources translated now and then


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatorShape:
    """The size of the 2017 Transformer; its base model has 512, 6, 8 and 2048."""

    d_model: int = 256
    n_layers: int = 3  # of the encoder, and as many of the decoder
    n_heads: int = 4
    d_ff: int = 1024
    max_seq_len: int = 512  # tokens of the longest translation

    def model_config(self, vocab_size: int) -> ModelConfig:
        return TRANSFORMER(
            vocab_size=vocab_size,
            d_model=self.d_model,
            n_layers=self.n_layers,
            n_heads=self.n_heads,
            n_kv_heads=self.n_heads,
            head_dim=self.d_model // self.n_heads,
            d_ff=self.d_ff,
            max_seq_len=self.max_seq_len,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainTranslator:
    pairs: tuple[Path, ...]  # files and folders of pairs; what is not here is looked for under $DANLU_DATA
    out: Path
    languages: Languages = field(default_factory=Languages)
    held_out: tuple[Path, ...] = ()  # pairs to measure on; if none are named, some of `pairs` are held out
    held_out_share: float = 0.02
    tokenizer: Path | None = None  # directory with a tokenizer.json; otherwise one is learnt from the pairs
    vocab_size: int = 8192  # of that one, shared by both languages
    pattern: Pattern = "qwen2"
    model: TranslatorShape = field(default_factory=TranslatorShape)
    max_len: int = 128  # tokens of either side; longer pairs are left out
    batch_tokens: int = 2048  # positions a micro-batch on either side, padding included
    n_epochs: float = 20.0
    minutes: float | None = None  # end in this time if it is less than n_epochs take
    dropout: float = 0.1
    seed: int = 0
    objective: SmoothedTokenLoss = field(default_factory=SmoothedTokenLoss)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(kind="muon", lr=2e-3))
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(warmup_steps=100))
    loop: LoopConfig = field(default_factory=LoopConfig)  # n_steps is set by n_epochs
    beam: BeamConfig = field(default_factory=BeamConfig)
    eval_every: int = 500  # updates
    save_every: int = 500  # updates


@data_parallel
def train_translator(config: TrainTranslator) -> Path:
    pairs, held_out = read_parts(config)
    stage_run = open_run(config.out, config)
    if stage_run.finished:
        return config.out
    tokenizer = tokenizer_of(config, pairs)
    model = TranslationModel(config.model.model_config(tokenizer.vocab_size), seed=config.seed)
    randomness = add_dropout(model, config.dropout, seed=config.seed)
    settle(stage_run, model, max(1, config.batch_tokens // config.max_len), config.max_len)
    translator = Translator(model, tokenizer, config.languages)
    batches = batches_of(translator, pairs, config)
    n_steps = max(1, round(config.n_epochs * batches.batches_per_epoch / updates_in(config)))
    stage = Stage(
        name="translate",
        run=stage_run,
        model=model,
        objective=config.objective,
        optimizer=build_optimizer(model, config.optim),
        batches=batches,
        resumables={"batches": batches, "dropout": randomness},
        lr=config.optim.lr,
        schedule=config.schedule,
        pace=Pace(
            n_steps,
            seconds=None if config.minutes is None else 60 * config.minutes,
            decay_fraction=config.schedule.decay_fraction,
            most=n_steps,
        ),
        loop=config.loop,
        save_every=config.save_every,
    )
    for report, progress in stage.updates():
        if report.step % config.eval_every == 0 and held_out:
            stage_run.log(report.step, held_out_loss=loss_on(translator, held_out, config))
            for text, translation in samples(translator, held_out[:N_SHOWN], config.beam):
                progress.say(f"  {text} → {translation}")
    translator.save(stage_run.model)
    stage_run.finish(
        n_pairs=len(pairs),
        n_dropped=batches.n_dropped,
        n_held_out=len(held_out),
        n_steps=stage.pace.n_steps,
        epochs=batches.epoch,
        n_parameters=sum(p.numel() for p in model.parameters()),
        held_out_loss=loss_on(translator, held_out, config),
        scores=as_tree(score_directions(translator, held_out, config.beam)),
        samples=samples(translator, held_out[: 4 * N_SHOWN], config.beam),
    )
    return config.out


def read_parts(config: TrainTranslator) -> tuple[list[Pair], list[Pair]]:
    """Pairs to learn from and pairs to measure on."""
    pairs = read_pairs([located(path) for path in config.pairs], config.languages)
    if not config.held_out:
        return divide(pairs, config.held_out_share)
    return pairs, read_pairs([located(path) for path in config.held_out], config.languages)


def tokenizer_of(config: TrainTranslator, pairs: Sequence[Pair]) -> Tokenizer:
    """The tokenizer that is named, or one learnt from both sides of the pairs, once a run."""
    if config.tokenizer is not None:
        return Tokenizer.load(config.tokenizer)
    folder = config.out / "tokenizer"
    if rank() == 0 and not (folder / "tokenizer.json").exists():
        Tokenizer.train(texts_of(pairs, config.languages), config.vocab_size, config.pattern).save(folder)
    wait_for_all()
    return Tokenizer.load(folder)


def texts_of(pairs: Sequence[Pair], languages: Languages) -> Iterator[str]:
    """Every text that is read or written, marked as it will be."""
    for pair in pairs:
        yield languages.marked(pair.source, languages.target)
        yield languages.marked(pair.target, languages.source)


def batches_of(translator: Translator, pairs: Sequence[Pair], config: TrainTranslator) -> TranslationBatches:
    """Batches of all directions together."""
    directions = translator.languages.directions
    return TranslationBatches(
        [example for _, to in directions for example in translator.examples(pairs, to)],
        config.batch_tokens,
        config.seed,
        translator.markers,
        max_len=config.max_len,
        share=(rank(), world()),
    )


def updates_in(config: TrainTranslator) -> int:
    """Batches that one update takes, of all processes."""
    return config.loop.grad_accum_steps * world()


@torch.no_grad()
def loss_on(translator: Translator, pairs: Sequence[Pair], config: TrainTranslator) -> dict[str, float]:
    """Mean negative log-likelihood of a target's token by direction, in nats, without smoothing."""
    losses: dict[str, float] = {}
    for source, to in translator.languages.directions:
        examples = [each for each in translator.examples(pairs, to) if longest(each) <= config.max_len]
        if not examples:
            continue
        total = count = 0.0
        with evaluating(translator.model):
            for batch in each_once(examples, config.batch_tokens, translator.markers):
                nll = translator.model.nll_sum(*batch.inputs, batch.target_ids, batch.loss_mask)
                total, count = total + float(nll), count + float(batch.loss_mask.sum())
        losses[f"{source}-{to}"] = total / count
    return losses


def score_directions(
    translator: Translator, pairs: Sequence[Pair], beam: BeamConfig
) -> dict[str, list[Score]]:
    """BLEU and chrF of held-out pairs by direction; none where there are no pairs."""
    if not pairs:
        return {}
    found: dict[str, list[Score]] = {}
    for source, to in translator.languages.directions:
        texts = [pair.read(to == translator.languages.target) for pair in pairs]
        translations = translator.translate([text for text, _ in texts], to, beam)
        found[f"{source}-{to}"] = score(translations, [reference for _, reference in texts], to)
    return found


def as_tree(scores: Mapping[str, Sequence[Score]]) -> dict[str, dict[str, Any]]:
    """Scores as plain values."""
    return {name: {each.name: each.to_tree() for each in some} for name, some in scores.items()}


def samples(translator: Translator, pairs: Sequence[Pair], beam: BeamConfig) -> list[tuple[str, str]]:
    """Held-out sources with what the model makes of them, in every direction."""
    shown: list[tuple[str, str]] = []
    for _, to in translator.languages.directions if pairs else ():
        texts = [pair.read(to == translator.languages.target)[0] for pair in pairs]
        shown += zip(texts, translator.translate(texts, to, beam), strict=True)
    return shown
