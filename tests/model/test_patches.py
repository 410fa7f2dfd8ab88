"""Pictures as tokens of a language model, against a slow reference of loops."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from danlu.adapters.attach import attach
from danlu.adapters.settings import AdapterConfig
from danlu.config import ConfigError
from danlu.model.config import ModelConfig, PatchConfig
from danlu.model.heads import LanguageModel
from danlu.model.hf import ModelFileError, load_language_model, read_config, save_model
from danlu.model.patches import PatchEncoder
from danlu.model.precision import Precision, apply_precision
from danlu.model.presets import LLAMA, QWEN3
from danlu.model.vocabulary import with_eye
from danlu.model.weights import read_json, read_tensors, write_json

SIZES = PatchConfig(side=6, patch=2, d_model=8, n_layers=2, n_heads=2, d_ff=12)
N = SIZES.n_patches
MARKER = 29
TEXT_ONLY = QWEN3(
    vocab_size=30, d_model=16, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=24, max_seq_len=64
)
SEEING = replace(TEXT_ONLY, pictures=SIZES, marker_id=MARKER)


def pictures(n: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 6, 6, 3), generator=generator, dtype=torch.uint8)


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """With weights of which none is 0 or 1, so that none can be left out unseen."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


def seeing(config: ModelConfig = SEEING) -> LanguageModel:
    model = shaken(LanguageModel(config, seed=1))
    assert isinstance(model, LanguageModel)
    return model


def row_with_picture() -> Tensor:
    """Two tokens, a picture, three tokens."""
    return torch.tensor([[3, 4, *[MARKER] * N, 5, 6, 7]])


class Slow:
    """The whole model token by token and head by head, from pixels to logits."""

    def __init__(self, model: LanguageModel) -> None:
        self.weights, self.config = dict(model.named_parameters()), model.config

    def logits(self, ids: list[int], shown: Tensor) -> Tensor:
        """Of one row, (seq, vocab)."""
        seen = [vector for picture in shown for vector in self.look(picture)]
        table = self.weights["backbone.embedding.weight"]
        stream = [seen.pop(0) if i == MARKER else table[i] for i in ids]
        assert not seen
        for layer in range(self.config.n_layers):
            stream = self.read(f"backbone.blocks.{layer}", stream)
        return torch.stack([table @ self.rms("backbone.norm", x) for x in stream])

    def look(self, picture: Tensor) -> list[Tensor]:
        """The encoder: every patch of a picture, row by row."""
        eye = "backbone.eye"
        stream = [self.linear(f"{eye}.patch", numbers) for numbers in cut_slowly(picture)]
        places = self.weights[f"{eye}.place_embedding.weight"]
        stream = [x + place for x, place in zip(stream, places, strict=True)]
        for number in range(SIZES.n_layers):
            stream = self.see(f"{eye}.blocks.{number}.self_attn", stream)
            stream = [self.widen(f"{eye}.blocks.{number}.mlp", x) for x in stream]
        return [self.linear(f"{eye}.project", self.norm(f"{eye}.norm", x)) for x in stream]

    def see(self, name: str, stream: list[Tensor]) -> list[Tensor]:
        """Attention of patches to all patches."""
        normed = [self.norm(f"{name}.norm", x) for x in stream]
        q, k, v = ([self.linear(f"{name}.sublayer.{part}", x) for x in normed] for part in "qkv")
        out = []
        for x, query in zip(stream, q, strict=True):
            heads = [mixed(query[own], [key[own] for key in k], [each[own] for each in v]) for own in HALVES]
            out.append(x + self.linear(f"{name}.sublayer.out", torch.cat(heads)))
        return out

    def widen(self, name: str, x: Tensor) -> Tensor:
        up = self.linear(f"{name}.sublayer.up", self.norm(f"{name}.norm", x))
        return x + self.linear(f"{name}.sublayer.out", up * 0.5 * (1 + torch.erf(up / math.sqrt(2))))

    def read(self, name: str, stream: list[Tensor]) -> list[Tensor]:
        """A decoder's block: each token sees itself and those before it."""
        attn = f"{name}.self_attn"
        keys, values, out = [], [], []
        for position, x in enumerate(stream):
            h = self.rms(f"{attn}.norm", x)
            key = self.rms(f"{attn}.sublayer.k_norm", self.linear(f"{attn}.sublayer.k", h))
            keys.append(turned(key, position))
            values.append(self.linear(f"{attn}.sublayer.v", h))
            queries = self.linear(f"{attn}.sublayer.q", h).chunk(self.config.n_heads)
            heads = [
                mixed(turned(self.rms(f"{attn}.sublayer.q_norm", query), position), keys, values)
                for query in queries
            ]
            x = x + self.linear(f"{attn}.sublayer.out", torch.cat(heads))
            m = self.rms(f"{name}.mlp.norm", x)
            gate = self.linear(f"{name}.mlp.sublayer.gate", m)
            up = self.linear(f"{name}.mlp.sublayer.up", m)
            out.append(x + self.linear(f"{name}.mlp.sublayer.out", gate / (1 + (-gate).exp()) * up))
        return out

    def linear(self, name: str, x: Tensor) -> Tensor:
        return self.weights[f"{name}.weight"] @ x + self.weights.get(f"{name}.bias", torch.zeros(()))

    def norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean()
        scaled = centred / (centred.square().mean() + 1e-6).sqrt()
        return self.weights[f"{name}.weight"] * scaled + self.weights[f"{name}.bias"]

    def rms(self, name: str, x: Tensor) -> Tensor:
        return self.weights[f"{name}.weight"] * x / (x.square().mean() + 1e-6).sqrt()


