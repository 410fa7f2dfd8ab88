"""A stage's run directory: its settings, its metrics, its checkpoints, its model."""

from __future__ import annotations

import json
import resource
import signal
import threading
import tomllib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any

from danlu.config import ConfigError, to_toml
from danlu.train.checkpoint import replace_file
from danlu.train.loop import StepReport
from danlu.train.parallel import rank, refuse_strangers, wait_for_all
from danlu.train.progress import Progress


class Run:
    """An open run directory.

    `config.toml`, `metrics.jsonl`, `checkpoints/`, `model/` and with an adapter `adapter/`, `summary.json`.
    Of several processes only the first writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.began = perf_counter()

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def finished(self) -> bool:
        """Whether this stage has ended well before."""
        return (self.path / "summary.json").exists()

    def log(self, step: int, **numbers: Any) -> None:
        """Append one line to the metrics."""
        if rank():
            return
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **numbers}, ensure_ascii=False) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """What was logged, line by line."""
        text = (self.path / "metrics.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def forget_after(self, step: int) -> None:
        """Drop metrics of updates that will be done again."""
        path = self.path / "metrics.jsonl"
        if path.exists() and not rank():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            replace_file(path, "".join(line for line in lines if json.loads(line)["step"] <= step))

    def finish(self, **numbers: Any) -> None:
        """Write the summary, which marks the stage as done."""
        if rank():
            return
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        summary = {**numbers, "seconds": perf_counter() - self.began, "peak_memory_mb": peak_mb}
        replace_file(self.path / "summary.json", json.dumps(summary, ensure_ascii=False, indent=2))


def open_run(out: Path, config: Any, *, free: Iterable[str] = ()) -> Run:
    """Create or reopen a run directory; a resumed run must have the settings it began with.

    Args:
        out: the directory.
        config: the stage's settings, written to `config.toml`.
        free: dotted keys that may differ on resuming, such as where to print samples.
    """
    refuse_strangers()
    text, path = to_toml(config), out / "config.toml"
    if path.exists():
        refuse_changes(path, text, set(free))
    elif not rank():
        out.mkdir(parents=True, exist_ok=True)
        replace_file(path, text)
    wait_for_all()
    return Run(out)


def refuse_changes(path: Path, text: str, free: set[str]) -> None:
    """Name every setting that differs from the run's own."""
    before, after = flat_settings(path.read_text(encoding="utf-8")), flat_settings(text)
    changed = [
        k for k in sorted(before.keys() | after.keys()) if before.get(k) != after.get(k) and k not in free
    ]
    if changed:
        found = "; ".join(f"{k} was {before.get(k)!r}, is {after.get(k)!r}" for k in changed)
        raise ConfigError(
            f"{path.parent} holds a run with other settings: {found}. Use the same settings, or another out="
        )


def flat_settings(text: str) -> dict[str, Any]:
    """TOML as dotted keys."""
    flat: dict[str, Any] = {}

    def walk(tree: Mapping[str, Any], prefix: str) -> None:
        for key, value in tree.items():
            if isinstance(value, dict):
                walk(value, f"{prefix}{key}.")
            else:
                flat[prefix + key] = value

    walk(tomllib.loads(text), "")
    return flat


def follow(
    run: Run,
    reports: Iterable[StepReport],
    progress: Progress,
    save: Callable[[int], None],
    *,
    save_every: int,
    may_save: Callable[[], bool] = lambda: True,
    unit: str = "tokens",
) -> Iterator[StepReport]:
    """Pass reports on, having logged each; save at intervals and when interrupted.

    Args:
        run: where metrics go.
        reports: what `train` yields.
        progress: bar to advance.
        save: writes a checkpoint for the given step.
        save_every: updates between checkpoints.
        may_save: whether a checkpoint is possible now, asked after each update.
        unit: what the first weight of a report counts, for the rate shown.
    """
    unsaved = 0
    with interruptible() as interrupted:
        for report in reports:
            count = next(iter(report.weights.values()), 0.0)
            rate = count / max(report.seconds, 1e-9)
            run.log(
                report.step,
                loss=report.loss,
                **report.metrics,
                grad_norm=report.grad_norm,
                lr=report.lr,
                seconds=report.seconds,
                **{f"{unit}_per_s": rate, unit: count},
            )
            progress.advance(report.step, loss=report.loss, rate=rate)
            yield report
            unsaved += 1
            if (unsaved >= save_every or interrupted()) and may_save():
                save(report.step)
                unsaved = 0
            if interrupted() and not unsaved:
                raise KeyboardInterrupt(f"stopped after update {report.step}")


@contextmanager
def interruptible() -> Generator[Callable[[], bool]]:
    """While active, the first Ctrl-C only raises a flag; the second one interrupts at once."""
    asked = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
