"""How the engine's streams want their next tokens drawn, as decoders take it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.generate.decoder import WISH, Wishes
from danlu.generate.scheduler import Stream


def wish(stream: Stream) -> tuple[Any, ...]:
    """A stream's row of WISH, its uniform number still to come."""
    sampling, offsets = stream.request.sampling, stream.offsets
    address = 0 if offsets is None else offsets.values.ctypes.data
    return (0, address, 0.0, sampling.temperature, sampling.top_p, stream.request.min_p, sampling.top_k, 0)


def wishes_of(streams: Sequence[Stream]) -> Wishes:
    """Of streams that no filter holds, one token each."""
    table = np.array([wish(stream) for stream in streams], WISH)
    return Wishes(
        table, {i: s.offsets.values for i, s in enumerate(streams) if s.offsets is not None}, {}, {}
    )
