"""Pictures as tokens, against a slow reference of loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.model.heads import LanguageModel
from danlu.model.patches import PatchConfig, PatchEncoder, SeeingModel
from danlu.model.presets import QWEN3

SIZES = PatchConfig(side=6, patch=2, d_model=8, n_layers=2, n_heads=2, d_ff=12)
N = SIZES.n_patches


def pictures(n: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 6, 6, 3), generator=generator, dtype=torch.uint8)


def eye() -> PatchEncoder:
    encoder = PatchEncoder(SIZES, 16, seed=2)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return encoder


def cut_slowly(picture: Tensor) -> list[Tensor]:
    """The numbers of each patch, row by row."""
    squares = [
        picture[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] for row in range(3) for column in range(3)
    ]
    return [
        torch.tensor([float(part) / 127.5 - 1 for line in square for pixel in line for part in pixel])
        for square in squares
    ]


class Slow:
    """The encoder patch by patch and head by head."""

    def __init__(self, encoder: PatchEncoder) -> None:
        self.weights = dict(encoder.named_parameters())

    def __call__(self, picture: Tensor) -> Tensor:
        stream = [self.linear("patch", numbers) for numbers in cut_slowly(picture)]
        stream = [x + place for x, place in zip(stream, self.weights["place.weight"], strict=True)]
        for number in range(SIZES.n_layers):
            stream = self.attend(f"blocks.{number}.self_attn", stream)
            stream = [self.widen(f"blocks.{number}.mlp", x) for x in stream]
        return torch.stack([self.linear("project", self.norm("norm", x)) for x in stream])

    def linear(self, name: str, x: Tensor) -> Tensor:
        return self.weights[f"{name}.weight"] @ x + self.weights[f"{name}.bias"]

    def norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean()
        scaled = centred / (centred.square().mean() + 1e-6).sqrt()
        return self.weights[f"{name}.weight"] * scaled + self.weights[f"{name}.bias"]

    def attend(self, name: str, stream: list[Tensor]) -> list[Tensor]:
        normed = [self.norm(f"{name}.norm", x) for x in stream]
        q, k, v = ([self.linear(f"{name}.sublayer.{part}", x) for x in normed] for part in "qkv")
        out = []
        for x, query in zip(stream, q, strict=True):
            heads = []
            for own in (slice(0, 4), slice(4, 8)):
                weights = torch.stack([query[own] @ key[own] / math.sqrt(4) for key in k]).exp()
                heads.append(sum(w / weights.sum() * value[own] for w, value in zip(weights, v, strict=True)))
            out.append(x + self.linear(f"{name}.sublayer.out", torch.cat(heads)))
        return out

    def widen(self, name: str, x: Tensor) -> Tensor:
        up = self.linear(f"{name}.sublayer.up", self.norm(f"{name}.norm", x))
        return x + self.linear(f"{name}.sublayer.out", up * 0.5 * (1 + torch.erf(up / math.sqrt(2))))


@torch.no_grad()
def test_the_encoder_agrees_with_a_slow_reference():
    encoder, shown = eye(), pictures(2)
    for found, picture in zip(encoder(shown), shown, strict=True):
        assert_close(found, Slow(encoder)(picture), atol=1e-5, rtol=1e-5)


def seeing() -> SeeingModel:
    shape = {"vocab_size": 30, "d_model": 16, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "head_dim": 8}
    return SeeingModel(LanguageModel(QWEN3(**shape, d_ff=24), seed=1), eye())


def row_with_picture() -> tuple[Tensor, Tensor]:
    """Two tokens, a picture, three tokens."""
    ids = torch.tensor([[3, 4, *[0] * N, 5, 6, 7]])
    is_patch = torch.tensor([[False, False, *[True] * N, False, False, False]])
    return ids, is_patch


@torch.no_grad()
def test_without_a_picture_it_is_the_language_model():
    model, ids = seeing(), torch.tensor([[3, 4, 5], [6, 7, 8]])
    none = torch.zeros_like(ids, dtype=torch.bool)
    assert torch.equal(model(ids, pictures(0), none), model.language(ids))


@torch.no_grad()
def test_what_follows_a_picture_depends_on_it_and_what_comes_before_does_not():
    model, (ids, is_patch) = seeing(), row_with_picture()
    first, second = (model(ids, pictures(1, seed), is_patch) for seed in (1, 2))
    assert torch.equal(first[:, :2], second[:, :2])
    assert (first[:, 2:] - second[:, 2:]).abs().amax(-1).min() > 1e-4
    hidden = ids.clone()
    hidden[is_patch] = 9  # ids where patches stand are not read
    assert torch.equal(model(hidden, pictures(1), is_patch), first)


@torch.no_grad()
def test_each_row_sees_its_own_pictures():
    model, (ids, is_patch) = seeing(), row_with_picture()
    shown = pictures(2)
    together = model(ids.repeat(2, 1), shown, is_patch.repeat(2, 1))
    for row in range(2):
        assert_close(together[row : row + 1], model(ids, shown[row : row + 1], is_patch), atol=1e-5, rtol=0)


def test_a_loss_on_the_answer_reaches_every_weight_of_the_encoder():
    model, (ids, is_patch) = seeing(), row_with_picture()
    model(ids, pictures(1), is_patch)[0, -1].log_softmax(-1)[5].backward()
    # Adding a number to all keys changes no attention: their bias gets no gradient beyond rounding.
    for name, parameter in model.eye.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-9 or name.endswith(".k.bias"), name


def test_what_does_not_fit_is_refused():
    model, (ids, is_patch) = seeing(), row_with_picture()
    with pytest.raises(ValueError, match="there are 9 places for patches and 18 patches"):
        model(ids, pictures(2), is_patch)
    with pytest.raises(ValueError, match=r"pictures are \(1, 5, 6, 3\); they must be \(n, 6, 6, 3\)"):
        model.eye(pictures(1)[:, :5])
    with pytest.raises(ConfigError, match=r"pictures.side is 7; it must be a multiple of pictures.patch, 2"):
        PatchConfig(side=7, patch=2)
