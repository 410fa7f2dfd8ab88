"""Guesses of what comes next, taken from repetitions in the text itself (prompt lookup, Saxena 2023).

A guess costs one more token in a pass that is made anyhow. It changes no result: every token is decided by
the model and the request's own random number for its place, and a guess counts only if it is that very token.
So the distribution is exact, and so is the sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from danlu.model.heads import LanguageModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Guessing:
    """How tokens are guessed ahead."""

    n_draft: int = 0  # tokens; 0 guesses none
    draft: LanguageModel | None = None  # a smaller model of the same vocabulary; None takes repetitions


N_MATCHED = 3  # tokens that must have occurred before in this order


class Repetitions:
    """Where in one text each run of tokens was last followed by something."""

    def __init__(self) -> None:
        self._followed: dict[tuple[int, ...], int] = {}
        self._n_noted = N_MATCHED

    def guess(self, ids: Sequence[int], n: int) -> list[int]:
        """At most `n` tokens that may follow `ids`, which must begin with those of the last call."""
        for place in range(self._n_noted, len(ids)):
            self._followed[tuple(ids[place - N_MATCHED : place])] = place
        self._n_noted = max(self._n_noted, len(ids))
        place = self._followed.get(tuple(ids[-N_MATCHED:]))
        return [] if place is None else list(ids[place : place + n])
