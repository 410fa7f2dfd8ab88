"""The Transformer: the stacks that blocks make.

No family's name stands in a forward. A family is a `ModelConfig` with its choices filled in (`presets.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from danlu.model.attention import (
    PLAIN_ATTENTION,
    Attend,
    CrossAttention,
    KeysValues,
    attend_across,
    attend_both_ways,
    attend_from_several,
    attend_in_window,
    attend_with_cache,
    attend_within,
)
from danlu.model.blocks import Block, PreNorm
from danlu.model.config import ModelConfig
from danlu.model.kv_cache import KvCache
from danlu.model.layers import make_norm
from danlu.model.patches import PatchEncoder
from danlu.model.positions import POSITIONS, Angles


class Stack(nn.Module):
    """Embedding, blocks and last norm: what all topologies have in common."""

    def __init__(self, config: ModelConfig, *, cross: bool = False) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype: torch.dtype | None = None  # None: as the weights are kept
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position = POSITIONS[config.position](config)
        self.dropout: nn.Module = nn.Identity()  # dropout.py may put one here
        self.blocks = nn.ModuleList(Block(config, cross=cross) for _ in range(config.n_layers))
        self.norm = last_norm(config)

    def embed(self, input_ids: Tensor, position_ids: Tensor, added: Tensor | None = None) -> Tensor:
        """Tokens and their positions as vectors, (batch, seq, d_model), in the compute dtype.

        `added`, (batch, seq, d_model), is what else is known of each token.
        """
        return self.place(self.embedding(input_ids), position_ids, added)

    def place(self, x: Tensor, position_ids: Tensor, added: Tensor | None = None) -> Tensor:
        """As `embed`, for tokens that are vectors already, (batch, seq, d_model)."""
        if self.config.scaled_embedding:
            x = x * self.config.d_model**0.5
        x = self.position.embed(x if added is None else x + added, position_ids)
        return x.to(self.compute_dtype or x.dtype)


class Decoder(Stack):
    """Token ids to hidden vectors; a position sees itself and what came before."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.run_blocks: RunBlocks = run_blocks  # fused_block.py has a faster one
        self.eye = None if config.pictures is None else PatchEncoder(config.pictures, config.d_model)

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
        """Hidden vectors, (batch, seq, d_model), in the compute dtype.

        Args:
            input_ids: (batch, seq).
            position_ids: (batch, seq); counted from 0 if absent.
            segment_ids: (batch, seq); attention stays within equal numbers. Absent: one segment a row.
            branch_ids: (batch, seq); within a segment, 0 is a stem that every other number's branch sees.
            kv_cache: aimed by its `select` at these very positions; then the tokens before them are seen too.
            patches: what `look` made of the pictures that stand here, (markers, d_model): a vector for each
                marker in `input_ids`, row by row. Absent: a marker is a token like others.
        """
        if position_ids is None:
            position_ids = counted(input_ids)
        x = self.dropout(self.place(self.show(input_ids, patches), position_ids))
        angles = self.position.angles(position_ids)
        if kv_cache is None:
            return self.run_blocks(self, x, angles, segment_ids, branch_ids, position_ids)
        attends = attends_of(self.config, position_ids, segment_ids, branch_ids, kv_cache)
        for block, attend in zip(self.blocks, attends, strict=True):
            x = block(x, angles=angles, attend=attend)
        return self.norm(x)

    def look(self, pictures: Tensor) -> Tensor:
        """Pictures as vectors to stand among tokens, (n * n_patches, d_model).

        Args:
            pictures: red, green and blue from 0 to 255, (n, side, side, 3).
        """
        if self.eye is None:
            raise ValueError("the model reads text only; it has no encoder of pictures")
        return self.eye(pictures).flatten(0, 1)

    def show(self, input_ids: Tensor, patches: Tensor | None) -> Tensor:
        """Embeddings, (batch, seq, d_model), with patches in place of the markers."""
        x = self.embedding(input_ids)
        if patches is None:
            return x
        is_marker = input_ids == self.config.marker_id
        if (n_markers := int(is_marker.sum())) != len(patches):
            raise ValueError(f"there are {n_markers} markers for patches and {len(patches)} patches")
        return x.masked_scatter(is_marker[..., None], patches.to(x.dtype))


