"""What every training stage does around the loop: go on from a checkpoint, follow the updates, publish."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from danlu.adapters.adalora import RankAllocation
from danlu.adapters.attach import attach
from danlu.adapters.files import is_adapter, save_adapter
from danlu.adapters.settings import AdapterConfig
from danlu.adapters.sharing import FrozenState
from danlu.config import ConfigError
from danlu.model.config import PatchConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import AnyModel, TokenIds, read_config, save_model
from danlu.model.mlp import MixtureOfExperts, noted_routers
from danlu.model.precision import Head, Precision, apply_precision, choose_precision
from danlu.model.quantize import refuse_training
from danlu.objectives.balance import Balanced
from danlu.objectives.loss import Objective
from danlu.objectives.penalty import Penalised
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat, Sight
from danlu.tokenizer.interface import AnyChatFormat
from danlu.tokenizer.templates import check_template, open_chat_format
from danlu.train.allocator import keep_memory
from danlu.train.checkpoint import atomic_folder, load_latest, replace_file, restore, save_checkpoint
from danlu.train.loop import LoopConfig, StepReport, train
from danlu.train.optim import Optimizers, ProjectedOptimizers
from danlu.train.pace import Pace
from danlu.train.parallel import Together, agreed, rank, wait_for_all, world
from danlu.train.progress import Progress, progress_bar
from danlu.train.run import Run, follow
from danlu.train.schedule import ScheduleConfig, build_schedule


class Resumable(Protocol):
    """Something whose position is saved with the weights."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Any) -> None: ...


