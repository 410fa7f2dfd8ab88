"""`danlu tool_tasks OUT`: demonstrations, prompts and documents that teach a model to call tools.

What a tool says in a demonstration is what it really says: each call is run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.config import ConfigError
from danlu.recipes.jsonl import write_jsonl
from danlu.tools import builtin
from danlu.tools.protocol import Call, Result, Toolbox
from danlu.tools.search.index import Index
from danlu.train.checkpoint import replace_file
from danlu.world.archive import documents
from danlu.world.names import LANGS
from danlu.world.splits import Split, generator
from danlu.world.tool_tasks import TOOL_CATEGORIES, ToolTask, Wanted, demonstrate, supported, tool_tasks
from danlu.world.truth import World, WorldSize

SUMMARY = "write demonstrations and prompts that teach a model to call tools: danlu tool_tasks OUT"
POSITIONAL = ("out",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolTasksConfig:
    out: Path  # gets demonstrations.jsonl, prompts.jsonl and documents/
    n_demonstrations: int = 4000
    n_prompts: int = 2000  # for PPO or GRPO
    corpus_bytes: int = 5_000_000  # which world
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_demonstrations", "n_prompts"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must not be negative")


def run(config: ToolTasksConfig) -> Path:
    world = World.create(config.seed, WorldSize.for_bytes(config.corpus_bytes))
    box = tools_over(world, "train", config.out / "documents")
    written = list(tool_demonstrations(world, box, config.n_demonstrations, config.seed))
    write_jsonl(config.out / "demonstrations.jsonl", written)
    write_jsonl(config.out / "prompts.jsonl", tool_prompts(world, box, config.n_prompts, config.seed + 1))
    print(f"{config.out}: {len(written)} demonstrations, {config.n_prompts} prompts, documents/")
    return config.out


def tools_over(world: World, split: Split, folder: Path) -> Toolbox:
    """A calculator, and a search over the documents of one split, which are written into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents(world, split).items():
        replace_file(folder / name, text)
    index = Index.of(folder)
    index.update()
    return Toolbox([builtin.calculator(), builtin.search(index)])


def tool_demonstrations(world: World, box: Toolbox, n: int, seed: int) -> Iterator[dict[str, Any]]:
    """`n` solved tasks in random order, categories and languages alike."""
    rng = generator("tool demonstrations", world.seed, seed)
    for task in _shuffled(world, n, seed):
        messages = demonstrate(task, lambda wanted: _result(box, wanted).content, rng)
        if supported(task, results_in(messages)):
            yield {
                "id": task.id,
                "messages": messages,
                "tools": box.schemas,
                "category": task.category,
                "lang": task.lang,
            }


def exam_tasks(world: World, split: Split, box: Toolbox, n_per_cell: int, seed: int) -> list[ToolTask]:
    """Tasks that the tools can bear out: some words of a question are in no document."""
    return [
        task
        for task in tool_tasks(world, split, n_per_cell, seed)
        if supported(task, [_result(box, wanted).content for wanted in task.calls])
    ]


def results_in(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    return [message["content"] for message in messages if message["role"] == "tool"]


def tool_prompts(world: World, box: Toolbox, n: int, seed: int) -> Iterator[dict[str, Any]]:
    """`n` train tasks as prompts with the tools."""
    for task in _shuffled(world, n, seed):
        yield {"id": task.id, "messages": list(task.messages), "tools": box.schemas}


def _shuffled(world: World, n: int, seed: int) -> Sequence[ToolTask]:
    per_cell = -(-n // (len(TOOL_CATEGORIES) * len(LANGS)))
    tasks = tool_tasks(world, "train", per_cell, seed)
    return generator("tool order", world.seed, seed).sample(tasks, min(n, len(tasks)))


def _result(box: Toolbox, wanted: Wanted) -> Result:
    return box.call(Call("", wanted.name, json.dumps(dict(wanted.arguments), ensure_ascii=False)))
