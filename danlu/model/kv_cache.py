"""Keys and values of the tokens already read, for many sequences whose lengths differ.

A row belongs to one sequence, and the key of its token at position `p` lies at index `p` of the row. So what
a query may see follows from its position alone, and neither padding at the left nor a length per row is
needed: whatever lies beyond a row's last position is never read before it is overwritten.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 32  # what is read is rounded up to this many positions, so that shapes seldom change


class KvCache:
    """Storage for `n_rows` sequences of up to `max_seq_len` positions, an argument of the model's forward.

    Before each forward the caller says which rows it is for and at which positions (`select`); each layer
    then hands in its new keys and values (`append`) and attends to what comes back under `attention_mask`.
    """

    def __init__(
        self,
        *,
        n_layers: int,
        n_rows: int,
        n_kv_heads: int,
        max_seq_len: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (n_layers, n_rows, n_kv_heads, max_seq_len, head_dim)
        self.keys, self.values = (_zeros(shape, dtype, torch.device(device)) for _ in range(2))
        self.select(slice(0, 0), torch.zeros((0, 1), dtype=torch.int64, device=device))

    @property
    def max_seq_len(self) -> int:
        return self.keys.shape[3]

    def select(self, rows: slice, position_ids: Tensor) -> None:
        """Aim the next forward pass at `rows`, whose tokens stand at `position_ids`, (batch, seq)."""
        used = int(position_ids.max()) + 1 if position_ids.numel() else 0
        self._rows = rows
        self._row_ids = torch.arange(rows.start, rows.stop, device=position_ids.device)[:, None]
        self._position_ids = position_ids
        self._used = min(-(-used // BLOCK) * BLOCK, self.max_seq_len)
        visible = torch.arange(self._used, device=position_ids.device) <= position_ids[..., None]
        self.attention_mask = visible[:, None]  # (batch, 1, seq, used); True = may attend

    def mask_of_window(self, window: int) -> Tensor:
        """`attention_mask`, but nothing that lies `window` positions back or more may be attended to."""
        index = torch.arange(self._used, device=self._position_ids.device)
        return self.attention_mask & (index > self._position_ids[:, None, :, None] - window)

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys and values and return all that this pass may read.

        Args:
            layer: counted from 0.
            k: after rotation, (batch, n_kv_heads, seq, head_dim); `v` likewise.

        Returns:
            Keys and values, (batch, n_kv_heads, used, head_dim), to go with `attention_mask`.
        """
        keys, values = self.keys[layer], self.values[layer]
        keys[self._row_ids, :, self._position_ids] = k.transpose(1, 2).to(keys.dtype)
        values[self._row_ids, :, self._position_ids] = v.transpose(1, 2).to(values.dtype)
        return keys[self._rows, :, : self._used], values[self._rows, :, : self._used]

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Let `target` hold what the first `length` positions of `source` hold."""
        self.keys[:, target, :, :length] = self.keys[:, source, :, :length]
        self.values[:, target, :, :length] = self.values[:, source, :, :length]

    def rearrange(self, rows: Tensor, length: int) -> None:
        """Let row i hold what row `rows[i]` held, of its first `length` positions; `rows` is (n,)."""
        n = len(rows)
        self.keys[:, :n, :, :length] = self.keys[:, rows, :, :length]
        self.values[:, :n, :, :length] = self.values[:, rows, :, :length]


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
