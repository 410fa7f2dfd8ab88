"""Pictures as tokens: a small patch encoder whose outputs enter a decoder where its text has places for them.

A picture is cut into squares, each becomes a vector with its place added, an encoder lets them see each other
(Dosovitskiy et al. 2020), and a projection takes them to the decoder's width (Liu et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from danlu.config import ConfigError
from danlu.model.attention import attend_both_ways
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.model.layers import Linear, make_norm
from danlu.model.transformer import Block


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchConfig:
    """Sizes of the encoder of pictures."""

    side: int = 48  # pixels along each side of a picture
    patch: int = 8  # pixels along each side of a patch, which becomes a token
    d_model: int = 128
    n_layers: int = 2
    n_heads: int = 4
    d_ff: int = 384

    def __post_init__(self) -> None:
        if self.side < 1 or self.patch < 1 or self.side % self.patch:
            raise ConfigError(
                f"pictures.side is {self.side}; it must be a multiple of pictures.patch, {self.patch}"
            )
        if self.d_model % self.n_heads:
            raise ConfigError(
                f"pictures.d_model is {self.d_model}; "
                f"it must be a multiple of pictures.n_heads, {self.n_heads}"
            )

    @property
    def n_patches(self) -> int:
        """Tokens that a picture becomes."""
        return (self.side // self.patch) ** 2

    @property
    def blocks(self) -> ModelConfig:
        """The encoder's blocks: pre-norm, as in the paper."""
        return ModelConfig(
            vocab_size=1,
            d_model=self.d_model,
            n_layers=self.n_layers,
            n_heads=self.n_heads,
            n_kv_heads=self.n_heads,
            head_dim=self.d_model // self.n_heads,
            d_ff=self.d_ff,
            max_seq_len=self.n_patches,
            topology="encoder",
            norm="layernorm",
            position="learned",
            mlp="gelu",
            bias="all",
        )


class PatchEncoder(nn.Module):
    """Pictures to vectors of a decoder's width, one for each patch.

    Args:
        config: sizes.
        width: of the decoder's residual stream.
        seed: of the first weights.
    """

    def __init__(self, config: PatchConfig, width: int, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.patch = Linear(3 * config.patch**2, config.d_model)
        self.place = nn.Embedding(config.n_patches, config.d_model)
        self.blocks = nn.ModuleList(Block(config.blocks) for _ in range(config.n_layers))
        self.norm = make_norm(config.blocks)
        self.project = Linear(config.d_model, width)
        self._draw(seed)

    def forward(self, pictures: Tensor) -> Tensor:
        """Vectors, (n, n_patches, width), row by row of each picture.

        Args:
            pictures: red, green and blue from 0 to 255, (n, side, side, 3).
        """
        side = self.config.side
        if pictures.shape[1:] != (side, side, 3):
            raise ValueError(f"pictures are {tuple(pictures.shape)}; they must be (n, {side}, {side}, 3)")
        x = self.patch(self._cut(pictures)) + self.place.weight
        attend = attend_both_ways(None)
        for block in self.blocks:
            x = block(x, angles=None, attend=attend)
        return self.project(self.norm(x))

    def _cut(self, pictures: Tensor) -> Tensor:
        """Each patch's numbers from -1 to 1, (n, n_patches, 3 * patch**2)."""
        patch = self.config.patch
        numbers = pictures.to(self.patch.weight.dtype) / 127.5 - 1
        rows = numbers.unflatten(2, (-1, patch)).unflatten(
            1, (-1, patch)
        )  # (n, rows, patch, columns, patch, 3)
        return rows.transpose(2, 3).flatten(3).flatten(1, 2)

    def _draw(self, seed: int) -> None:
        """Draw the weights as `initialise` draws those of a model for text."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.endswith(".bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 2:
                std = (3 * parameter.shape[1]) ** -0.5
                writes = name.endswith(".out.weight")
                std *= (2 * self.config.n_layers) ** -0.5 if writes else 1.0
                nn.init.normal_(parameter, std=std, generator=generator)


class SeeingModel(nn.Module):
    """A language model that is shown pictures: their patches stand among its tokens (Liu et al. 2023)."""

    def __init__(self, language: LanguageModel, eye: PatchEncoder) -> None:
        super().__init__()
        self.language, self.eye = language, eye

    def forward(
        self,
        input_ids: Tensor,
        pictures: Tensor,
        is_patch: Tensor,
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
    ) -> Tensor:
        """Logits, (batch, seq, vocab), float32.

        Args:
            input_ids: (batch, seq); what stands where a patch is, is not read.
            pictures: all pictures of the batch in the order of their places, (n, side, side, 3).
            is_patch: True where a patch stands, (batch, seq); as many as the pictures have.
            position_ids: as a decoder's, likewise `segment_ids`.
        """
        n_places, n_patches = int(is_patch.sum()), len(pictures) * self.eye.config.n_patches
        if n_places != n_patches:
            raise ValueError(f"there are {n_places} places for patches and {n_patches} patches")
        decoder = self.language.backbone
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        x = decoder.embedding(input_ids)
        x = x.masked_scatter(is_patch[..., None], self.eye(pictures).to(x.dtype))
        x = decoder.position.embed(x, position_ids)
        x = x.to(decoder.compute_dtype or x.dtype)
        angles = decoder.position.angles(position_ids)
        hidden = decoder.run_blocks(decoder, x, angles, segment_ids, None, position_ids)
        return self.language.lm_head(hidden).float()
