"""`danlu run`: from raw text to an aligned assistant; what is already done is not done again."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

from danlu.data.shards import open_shards
from danlu.evaluate.exam import Graded, run_exam, save_results
from danlu.evaluate.perplexity import bits_per_byte, loss_by_language
from danlu.evaluate.report import build
from danlu.recipes import data, ppo, pretrain, reward, sft, tokenizer
from danlu.recipes.answering import answerer, few_shot_answerer
from danlu.recipes.embedded import Teacher, TeachingConfig, teach_within
from danlu.recipes.evaluate import CATEGORY_NAMES
from danlu.recipes.evaluate import show as show_exam
from danlu.recipes.plan import BATCH_SIZE, LAW, SEQ_LEN, Plan, make_plan, show
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


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the whole recipe: its settings, its plan, its teacher, and what was spent."""

    config: RunConfig
    plan: Plan
    teacher: Teacher

    def __truediv__(self, name: str) -> Path:
        return self.config.out / name

    def budget(self, stage: str) -> float:
        """Seconds for a stage: its share of what is left, fixed when the stage first begins."""
        path = self / "budgets.json"
        budgets: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
        if stage not in budgets:
            names = list(self.plan.seconds)
            later = names[names.index(stage) :]
            left = 60 * self.config.minutes - self.spent()
            share = self.plan.seconds[stage] / sum(self.plan.seconds[name] for name in later)
            budgets[stage] = max(5.0, left * share)
            replace_file(path, json.dumps(budgets))
        return budgets[stage]

    def done(self) -> dict[str, float]:
        """Finished stages and the seconds that each took."""
        path = self / "done.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def spent(self) -> float:
        """Seconds that finished stages took."""
        return sum(self.done().values())

    def do(self, name: str, stage: Callable[[Job], None]) -> None:
        """Run a stage unless it is done; it counts as done only when all of it is written."""
        if name in self.done():
            return
        began = perf_counter()
        stage(self)
        replace_file(self / "done.json", json.dumps({**self.done(), name: perf_counter() - began}))


def run(config: RunConfig) -> Path:
    console = Console()
    keep_memory()
    open_run(config.out, config)
    job = begin(config)
    show(job.plan)
    for name, stage in STAGES.items():
        if name not in job.done():
            console.rule(name)
        job.do(name, stage)
    report = build(config.out)
    finish(job, console, report)
    return config.out


def begin(config: RunConfig) -> Job:
    """Plan, or take up the plan that was made."""
    path = config.out / "plan.json"
    if path.exists():
        plan = Plan.from_tree(json.loads(path.read_text()))
    else:
        plan = make_plan(config.minutes)
        replace_file(path, json.dumps(plan.to_tree(), indent=2))
    teaching = teach_within(config.teaching, plan)
    return Job(config, plan, Teacher(plan.corpus_bytes, teaching, config.seed))


def clean_data(job: Job) -> None:
    with timed(job / "data"):
        job.teacher.write_corpus(job / "raw")
        data.run(data.DataConfig(path=(job / "raw",), out=job / "data"))


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
            seed=job.config.seed,
        )
    )
    path = job / "pretrain" / "summary.json"
    summary = json.loads(path.read_text())
    summary["predicted_loss"] = LAW.predict(summary["n_parameters"], summary["n_tokens"])
    replace_file(path, json.dumps(summary, ensure_ascii=False, indent=2))


def demonstrate(job: Job) -> None:
    job.teacher.write_demonstrations(job / "teaching" / "demonstrations.jsonl")
    sft.run(
        sft.SftConfig(
            base=job / "pretrain" / "model",
            data=job / "teaching" / "demonstrations.jsonl",
            out=job / "sft",
            seed=job.config.seed,
        )
    )


def collect_rankings(job: Job) -> None:
    with timed(job / "comparisons") as summary:
        teaching = job / "teaching"
        summary |= job.teacher.write_rankings(
            job / "sft" / "model", teaching / "rankings.jsonl", teaching / "held_out_rankings.jsonl"
        )


def train_reward(job: Job) -> None:
    teaching = job / "teaching"
    reward.run(
        reward.RewardConfig(
            base=job / "sft" / "model",
            comparisons=teaching / "rankings.jsonl",
            held_out=teaching / "held_out_rankings.jsonl",
            demonstrations=teaching / "demonstrations.jsonl",
            out=job / "reward",
            seed=job.config.seed,
        )
    )
    path = job / "reward" / "summary.json"
    summary = json.loads(path.read_text())
    summary["noise_free"] = job.teacher.judge(job / "sft" / "model", job / "reward" / "model")
    replace_file(path, json.dumps(summary, ensure_ascii=False, indent=2))


def align(job: Job) -> None:
    job.teacher.write_prompts(job / "teaching" / "prompts.jsonl")
    settings = ppo.PpoConfig(
        policy=job / "sft" / "model",
        reward_model=job / "reward" / "model",
        prompts=job / "teaching" / "prompts.jsonl",
        out=job / "ppo",
        minutes=job.budget("ppo") / 60,
        pretrain_shards=job / "shards" / "train",
        seed=job.config.seed,
    )
    ppo.run(settings, job.teacher.true_score)


def examine(job: Job) -> None:
    with timed(job / "evaluate") as summary:
        asked = job.teacher.exam(job.config.exam_per_cell)
        models = {"base": "pretrain", "sft": "sft", "ppo": "ppo"}
        results: dict[str, list[Graded]] = {}
        bits: dict[str, Any] = {}
        held_out = open_shards(job / "shards" / "held_out")
        for name, stage in models.items():
            speaker = load_speaker(job / stage)
            answer = (
                few_shot_answerer(speaker, job.teacher.world, asked) if name == "base" else answerer(speaker)
            )
            results[name] = run_exam(asked, answer, job.teacher.grade)
            losses = loss_by_language(speaker.model, held_out, BATCH_SIZE, SEQ_LEN, lead_with_eos=True)
            bits[name] = bits_per_byte(losses)
        replace_file(job / "evaluate" / "bits.json", json.dumps(bits))
        summary |= save_results(results, job / "evaluate", labels=CATEGORY_NAMES)


@contextmanager
def timed(folder: Path) -> Generator[dict[str, Any]]:
    """Write what the body puts into the yielded summary, with its time and memory, when it ends well."""
    folder.mkdir(parents=True, exist_ok=True)
    summary: dict[str, Any] = {}
    began = perf_counter()
    yield summary
    path = folder / "summary.json"
    written = json.loads(path.read_text()) if path.exists() else {}
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    summary = {**written, **summary, "seconds": perf_counter() - began, "peak_memory_mb": peak_mb}
    replace_file(path, json.dumps(summary, ensure_ascii=False, indent=2))


def finish(job: Job, console: Console, report: Path) -> None:
    """The table, where the report is, and how to talk to the result."""
    show_exam(json.loads((job / "evaluate" / "summary.json").read_text()))
    console.print(f"planned {60 * job.config.minutes:.0f} s, took {job.spent():.0f} s", highlight=False)
    console.print(f"report: {report}", highlight=False)
    console.print(f"talk to it: danlu chat {job / 'ppo'}", highlight=False)


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
