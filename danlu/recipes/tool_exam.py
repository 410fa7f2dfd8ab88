"""The exam of tool calls: every task taken to its answer, its calls and its answer marked apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from danlu.dialogue.tool_loop import LoopLimits, ToolLoop, answer_all
from danlu.evaluate.exam import Graded, graded
from danlu.evaluate.statistics import Interval, wilson
from danlu.generate.sampling import SamplingConfig
from danlu.recipes.answering import turns_with_tools
from danlu.recipes.jsonl import write_jsonl
from danlu.recipes.speaker import Speaker
from danlu.recipes.tool_tasks import exam_tasks, tools_over
from danlu.tokenizer.chat import Message
from danlu.train.checkpoint import replace_file
from danlu.world.splits import Split
from danlu.world.tool_tasks import Said, ToolTask, grade_episode, right_answer, right_calls
from danlu.world.truth import World

SAMPLING = SamplingConfig(max_new_tokens=96, temperature=0.0)
LIMITS = LoopLimits(n_turns=4, wall_s=3600.0)  # many conversations share the model, and so the time
MEASURES = ("calls", "answer", "both")


@dataclass(frozen=True, slots=True)
class Episode:
    """One task and what came of it."""

    task: ToolTask
    said: Sequence[Said]
    ending: str

    @property
    def marks(self) -> dict[str, bool]:
        """Whether the calls, the answer and both are right."""
        calls, answer = right_calls(self.task, self.said), right_answer(self.task, self.said)
        return {"calls": calls, "answer": answer, "both": calls and answer}

    @property
    def graded(self) -> Graded:
        """As an exam keeps it; the answer is the whole episode as JSON."""
        text = json.dumps(list(self.said), ensure_ascii=False)
        return graded(self.task, text, grade_episode(self.task, self.said))


@dataclass(frozen=True, slots=True)
class Examined:
    """All episodes of an exam."""

    episodes: Sequence[Episode]

    def share(self, measure: str, category: str | None = None) -> Interval:
        """How often the calls, the answer or both are right, with Wilson's interval."""
        of = [each for each in self.episodes if category in (None, each.task.category)]
        return wilson(sum(each.marks[measure] for each in of), len(of))

    def summary(self) -> dict[str, Any]:
        """Every share, by category and of all."""
        categories = dict.fromkeys(each.task.category for each in self.episodes)
        return {
            "n": len(self.episodes),
            "all": {measure: self.share(measure).to_tree() for measure in MEASURES},
            "categories": {
                name: {
                    "n": sum(each.task.category == name for each in self.episodes),
                    **{measure: self.share(measure, name).to_tree() for measure in MEASURES},
                }
                for name in categories
            },
        }

    def save(self, folder: Path) -> dict[str, Any]:
        """Write every episode and the summary, which is returned."""
        rows = ({**asdict(each.graded), "marks": each.marks, "ending": each.ending} for each in self.episodes)
        write_jsonl(folder / "episodes.jsonl", rows)
        summary = self.summary()
        replace_file(folder / "summary.json", json.dumps(summary, ensure_ascii=False, indent=1))
        return summary


class ToolExaminer:
    """Tool tasks of one split, and the tools over its documents, which lie in `folder`."""

    def __init__(self, world: World, split: Split, folder: Path, n_per_cell: int, seed: int) -> None:
        self.toolbox = tools_over(world, split, folder)
        self.tasks = exam_tasks(world, split, self.toolbox, n_per_cell, seed)

    def examine(self, speaker: Speaker) -> Examined:
        """Every task answered, greedily."""
        conversations = [cast(Sequence[Message], task.messages) for task in self.tasks]
        complete = turns_with_tools(speaker, self.toolbox.schemas, SAMPLING)
        loops = answer_all(conversations, complete, self.toolbox, LIMITS)
        return Examined([episode(task, loop) for task, loop in zip(self.tasks, loops, strict=True)])


def episode(task: ToolTask, loop: ToolLoop) -> Episode:
    return Episode(task, cast(Sequence[Said], loop.said), loop.ending or "")


def show_tools(summary: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title="tool tasks, % right with 95 % intervals", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("category", "n", "calls", "answer", "both"):
        table.add_column(column, justify="left" if column == "category" else "right", no_wrap=True)
    rows = {**summary["categories"], "all": {"n": summary["n"], **summary["all"]}}
    for name, row in rows.items():
        table.add_row(name, str(row["n"]), *(_percent(row[measure]) for measure in MEASURES))
    Console().print(table)


def _percent(tree: dict[str, float]) -> str:
    mean, low, high = (100 * tree[name] for name in ("mean", "low", "high"))
    return f"{mean:.1f} [dim]\\[{low:.0f}, {high:.0f}][/dim]"
