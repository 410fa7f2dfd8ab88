"""A progress bar with time left on a terminal; a plain line now and then where output is kept in a file."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from danlu.train.parallel import rank

LINE_EVERY_S = 15.0


class Progress:
    """How far a stage has come, its loss and its speed."""

    def __init__(self, name: str, total: int, unit: str, done: int = 0) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.console = Console(quiet=rank() > 0)
        self.began, self.first, self.last_line = perf_counter(), done, perf_counter()
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task(name, total=total, completed=done, detail="")

    def resize(self, total: int) -> None:
        """Set a new number of steps, after replanning."""
        self.total = total
        self.bar.update(self.task, total=total)

    def advance(self, step: int, *, loss: float, rate: float) -> None:
        """Show that `step` updates are done."""
        self.show(step, f"loss {loss:.3f} · {rate:,.0f} {self.unit}/s")

    def show(self, step: int, detail: str) -> None:
        """Show that `step` of the total are done, with a word about it."""
        self.bar.update(self.task, completed=step, detail=detail)
        now = perf_counter()
        if not self.console.is_terminal and (now - self.last_line > LINE_EVERY_S or step == self.total):
            self.last_line = now
            left = (now - self.began) / max(step - self.first, 1) * (self.total - step)
            self.console.print(
                f"{self.name} {step}/{self.total} · {detail} · {left:.0f} s left", highlight=False
            )

    def say(self, text: str) -> None:
        """Print above the bar, for instance a sample."""
        self.console.print(text, highlight=False, markup=False)


@contextmanager
def progress_bar(name: str, total: int, unit: str = "tokens", done: int = 0) -> Generator[Progress]:
    """A running progress display."""
    progress = Progress(name, total, unit, done)
    with progress.bar:
        yield progress
