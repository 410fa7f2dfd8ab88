"""How the sampler runs a model: prompts go into rows of a cache, and each row's last token gives logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from danlu.generate.choose import choose
from danlu.model.heads import LanguageModel
from danlu.model.kv_cache import KvCache


class Decoder(Protocol):
    """What the sampler asks of a model; row r of the cache holds the r-th running sequence."""

    cache: KvCache

    def refresh(self) -> None:
        """Take over the model's weights as they are by now."""
        ...

    def read(self, first_row: int, texts: Sequence[Sequence[int]], starts: Sequence[int]) -> None:
        """Put each text's keys and values into the rows from `first_row` on, from its start position on.

        The texts are in ascending order of length.
        """
        ...

    def logits(self, ids: Sequence[int], positions: Sequence[int]) -> Tensor:
        """Read one token in each row from 0 on; logits of what follows, (rows, vocab) float32.

        They are good until the next call; forbidden ids have -inf.
        """
        ...

    def draw(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        uniform: Sequence[float],
        temperature: Sequence[float],
    ) -> Drawn:
        """Read as `logits` does and draw from the whole vocabulary: tokens and their log-probabilities."""
        ...


Drawn = tuple[list[int], list[float]]


def make_cache(model: LanguageModel, n_rows: int, max_seq_len: int, dtype: torch.dtype) -> KvCache:
    """An empty cache for `model`, on its device."""
    return KvCache(
        n_layers=model.config.n_layers,
        n_rows=n_rows,
        n_kv_heads=model.config.n_kv_heads,
        max_seq_len=max_seq_len,
        head_dim=model.config.head_dim,
        dtype=dtype,
        device=model.lm_head.weight.device,
    )


class TorchDecoder:
    """The model's own forward: any part, any device."""

    def __init__(
        self, model: LanguageModel, n_rows: int, max_seq_len: int, forbidden_ids: Sequence[int]
    ) -> None:
        dtype = model.backbone.compute_dtype or model.lm_head.weight.dtype
        self.cache = make_cache(model, n_rows, max_seq_len, dtype)
        self._model, self._device = model, model.lm_head.weight.device
        self._forbidden = torch.tensor(forbidden_ids, dtype=torch.int64, device=self._device)

    def refresh(self) -> None:
        """Nothing to do: the weights are read where they are."""

    def read(self, first_row: int, texts: Sequence[Sequence[int]], starts: Sequence[int]) -> None:
        last = self.cache.max_seq_len - 1
        for start, stop in _of_similar_length([len(text) for text in texts]):
            group = texts[start:stop]
            width = max(map(len, group))
            if not width:
                continue
            # Padding at the right: nobody attends to what lies beyond a row's end before it is overwritten.
            padded = [[*text, *[0] * (width - len(text))] for text in group]
            positions = torch.tensor(starts[start:stop])[:, None] + torch.arange(width)
            rows = slice(first_row + start, first_row + stop)
            self._hidden(rows, torch.tensor(padded), positions.clamp(max=last))

    def logits(self, ids: Sequence[int], positions: Sequence[int]) -> Tensor:
        hidden = self._hidden(
            slice(0, len(ids)), torch.tensor(ids)[:, None], torch.tensor(positions)[:, None]
        )
        logits = self._model.lm_head(hidden[:, -1]).float()
        return logits.index_fill_(-1, self._forbidden, -torch.inf)

    def draw(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        uniform: Sequence[float],
        temperature: Sequence[float],
    ) -> Drawn:
        given = torch.tensor([uniform, temperature], device=self._device)
        drawn, logprobs = choose(self.logits(ids, positions), given[0], given[1])
        return drawn.tolist(), logprobs.tolist()

    def _hidden(self, rows: slice, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        position_ids = position_ids.to(self._device)
        self.cache.select(rows, position_ids)
        return self._model.backbone(input_ids.to(self._device), position_ids, kv_cache=self.cache)


def _of_similar_length(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Stretches of an ascending list that waste little on padding when read together."""
    starts: list[int] = []
    for i, length in enumerate(lengths):
        # One more pass through a small model costs about as much as reading a hundred tokens.
        if not starts or length > 1.25 * lengths[starts[-1]] + 16:
            starts.append(i)
    return list(zip(starts, [*starts[1:], len(lengths)], strict=True))
