"""`danlu classify`: a base model fine-tuned on labelled examples, and what it then says of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.console import Console

from danlu.adapters.attach import attach
from danlu.adapters.files import save_adapter
from danlu.adapters.settings import AdapterConfig
from danlu.config import ConfigError, toml_value
from danlu.data.examples import KINDS_OF_FILE
from danlu.data.labelled import LabelledBatches, for_measuring
from danlu.inspect.view import console
from danlu.model.classifiers import Answers, Classifier, forget_layers
from danlu.model.encoder_heads import (
    EncoderClassifier,
    MaskedLanguageModel,
    classifier_over,
    draw_heads,
)
from danlu.model.heads import LanguageModel
from danlu.model.hf import AnyModel, TokenIds, check_written, read_model, save_model
from danlu.objectives.classification import Classification
from danlu.recipes.classify_report import Measured, headline_of, scores, show_report, write_report
from danlu.recipes.labelled_data import ExamplesConfig, FileConfig, Material, gather, show_material
from danlu.recipes.labelling import PredictConfig, arranger_for, predict, run_predict
from danlu.recipes.model_files import model_dir, whole_model_dir
from danlu.recipes.stage import Stage, check_base, frozen_state, settle
from danlu.tokenizer.reader import BpeReader, TextReader, open_reader
from danlu.train.checkpoint import atomic_folder
from danlu.train.loop import LoopConfig
from danlu.train.optim import OptimConfig, build_optimizer
from danlu.train.pace import Pace
from danlu.train.run import Run, open_run
from danlu.train.schedule import ScheduleConfig

SUMMARY = "fine-tune on labelled examples: danlu classify DATA base=DIR; then danlu classify MODEL TEXT"
POSITIONAL = ("text", "text_b")
MADE = ("config.json", "model/config.json", "adapter_config.json", "adapter/adapter_config.json")
MEASURED_WHILE_TRAINING = 256  # held-out examples
GPT1_LR, GPT1_WIDTH = 6.25e-5, 768
HIGHEST_LR = 3e-3
ADAPTER_LR_SCALE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyConfig:
    data: Path  # examples: .csv, .tsv, .jsonl, .parquet, .json in SQuAD's form, .conll
    base: Path  # model directory to start from: a decoder of ours, or BERT
    out: Path = Path("runs/classify")
    held_out: Path | None = None  # examples to measure on; without it, a share of the data
    file: FileConfig = field(default_factory=FileConfig)
    examples: ExamplesConfig = field(default_factory=ExamplesConfig)
    auxiliary: float | None = (
        None  # weight of the language-modelling loss; none: 0.5 for a decoder, 0 for BERT
    )
    keep_layers: int | None = None  # of the base's, the first; the rest is drawn anew; -1 = all of it
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    max_len: int = 256  # tokens of a row, or the base's context if that is less
    keep: Literal["start", "end"] = "start"  # of a text that is too long
    batch_size: int = 16  # examples a micro-batch
    n_epochs: float = 3.0
    minutes: float | None = None  # end in this time if it is less than n_epochs take
    lr: float | None = None  # peak; none: GPT-1's 6.25e-5 at width 768, narrower ones more, adapters tenfold
    weight_decay: float = 0.01
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(decay_fraction=1.0))
    loop: LoopConfig = field(default_factory=LoopConfig)  # n_steps is set by n_epochs
    eval_every: int = 100  # updates
    save_every: int = 200  # updates
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.n_epochs <= 0:
            raise ConfigError(
                f"batch_size is {self.batch_size} and n_epochs {self.n_epochs:g}; both must be above 0"
            )


FORMS: dict[str, type] = {"train": ClassifyConfig, "predict": PredictConfig}


def choose(words: Sequence[str]) -> tuple[type, list[str]]:
    """Settings and words by what the first word names: examples to learn from, or a model to ask."""
    form, rest = (words[0], list(words[1:])) if words and words[0] in FORMS else (None, list(words))
    first = rest[0] if rest else ""
    key = {"train": "data", "predict": "model"}
    if not first or first.startswith("--") or "=" in first or first.endswith(".toml"):
        return FORMS[form or "train"], rest
    if form is None:
        path = Path(first)
        if path.is_dir() and any((path / name).exists() for name in MADE):
            form = "predict"
        elif path.is_file() or first.lower().endswith(KINDS_OF_FILE):
            form = "train"
        else:
            raise ConfigError(
                f"{first!r} is neither a file of examples ({', '.join(KINDS_OF_FILE)}) nor a model directory"
            )
    return FORMS[form], [f"{key[form]}={toml_value(first)}", *rest[1:]]


def run(config: ClassifyConfig | PredictConfig) -> Path:
    return run_predict(config) if isinstance(config, PredictConfig) else train(config, console())


def train(config: ClassifyConfig, screen: Console) -> Path:
    material = gather(config.data, config.held_out, config.file, config.examples, config.seed)
    show_material(screen, material)
    base = open_base(config)
    reader = reader_of(model_dir(config.base), base)
    objective = Classification(auxiliary=auxiliary_of(config, base))
    model = classifier_on(base, material.answers, auxiliary=objective.auxiliary > 0, seed=config.seed)
    if config.keep_layers is not None and config.keep_layers != base.config.n_layers:
        forget_layers(model, config.keep_layers, config.seed)
        forget_pooler(model, config.seed)
    check_written(model)
    if config.adapter.on:
        text = config.adapter.virtual.init_text
        attach(model, config.adapter, seed=config.seed, init_ids=reader.encode([text])[0] if text else ())
    stage_run = open_run(config.out, config)
    if stage_run.finished:
        return config.out
    arranger = arranger_for(model, reader, config.max_len, keep=config.keep)
    measuring = for_measuring(arranger)
    batches = LabelledBatches(arranger.arrange(material.train), arranger, config.batch_size, config.seed)
    settle(stage_run, model, config.batch_size, arranger.max_len)
    stage = build_stage(config, stage_run, model, batches, objective)
    few = material.held_out[:MEASURED_WHILE_TRAINING]
    for report, progress in stage.updates():
        if report.step % config.eval_every == 0:
            said = [each.said for each in predict(model, measuring, few, config.batch_size)]
            name = headline_of(material.answers)
            score = 100 * scores(few, said, material.answers)[name]["mean"]
            stage_run.log(report.step, held_out=score)
            progress.say(f"  {name} on {len(few)} held-out examples: {score:.1f} %")
    model.lm_head = None
    deliver(stage_run, model, reader, config)
    finish(config, stage_run, model, material, batches, screen)
    return config.out


def open_base(config: ClassifyConfig) -> AnyModel:
    """The model to start from."""
    base = read_model(whole_model_dir(config.base))
    check_base(base, config.adapter, config.base)
    return base


def finish(
    config: ClassifyConfig,
    stage_run: Run,
    model: Classifier,
    material: Material,
    batches: LabelledBatches,
    screen: Console,
) -> None:
    """Measure on everything that was held out, and tell."""
    arranger = batches.arranger
    measuring = for_measuring(arranger)
    predictions = predict(model, measuring, material.held_out, config.batch_size)
    cut = {"train": arranger.cut.n_examples, "held_out": measuring.cut.n_examples}
    tree = Measured(material=material, predictions=predictions, max_len=arranger.max_len, cut=cut).to_tree()
    write_report(stage_run, config.out.name, tree)
    show_report(screen, tree)
    made = stage_run.model if config.adapter.merges else stage_run.adapter
    screen.print(f"model: {made}   report: {stage_run.path / 'report.html'}")
    stage_run.finish(
        epochs=batches.epoch,
        headline=tree["headline"],
        scores=tree["systems"],
    )


def build_stage(
    config: ClassifyConfig,
    stage_run: Run,
    model: Classifier,
    batches: LabelledBatches,
    objective: Classification,
) -> Stage:
    lr = config.lr if config.lr is not None else usual_lr(model.config.d_model, config.adapter)
    optim = OptimConfig(kind="adamw", lr=lr, weight_decay=config.weight_decay, beta2=0.999)
    n_steps = max(1, round(config.n_epochs * batches.batches_per_epoch / config.loop.grad_accum_steps))
    return Stage(
        name="classify",
        run=stage_run,
        model=model,
        objective=objective,
        optimizer=build_optimizer(model, optim),
        batches=batches,
        resumables={"batches": batches, **frozen_state(model)},
        lr=lr,
        schedule=config.schedule,
        pace=Pace(
            n_steps,
            seconds=None if config.minutes is None else 60 * config.minutes,
            decay_fraction=min(config.schedule.decay_fraction, 0.8),
            most=n_steps,
        ),
        loop=config.loop,
        save_every=config.save_every,
        unit="examples",
    )


def usual_lr(d_model: int, adapter: AdapterConfig) -> float:
    """GPT-1's rate at its width, and at others in inverse proportion to the square of the width.

    Adapters take about ten times as much (Hu et al. 2021, tables 9 to 12, beside the papers of their bases).
    """
    scale = ADAPTER_LR_SCALE if adapter.on else 1.0
    return min(HIGHEST_LR, scale * GPT1_LR * (GPT1_WIDTH / d_model) ** 2)


def reader_of(path: Path, base: AnyModel) -> TextReader:
    """The base's tokenizer, which must be the one it was trained with."""
    reader = open_reader(path, both_ways=base.config.topology == "encoder")
    known, exact = base.config.vocab_size, isinstance(reader, BpeReader)
    if reader.vocab_size > known or (exact and reader.vocab_size != known):
        raise ConfigError(
            f"{path}: the model knows {known} tokens and the tokenizer {reader.vocab_size}; "
            "use the tokenizer that the model was trained with"
        )
    return reader


