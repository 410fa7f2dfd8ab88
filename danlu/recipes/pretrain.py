"""`danlu pretrain`: token shards become a base model; with `base=`, a base model goes on with new text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from danlu.config import ConfigError, read_toml
from danlu.data.masked import MaskingConfig
from danlu.data.packing import PackedBatches
from danlu.data.shards import open_shards
from danlu.model.config import Experts, ModelConfig
from danlu.model.heads import LanguageModel
from danlu.model.hf import check_written
from danlu.model.presets import BERT, GPT1, GPT2, GPT3
from danlu.objectives.token_loss import TokenLoss
from danlu.recipes import continued
from danlu.recipes.continued import ContinueConfig
from danlu.recipes.held_out import loss_on, samples
from danlu.recipes.masked import pretrain_masked
from danlu.recipes.stage import Stage, balanced, publish, settle
from danlu.tokenizer.bpe import Tokenizer
from danlu.train.loop import LoopConfig
from danlu.train.optim import OptimConfig, build_optimizer
from danlu.train.pace import Pace
from danlu.train.parallel import data_parallel, rank, rows_each, world
from danlu.train.run import open_run
from danlu.train.schedule import ScheduleConfig

SUMMARY = "train a base model on token shards; with base=DIR, take one further on new text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The size of a decoder; the vocabulary is the tokenizer's."""

    d_model: int = 256
    n_layers: int = 4
    n_heads: int = 4
    n_kv_heads: int = 2
    head_dim: int = 64
    d_ff: int = 704
    qk_norm: bool = True
    tie_embeddings: bool = True
    max_seq_len: int = 512
    n_experts: int = 0  # MLPs of width d_ff in a layer, of which a token takes n_active; 0 = one, for all
    n_active: int = 2
    family: Literal["llama", "gpt1", "gpt2", "gpt3"] = "llama"  # whose parts it has; of the older, only sizes

    def model_config(self, vocab_size: int) -> ModelConfig:
        if self.family != "llama":
            return self._older(FAMILIES[self.family], vocab_size, f"family {self.family!r}")
        experts = None
        if self.n_experts:
            experts = Experts(n_experts=self.n_experts, n_active=self.n_active)
        return ModelConfig(
            vocab_size=vocab_size,
            n_kv_heads=self.n_kv_heads,
            head_dim=self.head_dim,
            qk_norm=self.qk_norm,
            tie_embeddings=self.tie_embeddings,
            mlp="moe" if self.n_experts else "swiglu",
            experts=experts,
            **self._sizes(),
        )

    def encoder_config(self, vocab_size: int) -> ModelConfig:
        """BERT's configuration of this size; what only a decoder has must be left as it is."""
        if self.family != "llama":
            raise ConfigError(f"model.family is {self.family!r}; objective='mlm' trains BERT; leave it out")
        return self._older(BERT, vocab_size, "objective='mlm' trains BERT, which")

    def _older(self, preset: Callable[..., ModelConfig], vocab_size: int, who: str) -> ModelConfig:
        """A configuration from before Llama: all heads have keys of their own and are as wide as fits."""
        plain = Shape()
        for name in ("n_kv_heads", "head_dim", "qk_norm", "tie_embeddings", "n_experts"):
            if getattr(self, name) != getattr(plain, name):
                raise ConfigError(
                    f"model.{name} is {getattr(self, name)}; {who} has no such choice; leave it out"
                )
        if self.d_model % self.n_heads:
            raise ConfigError(
                f"model.d_model is {self.d_model}; it must be a multiple of n_heads, {self.n_heads}"
            )
        return preset(
            vocab_size=vocab_size,
            n_kv_heads=self.n_heads,
            head_dim=self.d_model // self.n_heads,
            **self._sizes(),
        )

    def _sizes(self) -> dict[str, Any]:
        names = ("d_model", "n_layers", "n_heads", "d_ff", "max_seq_len")
        return {name: getattr(self, name) for name in names}


FAMILIES = {"gpt1": GPT1, "gpt2": GPT2, "gpt3": GPT3}


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    tokenizer: Path  # directory that holds tokenizer.json
    shards: Path  # directory that holds train/ and held_out/
    out: Path
    objective: Literal["causal", "mlm"] = "causal"  # the next word; or BERT's hidden words and next sentence
    masking: MaskingConfig = field(default_factory=MaskingConfig)  # for objective = "mlm"
    model: Shape = field(default_factory=Shape)
    batch_size: int = 32  # rows a micro-batch, those of all processes together
    seq_len: int = 256
    minutes: float | None = None  # end in this time instead of after loop.n_steps
    balance_coef: float = 0.01  # of the loss that gives experts equal shares; 0 = left alone
    seed: int = 0
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(kind="muon", lr=4e-3))
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    eval_every: int = 200  # updates
    eval_tokens: int = 20_000  # held-out positions of each language while training
    save_every: int = 200  # updates
    sample_prompts: tuple[str, ...] = ("Once upon a time", "从前")


@data_parallel
def run(config: PretrainConfig | ContinueConfig) -> Path:
    return continued.run(config) if isinstance(config, ContinueConfig) else begin(config)


def choose(words: Sequence[str]) -> tuple[type, list[str]]:
    """The settings that are meant: where a base is named, those for taking it further."""
    named = any(re.match(r"(--)?base(=|$)", word) or _names_base(word) for word in words)
    return (ContinueConfig if named else PretrainConfig), list(words)


def _names_base(word: str) -> bool:
    return word.endswith(".toml") and "=" not in word and "base" in read_toml(Path(word))


def begin(config: PretrainConfig) -> Path:
    """Train a model from nothing."""
    if config.objective == "mlm":
        return pretrain_masked(config)
    tokenizer = Tokenizer.load(config.tokenizer)
    shards = open_shards(config.shards / "train", fingerprint=tokenizer.fingerprint)
    held_out = open_shards(config.shards / "held_out", fingerprint=tokenizer.fingerprint)
    model = LanguageModel(config.model.model_config(tokenizer.vocab_size), seed=config.seed)
    check_written(model)
    objective = balanced(TokenLoss(), model, config.balance_coef)
    stage_run = open_run(config.out, config)
    if stage_run.finished:
        return config.out
    settle(stage_run, model, config.batch_size, config.seq_len)
    batches = PackedBatches(
        shards,
        rows_each(config.batch_size),
        config.seq_len,
        config.seed,
        rank=rank(),
        world=world(),
        lead_with_eos=True,
    )
    seconds = None if config.minutes is None else 60 * config.minutes
    stage = Stage(
        name="pretrain",
        run=stage_run,
        model=model,
        objective=objective,
        optimizer=build_optimizer(model, config.optim),
        batches=batches,
        resumables={"batches": batches},
        lr=config.optim.lr,
        schedule=config.schedule,
        pace=Pace(config.loop.n_steps, seconds=seconds, decay_fraction=config.schedule.decay_fraction),
        loop=config.loop,
        save_every=config.save_every,
    )
    for report, progress in stage.updates():
        if report.step % config.eval_every == 0:
            stage_run.log(report.step, held_out=loss_on(model, held_out, config, config.eval_tokens))
            for text in samples(model, tokenizer, config.sample_prompts):
                progress.say(f"  {text}")
    publish(model, tokenizer, stage_run.model)
    stage_run.finish(
        held_out=loss_on(model, held_out, config),
        n_parameters=sum(p.numel() for p in model.parameters()),
        n_steps=stage.pace.n_steps,
        n_tokens=batches.step * config.batch_size * config.seq_len,
        epochs=batches.epoch,
        samples=samples(model, tokenizer, config.sample_prompts),
    )
    return config.out
