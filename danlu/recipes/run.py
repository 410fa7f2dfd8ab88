"""`danlu run`: from raw text to an aligned assistant; what is already done is not done again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

from danlu.config import ConfigError
from danlu.data.shards import open_shards
from danlu.evaluate.perplexity import bits_per_byte, loss_by_language
from danlu.evaluate.report import build
from danlu.recipes import data, ppo, pretrain, reward, sft, tokenizer
from danlu.recipes.embedded import Teacher, TeachingConfig, teach_within
from danlu.recipes.files import Files
from danlu.recipes.job import Job, Source, timed
from danlu.recipes.own_text import Kind, Mixed, OwnText, SourcesConfig
from danlu.recipes.plan import (
    BATCH_SIZE,
    LAW,
    LONGEST,
    SEQ_LEN,
    SHARES,
    SHARES_OF_FILES,
    SHORTEST,
    Plan,
    make_plan,
    show,
)
from danlu.recipes.speaker import load_speaker
from danlu.train.allocator import keep_memory
from danlu.train.checkpoint import replace_file
from danlu.train.run import open_run

SUMMARY = "the whole recipe, from raw text to an aligned assistant"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    out: Path = Path("runs/demo")
    minutes: float = 8.0  # time for everything, 2 to 600
    seed: int = 0
    teaching: TeachingConfig = field(default_factory=TeachingConfig)
    exam_per_cell: int = 20  # exam questions for each category and language
    data: SourcesConfig = field(default_factory=SourcesConfig)

    def __post_init__(self) -> None:
        if not SHORTEST <= self.minutes <= LONGEST:
            raise ConfigError(f"minutes is {self.minutes:g}; it must be between {SHORTEST:g} and {LONGEST:g}")


def run(config: RunConfig) -> Path:
    console = Console()
    keep_memory()
    own = OwnText(config.data)
    if not (config.out / "plan.json").exists():
        own.check()  # before anything of it is written
    open_run(config.out, config)
    job = begin(config, own)
    show(job.plan)
    for name, stage in STAGES.items():
        if name not in job.done():
            console.rule(name)
        job.do(name, stage)
    job.source.conclude(config.out)
    report = build(config.out)
    finish(job, console, report)
    return config.out


def begin(config: RunConfig, own: OwnText) -> Job:
    """Plan, or take up the plan that was made."""
    path = config.out / "plan.json"
    if path.exists():
        plan = Plan.from_tree(json.loads(path.read_text()))
    else:
        shares = SHARES_OF_FILES if config.data.kind == "files" else SHARES
        plan = make_plan(config.minutes, text_bytes=own.planned_bytes, shares=shares)
        replace_file(path, json.dumps(plan.to_tree(), indent=2))
    config = replace(config, teaching=teach_within(config.teaching, plan))
    source = SOURCES[config.data.kind](config, plan, own)
    return Job(config.out, config.minutes, config.seed, plan, source)


def clean_data(job: Job) -> None:
    with timed(job / "data"):
        job.source.write_texts(job / "raw", job / "data")


def learn_tokenizer(job: Job) -> None:
    with timed(job / "tokenizer"):
        settings = tokenizer.TokenizerConfig(
            texts=job / "data",
            out=job / "tokenizer",
            vocab_size=job.plan.size.vocab_size,
            max_bytes=6_000_000,
        )
        tokenizer.run(settings)
        data.tokenize(job / "data", job / "tokenizer", job / "shards")


def pretrain_base(job: Job) -> None:
    pretrain.run(
        pretrain.PretrainConfig(
            tokenizer=job / "tokenizer",
            shards=job / "shards",
            out=job / "pretrain",
            model=job.plan.size.shape,
            batch_size=BATCH_SIZE,
            seq_len=SEQ_LEN,
            minutes=job.budget("pretrain") / 60,
            seed=job.seed,
        )
    )
    path = job / "pretrain" / "summary.json"
    summary = json.loads(path.read_text())
    if job.plan.loss is not None:
        summary["predicted_loss"] = LAW.predict(summary["n_parameters"], summary["n_tokens"])
    replace_file(path, json.dumps(summary, ensure_ascii=False, indent=2))


def demonstrate(job: Job) -> None:
    teaching = job / "teaching"
    job.source.write_demonstrations(teaching / "demonstrations.jsonl")
    sft.run(
        sft.SftConfig(
            base=job / "pretrain" / "model",
            data=teaching / "demonstrations.jsonl",
            held_out=existing(teaching / "held_out_demonstrations.jsonl"),
            out=job / "sft",
            seed=job.seed,
            **job.source.settings("sft", job.budget("sft")),
        )
    )


def collect_rankings(job: Job) -> None:
    with timed(job / "comparisons") as summary:
        teaching = job / "teaching"
        summary |= job.source.write_rankings(
            job / "sft" / "model", teaching / "rankings.jsonl", teaching / "held_out_rankings.jsonl"
        )


def train_reward(job: Job) -> None:
    teaching = job / "teaching"
    reward.run(
        reward.RewardConfig(
            base=job / "sft" / "model",
            comparisons=teaching / "rankings.jsonl",
            held_out=existing(teaching / "held_out_rankings.jsonl"),
            demonstrations=teaching / "demonstrations.jsonl",
            out=job / "reward",
            seed=job.seed,
            **job.source.settings("reward", job.budget("reward")),
        )
    )
    path = job / "reward" / "summary.json"
    summary = json.loads(path.read_text())
    began = perf_counter()
    summary |= job.source.judge(job / "sft" / "model", job / "reward" / "model")
    summary["seconds"] += perf_counter() - began
    replace_file(path, json.dumps(summary, ensure_ascii=False, indent=2))


def align(job: Job) -> None:
    job.source.write_prompts(job / "teaching" / "prompts.jsonl")
    seconds = job.budget("ppo")
    settings = ppo.PpoConfig(
        policy=job / "sft" / "model",
        reward_model=job / "reward" / "model",
        prompts=job / "teaching" / "prompts.jsonl",
        out=job / "ppo",
        minutes=seconds / 60,
        pretrain_shards=job / "shards" / "train",
        demonstrations=job / "teaching" / "demonstrations.jsonl",
        seed=job.seed,
        **job.source.settings("ppo", seconds),
    )
    ppo.run(settings, job.source.true_score)


def examine(job: Job) -> None:
    with timed(job / "evaluate") as summary:
        speakers = {name: load_speaker(job / stage) for name, stage in MODELS.items()}
        summary |= job.source.examine(speakers, job / "evaluate")
        held_out = open_shards(job / "shards" / "held_out")
        bits: dict[str, Any] = {}
        for name, speaker in speakers.items():
            losses = loss_by_language(speaker.model, held_out, BATCH_SIZE, SEQ_LEN, lead_with_eos=True)
            bits[name] = bits_per_byte(losses)
        if references := job.source.references(job / "data"):
            bits["references"] = references
        replace_file(job / "evaluate" / "bits.json", json.dumps(bits))


def existing(path: Path) -> Path | None:
    """The path, if something was written there."""
    return path if path.exists() else None


def finish(job: Job, console: Console, report: Path) -> None:
    """The time it took, where the report is, and how to talk to the result."""
    console.print(f"planned {60 * job.minutes:.0f} s, took {job.spent():.0f} s", highlight=False)
    console.print(f"report: {report}", highlight=False)
    console.print(f"talk to it: danlu chat {job / 'ppo'}", highlight=False)


SOURCES: dict[Kind, Callable[[RunConfig, Plan, OwnText], Source]] = {
    "world": lambda config, plan, _: Teacher(
        plan.corpus_bytes, config.teaching, config.seed, exam_per_cell=config.exam_per_cell
    ),
    "mixed": lambda config, plan, own: Mixed(
        own, plan.corpus_bytes, config.teaching, config.seed, exam_per_cell=config.exam_per_cell
    ),
    "files": lambda config, plan, own: Files(own, plan, config.out),
}
MODELS = {"base": "pretrain", "sft": "sft", "ppo": "ppo"}  # what is examined, and the stage that made it
STAGES = {
    "data": clean_data,
    "tokenizer": learn_tokenizer,
    "pretrain": pretrain_base,
    "sft": demonstrate,
    "comparisons": collect_rankings,
    "reward": train_reward,
    "ppo": align,
    "evaluate": examine,
}
