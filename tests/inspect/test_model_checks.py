"""Each check of a model accepts a sound one and refuses a copy with one thing wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from danlu.adapters.attach import adapted_layers, attach
from danlu.adapters.settings import AdapterConfig
from danlu.generate.decoder import Tokens, TorchDecoder
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.inspect import model_checks
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.objectives.token_loss import token_logprobs

CONFIG = ModelConfig(
    vocab_size=97, d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=48, max_seq_len=64
)
IDS = torch.randint(97, (1, 40), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> LanguageModel:
    """A model that is surer of some tokens than of others."""
    model = LanguageModel(CONFIG, seed=0)
    with torch.no_grad():
        model.lm_head.weight.mul_(8.0)
    return model


def loss_of(model: LanguageModel) -> torch.Tensor:
    everything = torch.ones_like(IDS, dtype=torch.bool)
    return model.nll_sum(IDS, None, None, IDS.roll(-1, dims=1), everything) / IDS.numel()


def test_a_gradient_reaches_every_parameter_of_a_decoder_and_is_gone_afterwards(model: LanguageModel):
    finding = model_checks.gradient_reaches(model, lambda: loss_of(model))
    assert finding.ok, finding.line
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_parameter_that_gets_no_gradient_is_named(model: LanguageModel):
    model.register_parameter("forgotten", nn.Parameter(torch.ones(3)))
    finding = model_checks.gradient_reaches(model, lambda: loss_of(model))
    assert not finding.ok
    assert finding.found.endswith("; not forgotten")


def test_a_block_cut_out_of_the_graph_is_named(model: LanguageModel):
    block = model.backbone.blocks[1].mlp.sublayer
    block.register_forward_hook(lambda module, inputs, output: output.detach())
    finding = model_checks.gradient_reaches(model, lambda: loss_of(model))
    assert not finding.ok
    assert "backbone.blocks.1.mlp.sublayer.gate.weight" in finding.found


def test_what_stands_before_weights_that_begin_at_zero_is_reached_too(model: LanguageModel):
    attach(model, AdapterConfig(kind="lora", rank=2))
    updates = [layer.adapters["default"] for layer in adapted_layers(model).values()]
    down = [update.lora_a for update in updates]
    loss_of(model).backward()
    assert not any(bool(a.grad.any()) for a in down if a.grad is not None)  # B is zero
    finding = model_checks.gradient_reaches(model, lambda: loss_of(model))
    assert finding.ok, finding.line
    assert not any(bool(update.lora_b.any()) for update in updates)  # as before
    down[0].requires_grad_(False)
    down[3].register_hook(lambda grad: 0 * grad)
    finding = model_checks.gradient_reaches(model, lambda: loss_of(model))
    assert not finding.ok
    assert "not backbone.blocks.0.self_attn.sublayer.out.adapters.default.lora_a" in finding.found


def test_a_gradient_that_is_not_finite_is_named(model: LanguageModel):
    finding = model_checks.gradient_reaches(model, lambda: loss_of(model) * float("inf"))
    assert not finding.ok
    assert "not finite in" in finding.found


def test_frozen_parameters_are_counted_and_a_model_of_nothing_else_is_wrong(model: LanguageModel):
    model.backbone.embedding.weight.requires_grad_(False)
    finding = model_checks.gradient_reaches(model, lambda: loss_of(model))
    assert finding.ok
    assert finding.found.endswith(", 1 are frozen")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    constant = torch.zeros((), requires_grad=True)
    assert not model_checks.gradient_reaches(model, lambda: constant * 2).ok


def test_cached_decoding_of_a_sound_model_is_the_full_pass(model: LanguageModel):
    assert model_checks.cache_equals_full(model, IDS[0].tolist()).ok


def test_a_cache_that_is_read_at_the_wrong_position_is_wrong(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    sound = TorchDecoder.logits

    def one_late(self: TorchDecoder, tokens: Tokens) -> torch.Tensor:
        return sound(self, replace(tokens, positions=tokens.positions + 1))

    monkeypatch.setattr(TorchDecoder, "logits", one_late)
    assert not model_checks.cache_equals_full(model, IDS[0, :32].tolist()).ok


@pytest.mark.parametrize(("temperature", "ok"), [(1.0, True), (0.7, False), (1.5, False)])
def test_a_sampler_with_another_temperature_is_wrong(model: LanguageModel, temperature: float, ok: bool):
    sampler = Sampler(model, stop_ids=(), max_batch=1)
    (drawn,) = sampler.generate([[1, 2, 3]], SamplingConfig(max_new_tokens=40, temperature=temperature))
    ids = torch.tensor([[1, 2, 3, *drawn.ids]])
    with torch.no_grad():
        trained = token_logprobs(model(ids[:, :-1]), ids[:, 1:])[0, 2:]
    finding = model_checks.logprobs_agree(torch.tensor(drawn.logprobs), trained, 1e-3)
    assert finding.ok is ok, finding.line


def test_an_untrained_loss_is_log_vocab_and_that_of_unit_embeddings_is_not():
    model = LanguageModel(CONFIG, seed=0)
    with torch.no_grad():
        assert model_checks.untrained_loss(float(loss_of(model)), 97).ok
        nn.init.normal_(model.backbone.embedding.weight)  # what nn.Embedding does by itself
        assert not model_checks.untrained_loss(float(loss_of(model)), 97).ok


def test_a_trained_model_worse_than_knowing_nothing_is_wrong():
    assert model_checks.trained_loss(2.0, 97).ok
    assert model_checks.trained_loss(math.log(97), 97).ok
    assert not model_checks.trained_loss(math.log(97) + 0.3, 97).ok
    assert not model_checks.trained_loss(math.nan, 97).ok


def test_a_ranking_loss_far_above_that_of_equal_scores_is_wrong():
    assert model_checks.ranking_loss(math.log(2), math.log(2)).ok
    assert not model_checks.ranking_loss(2.1, math.log(2)).ok
    assert model_checks.ranking_loss(2.1, 2.04).ok  # sixteen completions by Plackett-Luce


@pytest.mark.parametrize(
    ("ratio", "approx_kl", "ok"),
    [(1.0, 0.0, True), (1.001, 0.0, False), (1.0, 1e-6, False), (math.nan, math.nan, False)],
)
def test_a_ratio_that_is_not_one_everywhere_is_wrong(ratio: float, approx_kl: float, ok: bool):
    assert model_checks.ratio_is_one(ratio, approx_kl).ok is ok


def test_models_and_tokenizers_must_belong_together():
    assert model_checks.tokenizer_fits(97, 97).ok
    assert not model_checks.tokenizer_fits(97, 98).ok
    assert model_checks.same_tokenizer(["a", "a"]).ok
    assert not model_checks.same_tokenizer(["a", "b"]).ok


def test_a_policy_away_from_its_reference_at_the_start_is_wrong():
    assert model_checks.starts_at_reference(0.0, 1e-3).ok
    assert not model_checks.starts_at_reference(-0.1, 1e-3).ok


def test_completions_of_which_none_ends_are_wrong():
    assert model_checks.some_end(1, 8, 16).ok
    assert not model_checks.some_end(0, 8, 16).ok


def test_scores_that_are_all_alike_or_no_numbers_are_wrong():
    assert model_checks.scores_differ(torch.tensor([0.0, 1.0])).ok
    assert not model_checks.scores_differ(torch.tensor([0.5, 0.5])).ok
    assert not model_checks.scores_differ(torch.tensor([0.5, math.nan])).ok


def test_a_score_that_depends_on_its_neighbours_is_wrong():
    alone = torch.tensor([0.1, 0.2])
    assert model_checks.packed_equals_alone(alone + 1e-6, alone, 1e-3).ok
    assert not model_checks.packed_equals_alone(alone + 0.1, alone, 1e-3).ok
