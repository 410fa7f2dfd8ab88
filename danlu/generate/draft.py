"""Guesses by a smaller model of the same vocabulary (Leviathan et al. 2023, Chen et al. 2023).

The small model reads what the large one reads into the same blocks of a cache of its own, so whatever shares
blocks, gives way or comes back needs no second account. It draws by the request's own random number for each
place. The large model decides with that very number, so where the two distributions are alike they mostly
draw the same token; where they are not, a guess is lost and nothing else: the sample is the one without
guesses, not merely one of the same distribution.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from danlu.generate.decoder import Decoder, Span, Tokens, Wishes
from danlu.generate.scheduler import Stream
from danlu.generate.wishes import wishes_of


class Draft:
    """The small model, beside the engine's own.

    Args:
        decoder: of the small model, over the same table of blocks as the engine's.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def read_along(self, reads: Sequence[tuple[Stream, Span]]) -> None:
        """Read what the large model reads; of adapters the small model knows nothing."""
        self._read([span for _, span in reads])
        for stream, span in reads:
            stream.n_drafted = span.start + len(span.ids)

    def copy_block(self, source: int, target: int, length: int) -> None:
        """As the large model's."""
        self._decoder.copy_block(source, target, length)

    def guess(self, streams: Sequence[Stream], n_wanted: Sequence[int]) -> list[list[int]]:
        """At most so many tokens that may follow each stream, which has room for them."""
        guessing = [stream for stream, n in zip(streams, n_wanted, strict=True) if n]
        self._catch_up(guessing)
        for stream in guessing:
            stream.n_drafted = len(stream.ids)  # with its last token, which the first guess follows
        guesses: list[list[int]] = [[] for _ in streams]
        wanted = list(n_wanted)
        while going_on := [i for i, guess in enumerate(guesses) if len(guess) < wanted[i]]:
            for i, token_id in zip(
                going_on, self._draw([(streams[i], guesses[i]) for i in going_on]), strict=True
            ):
                if token_id < 0:  # the small model has nothing to say
                    wanted[i] = 0
                else:
                    guesses[i].append(token_id)
        return guesses

    def _catch_up(self, streams: Sequence[Stream]) -> None:
        """Read what was drawn meanwhile, but for the last token."""
        behind = [stream for stream in streams if stream.n_drafted < len(stream.ids) - 1]
        if behind:
            self._read([Span(s.row, s.n_drafted, s.ids[s.n_drafted : -1]) for s in behind])

    def _read(self, spans: Sequence[Span]) -> None:
        self._decoder.read([Span(span.row, span.start, span.ids) for span in spans])

    def _draw(self, each: Sequence[tuple[Stream, list[int]]]) -> list[int]:
        """One more token for each stream and its guess so far."""
        streams = [stream for stream, _ in each]
        ids = np.array([guess[-1] if guess else stream.ids[-1] for stream, guess in each])
        positions = np.array([len(stream.ids) - 1 + len(guess) for stream, guess in each])
        tokens = Tokens(ids, _rows(streams), positions)
        wishes = self._wishes(each)
        return self._decoder.draw(tokens, wishes)[0]

    def _wishes(self, each: Sequence[tuple[Stream, list[int]]]) -> Wishes:
        wishes = wishes_of([stream for stream, _ in each])
        wishes.table["uniform"] = [stream.uniforms[stream.n_drawn + len(guess)] for stream, guess in each]
        return wishes


def _rows(streams: Sequence[Stream]) -> NDArray[np.int64]:
    return np.array([stream.row for stream in streams])