HALVES = (slice(0, 4), slice(4, 8))


def mixed(query: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
    weights = torch.stack([query @ key / math.sqrt(len(query)) for key in keys]).exp()
    return sum((w / weights.sum() * value for w, value in zip(weights, values, strict=True)), torch.zeros(()))


def turned(x: Tensor, position: int) -> Tensor:
    """Channel i with channel i + 8 by the angle position / theta^(i / 8)."""
    out = x.clone()
    for i in range(8):
        angle = position / QWEN3_THETA ** (i / 8)
        out[i] = x[i] * math.cos(angle) - x[i + 8] * math.sin(angle)
        out[i + 8] = x[i + 8] * math.cos(angle) + x[i] * math.sin(angle)
    return out


QWEN3_THETA = 1_000_000.0


def cut_slowly(picture: Tensor) -> list[Tensor]:
    """The numbers of each patch, row by row."""
    squares = [
        picture[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] for row in range(3) for column in range(3)
    ]
    return [
        torch.tensor([float(part) / 127.5 - 1 for line in square for pixel in line for part in pixel])
        for square in squares
    ]


@torch.no_grad()
@pytest.mark.parametrize("kernels", ["plain", "native"])
def test_logits_agree_with_a_slow_reference(kernels):
    model, shown = seeing(), pictures(3)
    apply_precision(model, Precision(kernels=kernels))
    first = [3, 4, *[MARKER] * N, 5, 6, *[MARKER] * N, 7]
    second = [8, *[MARKER] * N, *range(10, 10 + N), 9, 2, 1, 0]
    found = model(torch.tensor([first, second]), patches=model.backbone.look(shown))
    slow = Slow(model)
    assert_close(found[0], slow.logits(first, shown[:2]), atol=1e-4, rtol=0)
    assert_close(found[1], slow.logits(second, shown[2:]), atol=1e-4, rtol=0)
    assert found.std() > 0.1  # the difference is small beside what is compared


@torch.no_grad()
def test_text_is_read_bit_for_bit_as_by_the_model_that_grew():
    model = seeing(TEXT_ONLY)
    ids = torch.tensor([[3, 4, 5], [6, 7, 8]])
    before = model(ids)
    grown = with_eye(model, SIZES, seed=3)
    assert grown.config == replace(TEXT_ONLY, vocab_size=31, pictures=SIZES, marker_id=30)
    assert torch.equal(grown(ids)[..., :30], before)
    assert grown.lm_head.weight is grown.backbone.embedding.weight
    with pytest.raises(ValueError, match="has an encoder of pictures already"):
        with_eye(grown, SIZES, seed=3)


def test_the_weights_for_text_are_drawn_as_without_an_encoder():
    blind, able = LanguageModel(TEXT_ONLY, seed=5), LanguageModel(SEEING, seed=5)
    for name, weight in blind.named_parameters():
        assert torch.equal(weight, able.get_parameter(name)), name
    other = PatchEncoder(SIZES, 16)
    other.draw(5)
    assert able.backbone.eye is not None
    for name, weight in other.named_parameters():
        assert torch.equal(weight, able.backbone.eye.get_parameter(name)), name


@torch.no_grad()
def test_what_follows_a_picture_depends_on_it_and_what_comes_before_does_not():
    model, ids = seeing(), row_with_picture()
    first, second = (model(ids, patches=model.backbone.look(pictures(1, seed))) for seed in (1, 2))
    assert torch.equal(first[:, :2], second[:, :2])
    assert (first[:, 2:] - second[:, 2:]).abs().amax(-1).min() > 1e-4


def test_the_loss_is_that_of_the_logits_and_reaches_every_weight_of_the_encoder():
    model, ids = seeing(), row_with_picture()
    counts = torch.zeros_like(ids, dtype=torch.bool)
    counts[0, -1] = True
    loss = model.nll_sum(ids, None, None, torch.full_like(ids, 5), counts, pictures=pictures(1))
    logits = model(ids, patches=model.backbone.look(pictures(1)))
    assert_close(loss, -logits[0, -1].log_softmax(-1)[5], atol=1e-5, rtol=1e-5)
    loss.backward()
    # Adding a number to all keys changes no attention: their bias gets no gradient beyond rounding.
    assert model.backbone.eye is not None
    for name, parameter in model.backbone.eye.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-9 or name.endswith(".k.bias"), name


@torch.no_grad()
@pytest.mark.parametrize("config", [SEEING, replace(SEEING, qk_norm=False, tie_embeddings=False)])
def test_a_saved_model_sees_the_same(tmp_path, config):
    model, ids = seeing(config), row_with_picture()
    save_model(model, tmp_path)
    again = load_language_model(tmp_path)
    assert again.config == config == read_config(tmp_path)
    looked = (each(ids, patches=each.backbone.look(pictures(1))) for each in (model, again))
    assert torch.equal(*looked)


def test_a_model_without_pictures_is_written_as_ever_and_one_with_them_beside_the_known_names(tmp_path):
    blind, able = LanguageModel(LLAMA(**SHAPE)), LanguageModel(LLAMA(**SHAPE, pictures=SIZES, marker_id=29))
    save_model(blind, tmp_path / "blind")
    save_model(able, tmp_path / "able")
    trees = [read_json(tmp_path / name / "config.json") for name in ("blind", "able")]
    assert trees[1].pop("danlu_pictures") == {
        **{"marker_id": 29, "side": 6, "patch": 2},
        **{"d_model": 8, "n_layers": 2, "n_heads": 2, "d_ff": 12},
    }
    assert trees[0] == trees[1]
    tensors = [read_tensors(tmp_path / name) for name in ("blind", "able")]
    added = tensors[1].keys() - tensors[0].keys()
    assert len(added) == len([*able.backbone.eye.parameters()]) if able.backbone.eye else False
    assert all(name.startswith("danlu_eye.") for name in added)
    assert all(torch.equal(tensor, tensors[1][name]) for name, tensor in tensors[0].items())


SHAPE = {
    "vocab_size": 30,
    "d_model": 16,
    "n_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 1,
    "head_dim": 8,
    "d_ff": 24,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": 4}, "pictures.side is 6; it must be a multiple of pictures.patch, 4"),
        ({"side": 0}, "side is 0; it must be a positive whole number"),
        ({"marker_id": 30}, "model.marker_id is 30; it must be a token, from 0 to 29"),
        ({"marker_id": True}, "marker_id is True; it must be a whole number"),
        ({"extra": 1}, "danlu_pictures is .* it must be a table of marker_id, side"),
        ({"n_layers": 1}, "unknown danlu_eye.blocks.1"),
        (
            {"d_ff": 6},
            "danlu_eye.blocks.0.mlp.sublayer.out.weight has shape .8, 12.; by config.json it is .8, 6",
        ),
    ],
)
def test_a_config_that_its_weights_do_not_fit_is_refused(tmp_path, change, message):
    save_model(LanguageModel(SEEING), tmp_path)
    tree = read_json(tmp_path / "config.json")
    write_json(tmp_path / "config.json", {**tree, "danlu_pictures": {**tree["danlu_pictures"], **change}})
    with pytest.raises(ModelFileError, match=message):
        load_language_model(tmp_path)


