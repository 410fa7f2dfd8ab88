"""Pictures as tokens: a small patch encoder whose outputs enter a decoder where its text has places for them.

A picture is cut into squares, each becomes a vector with its place added, an encoder lets them see each other
(Dosovitskiy et al. 2020), and a projection takes them to the decoder's width (Liu et al. 2023).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from danlu.model.attention import attend_both_ways
from danlu.model.blocks import Block
from danlu.model.config import ModelConfig, PatchConfig
from danlu.model.layers import Linear, make_norm

# A place counts as much as what is there: this is about the size of what a blank patch is mapped to at first.
BLANK = 0.5


class PatchEncoder(nn.Module):
    """Pictures to vectors of a decoder's width, one for each patch.

    Args:
        config: sizes.
        width: of the decoder's residual stream.
    """

    def __init__(self, config: PatchConfig, width: int) -> None:
        super().__init__()
        self.config, shape = config, block_shape(config)
        self.patch = Linear(3 * config.patch**2, config.d_model)
        self.place_embedding = nn.Embedding(config.n_patches, config.d_model)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(config.n_layers))
        self.norm = make_norm(shape)
        self.project = Linear(config.d_model, width)

    def forward(self, pictures: Tensor) -> Tensor:
        """Vectors, (n, n_patches, width), row by row of each picture.

        Args:
            pictures: red, green and blue from 0 to 255, (n, side, side, 3).
        """
        side = self.config.side
        if pictures.shape[1:] != (side, side, 3):
            raise ValueError(f"pictures are {tuple(pictures.shape)}; they must be (n, {side}, {side}, 3)")
        x = self.patch(self._cut(pictures)) + self.place_embedding.weight
        attend = attend_both_ways(None)
        for block in self.blocks:
            x = block(x, angles=None, attend=attend)
        return self.project(self.norm(x))

    def draw(self, seed: int) -> None:
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
        nn.init.normal_(self.place_embedding.weight, std=BLANK, generator=generator)

    def _cut(self, pictures: Tensor) -> Tensor:
        """Each patch's numbers from -1 to 1, (n, n_patches, 3 * patch**2)."""
        patch = self.config.patch
        numbers = pictures.to(self.patch.weight.dtype) / 127.5 - 1
        rows = numbers.unflatten(2, (-1, patch)).unflatten(
            1, (-1, patch)
        )  # (n, rows, patch, columns, patch, 3)
        return rows.transpose(2, 3).flatten(3).flatten(1, 2)


def block_shape(config: PatchConfig) -> ModelConfig:
    """The encoder's blocks: pre-norm, as in the paper."""
    return ModelConfig(
        vocab_size=1,
        d_model=config.d_model,
        n_layers=config.n_layers,
        n_heads=config.n_heads,
        n_kv_heads=config.n_heads,
        head_dim=config.d_model // config.n_heads,
        d_ff=config.d_ff,
        max_seq_len=config.n_patches,
        topology="encoder",
        norm="layernorm",
        position="learned",
        mlp="gelu",
        bias="all",
    )