class Encoder(Stack):
    """Token ids to hidden vectors; a position sees its whole segment (Devlin et al. 2018)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.token_type = nn.Embedding(config.n_token_types or 1, config.d_model)
        self.embedding_norm = make_norm(config)

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        type_ids: Tensor | None = None,
    ) -> Tensor:
        """Hidden vectors, (batch, seq, d_model), in the compute dtype.

        Args:
            input_ids: (batch, seq).
            position_ids: (batch, seq); counted from 0 if absent.
            segment_ids: (batch, seq); attention stays within equal numbers; padding is a segment of its own.
            type_ids: (batch, seq); which sentence a token belongs to. Absent: all to the first.
        """
        if position_ids is None:
            position_ids = counted(input_ids)
        type_ids = torch.zeros_like(input_ids) if type_ids is None else type_ids
        x = self.embed(input_ids, position_ids, self.token_type(type_ids))
        x = self.dropout(self.embedding_norm(x))
        angles, attend = self.position.angles(position_ids), attend_both_ways(segment_ids)
        for block in self.blocks:
            x = block(x, angles=angles, attend=attend)
        return self.norm(x)


class EncoderDecoder(Stack):
    """Two texts to hidden vectors of the second, each of whose blocks reads the first (Vaswani et al. 2017).

    Both share the embedding. `blocks` are the decoder's; a text is padded at either side by positions whose
    segment is not 0.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, cross=True)
        self.attention = PLAIN_ATTENTION  # precision.py may put faster ones
        self.encoder_blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.encoder_norm = last_norm(config)

    def forward(
        self,
        source_ids: Tensor,
        source_segment_ids: Tensor | None,
        input_ids: Tensor,
        segment_ids: Tensor | None = None,
    ) -> Tensor:
        """Hidden vectors of the target, (batch, seq, d_model), in the compute dtype.

        Args:
            source_ids: (batch, source).
            source_segment_ids: (batch, source); None means that all of it is segment 0.
            input_ids: of the target, (batch, seq): begins with the token that targets begin after.
            segment_ids: (batch, seq); None means that all of it is segment 0, as it may where padding stands
                at the right: no position looks ahead.
        """
        memory = self.read(self.encode(source_ids, source_segment_ids))
        position_ids = counted(input_ids)
        x, angles = self.dropout(self.embed(input_ids, position_ids)), self.position.angles(position_ids)
        attend = self.attention.within(segment_ids)
        across = self.attention.across(source_segment_ids, segment_ids)
        for block, each in zip(self.blocks, memory, strict=True):
            x = block(x, angles=angles, attend=attend, memory=each, across=across)
        return self.norm(x)

    def encode(self, source_ids: Tensor, source_segment_ids: Tensor | None) -> Tensor:
        """Hidden vectors of the source, (batch, source, d_model)."""
        position_ids = counted(source_ids)
        x, angles = self.dropout(self.embed(source_ids, position_ids)), self.position.angles(position_ids)
        attend = self.attention.both_ways(source_segment_ids)
        for block in self.encoder_blocks:
            x = block(x, angles=angles, attend=attend)
        return self.encoder_norm(x)

    def read(self, hidden: Tensor) -> list[KeysValues]:
        """What each decoder block attends to in the source: made once, however many tokens follow."""
        crossing = [block.get_submodule("cross_attn.sublayer") for block in self.blocks]
        return [each.read(hidden) for each in crossing if isinstance(each, CrossAttention)]

    def step(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        memory: Sequence[KeysValues],
        source_segment_ids: Tensor | None,
        *,
        kv_cache: KvCache,
    ) -> Tensor:
        """Hidden vectors of one more token of each row, (batch * several, 1, d_model).

        Args:
            input_ids: (batch * several, 1): rows that continue the same source lie side by side.
            position_ids: of these tokens, likewise.
            memory: what `read` gave for the sources, (batch, …).
            source_segment_ids: (batch, source), or None.
            kv_cache: aimed by its `select` at these very positions.
        """
        x, angles = self.embed(input_ids, position_ids), self.position.angles(position_ids)
        across = attend_from_several(attend_across(source_segment_ids, None))
        for layer, (block, each) in enumerate(zip(self.blocks, memory, strict=True)):
            attend = partial(attend_with_cache, kv_cache, layer, None)
            x = block(x, angles=angles, attend=attend, memory=each, across=across)
        return self.norm(x)


