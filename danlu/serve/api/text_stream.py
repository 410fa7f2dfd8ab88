"""Bytes of tokens become text that is certain: whole characters, and no beginning of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Text as it comes, cut before the first stop string, wherever the borders of tokens lie.

    Of several stop strings the one that is complete first ends the text; of those complete at the same
    character, the longest.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""  # decoded, but perhaps the beginning of a stop string
        self.n_decoded = 0  # characters so far, those held back and cut off among them
        self.n_released = 0  # characters handed out
        self.stopped = False

    def push(self, raw: bytes) -> str:
        """Text that has become certain by these bytes."""
        return "" if self.stopped else self._take(self._decoder.decode(raw))

    def flush(self) -> str:
        """The rest: nothing more comes."""
        if self.stopped:
            return ""
        text = self._take(self._decoder.decode(b"", final=True))
        return text if self.stopped else text + self._release(len(self._held))

    def _take(self, text: str) -> str:
        self._held += text
        self.n_decoded += len(text)
        found = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._release(min(found)[1])
        return self._release(len(self._held) - self._n_open())

    def _n_open(self) -> int:
        """Characters at the end with which a stop string may have begun."""
        most = max((len(stop) - 1 for stop in self._stops), default=0)
        for n in range(min(most, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-n:]) for stop in self._stops):
                return n
        return 0

    def _release(self, n: int) -> str:
        text, self._held = self._held[:n], self._held[n:]
        self.n_released += n
        return text
