"""`danlu evaluate MODEL`: the world's exam, with intervals; against another model, the paired difference."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from danlu.config import ConfigError
from danlu.evaluate.exam import Graded, run_exam, save_results
from danlu.recipes.answering import answerer, few_shot_answerer
from danlu.recipes.perplexity import measure_text, show_text
from danlu.recipes.speaker import Speaker, load_speaker
from danlu.recipes.tool_exam import ToolExaminer, show_tools
from danlu.train.checkpoint import replace_file
from danlu.world.grading import grade
from danlu.world.names import LANGS
from danlu.world.question import Question
from danlu.world.seeing import CATEGORY as PICTURES
from danlu.world.seeing import seeing_questions
from danlu.world.splits import Split
from danlu.world.tasks import CATEGORIES, questions
from danlu.world.truth import World, WorldSize

SUMMARY = "examine a model on held-out questions, or its perplexity: danlu evaluate MODEL [text=FILE]"
POSITIONAL = ("model",)
FULL_PER_CATEGORY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    model: Path  # model or adapter directory, or the run directory of the stage that made it
    against: Path | None = None  # another model: the difference of `model` from it, question by question
    out: Path | None = None  # where answers and summary go; by default exam/ in the stage's directory
    corpus_bytes: int | None = None  # which world; by default that of the run which the model lies in
    seed: int | None = None  # likewise
    split: Split = "exam"
    n_per_cell: int = 20  # questions of each category in each language
    full: bool = False  # at least 500 questions a category
    categories: tuple[str, ...] = ()  # which; by default all, pictures only where the models see
    tools: bool = False  # instead, the tasks that want tools: are they called rightly, and the answers right?
    few_shot: bool = False  # `model` is a base model: four solved examples before each question
    against_few_shot: bool = False  # the same for `against`
    text: Path | None = None  # measure perplexity on these documents or shards instead of the exam

    def __post_init__(self) -> None:
        if self.n_per_cell < 1:
            raise ConfigError(f"n_per_cell is {self.n_per_cell}; it must be at least 1")
        if unknown := [name for name in self.categories if name not in ALL_NAMES]:
            raise ConfigError(f"categories names {unknown[0]!r}; there are {', '.join(ALL_NAMES)}")
        if self.tools and (self.few_shot or self.against is not None or self.text is not None):
            raise ConfigError(
                "tools is set; it is measured for one model that knows turns, without `against` or `text`"
            )


def run(config: EvaluateConfig) -> Path:
    if config.text is not None:
        return read_text(config, config.text)
    if config.tools:
        return examine_tools(config)
    speakers = {"model": (load_speaker(config.model), config.few_shot)}
    if config.against is not None:
        speakers = {"against": (load_speaker(config.against), config.against_few_shot), **speakers}
    world, asked = questions_for(config, [speaker for speaker, _ in speakers.values()])
    examined = {
        name: examine(speaker, world, asked, few_shot=few_shot)
        for name, (speaker, few_shot) in speakers.items()
    }
    out = config.out or stage_of(config.model) / "exam"
    show(save_results(examined, out, labels=labels_of(asked)))
    print(f"{out}: every answer in <system>.jsonl, the tables in summary.json")
    return out


def read_text(config: EvaluateConfig, text: Path) -> Path:
    """Perplexity on a text, instead of the exam."""
    paths = {"against": config.against, "model": config.model}
    speakers = {name: load_speaker(path) for name, path in paths.items() if path is not None}
    tree = measure_text(speakers, text)
    out = config.out or stage_of(config.model) / "perplexity"
    out.mkdir(parents=True, exist_ok=True)
    replace_file(out / "summary.json", json.dumps(tree, ensure_ascii=False, indent=1))
    show_text(tree)
    print(f"{out / 'summary.json'}")
    return out


def stage_of(model: Path) -> Path:
    """The directory of the stage that made a model."""
    is_stage = any((model / name).is_dir() for name in ("model", "adapter"))
    return model if is_stage else model.parent


def questions_for(config: EvaluateConfig, speakers: Sequence[Speaker]) -> tuple[World | None, list[Question]]:
    """The world that is asked about and the questions; pictures know no world."""
    sees = all(speaker.sees for speaker in speakers) and not (config.few_shot or config.against_few_shot)
    if PICTURES in config.categories and not sees:
        raise ConfigError(
            "categories names 'pictures'; only assistants with an encoder of pictures can be asked"
        )
    wanted = config.categories or (*CATEGORIES, *([PICTURES] if sees else []))
    n = max(config.n_per_cell, FULL_PER_CATEGORY // len(LANGS)) if config.full else config.n_per_cell
    world, asked = None, list[Question]()
    if set(wanted) & set(CATEGORIES):
        corpus_bytes, seed = which_world(config)
        world = World.create(seed, WorldSize.for_bytes(corpus_bytes))
        asked += [each for each in questions(world, config.split, n, seed) if each.category in wanted]
    if PICTURES in wanted:
        asked += seeing_questions(config.split, n, config.seed or 0)
    return world, asked


def labels_of(asked: Sequence[Question]) -> dict[str, dict[str, str]]:
    """What the categories of an exam are called, by language."""
    return CATEGORY_NAMES | {question.category: ALL_NAMES[question.category] for question in asked}


def examine(
    speaker: Speaker, world: World | None, asked: Sequence[Question], *, few_shot: bool = False
) -> list[Graded]:
    """Every question answered and graded; a base model first sees four solved questions of the same kind."""
    if few_shot and world is not None:
        return run_exam(asked, few_shot_answerer(speaker, world, asked), grade)
    return run_exam(asked, answerer(speaker), grade)


def examine_tools(config: EvaluateConfig) -> Path:
    """The tasks that want tools, each taken to its answer with tools that are really run."""
    corpus_bytes, seed = which_world(config)
    world = World.create(seed, WorldSize.for_bytes(corpus_bytes))
    out = config.out or stage_of(config.model) / "tool_exam"
    n = FULL_PER_CATEGORY // len(LANGS) if config.full else config.n_per_cell
    with TemporaryDirectory() as folder:
        exam = ToolExaminer(world, config.split, Path(folder), n, seed)
        found = exam.examine(load_speaker(config.model))
    show_tools(found.save(out))
    print(f"{out}: every episode in episodes.jsonl, the table in summary.json")
    return out


def which_world(config: EvaluateConfig) -> tuple[int, int]:
    """Size and seed of the world: as set, or as the plan of the run around the model says."""
    found = {"corpus_bytes": config.corpus_bytes, "seed": config.seed}
    folder = next((f for f in config.model.resolve().parents if (f / "plan.json").exists()), None)
    if folder is not None:
        known = {**settings_of(folder), **json.loads((folder / "plan.json").read_text(encoding="utf-8"))}
        found = {name: known.get(name) if value is None else value for name, value in found.items()}
    if found["corpus_bytes"] is None:
        raise ConfigError(
            f"corpus_bytes: {config.model} lies in no run with a plan.json; "
            "set corpus_bytes and seed to those of the world that the model was trained on"
        )
    return int(found["corpus_bytes"]), int(found["seed"] or 0)


def settings_of(folder: Path) -> dict[str, Any]:
    path = folder / "config.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def show(summary: dict[str, Any]) -> None:
    """Print the table by category, macro average last; intervals stand at the paired differences."""
    systems, differences = summary["systems"], summary["differences"]
    table = Table(
        title="right answers, %; paired differences with 95 % intervals", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("category", no_wrap=True)
    for name in (*systems, *(f"{d['from']} → {d['to']}" for d in differences)):
        table.add_column(name, justify="right", no_wrap=True)

    def add(name: str, found: Callable[[dict[str, Any]], dict[str, float] | None]) -> None:
        plain = (percent(found(tree), interval=not differences) for tree in systems.values())
        table.add_row(name, *plain, *(percent(found(tree), sign="+") for tree in differences))

    for category in ALL_NAMES:
        if any(category in tree["categories"] for tree in systems.values()):
            add(category, lambda tree, c=category: tree["categories"].get(c))
    table.add_section()
    add("macro average", lambda tree: tree["macro"])
    Console().print(table)


def percent(tree: dict[str, float] | None, *, sign: str = "", interval: bool = True) -> str:
    if tree is None:
        return ""
    mean, low, high = (100 * tree[name] for name in ("mean", "low", "high"))
    return f"{mean:{sign}.1f}" + (f" [dim]\\[{low:.1f}, {high:.1f}][/dim]" if interval else "")


CATEGORY_NAMES = {
    "facts": {"en": "facts", "zh": "事实"},
    "two_fact": {"en": "two facts", "zh": "两步推理"},
    "arithmetic": {"en": "arithmetic", "zh": "算术"},
    "reference": {"en": "reference across turns", "zh": "跨轮指代"},
    "translation": {"en": "translation", "zh": "翻译"},
    "sentiment": {"en": "sentiment", "zh": "情感"},
    "format": {"en": "following a format", "zh": "遵循格式"},
    "passage": {"en": "questions about a passage", "zh": "阅读理解"},
    "rewriting": {"en": "summaries and rewriting", "zh": "概括与改写"},
    "unanswerable": {"en": "unanswerable questions", "zh": "无法回答的问题"},
    "harmful": {"en": "harmful requests", "zh": "有害请求"},
}
ALL_NAMES = {**CATEGORY_NAMES, PICTURES: {"en": "questions about a picture", "zh": "看图回答"}}