def run_blocks(
    decoder: Decoder,
    x: Tensor,
    angles: Angles | None,
    segment_ids: Tensor | None,
    branch_ids: Tensor | None = None,
    position_ids: Tensor | None = None,
) -> Tensor:
    """All blocks one after the other and the last norm, without a cache; x is (batch, seq, d_model).

    `position_ids`, (batch, seq), are read by layers with a window; absent, they are counted from 0.
    """
    if position_ids is None:
        position_ids = counted(x)
    attends = attends_of(decoder.config, position_ids, segment_ids, branch_ids)
    for block, attend in zip(decoder.blocks, attends, strict=True):
        x = block(x, angles=angles, attend=attend)
    return decoder.norm(x)


def attends_of(
    config: ModelConfig,
    position_ids: Tensor,
    segment_ids: Tensor | None,
    branch_ids: Tensor | None,
    kv_cache: KvCache | None = None,
) -> list[Attend]:
    """How each layer of a decoder attends; the arguments are those of `Decoder.forward`."""
    windows = config.windows
    if kv_cache is not None:
        return [partial(attend_with_cache, kv_cache, *each) for each in enumerate(windows)]
    attends = {
        window: attend_within(segment_ids, branch_ids)
        if window is None
        else attend_in_window(window, position_ids, segment_ids, branch_ids)
        for window in set(windows)
    }
    return [attends[window] for window in windows]


RunBlocks = Callable[
    [Decoder, Tensor, Angles | None, Tensor | None, Tensor | None, Tensor | None],
    Tensor,
]


def counted(x: Tensor) -> Tensor:
    """Positions of rows that begin at 0, (1, seq), for ids or vectors, (batch, seq, …)."""
    return torch.arange(x.shape[1], device=x.device)[None]


def last_norm(config: ModelConfig) -> nn.Module:
    """What closes a stack of blocks: behind post-norm ones the residual stream is normed already."""
    return make_norm(config) if config.norm_position == "pre" else nn.Identity()


def initialise(stack: Stack, seed: int) -> None:
    """Draw every weight so that an untrained model knows nothing: its loss is log(vocab).

    Matrices keep the scale of what passes through; those that write into the residual stream are smaller by
    the square root of how many do (Radford et al. 2019, section 2.3).
    """
    generator = torch.Generator().manual_seed(seed)
    n_writers = sum(isinstance(module, PreNorm) for module in stack.blocks.modules())
    # Tied, the first logits have this std times sqrt(d_model), a token's own being the largest: at the usual
    # 0.02 a wide model would begin by repeating its input.
    embedding_std = 0.3 * stack.config.d_model**-0.5
    nn.init.normal_(stack.embedding.weight, std=embedding_std, generator=generator)
    inside = [
        (name, each)
        for name, each in stack.named_parameters()
        if name.startswith(("blocks.", "encoder_blocks."))
    ]
    for name, parameter in inside:
        if name.endswith(".bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 2:
            std = (3 * parameter.shape[1]) ** -0.5
            if name.endswith(".out.weight"):
                std *= n_writers**-0.5
            nn.init.normal_(parameter, std=std, generator=generator)
    own = [each for name, each in stack.named_modules() if not name.startswith("eye")]
    tables = [each for each in own if isinstance(each, nn.Embedding)]
    for table in tables[1:]:  # what is added to the tokens: half their size (Radford et al. 2018)
        nn.init.normal_(table.weight, std=embedding_std / 2, generator=generator)
    if isinstance(stack, Decoder) and stack.eye is not None:
        stack.eye.draw(seed)


TOPOLOGIES = {"decoder": Decoder}  # under the heads of heads.py; encoder_heads.py stands on Encoder
