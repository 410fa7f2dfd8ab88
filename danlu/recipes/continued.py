"""`danlu pretrain base=DIR data=TEXT`: a base model goes on with new text, and what it forgets is measured.

The text of `general` is replayed for a share of the rows. On held-out parts of both, bits per byte are
taken before and after, in float32 from the model directories. A vocabulary that has grown does not change
that unit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from danlu.config import ConfigError
from danlu.data.packing import PackedBatches
from danlu.data.pipeline import CleaningConfig
from danlu.data.records import DataError
from danlu.data.replay import ReplayBatches
from danlu.data.shards import Shards, open_shards
from danlu.data.sources import ReadingConfig, documents
from danlu.data.tokenized import tokenize_documents
from danlu.evaluate.sections.forgetting import forgetting_page
from danlu.inspect.view import console
from danlu.model.heads import LanguageModel
from danlu.model.hf import load_language_model
from danlu.model.quantize import refuse_training
from danlu.model.vocabulary import with_new_tokens
from danlu.model.weights import ModelFileError
from danlu.objectives.token_loss import TokenLoss
from danlu.recipes import data
from danlu.recipes.held_out import loss_on, samples
from danlu.recipes.model_files import whole_model_dir
from danlu.recipes.stage import Stage, balanced, publish, settle
from danlu.tokenizer.adopted import adopt
from danlu.tokenizer.bpe import Tokenizer
from danlu.train.checkpoint import replace_file
from danlu.train.loop import LoopConfig
from danlu.train.optim import OptimConfig, build_optimizer
from danlu.train.pace import Pace
from danlu.train.parallel import rank, rows_each, wait_for_all, world
from danlu.train.run import Run, open_run
from danlu.train.schedule import ScheduleConfig

NEW, GENERAL = "new", "general"  # the two texts, by the names that files and metrics give them
BEFORE = "before.json"  # what the base makes of the held-out parts; written last before training


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinueConfig:
    base: Path  # model directory, open weights for instance, or the run directory of the stage that made it
    data: tuple[Path, ...]  # text to be learnt: files and folders, or one folder that `danlu data` wrote
    out: Path
    general: tuple[Path, ...] = ()  # text as the base knows it, likewise: replayed, and measured on
    replay: float = 0.2  # share of the rows that is general text
    new_tokens: int = 0  # tokens added to the vocabulary, learnt from `data`
    min_count: int = 20  # how often two tokens must stand side by side to become a new one
    reading: ReadingConfig = field(default_factory=lambda: ReadingConfig(max_document_bytes=1 << 14))
    cleaning: CleaningConfig = field(default_factory=lambda: CleaningConfig(held_out=0.03))
    batch_size: int = 32  # rows a micro-batch, those of all processes together
    seq_len: int = 256
    minutes: float | None = None  # end in this time instead of after loop.n_steps
    balance_coef: float = 0.01  # of the loss that gives experts equal shares; 0 = left alone
    seed: int = 0
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(kind="muon", lr=2e-3))
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(warmup_steps=50))
    loop: LoopConfig = field(default_factory=LoopConfig)
    eval_every: int = 200  # updates
    eval_tokens: int = 20_000  # held-out positions of each text in each language while training
    save_every: int = 200  # updates
    sample_prompts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigError("data is empty; it must name the text to be learnt")
        if not 0 <= self.replay < 1:
            raise ConfigError(f"replay is {self.replay}; it must be at least 0 and below 1")
        if self.new_tokens < 0 or self.min_count < 1:
            raise ConfigError(
                f"new_tokens is {self.new_tokens} and min_count {self.min_count}; they must be at least 0 "
                "and at least 1"
            )

        if self.balance_coef < 0:
            raise ConfigError(f"balance_coef is {self.balance_coef:g}; it must be 0 or more")

    @property
    def texts(self) -> dict[str, tuple[Path, ...]]:
        """The texts that are measured on, by name."""
        return {NEW: self.data} | ({GENERAL: self.general} if self.general else {})


def run(config: ContinueConfig) -> Path:
    old, model = open_base(config.base)
    if config.seq_len > model.config.max_seq_len:
        raise ConfigError(
            f"seq_len is {config.seq_len}; the base reads up to {model.config.max_seq_len} tokens"
        )
    stage_run = open_run(config.out, config)
    if stage_run.finished:
        return config.out
    if rank() == 0:
        prepare(stage_run, config, old, model)
    wait_for_all()
    tokenizer = Tokenizer.load(config.out / "tokenizer")
    model = with_new_tokens(model, old.parts(tokenizer))
    held_out = open_all(config, tokenizer, "held_out")
    batches = batches_of(config, open_all(config, tokenizer, "train"))
    stage = stage_of(stage_run, config, model, batches)
    for report, progress in stage.updates():
        if report.step % config.eval_every == 0:
            found = {
                name: loss_on(model, each, config, config.eval_tokens) for name, each in held_out.items()
            }
            stage_run.log(report.step, held_out=found)
            for text in samples(model, tokenizer, config.sample_prompts):
                progress.say(f"  {text}")
    publish(model, tokenizer, stage_run.model)
    if rank() == 0:
        conclude(stage_run, config, tokenizer, held_out, stage.pace.n_steps)
    return config.out


def open_base(path: Path) -> tuple[Tokenizer, LanguageModel]:
    """A base model for just the tokens of its tokenizer, which has our control tokens in any case."""
    directory = whole_model_dir(path)
    adopted = adopt(directory)
    model = load_language_model(directory)
    refuse_training(model, str(path))
    if model.config.vocab_size < adopted.n_known:
        raise ModelFileError(
            f"{directory}: the model knows {model.config.vocab_size} tokens and its tokenizer gives "
            f"{adopted.n_known}; use the tokenizer that the model was trained with"
        )
    n_new = adopted.tokenizer.vocab_size - adopted.n_known
    return adopted.tokenizer, with_new_tokens(model, [()] * n_new, n_known=adopted.n_known)


def prepare(stage_run: Run, config: ContinueConfig, old: Tokenizer, model: LanguageModel) -> None:
    """Texts cleaned and divided, the vocabulary, the shards, and what the base makes of the held-out parts.

    What is done is not done again.
    """
    if is_prepared(config):
        return
    folders = write_shards(config, old)
    before: dict[str, Any] = {}
    for name, folder in folders.items():
        out = config.out / "shards" / name / "held_out_before"
        known = tokenize_documents(documents(folder / "held_out.jsonl"), old, out)
        before[name] = loss_on(model, known, config)
    stage_run.log(0, held_out=before)
    replace_file(config.out / BEFORE, json.dumps(before, indent=2))


def is_prepared(config: ContinueConfig) -> bool:
    """Whether texts, vocabulary and shards lie in the run directory."""
    return (config.out / BEFORE).exists()


def write_shards(config: ContinueConfig, old: Tokenizer) -> dict[str, Path]:
    """Texts cleaned and divided, the vocabulary, and the shards; where each text lies, by name."""
    folders = {name: text_folder(config, name) for name in config.texts}
    vocabulary(config, old, folders[NEW]).save(config.out / "tokenizer")
    for name, folder in folders.items():
        data.tokenize(folder, config.out / "tokenizer", config.out / "shards" / name)
    return folders


def text_folder(config: ContinueConfig, name: str) -> Path:
    """The folder with a text's two parts, which is made unless it was given."""
    paths = [data.located(path) for path in config.texts[name]]
    given = paths[0] if len(paths) == 1 else None
    folder = config.out / "text" / name
    if given is not None and all((given / f"{split}.jsonl").is_file() for split in data.SPLITS):
        folder = given
    else:
        data.run(
            data.DataConfig(path=tuple(paths), out=folder, reading=config.reading, cleaning=config.cleaning)
        )
    for split in data.SPLITS:
        if not (folder / f"{split}.jsonl").stat().st_size:
            raise DataError(
                f"{folder / split}.jsonl: is empty; a text needs documents to train on and others to measure "
                "on: add text, or hold more of it out with cleaning.held_out"
            )
    return folder


