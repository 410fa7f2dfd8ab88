"""What a request adds to the model's logits: a bias, penalties, and minus infinity for what is forbidden.

Penalties are OpenAI's: mu[j] - c[j] * frequency - (c[j] > 0) * presence, with c[j] how often token j stands
in the completion so far; the prompt does not count.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from danlu.generate.request import Request

Bias = tuple[tuple[int, float], ...]


class Offsets:
    """One request's, kept up to date as tokens are drawn; `values` are (vocab,)."""

    def __init__(self, request: Request, vocab_size: int) -> None:
        bias = tuple(sorted(request.logit_bias.items()))
        self._fixed = _fixed(vocab_size, request.forbidden_ids, bias)
        self._presence, self._frequency = request.presence_penalty, request.frequency_penalty
        self._counts: Counter[int] = Counter()
        self.values = self._fixed.copy() if self.follow_the_text else self._fixed

    @property
    def follow_the_text(self) -> bool:
        """Whether what is drawn changes them."""
        return self._presence != 0 or self._frequency != 0

    def note(self, token_id: int) -> None:
        """Count a token that was drawn."""
        if self.follow_the_text:
            self._counts[token_id] += 1
            penalty = self._presence + self._frequency * self._counts[token_id]
            self.values[token_id] = self._fixed[token_id] - np.float32(penalty)


def offsets_of(request: Request, vocab_size: int) -> Offsets | None:
    """None where a request changes no logit."""
    penalties = request.presence_penalty or request.frequency_penalty
    changes = request.logit_bias or request.forbidden_ids or penalties
    return Offsets(request, vocab_size) if changes else None


@lru_cache(maxsize=64)  # most requests forbid the same
def _fixed(vocab_size: int, forbidden_ids: frozenset[int], bias: Bias) -> NDArray[np.float32]:
    values = np.zeros(vocab_size, np.float32)
    for token_id, amount in bias:
        values[token_id] = amount
    values[sorted(forbidden_ids)] = -np.inf
    values.setflags(write=False)
    return values