def test_adapters_are_for_the_text_and_leave_the_encoder_alone():
    for kind in ("lora", "houlsby"):
        model = LanguageModel(SEEING)
        attach(model, AdapterConfig(kind=kind))
        assert not [name for name, _ in model.named_parameters() if ".eye." in name and "adapters" in name]


@torch.no_grad()
def test_virtual_tokens_stand_before_a_picture_too():
    model, ids = seeing(), row_with_picture()
    attach(model, AdapterConfig(kind="prompt"), init_ids=[1, 2])
    model.eval()
    first, second = (model(ids, patches=model.backbone.look(pictures(1, seed))) for seed in (1, 2))
    assert (first[:, -1] - second[:, -1]).abs().max() > 1e-4


def test_what_does_not_fit_is_refused():
    model, ids = seeing(), row_with_picture()
    with pytest.raises(ValueError, match="there are 9 markers for patches and 18 patches"):
        model(ids, patches=model.backbone.look(pictures(2)))
    with pytest.raises(ValueError, match=r"pictures are \(1, 5, 6, 3\); they must be \(n, 6, 6, 3\)"):
        model.backbone.look(pictures(1)[:, :5])
    with pytest.raises(ValueError, match="the model reads text only"):
        seeing(TEXT_ONLY).backbone.look(pictures(1))
    with pytest.raises(ConfigError, match=r"pictures.side is 7; it must be a multiple of pictures.patch, 2"):
        PatchConfig(side=7, patch=2)
    with pytest.raises(ConfigError, match="an encoder of pictures goes with a token that marks their places"):
        replace(TEXT_ONLY, pictures=SIZES)
    with pytest.raises(ConfigError, match="only a decoder has pictures among its tokens"):
        replace(SEEING, topology="encoder")