def auxiliary_of(config: ClassifyConfig, base: AnyModel) -> float:
    """The weight of the auxiliary loss, which needs a decoder that predicts words."""
    possible = isinstance(base, LanguageModel)
    if config.auxiliary is None:
        return 0.5 if possible else 0.0
    if config.auxiliary and not possible:
        raise ConfigError(
            f"auxiliary is {config.auxiliary:g}, but {config.base} holds a {type(base).__name__}, which "
            "predicts no next word; set auxiliary=0"
        )
    return config.auxiliary


def classifier_on(base: AnyModel, answers: Answers, *, auxiliary: bool, seed: int) -> Classifier:
    """A fresh head on the base's backbone; BERT's pooler is kept if the base has one."""
    model = classifier_over(base.backbone, answers, seed=seed)
    if isinstance(model, EncoderClassifier) and isinstance(base, EncoderClassifier | MaskedLanguageModel):
        model.pooler = base.pooler or model.pooler
    if auxiliary:
        assert isinstance(base, LanguageModel)
        model.lm_head = base.lm_head
    return model


def forget_pooler(model: Classifier, seed: int) -> None:
    """Draw anew what reads the last layer, where that was drawn anew."""
    if isinstance(model, EncoderClassifier):
        draw_heads(model, seed)


def deliver(stage_run: Run, model: Classifier, reader: TextReader, config: ClassifyConfig) -> None:
    """Write what was made: a model directory, with an adapter also or only an adapter directory."""
    if config.adapter.on:
        with atomic_folder(stage_run.adapter) as folder:
            save_adapter(model, folder, config.adapter, base=model_dir(config.base))
    if config.adapter.merges:
        publish(stage_run, model, reader)


def publish(stage_run: Run, model: Classifier, reader: TextReader) -> None:
    """Write the model directory, weights and tokenizer together, whole or not at all."""
    marks = reader.marks
    with atomic_folder(stage_run.model) as folder:
        reader.save(folder)
        save_model(model, folder, token_ids=TokenIds(pad=marks.pad, bos=marks.start))
