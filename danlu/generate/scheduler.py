"""Who runs, who waits, and who gives way: decides over rows and blocks, knows nothing of models.

First come, first served. A sequence runs in a row of the table of blocks; what it needs to read is read in
parts, so that those that decode need not wait for a long prompt. Where blocks run out, the youngest gives
way: it goes back to those that wait, keeps its tokens, and reads them again when there is room.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from danlu.generate.blocks import SCRAP, Beginning, BlockManager, beginning, next_digest
from danlu.generate.offsets import Offsets
from danlu.generate.request import EndReason, Request, Token
from danlu.generate.speculation import Repetitions


@dataclass(slots=True, eq=False)
class Stream:
    """One request on its way."""

    id: int
    request: Request
    uniforms: list[float]  # one for each token that may come, so their number is the limit
    ids: list[int]  # of the prompt, then what was drawn
    root: bytes  # digest under which its first block is found
    n_prompt: int
    offsets: Offsets | None = None
    may_guess: bool = False  # whether what comes next may be guessed
    repetitions: Repetitions | None = None  # where from, unless a small model does
    logprobs: list[float] = field(default_factory=list[float])  # of what was drawn
    tops: list[tuple[tuple[int, float], ...]] = field(default_factory=list[tuple[tuple[int, float], ...]])
    prompt: list[Token] | None = None  # what the model thinks of the prompt so far; None: nobody asked
    row: int = -1  # while it runs
    blocks: list[int] = field(default_factory=list[int])
    digests: list[bytes] = field(default_factory=list[bytes])  # of its full blocks, as far as needed yet
    n_read: int = 0  # tokens whose keys and values are in the blocks
    n_drafted: int = 0  # the same of a small model that guesses
    n_told: int = 0  # drawn tokens that the caller knows of
    end: EndReason | None = None
    error: str = ""

    has_extras: bool = False  # there is more to do about a token than to note it

    @property
    def n_unread(self) -> int:
        """Tokens to read before the next can be drawn; the last is read when it is."""
        return len(self.ids) - 1 - self.n_read

    @property
    def n_drawn(self) -> int:
        return len(self.ids) - self.n_prompt


@dataclass(frozen=True, slots=True)
class Wave:
    """What to do next, in this order: copy beginnings of blocks, then read."""

    copies: list[tuple[int, int, int]]  # from, to, how many positions
    reads: list[tuple[Stream, int]]  # how many of its unread tokens
    admitted: list[Stream]  # each has a row now

    def __bool__(self) -> bool:
        return bool(self.reads or self.admitted)


class Scheduler:
    """Rows and blocks of the streams. It plans; its caller runs the model and says what was done.

    Args:
        blocks: at least as many as the longest sequence needs.
        max_batch: rows.
        max_blocks: of one sequence.
    """

    def __init__(self, blocks: BlockManager, *, max_batch: int, max_blocks: int) -> None:
        self.blocks, self._size = blocks, blocks.block_size
        self.tables = np.full((max_batch, max_blocks), SCRAP, np.int32)
        self.waiting: deque[Stream] = deque()
        self.running: list[Stream] = []  # the oldest first
        self._rows = list(range(max_batch - 1, -1, -1))
        self._reading: dict[int, Stream] = {}  # those that run and have tokens to read, by id

    def add(self, stream: Stream) -> None:
        """Queue a stream."""
        self.waiting.append(stream)

    def remove(self, stream: Stream) -> None:
        """Take a stream out, wherever it is."""
        if stream.row < 0:
            self.waiting.remove(stream)
        else:
            self._vacate(stream)

    def next_wave(self, budget: int) -> Wave:
        """Admit who can be, and say what can be read now, at most `budget` tokens.

        Who shares what another is about to read waits for the next wave, when it need not be read again.
        """
        copies: list[tuple[int, int, int]] = []
        reads = [(stream, stream.n_unread) for _, stream in sorted(self._reading.items())]
        being_read = {key for stream, _ in reads for key in self._to_read(stream)}
        admitted, n_unread = list[Stream](), sum(n for _, n in reads)
        for stream in list(islice(self.waiting, len(self._rows))):
            if n_unread >= budget:
                break
            if self._shares(stream, being_read):
                continue
            if not self._admit(stream, copies):
                break
            admitted.append(stream)
            n_unread += stream.n_unread
            reads.append((stream, stream.n_unread))
            being_read.update(self._to_read(stream))
        return Wave(copies, _within(budget, reads), admitted)

    def has_read(self, stream: Stream, n: int) -> None:
        """Note that so many more of a stream's tokens are in its blocks, and let others find them."""
        before, stream.n_read = stream.n_read // self._size, stream.n_read + n
        if stream.n_unread <= 0:
            self._reading.pop(stream.id, None)
        for place in range(before, stream.n_read // self._size):
            ids = stream.ids[place * self._size : (place + 1) * self._size]
            self._publish(stream, place, ids, self._digest(stream, place))

    def have_drawn(self, streams: Sequence[Stream]) -> None:
        """Note that all tokens but the last of each of these were read."""
        for stream in streams:
            n_read = len(stream.ids) - 1
            if n_read // self._size > stream.n_read // self._size:
                self.has_read(stream, n_read - stream.n_read)
            else:
                stream.n_read = n_read

    def publish_tail(self, stream: Stream) -> None:
        """Let others find the last block too, which is not full."""
        place, n = divmod(stream.n_read, self._size)
        if n:
            self._publish(stream, place, stream.ids[place * self._size : stream.n_read], None)

    def ready(self) -> list[Stream]:
        """Streams whose next token can be drawn, each with room for it, which others give up if need be."""
        found: list[Stream] = []
        for stream in [*self.running]:
            if stream.row < 0 or stream.id in self._reading:
                continue
            while len(stream.blocks) * self._size < len(stream.ids) and not self._has_room(stream, 1):
                self._give_way(self.running[-1])
                if stream.row < 0:
                    break
            else:
                found.append(stream)
        return found

    def room_for(self, stream: Stream, n: int) -> int:
        """How many tokens at the stream's end, `n` at most, can have a place without anybody giving way."""
        while n and not self._has_room(stream, 1 + n):
            n -= 1
        return n

    def _has_room(self, stream: Stream, n: int) -> bool:
        """Whether the last token and those after it, `n` in all, have blocks; takes what can be had."""
        needed = -(-(len(stream.ids) - 1 + n) // self._size)
        while len(stream.blocks) < needed:
            if needed > self.tables.shape[1] or not self.blocks.n_free:
                return False
            self._append(stream, self.blocks.take())
        return True

    def _admit(self, stream: Stream, copies: list[tuple[int, int, int]]) -> bool:
        """Give a stream a row and blocks for all its tokens, if there are enough."""
        found = self._found(stream)
        needed = -(-len(stream.ids) // self._size) - len(found)
        free = self.blocks.n_free - sum(map(self.blocks.is_idle, found))
        # Everyone who runs will want another block before long.
        if needed + len(self.running) > free and self.running:
            return False
        self.waiting.remove(stream)
        stream.row = self._rows.pop()
        insort(self.running, stream, key=lambda each: each.id)
        for block in found:
            self.blocks.hold(block)
            self._append(stream, block)
        stream.n_read = len(found) * self._size
        source, n = self._found_beginning(stream)
        for _ in range(needed):
            self._append(stream, self.blocks.take())
        if n:
            copies.append((source, stream.blocks[len(found)], n))
            stream.n_read += n
        if stream.n_unread:
            self._reading[stream.id] = stream
        return True

    def _found(self, stream: Stream) -> list[int]:
        """Full blocks that hold the beginning of a stream's tokens."""
        found: list[int] = []
        if stream.prompt is None:  # else its own logits are wanted at every token
            for place in range((len(stream.ids) - 1) // self._size):
                block = self.blocks.find(self._digest(stream, place))
                if block is None:
                    break
                found.append(block)
        return found

    def _found_beginning(self, stream: Stream) -> tuple[int, int]:
        """A block that begins as the stream's next one must, and for how many positions."""
        if stream.prompt is not None:
            return SCRAP, 0
        place = stream.n_read // self._size
        return self.blocks.find_beginning(self._parent(stream, place), self._unread_of(stream, place))

    def _shares(self, stream: Stream, being_read: set[Beginning]) -> bool:
        """Whether somebody is about to read what this stream would read next."""
        if stream.prompt is not None or not being_read:
            return False
        place = len(self._found(stream))
        parent, ids = self._parent(stream, place), self._unread_of(stream, place)
        if not ids or beginning(parent, ids) not in being_read:
            return False
        return not self.blocks.find_beginning(parent, ids)[1]

    def _to_read(self, stream: Stream) -> list[Beginning]:
        """Where the blocks begin that a stream is about to read."""
        if not stream.n_unread:
            return []
        places = range(stream.n_read // self._size, -(-(len(stream.ids) - 1) // self._size))
        return [beginning(self._parent(stream, place), self._unread_of(stream, place)) for place in places]

    def _unread_of(self, stream: Stream, place: int) -> list[int]:
        """The tokens of a stream's block at that place, but for the stream's last."""
        return stream.ids[place * self._size : min((place + 1) * self._size, len(stream.ids) - 1)]

    def _digest(self, stream: Stream, place: int) -> bytes:
        for i in range(len(stream.digests), place + 1):
            ids = stream.ids[i * self._size : (i + 1) * self._size]
            stream.digests.append(next_digest(self._parent(stream, i), ids))
        return stream.digests[place]

    def _parent(self, stream: Stream, place: int) -> bytes:
        return self._digest(stream, place - 1) if place else stream.root

    def _publish(self, stream: Stream, place: int, ids: Sequence[int], digest: bytes | None) -> None:
        self.blocks.publish(stream.blocks[place], self._parent(stream, place), ids, digest)

    def _append(self, stream: Stream, block: int) -> None:
        self.tables[stream.row, len(stream.blocks)] = block
        stream.blocks.append(block)

    def _give_way(self, stream: Stream) -> None:
        """Send a stream back to those that wait, before all younger ones."""
        self._vacate(stream)
        stream.n_read = 0
        place = sum(other.id < stream.id for other in self.waiting)
        self.waiting.insert(place, stream)

    def _vacate(self, stream: Stream) -> None:
        self.running.remove(stream)
        self._reading.pop(stream.id, None)
        self.blocks.release(stream.blocks)
        self.tables[stream.row] = SCRAP
        self._rows.append(stream.row)
        stream.blocks, stream.row = [], -1


def _within(budget: int, reads: Sequence[tuple[Stream, int]]) -> list[tuple[Stream, int]]:
    """The first of `reads`, the last cut, that come to `budget` tokens."""
    kept: list[tuple[Stream, int]] = []
    for stream, n in reads:
        if n and budget:
            kept.append((stream, min(n, budget)))
            budget -= kept[-1][1]
    return kept
