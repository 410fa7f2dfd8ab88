"""Keys and values of the tokens already read, for many sequences whose lengths differ, in blocks.

A block holds so many positions of one sequence; a table says which blocks a sequence has, in order. So memory
is taken as sequences grow, and sequences that begin alike may have their first blocks in common. What a query
may see follows from its position alone: neither padding at the left nor a length per row is needed, and
whatever lies beyond a sequence's last position is never read before it is overwritten.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor


class KvCache:
    """Storage for `n_blocks` blocks of `block_size` positions, an argument of the model's forward.

    Before each forward the caller says in which blocks its rows lie and at which positions (`select`); each
    layer then hands in its new keys and values (`append`) and attends to what comes back under
    `attention_mask`. Rows of one block each need no table but their numbers.
    """

    def __init__(
        self,
        *,
        n_layers: int,
        n_blocks: int,
        n_kv_heads: int,
        block_size: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (n_layers, n_kv_heads, n_blocks, block_size, head_dim)
        self.keys, self.values = (_zeros(shape, dtype, torch.device(device)) for _ in range(2))
        empty = torch.zeros((0, 1), dtype=torch.int64, device=device)
        self.select(empty, empty)

    @property
    def n_blocks(self) -> int:
        return self.keys.shape[2]

    @property
    def block_size(self) -> int:
        return self.keys.shape[3]

    def select(self, tables: Tensor, position_ids: Tensor, *, multiple: int = 1) -> None:
        """Aim the next forward pass.

        Args:
            tables: the blocks of each row in order, (batch, blocks), on the cache's device.
            position_ids: where the pass's tokens stand, (batch, seq).
            multiple: of how many blocks so much is read at a time, so that shapes change seldom.
        """
        highest = int(position_ids.max()) if position_ids.numel() else -1
        n_read = -(-(highest // self.block_size + 1) // multiple) * multiple
        self._read = tables[:, :n_read]
        self._written = tables.gather(1, position_ids // self.block_size)
        self._offset, self._position_ids = position_ids % self.block_size, position_ids
        self._index = torch.arange(self._read.shape[1] * self.block_size, device=position_ids.device)
        visible = self._index <= position_ids[..., None]
        self.attention_mask = visible[:, None]  # (batch, 1, seq, read); True = may attend

    def mask_of_window(self, window: int) -> Tensor:
        """`attention_mask`, but nothing that lies `window` positions back or more may be attended to."""
        return self.attention_mask & (self._index > self._position_ids[:, None, :, None] - window)

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys and values and return all that this pass may read.

        Args:
            layer: counted from 0.
            k: after rotation, (batch, n_kv_heads, seq, head_dim); `v` likewise.

        Returns:
            Keys and values, (batch, n_kv_heads, read, head_dim), to go with `attention_mask`.
        """
        return self._append(self.keys[layer], k), self._append(self.values[layer], v)

    def _append(self, stored: Tensor, new: Tensor) -> Tensor:
        stored[:, self._written, self._offset] = new.transpose(0, 1).to(stored.dtype)
        # Several times as fast as indexing by a table.
        found = stored.index_select(1, self._read.flatten())
        return found.view(len(stored), len(self._read), -1, stored.shape[-1]).transpose(0, 1)

    def copy_block(self, source: int, target: int, length: int) -> None:
        """Let `target` hold what the first `length` positions of `source` hold."""
        for stored in (self.keys, self.values):
            stored[:, :, target, :length] = stored[:, :, source, :length]

    def rearrange(self, tables: Tensor, rows: Tensor, length: int) -> None:
        """Let row i of the tables hold what row `rows[i]` held, of its first `length` positions.

        Args:
            tables: the blocks of each row in order, (rows, blocks), none in two places.
            rows: (n,), n no more than the tables' rows.
            length: rounded up to whole blocks.
        """
        n_blocks = -(-length // self.block_size)
        source, target = tables[rows, :n_blocks].flatten(), tables[: len(rows), :n_blocks].flatten()
        for stored in (self.keys, self.values):
            stored[:, :, target] = stored[:, :, source]


def _zeros(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros, not empty: a masked value has weight 0, and 0 times a stray NaN is NaN.

    On the CPU they are mapped, not allocated: the system gives pages as they are touched, so a cache takes
    the memory of the positions that were used, not of those that could be.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    size_bytes = math.prod(shape) * dtype.itemsize
    if not size_bytes:
        return torch.zeros(shape, dtype=dtype)
    return torch.frombuffer(mmap.mmap(-1, size_bytes), dtype=torch.uint8).view(dtype).view(*shape)
