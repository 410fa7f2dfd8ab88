"""Virtual tokens against texts before which the same tokens really stand."""

from __future__ import annotations

import pytest
import torch
from small_models import FAMILIES, base_model, some_ids, taught
from torch.testing import assert_close

from danlu.adapters.attach import attach
from danlu.adapters.settings import AdapterConfig, VirtualTokens
from danlu.model.heads import ScoreModel

TEXT = [7, 3, 11, 30]


def attached(kind: str, family: str, n: int) -> torch.nn.Module:
    model = base_model(FAMILIES[family])
    attach(model, AdapterConfig(kind=kind, virtual=VirtualTokens(n=n)), init_ids=TEXT)
    return model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["prompt", "p_tuning_v2", "prefix"])
@pytest.mark.parametrize("n", [4, 3, 9])
@torch.no_grad()
def test_begun_as_a_text_they_are_that_text(kind: str, family: str, n: int):
    """Repeated or cut to n tokens; with windows, positions and biases as if they stood in the row."""
    ids = some_ids()
    before = torch.tensor((TEXT * 3)[:n]).expand(3, n)
    wanted = base_model(FAMILIES[family])(torch.cat([before, ids], dim=1))[:, n:]
    assert_close(attached(kind, family, n)(ids), wanted, atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_branches_of_a_segment_see_them_too():
    """A stem with two answers in one row, of the score model, against each answer by itself."""
    stem, first, second = [1, 2, 3], [4, 5], [6, 7, 8]
    row = torch.tensor([stem + first + second])
    positions = torch.tensor([[0, 1, 2, 3, 4, 3, 4, 5]])
    branches = torch.tensor([[0, 0, 0, 1, 1, 2, 2, 2]])
    for kind in ("prompt", "prefix"):
        config = AdapterConfig(kind=kind, virtual=VirtualTokens(n=4))
        model = taught(ScoreModel.on(base_model().backbone, seed=1), config)
        together = model(row, positions, torch.zeros_like(row), branches)[0]
        for answer, end in ((first, 4), (second, 7)):
            alone = model(torch.tensor([stem + answer]))[0, -1]
            assert_close(together[end], alone, atol=1e-5, rtol=1e-5)


def test_fewer_positions_are_left_for_texts():
    model = attached("prompt", "gpt2", 10)
    assert model.config.max_seq_len == model.backbone.config.max_seq_len == 54
    model(some_ids(batch=1, seq=54))
    with pytest.raises(ValueError, match="stands at position 64"):
        model(some_ids(batch=1, seq=55))
    attach(model, AdapterConfig(kind="prefix", virtual=VirtualTokens(n=3)), name="shorter")
    assert model.config.max_seq_len == 54  # the longer one may be switched on again


def test_a_prefix_made_by_an_mlp_is_kept_as_what_it_made():
    model = base_model()
    attach(model, AdapterConfig(kind="prefix", virtual=VirtualTokens(n=5, width=7)))
    part = model.backbone.adapters["default"]
    sizes = {name: tuple(p.shape) for name, p in part.named_parameters()}
    assert sizes == {
        "keys": (5, 32),
        "inner": (7, 32),
        "inner_bias": (7,),
        "outer": (2 * 2 * 32, 7),
        "outer_bias": (2 * 2 * 32,),
    }
    by_hand = torch.tanh(part.keys @ part.inner.T) @ part.outer.T
    assert_close(part.flat(), by_hand)


def test_drawn_at_random_they_depend_on_the_seed_only():
    config = AdapterConfig(kind="prompt", virtual=VirtualTokens(n=5))
    drawn = []
    for seed in (1, 1, 2):
        model = base_model()
        attach(model, config, seed=seed)
        drawn.append(model.backbone.adapters["default"].embeddings.detach())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    rows = model.backbone.embedding.weight
    assert all((rows == each).all(1).any() for each in drawn[2])  # each is some token's
