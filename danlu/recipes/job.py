"""A run of several stages: what a source must provide, how long each may take, and what is done."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, Self

from danlu.recipes.plan import Plan
from danlu.recipes.speaker import Speaker
from danlu.rl.judges import TrueScore
from danlu.train.checkpoint import replace_file


class Source(Protocol):
    """Where text, demonstrations, rankings and prompts come from, and who examines the result."""

    def write_texts(self, raw: Path, clean: Path) -> None:
        """Texts as they come into one folder; train.jsonl, held_out.jsonl and account.json into the other."""
        ...

    def settings(self, stage: str, seconds: float) -> dict[str, Any]:
        """What differs from the defaults of a stage that has so many seconds."""
        ...

    def write_demonstrations(self, path: Path) -> None:
        """Chats to learn answering from."""
        ...

    def write_rankings(self, model: Path, train: Path, held_out: Path) -> dict[str, Any]:
        """Ranked answers to learn from and to measure on, perhaps a model's own; what there is in numbers."""
        ...

    def judge(self, model: Path, reward_model: Path) -> dict[str, Any]:
        """Further measures of a reward model, for its summary."""
        ...

    def write_prompts(self, path: Path) -> None:
        """What the policy practises on."""
        ...

    @property
    def true_score(self) -> TrueScore | None:
        """What a completion is truly worth, where that is known."""
        ...

    def examine(self, speakers: Mapping[str, Speaker], folder: Path) -> dict[str, Any]:
        """Write what every system answers, and return what that shows."""
        ...

    def references(self, clean: Path) -> dict[str, dict[str, float]]:
        """Bits per byte by language of what a model has to beat."""
        ...

    def conclude(self, run_dir: Path) -> None:
        """Say what came out."""
        ...


@dataclass(frozen=True, slots=True)
class Ledger:
    """Which stages of a run are done, in `done.json` of its directory."""

    out: Path

    def __truediv__(self, name: str) -> Path:
        return self.out / name

    def done(self) -> dict[str, float]:
        """Finished stages and the seconds that each took."""
        path = self / "done.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def spent(self) -> float:
        """Seconds that finished stages took."""
        return sum(self.done().values())

    def do(self, name: str, stage: Callable[[Self], None]) -> None:
        """Run a stage unless it is done; it counts as done only when all of it is written."""
        if name in self.done():
            return
        began = perf_counter()
        stage(self)
        replace_file(self / "done.json", json.dumps({**self.done(), name: perf_counter() - began}))


@dataclass(frozen=True, slots=True)
class Job(Ledger):
    """One run of the whole recipe: where it lies, its plan, its source, and what was spent."""

    minutes: float
    seed: int
    plan: Plan
    source: Source

    def budget(self, stage: str) -> float:
        """Seconds for a stage: its share of what is left, fixed when the stage first begins."""
        path = self / "budgets.json"
        budgets: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
        if stage not in budgets:
            names = list(self.plan.seconds)
            later = names[names.index(stage) :]
            left = 60 * self.minutes - self.spent()
            share = self.plan.seconds[stage] / sum(self.plan.seconds[name] for name in later)
            budgets[stage] = max(5.0, left * share)
            replace_file(path, json.dumps(budgets))
        return budgets[stage]


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
