"""Virtual tokens before every text: prefix tuning, P-tuning v2 and prompt tuning.

Prefix tuning (Li and Liang 2021) trains their keys and values in every layer, by way of an MLP or directly;
directly is also what P-tuning v2 does (Liu et al. 2022). Prompt tuning (Lester et al. 2021) trains their
embeddings only, from which the model itself makes keys and values. Either way a layer has the same keys and
values before every text, so texts may be packed, branch and go through a cache as without them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.adapters.settings import VirtualTokens
from danlu.model.adapted import Part, Parts
from danlu.model.attention import Attend, Prefix
from danlu.model.config import ModelConfig
from danlu.model.kv_cache import KvCache
from danlu.model.transformer import Decoder, attends_of

KeysValues = list[tuple[Tensor, Tensor]]
"""Of each layer keys after rotation and values, each (1, n_kv_heads, n, head_dim)."""


class Virtual(Part):
    """Virtual tokens of one kind."""

    merges = False
    n: int

    def keys_values(self, decoder: Decoder) -> KeysValues:
        """What every text attends to besides itself."""
        raise NotImplementedError


class Prompt(Virtual):
    """Trained embeddings, (n, d_model)."""

    kind = "prompt"

    def __init__(self, embeddings: Tensor) -> None:
        super().__init__()
        self.n = len(embeddings)
        self.embeddings = nn.Parameter(embeddings.detach().clone())

    def keys_values(self, decoder: Decoder) -> KeysValues:
        return read(decoder, self.embeddings, decoder.compute_dtype)


class DeepPrefix(Virtual):
    """Trained keys and values of every layer in turn, (n, n_layers · 2 · n_kv_heads · head_dim)."""

    def __init__(self, keys_values: Tensor, config: ModelConfig, kind: str) -> None:
        super().__init__()
        self.n, self.kind = len(keys_values), kind
        self._shape = (2 * config.n_layers, config.n_kv_heads, config.head_dim)
        self.keys = nn.Parameter(keys_values.detach().clone())

    def flat(self) -> Tensor:
        """All of them, (n, n_layers · 2 · n_kv_heads · head_dim)."""
        return self.keys

    def keys_values(self, decoder: Decoder) -> KeysValues:
        by_layer = self.flat().unflatten(1, self._shape).permute(1, 2, 0, 3)[:, None]
        return list(zip(by_layer[::2], by_layer[1::2], strict=True))


class MadePrefix(DeepPrefix):
    """The same, made by an MLP from fewer numbers while it is trained (Li and Liang 2021, section 4.3)."""

    def __init__(self, config: ModelConfig, settings: VirtualTokens, like: Tensor, kind: str) -> None:
        assert settings.width is not None
        kv_width = config.n_kv_heads * config.head_dim
        super().__init__(like.new_zeros(settings.n, kv_width), config, kind)
        self.inner = nn.Parameter(like.new_zeros(settings.width, kv_width))
        self.inner_bias = nn.Parameter(like.new_zeros(settings.width))
        self.outer = nn.Parameter(like.new_zeros(2 * config.n_layers * kv_width, settings.width))
        self.outer_bias = nn.Parameter(like.new_zeros(len(self.outer)))

    def draw(self, generator: torch.Generator) -> None:
        """Give all but the biases their first values."""
        nn.init.normal_(self.keys, generator=generator)
        for weight in (self.inner, self.outer):
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5, generator=generator)

    def flat(self) -> Tensor:
        hidden = torch.tanh(F.linear(self.keys, self.inner, self.inner_bias))
        return F.linear(hidden, self.outer, self.outer_bias)


class PrefixedDecoder(Decoder):
    """A decoder that reads every text as if virtual tokens stood before it.

    It takes over the parts of the decoder that it replaces. A text's first token stands at position n, so
    that n positions fewer are left for texts.
    """

    def __init__(self, base: Decoder) -> None:
        nn.Module.__init__(self)
        self.config, self.compute_dtype, self.run_blocks = base.config, base.compute_dtype, base.run_blocks
        for name, child in base.named_children():
            self.add_module(name, child)
        self.eye = base.eye
        self.adapters = Parts()
        self._n_positions = base.config.max_seq_len
        self.train(base.training)

    def leave_room(self) -> None:
        """Let the configuration say how long texts may be."""
        longest = max(cast(Virtual, part).n for part in self.adapters.values())
        self.config = replace(self.config, max_seq_len=self._n_positions - longest)

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        branch_ids: Tensor | None = None,
        *,
        kv_cache: KvCache | None = None,
        patches: Tensor | None = None,
    ) -> Tensor:
        """As `Decoder.forward`."""
        counting = self.adapters.counting()
        if not counting:
            return super().forward(
                input_ids, position_ids, segment_ids, branch_ids, kv_cache=kv_cache, patches=patches
            )
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        ((virtual, _),) = counting
        behind = position_ids + virtual.n
        x = self.position.embed(self.show(input_ids, patches), behind)
        x = x.to(self.compute_dtype or x.dtype)
        angles = self.position.angles(behind)
        attends = attends_of(
            self.config, position_ids.expand_as(input_ids), segment_ids, branch_ids, kv_cache
        )
        layers = zip(self.blocks, attends, virtual.keys_values(self), self.config.windows, strict=True)
        for block, attend, (keys, values), window in layers:
            prefix = Prefix(keys, values, _in_window(behind, virtual.n, window))
            x = block(x, angles=angles, attend=partial(attend, prefix=prefix))
        return self.norm(x)


def _in_window(positions: Tensor, n: int, window: int | None) -> Tensor | None:
    """Which virtual tokens lie within a layer's window, (batch, 1, seq, n); None: all of them."""
    if window is None:
        return None
    return (positions[:, None, :, None] - torch.arange(n, device=positions.device)) < window


def read(decoder: Decoder, embeddings: Tensor, dtype: torch.dtype | None) -> KeysValues:
    """Keys and values that a decoder makes of embeddings, (n, d_model), at the first positions."""
    position_ids = torch.arange(len(embeddings), device=embeddings.device)[None]
    x = decoder.position.embed(embeddings[None], position_ids)
    x = x.to(dtype or x.dtype)
    angles = decoder.position.angles(position_ids)
    kept: KeysValues = []
    attends = attends_of(decoder.config, position_ids, None, None)
    for block, attend in zip(decoder.blocks, attends, strict=True):
        x = block(x, angles=angles, attend=partial(_keeping, attend, kept))
    return kept


def _keeping(
    attend: Attend, kept: KeysValues, q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None
) -> Tensor:
    kept.append((k, v))
    return attend(q, k, v, scale=scale)
