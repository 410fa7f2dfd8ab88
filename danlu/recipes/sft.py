"""`danlu sft`: demonstrations turn a base model into an assistant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from danlu.adapters.settings import AdapterConfig
from danlu.config import ConfigError
from danlu.data.chats import Chat, Message, read_chats
from danlu.data.records import Batch
from danlu.data.sft import SftBatches
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model.config import PatchConfig
from danlu.model.heads import LanguageModel
from danlu.model.hf import load_language_model
from danlu.model.vocabulary import with_eye
from danlu.objectives.token_loss import TokenLoss
from danlu.recipes.stage import (
    Stage,
    adapt,
    balanced,
    chat_format_of,
    check_base,
    deliver,
    frozen_state,
    settle,
    sight_of,
)
from danlu.rl.collect import evaluating
from danlu.tokenizer.chat import ChatFormat, images_of
from danlu.train.loop import LoopConfig
from danlu.train.optim import OptimConfig, build_optimizer
from danlu.train.pace import Pace
from danlu.train.parallel import data_parallel, rank, rows_each, world
from danlu.train.run import open_run
from danlu.train.schedule import ScheduleConfig

SUMMARY = "fine-tune a base model on demonstrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class SftConfig:
    base: Path  # model directory to start from
    data: Path  # chats, one a line
    out: Path
    held_out: Path | None = None  # chats to measure the loss on
    batch_size: int = 8  # rows of packed chats a micro-batch, those of all processes together
    seq_len: int = 256
    too_long: Literal["error", "drop"] = "error"  # what to do with a chat that does not fit into seq_len
    n_epochs: float = 2.0
    minutes: float | None = None  # end in this time if it is less than n_epochs take
    balance_coef: float = 0.01  # of the loss that gives experts equal shares; 0 = left alone
    seed: int = 0
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(kind="muon", lr=2e-3))
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(decay_fraction=0.8))
    loop: LoopConfig = field(default_factory=LoopConfig)  # n_steps is set by n_epochs
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    eval_every: int = 50  # updates
    save_every: int = 100  # updates
    sample_prompts: tuple[str, ...] = ("Who are you?", "你是谁？")
    see: bool = False  # give the base a fresh encoder of pictures; one that has one keeps it without this
    pictures: PatchConfig = field(default_factory=PatchConfig)  # of the fresh encoder

    def __post_init__(self) -> None:
        if self.pictures != PatchConfig() and not self.see:
            raise ConfigError("pictures is set, but no encoder of pictures is made; add see=true")
        if self.see and self.adapter.on:
            raise ConfigError(
                "see is true, but an adapter leaves all else as it is, so the encoder would learn nothing; "
                "train it without an adapter first"
            )


@data_parallel
def run(config: SftConfig) -> Path:
    model, chat_format = load_base(config)
    check_base(model, config.adapter, config.base)
    objective = balanced(TokenLoss(), model, config.balance_coef)
    chats = read_chats(config.data, images=True)
    held_out = read_chats(config.held_out, images=True) if config.held_out else []
    check_sight(config, chat_format, [*chats, *held_out])
    adapt(model, config.adapter, config.seed, config.base)
    batches = batches_of(chats, chat_format, config, config.seed, (rank(), world()))
    stage_run = open_run(config.out, config)  # when nothing is left that could be wrong
    if stage_run.finished:
        return config.out
    settle(stage_run, model, config.batch_size, config.seq_len)
    per_update = config.batch_size * config.loop.grad_accum_steps
    n_steps = max(1, round(config.n_epochs * batches.rows_per_epoch / per_update))
    stage = Stage(
        name="sft",
        run=stage_run,
        model=model,
        objective=objective,
        optimizer=build_optimizer(model, config.optim),
        batches=batches,
        resumables={"batches": batches, **frozen_state(model)},
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
        if report.step % config.eval_every == 0:
            if held_out:
                stage_run.log(report.step, held_out_loss=loss_on(model, held_out, chat_format, config))
            for question, answer in samples(model, chat_format, config.sample_prompts):
                progress.say(f"  {question} → {answer}")
    deliver(stage_run, model, chat_format.tokenizer, config.adapter, config.base)
    stage_run.finish(
        n_chats=len(chats),
        n_dropped=batches.n_dropped,
        n_steps=stage.pace.n_steps,
        epochs=batches.epoch,
        held_out_loss=loss_on(model, held_out, chat_format, config) if held_out else None,
        samples=samples(model, chat_format, config.sample_prompts),
    )
    return config.out


def load_base(config: SftConfig) -> tuple[LanguageModel, ChatFormat]:
    """The model to start from and its chat format, with eyes if they are asked for."""
    chat_format = chat_format_of(config.base, sees=True)
    tokenizer = chat_format.tokenizer
    model = load_language_model(config.base, vocab_size=tokenizer.vocab_size)
    if not config.see:
        return model, chat_format
    if model.config.pictures is not None:
        raise ConfigError(
            f"see is true, but {config.base} has an encoder of pictures already; without see it learns on"
        )
    seeing = with_eye(model, config.pictures, seed=config.seed)
    return seeing, ChatFormat(tokenizer.with_images(), sight_of(config.pictures))


def check_sight(config: SftConfig, chat_format: ChatFormat, chats: Sequence[Chat]) -> None:
    """Insist that pictures and an encoder of them come together."""
    with_images = next((chat for chat in chats if images_of(chat.messages)), None)
    if with_images is not None and chat_format.sight is None:
        raise ConfigError(
            f"{with_images.where}: holds a picture, and {config.base} reads text only; "
            "add see=true to give it an encoder of pictures"
        )
    if config.see and with_images is None:
        raise ConfigError(f"see is true, but {config.data} holds no picture; the encoder would learn nothing")


def batches_of(
    chats: list[Chat],
    chat_format: ChatFormat,
    config: SftConfig,
    seed: int,
    share: tuple[int, int] = (0, 1),
) -> SftBatches:
    """Rows of packed chats; `share` is (rank, world)."""
    rows = config.batch_size if share[1] == 1 else rows_each(config.batch_size)
    return SftBatches(chats, chat_format, rows, config.seq_len, seed, too_long=config.too_long, share=share)


@torch.no_grad()
def loss_on(model: LanguageModel, chats: list[Chat], chat_format: ChatFormat, config: SftConfig) -> float:
    """Mean loss of an answer's token, in nats, over each chat once."""
    batches = batches_of(chats, chat_format, config, 0)
    n_batches = -(-batches.rows_per_epoch // config.batch_size)
    with evaluating(model):
        return mean_nll(model, (next(batches) for _ in range(n_batches)))


def mean_nll(model: LanguageModel, batches: Iterable[Batch]) -> float:
    """Loss a counted token over some batches."""
    total = count = 0.0
    for batch in batches:
        total += float(model.nll_sum(*batch.inputs, batch.target_ids, batch.loss_mask, **batch.shown))
        count += float(batch.loss_mask.sum())
    return total / count


def samples(
    model: LanguageModel, chat_format: ChatFormat, questions: tuple[str, ...]
) -> list[tuple[str, str]]:
    """What the model answers to each question."""
    if not questions:
        return []
    sampler = Sampler(model, stop_ids=chat_format.stop_ids, max_batch=len(questions))
    asked: list[Message] = [{"role": "user", "content": question} for question in questions]
    prompts = [chat_format.prompt([message]) for message in asked]
    with evaluating(model):
        completions = sampler.generate(prompts, SamplingConfig(max_new_tokens=48, temperature=0))
    answers = [str(chat_format.parse(completion.ids)["content"]) for completion in completions]
    return list(zip(questions, answers, strict=True))
