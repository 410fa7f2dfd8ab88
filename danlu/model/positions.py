"""How a token knows where it stands: a vector is added to it, or queries and keys are turned."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from danlu.model.config import ModelConfig, RopeScaling

Angles = tuple[Tensor, Tensor]


class Learned(nn.Module):
    """A vector for every position, added to the embedding: GPT-1 to GPT-3, and BERT."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(config.max_seq_len, config.d_model)

    def embed(self, x: Tensor, position_ids: Tensor) -> Tensor:
        """The embedded tokens with their positions, (batch, seq, d_model)."""
        if int(position_ids.max()) >= self.table.num_embeddings:
            raise ValueError(
                f"a token stands at position {int(position_ids.max())}; "
                f"the model has vectors for positions 0 to {self.table.num_embeddings - 1}"
            )
        return x + self.table(position_ids)

    def angles(self, position_ids: Tensor) -> None:
        """None: nothing is turned."""


class Sinusoidal(nn.Module):
    """Fixed waves added to the embedding (Vaswani et al. 2017, section 3.5): nothing is learnt.

    Sines fill the first half of the channels and cosines the second. The paper writes them in turn, which is
    the same model with its channels in another order.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.d_model = config.d_model

    def embed(self, x: Tensor, position_ids: Tensor) -> Tensor:
        """The embedded tokens with their positions, (batch, seq, d_model)."""
        exponent = torch.arange(0, self.d_model, 2, device=x.device).double() / self.d_model
        # Each position once, in float64: angles reach thousands of radians.
        every = torch.arange(int(position_ids.max()) + 1, device=x.device)
        angle = every[:, None].double() / 10_000.0**exponent
        return x + torch.cat((angle.sin(), angle.cos()), dim=-1).to(x.dtype)[position_ids]

    def angles(self, position_ids: Tensor) -> None:
        """None: nothing is turned."""


class Rope(nn.Module):
    """Rotary positions (Su et al. 2021): nothing is added, queries and keys are turned by angles."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim, self.theta, self.scaling = config.head_dim, config.rope_theta, config.rope_scaling

    def embed(self, x: Tensor, position_ids: Tensor) -> Tensor:
        """The embedded tokens with their positions, (batch, seq, d_model)."""
        return x

    def angles(self, position_ids: Tensor) -> Angles:
        """Cosine and sine of each pair's angle, both (batch, 1, seq, head_dim / 2), float32."""
        exponent = torch.arange(0, self.head_dim, 2, device=position_ids.device).float() / self.head_dim
        # Radians a position, in the order of operations that open weights were trained with.
        frequency = 1.0 / self.theta**exponent
        if self.scaling is not None:
            frequency = scale_frequency(frequency, self.scaling)
        # Each position once: a batch holds many more tokens than positions.
        every = torch.arange(int(position_ids.max()) + 1, device=position_ids.device)
        angle = every[:, None].float() * frequency
        return angle.cos()[position_ids][:, None], angle.sin()[position_ids][:, None]


def scale_frequency(frequency: Tensor, scaling: RopeScaling) -> Tensor:
    """Each pair's radians a position, (head_dim / 2,), under Llama 3.1's scaling."""
    turns = scaling.original_max_seq_len / (2 * math.pi / frequency)  # in the context of pretraining
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - kept) * frequency / scaling.factor + kept * frequency


def rotate(x: Tensor, angles: Angles | None) -> Tensor:
    """Turn channel i together with channel i + head_dim / 2; x is (batch, heads, seq, head_dim)."""
    if angles is None:
        return x
    cos, sin = angles
    left, right = x.float().chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1).to(x.dtype)


POSITIONS = {"rope": Rope, "learned": Learned, "sinusoidal": Sinusoidal}
