"""When a growing text is formatted again, so that this takes little of the time in which the text is made."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from time import perf_counter

SHARE = 0.05  # of the time that may go into formatting: the engine's thread waits for Python meanwhile


class Pace:
    """Lets something be done again only after a pause that is in proportion to how long it took."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock, self._not_before = clock, 0.0

    @property
    def due(self) -> bool:
        """Whether it may be done."""
        return self._clock() >= self._not_before

    @contextmanager
    def measured(self) -> Generator[None]:
        """Around what is done."""
        began = self._clock()
        yield
        ended = self._clock()
        self._not_before = ended + (ended - began) * (1 / SHARE - 1)