def vocabulary(config: ContinueConfig, old: Tokenizer, folder: Path) -> Tokenizer:
    """The base's tokenizer, or an extension of it."""
    if not config.new_tokens:
        return old
    texts = (document.text for document in documents(folder / "train.jsonl"))
    tokenizer = old.extended(texts, config.new_tokens, min_count=config.min_count)
    if tokenizer.vocab_size < old.vocab_size + config.new_tokens:
        print(f"{tokenizer.vocab_size - old.vocab_size} new tokens: no more pairs occur min_count times")
    return tokenizer


def open_all(config: ContinueConfig, tokenizer: Tokenizer, split: str) -> dict[str, Shards]:
    """One part of each text."""
    shards = config.out / "shards"
    return {
        name: open_shards(shards / name / split, fingerprint=tokenizer.fingerprint) for name in config.texts
    }


def batches_of(config: ContinueConfig, shards: dict[str, Shards]) -> PackedBatches | ReplayBatches:
    """Batches of the new text, with general text among them if there is any to replay."""
    new = packed(config, shards[NEW])
    if GENERAL not in shards or not config.replay:
        return new
    return ReplayBatches(new, packed(config, shards[GENERAL]), config.replay)


def packed(config: ContinueConfig, shards: Shards) -> PackedBatches:
    """Rows of one text."""
    rows = rows_each(config.batch_size)
    return PackedBatches(
        shards, rows, config.seq_len, config.seed, rank=rank(), world=world(), lead_with_eos=True
    )


