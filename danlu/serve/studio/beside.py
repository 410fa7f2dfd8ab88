"""Heavy work of pages: in threads of its own, few at a time, so that nobody else's page waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from danlu.feedback.errors import FeedbackError

if TYPE_CHECKING:
    from danlu.serve.studio.visit import Visit

T = TypeVar("T")
P = ParamSpec("P")
MOST_WAITING = 16  # more are sent away rather than kept waiting


class BusyError(FeedbackError):
    """Too many others wait for the same."""


class Beside:
    """Threads for one kind of work.

    Args:
        n_threads: how much of it is done at the same time.
    """

    def __init__(self, n_threads: int = 1) -> None:
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="studio")
        self._n_waiting = 0

    async def run(self, visit: Visit, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function for a visitor who may see runs and data.

        Raises:
            BusyError: too many wait already.
            NotAllowedError: the visitor may not, or not any more.
        """
        if self._n_waiting >= MOST_WAITING:
            raise BusyError(visit.say("beside.busy"))

        def checked() -> T:
            visit.check("train")
            return function(*args, **kwargs)

        self._n_waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, checked)
        finally:
            self._n_waiting -= 1
