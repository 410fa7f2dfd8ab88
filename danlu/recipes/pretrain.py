"""`danlu pretrain`: token shards become a base model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from danlu.config import ConfigError
from danlu.data.masked import MaskingConfig
from danlu.data.packing import PackedBatches
from danlu.data.shards import Shards, open_shards
from danlu.evaluate.perplexity import loss_by_language, summarise_losses
from danlu.generate.sampler import Sampler, SamplingConfig
from danlu.model.heads import LanguageModel
from danlu.model.presets import BERT
from danlu.model.transformer import ModelConfig
from danlu.objectives.token_loss import TokenLoss
from danlu.recipes.masked import pretrain_masked
from danlu.recipes.stage import Stage, publish, settle
from danlu.tokenizer.bpe import Tokenizer
from danlu.train.loop import LoopConfig
from danlu.train.optim import OptimConfig, build_optimizer
from danlu.train.pace import Pace
from danlu.train.parallel import data_parallel, rank, rows_each, world
from danlu.train.run import open_run
from danlu.train.schedule import ScheduleConfig

SUMMARY = "train a base model on token shards"


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

    def model_config(self, vocab_size: int) -> ModelConfig:
        sizes = {name: getattr(self, name) for name in self.__slots__}
        return ModelConfig(vocab_size=vocab_size, **sizes)

    def encoder_config(self, vocab_size: int) -> ModelConfig:
        """BERT's configuration of this size; what only a decoder has must be left as it is."""
        plain = Shape()
        for name in ("n_kv_heads", "head_dim", "qk_norm", "tie_embeddings"):
            if getattr(self, name) != getattr(plain, name):
                raise ConfigError(
                    f"model.{name} is {getattr(self, name)}; objective='mlm' trains BERT, which has no such "
                    "choice; leave it out"
                )
        if self.d_model % self.n_heads:
            raise ConfigError(
                f"model.d_model is {self.d_model}; it must be a multiple of n_heads, {self.n_heads}"
            )
        sizes = {
            name: getattr(self, name) for name in ("d_model", "n_layers", "n_heads", "d_ff", "max_seq_len")
        }
        return BERT(
            vocab_size=vocab_size, n_kv_heads=self.n_heads, head_dim=self.d_model // self.n_heads, **sizes
        )


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
    seed: int = 0
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(kind="muon", lr=4e-3))
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    eval_every: int = 200  # updates
    eval_tokens: int = 20_000  # held-out positions of each language while training
    save_every: int = 200  # updates
    sample_prompts: tuple[str, ...] = ("Once upon a time", "从前")


@data_parallel
def run(config: PretrainConfig) -> Path:
    if config.objective == "mlm":
        return pretrain_masked(config)
    tokenizer = Tokenizer.load(config.tokenizer)
    shards = open_shards(config.shards / "train", fingerprint=tokenizer.fingerprint)
    held_out = open_shards(config.shards / "held_out", fingerprint=tokenizer.fingerprint)
    stage_run = open_run(config.out, config)
    if stage_run.finished:
        return config.out
    model = LanguageModel(config.model.model_config(tokenizer.vocab_size), seed=config.seed)
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
        objective=TokenLoss(),
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
            stage_run.log(report.step, held_out=evaluate(model, held_out, config, config.eval_tokens))
            for text in samples(model, tokenizer, config.sample_prompts):
                progress.say(f"  {text}")
    publish(model, tokenizer, stage_run.model)
    stage_run.finish(
        held_out=evaluate(model, held_out, config, None),
        n_parameters=sum(p.numel() for p in model.parameters()),
        n_steps=stage.pace.n_steps,
        n_tokens=batches.step * config.batch_size * config.seq_len,
        epochs=batches.epoch,
        samples=samples(model, tokenizer, config.sample_prompts),
    )
    return config.out


def evaluate(model: LanguageModel, held_out: Shards, config: PretrainConfig, max_tokens: int | None) -> dict:
    """Loss and bits per byte by language."""
    with torch.no_grad():
        losses = loss_by_language(
            model, held_out, config.batch_size, config.seq_len, max_tokens=max_tokens, lead_with_eos=True
        )
    return summarise_losses(losses)


def samples(model: LanguageModel, tokenizer: Tokenizer, prompts: tuple[str, ...]) -> list[str]:
    """How the model goes on from each prompt."""
    if not prompts:
        return []
    sampler = Sampler(model, stop_ids={tokenizer.eos_id}, max_batch=len(prompts))
    sampling = SamplingConfig(max_new_tokens=48, temperature=0.7)
    ids = [[tokenizer.eos_id, *tokenizer.encode(prompt)] for prompt in prompts]
    return [
        prompt + tokenizer.decode(completion.ids)
        for prompt, completion in zip(prompts, sampler.generate(ids, sampling), strict=True)
    ]