def stage_of(
    stage_run: Run, config: ContinueConfig, model: LanguageModel, batches: PackedBatches | ReplayBatches
) -> Stage:
    settle(stage_run, model, config.batch_size, config.seq_len)
    seconds = None if config.minutes is None else 60 * config.minutes
    return Stage(
        name="pretrain",
        run=stage_run,
        model=model,
        objective=balanced(TokenLoss(), model, config.balance_coef),
        optimizer=build_optimizer(model, config.optim),
        batches=batches,
        resumables={"batches": batches},
        lr=config.optim.lr,
        schedule=config.schedule,
        pace=Pace(config.loop.n_steps, seconds=seconds, decay_fraction=config.schedule.decay_fraction),
        loop=config.loop,
        save_every=config.save_every,
    )


def conclude(
    stage_run: Run, config: ContinueConfig, tokenizer: Tokenizer, held_out: dict[str, Shards], n_steps: int
) -> None:
    """Measure again, from what was written, and say what was gained and forgotten."""
    model = load_language_model(stage_run.model, vocab_size=tokenizer.vocab_size)
    before = json.loads((config.out / BEFORE).read_text(encoding="utf-8"))
    after = {name: loss_on(model, each, config) for name, each in held_out.items()}
    stage_run.log(n_steps, held_out=after)
    page = forgetting_page(str(config.out), before, after, stage_run.metrics())
    replace_file(config.out / "report.html", page)
    console().print(change_table(before, after))
    if not config.general:
        print("general is not set: nothing was replayed, and what was forgotten was not measured")
    stage_run.finish(
        before=before,
        after=after,
        change=changes(before, after),
        n_parameters=sum(p.numel() for p in model.parameters()),
        vocab_size=tokenizer.vocab_size,
        n_steps=n_steps,
        n_tokens=n_steps * config.loop.grad_accum_steps * config.batch_size * config.seq_len,
        samples=samples(model, tokenizer, config.sample_prompts),
    )


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """By how many bits per byte each text became harder; the new text's should be below 0."""
    key = "bits_per_byte"
    return {name: after[name][key]["all"] - before[name][key]["all"] for name in before}


def change_table(before: dict[str, Any], after: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title="bits per byte", title_justify="left")
    table.add_column("held-out text")
    for name in ("before", "after", "change"):
        table.add_column(name, justify="right")
    for name, change in changes(before, after).items():
        both: Sequence[float] = [each[name]["bits_per_byte"]["all"] for each in (before, after)]
        table.add_row(name, *(f"{bits:.3f}" for bits in both), f"{change:+.3f}")
    return table
