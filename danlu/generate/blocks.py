"""Who holds which block of the cache, and where a text that was read before still lies.

A full block is known by a digest of its tokens and of all before them, so equal beginnings are found without
comparing texts. A digest also covers a salt: who does not know it cannot learn, by the time an answer takes,
what others have asked. The digest is cryptographic, since a collision would show one user another's text.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

SCRAP = 0  # a block that belongs to nobody: padding is written there
WORTH_COPYING = 16  # tokens at the beginning of a block that is not wanted whole
N_LOOKED_AT = 16  # blocks of which the best beginning is taken

Beginning = tuple[bytes, tuple[int, ...]]
"""What a block follows, and its first tokens: where these differ, nothing is worth copying."""


def root_digest(salt: str) -> bytes:
    """What the first block of a text follows."""
    return hashlib.blake2b(salt.encode(), digest_size=16, person=b"danlu root").digest()


def next_digest(parent: bytes, ids: Sequence[int]) -> bytes:
    """Of a full block with these tokens, after the block or root of digest `parent`."""
    return hashlib.blake2b(parent + array("q", ids).tobytes(), digest_size=16).digest()


def beginning(parent: bytes, ids: Sequence[int]) -> Beginning:
    """Under which a block after `parent` with these tokens is looked up."""
    return parent, tuple(ids[:WORTH_COPYING])


def n_shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many ids two sequences begin with alike."""
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@dataclass(slots=True)
class _Block:
    n_holders: int = 0
    parent: bytes | None = None  # digest of what it follows; None: nobody can find it
    ids: tuple[int, ...] = ()  # that it can be found by
    digest: bytes | None = None  # once full


class BlockManager:
    """Counts the holders of every block. One without holders can be taken, the longest unused first.

    Args:
        n_blocks: with block 0, which is never given away.
        keep: whether a block can still be found when its last holder has left it.
    """

    def __init__(self, n_blocks: int, block_size: int, *, keep: bool = True) -> None:
        if n_blocks < 2:
            raise ValueError(f"n_blocks is {n_blocks}; it must be at least 2, of which one holds padding")
        self.block_size, self.n_blocks, self._keep = block_size, n_blocks, keep
        self._blocks = [_Block() for _ in range(n_blocks)]
        self._blank = list(range(n_blocks - 1, SCRAP, -1))  # nothing worth finding; the last is taken first
        self._idle: OrderedDict[int, None] = OrderedDict()  # can be found, held by nobody; oldest first
        self._full: dict[bytes, int] = {}
        self._beginning: dict[Beginning, dict[int, None]] = {}

    @property
    def n_free(self) -> int:
        """Blocks that can be taken."""
        return len(self._blank) + len(self._idle)

    def is_idle(self, block: int) -> bool:
        """Whether a block counts as free though it can be found."""
        return block in self._idle

    def take(self) -> int:
        """A block for one holder, whose content is of no use."""
        if self._blank:
            block = self._blank.pop()
        else:
            block, _ = self._idle.popitem(last=False)
            self._lose(block)
        self._blocks[block].n_holders = 1
        return block

    def hold(self, block: int) -> None:
        """Count one more holder of a block that was found."""
        self._idle.pop(block, None)
        self._blocks[block].n_holders += 1

    def release(self, blocks: Sequence[int]) -> None:
        """Count one holder less of each of a sequence's blocks, given in order."""
        for block in reversed(blocks):  # what nothing follows goes first
            record = self._blocks[block]
            record.n_holders -= 1
            assert record.n_holders >= 0
            if record.n_holders:
                continue
            if self._keep and record.parent is not None:
                self._idle[block] = None
            else:
                self._lose(block)
                self._blank.append(block)

    def publish(self, block: int, parent: bytes, ids: Sequence[int], digest: bytes | None = None) -> None:
        """Let a block be found by the tokens that it holds by now; by `digest` if it is full."""
        assert self._blocks[block].n_holders == 1
        self._lose(block)
        lies_elsewhere = digest in self._full if digest else self.find_beginning(parent, ids)[1] == len(ids)
        if lies_elsewhere:
            return
        if digest is not None:
            self._full[digest] = block
        record = self._blocks[block]
        record.parent, record.ids, record.digest = parent, tuple(ids), digest
        self._beginning.setdefault(beginning(parent, ids), {})[block] = None

    def find(self, digest: bytes) -> int | None:
        """The full block of that digest."""
        return self._full.get(digest)

    def find_beginning(self, parent: bytes, ids: Sequence[int]) -> tuple[int, int]:
        """The block after `parent` that has most of `ids` at its beginning, and how many."""
        best, most = SCRAP, 0
        for block in islice(self._beginning.get(beginning(parent, ids), ()), N_LOOKED_AT):
            shared = n_shared(self._blocks[block].ids, ids)
            if shared > most:
                best, most = block, shared
        return best, most

    def forget(self) -> None:
        """Let no block be found any more: the model has changed."""
        for block in range(1, self.n_blocks):
            self._lose(block)
        self._blank += self._idle
        self._idle.clear()

    def _lose(self, block: int) -> None:
        record = self._blocks[block]
        if record.parent is None:
            return
        if record.digest is not None:
            del self._full[record.digest]
        key = beginning(record.parent, record.ids)
        siblings = self._beginning[key]
        del siblings[block]
        if not siblings:
            del self._beginning[key]
        record.parent, record.ids, record.digest = None, (), None