def settle(run: Run, model: Head, batch_size: int, seq_len: int) -> Precision:
    """Choose number format and kernels by measuring, once a run: going on under others changes bits.

    The choice and the number of threads stand in `machine.json`.
    """
    keep_memory()
    path = run.path / "machine.json"
    if rank() == 0 and not path.exists():
        measured = choose_precision(model, batch_size=batch_size, seq_len=seq_len)
        replace_file(path, json.dumps({**asdict(measured), "threads": torch.get_num_threads()}))
    wait_for_all()
    chosen = json.loads(path.read_text(encoding="utf-8"))
    torch.set_num_threads(chosen["threads"])
    return apply_precision(model, Precision(dtype=chosen["dtype"], kernels=chosen["kernels"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A training stage, ready to go."""

    name: str
    run: Run
    model: nn.Module  # whose weights are saved
    objective: Objective[Any]
    optimizer: Optimizers
    batches: Iterable[Any]
    resumables: Mapping[str, Resumable]
    lr: float
    schedule: ScheduleConfig
    pace: Pace
    loop: LoopConfig
    save_every: int
    may_save: Callable[[], bool] = lambda: True  # whether the batches can be taken up here again
    unit: str = "tokens"

    def updates(self) -> Iterator[tuple[StepReport, Progress]]:
        """Every weight update still to be done; checkpoints are written in between."""
        start = self._resume()
        endless = LoopConfig(
            n_steps=2**31,
            grad_accum_steps=self.loop.grad_accum_steps,
            max_grad_norm=self.loop.max_grad_norm,
        )
        if start >= self.pace.n_steps:
            return
        lr_at = build_schedule(self.schedule, self.lr, self.pace)
        ranks = RankAllocation(self.model, lambda: self.pace.n_steps, step=start)
        objective, optimizer = self._within_budget(ranks)
        if world() > 1:
            some_idle = any(isinstance(each, MixtureOfExperts) for each in self.model.modules())
            objective = Together(self.model, objective, some_idle=some_idle)
        with progress_bar(self.name, self.pace.n_steps, self.unit, start) as progress:
            reports = train(self.model, self.batches, objective, optimizer, lr_at, endless, start=start)
            followed = follow(
                self.run,
                reports,
                progress,
                self.save,
                save_every=self.save_every,
                may_save=self.may_save,
                unit=self.unit,
            )
            for report in followed:
                self.pace.update(report.step)
                self.pace.n_steps = agreed(self.pace.n_steps)
                progress.resize(self.pace.n_steps)
                if ranks.allocated:
                    self.run.log(report.step, budget=ranks.trace())
                yield report, progress
                if report.step >= self.pace.n_steps:
                    self.save(report.step)
                    return

    def _within_budget(self, ranks: RankAllocation) -> tuple[Objective[Any], Optimizers]:
        """What is minimised and by what; where updates share a budget of ranks, the steps respect it."""
        if not ranks:
            return self.objective, self.optimizer
        penalised = Penalised(self.objective, "orthogonality", ranks.orthogonality, ranks.coefficient)
        return penalised, ProjectedOptimizers(self.optimizer, ranks)

    def save(self, step: int) -> None:
        """Write a checkpoint after `step` updates, if there is none."""
        if rank():
            return
        extra = {name: dict(each.state_dict()) for name, each in self._saved.items()}
        save_checkpoint(self.run.checkpoints, step, self.model, self.optimizer, extra)

    def _resume(self) -> int:
        checkpoint = load_latest(self.run.checkpoints)
        self.run.forget_after(0 if checkpoint is None else checkpoint.step)
        if checkpoint is None:
            return 0
        restore(checkpoint, self.model, self.optimizer)
        for name, each in self._saved.items():
            each.load_state_dict(checkpoint.extra[name])
        return checkpoint.step

    @property
    def _saved(self) -> dict[str, Resumable]:
        return {**self.resumables, "pace": self.pace}


def check_base(model: nn.Module, adapter: AdapterConfig, where: object) -> None:
    """Refuse a base whose own weights are to be trained and cannot be, before anything is written."""
    if not adapter.on:
        refuse_training(model, str(where))


def adapt(model: LanguageModel | ScoreModel, adapter: AdapterConfig, seed: int, base: Path) -> None:
    """Attach what the settings ask for; nothing, by default. `base` has the tokenizer of an initial text."""
    if adapter.on:
        text = adapter.virtual.init_text
        attach(model, adapter, seed=seed, init_ids=Tokenizer.load(base).encode(text) if text else ())


def balanced(objective: Objective[Any], model: AnyModel, coef: float) -> Objective[Any]:
    """The objective; where the model has experts, with what spreads the tokens evenly over them."""
    if coef < 0:
        raise ConfigError(f"balance_coef is {coef:g}; it must be 0 or more")
    experts = model.config.experts
    if experts is None or not coef:
        return objective
    return Balanced(objective, partial(noted_routers, model), experts.n_active, coef)


def frozen_state(model: nn.Module) -> dict[str, Resumable]:
    """What a checkpoint must carry where some weights are not trained."""
    return {} if all(p.requires_grad for p in model.parameters()) else {"frozen": FrozenState(model)}


def deliver(
    run: Run, model: LanguageModel | ScoreModel, tokenizer: Tokenizer, adapter: AdapterConfig, base: Path
) -> None:
    """Write what a stage has made: a model directory, with an adapter also or only an adapter directory."""
    if adapter.on and not rank():
        with atomic_folder(run.adapter) as folder:
            save_adapter(model, folder, adapter, base=base)
    if adapter.merges:
        publish(model, tokenizer, run.model)


def publish(model: AnyModel, tokenizer: Tokenizer, path: Path) -> None:
    """Write a model directory, weights and tokenizer together, whole or not at all."""
    if rank():
        return
    with atomic_folder(path) as folder:
        tokenizer.save(folder)
        save_model(
            model,
            folder,
            token_ids=TokenIds(
                pad=tokenizer.pad_id,
                bos=tokenizer.eos_id,
                stop=(tokenizer.im_end_id, tokenizer.eos_id),
            ),
        )


def chat_format_of(model_dir: Path, *, sees: bool = False) -> ChatFormat:
    """The chat format of a model directory's tokenizer.

    Without `sees` it refuses pictures, whether or not the model could see them: for stages that have no use
    for them.
    """
    if is_adapter(model_dir):
        raise ConfigError(
            f"{model_dir}: holds an adapter; a stage begins from a model directory, such as "
            "the one with merged weights beside it, model/"
        )
    if not (model_dir / "tokenizer.json").exists():
        raise ConfigError(f"{model_dir}: holds no tokenizer.json; name a model directory that a stage wrote")
    check_template(model_dir)
    return ChatFormat(Tokenizer.load(model_dir), _sight(model_dir) if sees else None)


def spoken_format_of(model_dir: Path) -> AnyChatFormat:
    """The format in which the model of a directory is spoken to, whoever made it."""
    return open_chat_format(model_dir, _sight(model_dir))


def _sight(model_dir: Path) -> Sight | None:
    pictures = read_config(model_dir).pictures
    return pictures and sight_of(pictures)


def sight_of(pictures: PatchConfig) -> Sight:
    """What the chat format must know of an encoder of pictures."""
    return Sight(side=pictures.side, n_patches=pictures.n_patches)
