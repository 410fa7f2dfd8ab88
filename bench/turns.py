"""Competitors that take turns: each a process of its own, one unit of work whenever it is told to.

A busy moment on the machine then falls on all alike, so that ratios within a round can be trusted.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from time import perf_counter

GO = "go\n"


class Worker:
    """The benchmark's own script in another process, which works as a competitor and waits for its turns.

    Args:
        name: of the competitor.
        arguments: of the script, such as make it call `serve` or `Turns` with that competitor's work.
    """

    def __init__(self, name: str, arguments: Sequence[str]) -> None:
        self.name, self.seconds, self.values, self.memory_gb = name, list[float](), list[float](), 0.0
        command = [sys.executable, sys.argv[0], *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first_s = self._ask()["seconds"]
        self._ask()  # the second turn still allocates the optimizer's state

    def turn(self) -> None:
        """One unit of work, timed by the worker itself."""
        answer = self._ask()
        self.seconds.append(answer["seconds"])
        self.values.append(answer["value"])
        self.memory_gb = answer["memory_gb"]

    def _ask(self) -> dict[str, float]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(GO)
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with code {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """No more turns: a worker whose input ends stops."""
        self._process.communicate()


class Turns:
    """In the worker's process: waits for its turn, and answers when that is over."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # whatever else a library prints goes to stderr
        self._began = 0.0

    def wait(self) -> bool:
        """Return when it is this worker's turn, or with False when there will be none."""
        if not sys.stdin.readline():
            return False
        self._began = perf_counter()
        return True

    def answer(self, value: float) -> None:
        """The turn is over; `value` is what came of it, a loss for instance."""
        seconds = perf_counter() - self._began
        memory_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        self._answers.write(json.dumps({"seconds": seconds, "value": value, "memory_gb": memory_gb}) + "\n")
        self._answers.flush()


def serve(work: Callable[[], float]) -> None:
    """Do a unit of work each turn."""
    turns = Turns()
    while turns.wait():
        turns.answer(work())


def median_ratio(worker: Worker, reference: Worker) -> float:
    """How many times as fast the reference is, by the median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(worker.seconds, reference.seconds, strict=True))
