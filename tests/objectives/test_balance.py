"""The load-balancing loss: worked by hand, and against the one that comes with transformers."""

import math

import pytest
import torch
from torch import tensor
from torch.testing import assert_close
from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

from danlu.data.records import Batch
from danlu.model.config import Experts
from danlu.model.heads import LanguageModel
from danlu.model.mlp import MixtureOfExperts, noted_routers
from danlu.model.presets import QWEN3_MOE
from danlu.objectives.balance import Balanced, balance
from danlu.objectives.token_loss import TokenLoss

LN3 = math.log(3)
SIZES = {"vocab_size": 32, "d_model": 16, "n_layers": 3, "n_heads": 2, "n_kv_heads": 1, "head_dim": 8}


def model_of(n_experts: int = 5, n_active: int = 2) -> LanguageModel:
    experts = Experts(n_experts=n_experts, n_active=n_active)
    return LanguageModel(QWEN3_MOE(d_ff=12, experts=experts, **SIZES), seed=3)


def batch_of(rows: int, seq: int, n_padding: int = 0) -> Batch:
    ids = torch.randint(1, 32, (rows, seq), generator=torch.Generator().manual_seed(7))
    mask = torch.arange(seq).expand(rows, seq) < seq - n_padding
    segments = (~mask).long()
    positions = torch.arange(seq).expand(rows, seq)
    return Batch(input_ids=ids, target_ids=ids, loss_mask=mask, position_ids=positions, segment_ids=segments)


def balanced(model: LanguageModel, coef: float = 0.1) -> Balanced[Batch]:
    assert model.config.experts is not None
    return Balanced(TokenLoss(), lambda: noted_routers(model), model.config.experts.n_active, coef)


def test_loss_and_choices_by_hand():
    # Two experts and odds of 3 : 1, 3 : 1 and 1 : 3. f = (2/3, 1/3), P = (7/12, 5/12):
    # 2 · (2/3 · 7/12 + 1/3 · 5/12) = 2 · 19/36.
    loss, chosen = balance(tensor([[LN3, 0.0], [LN3, 0.0], [0.0, LN3]]), 1)
    assert_close(loss, tensor(19 / 18))
    assert chosen.tolist() == [2, 1]


def test_even_routers_cost_n_active_and_a_collapsed_one_n():
    even = torch.eye(4).repeat(3, 1) * 1e-3
    assert_close(balance(even, 1)[0], tensor(1.0), atol=1e-4, rtol=0)
    collapsed = tensor([[50.0, 0.0, 0.0, 0.0]]).repeat(6, 1)
    assert_close(balance(collapsed, 1)[0], tensor(4.0))


@pytest.mark.parametrize("n_active", [1, 2, 3])
def test_a_layer_is_judged_as_transformers_judges_it(n_active: int):
    logits = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)) * 2
    padding = torch.ones(4, 10, dtype=torch.int64)
    padding[:, 7:] = 0
    theirs = load_balancing_loss_func((logits,), 6, n_active, padding)
    assert_close(balance(logits[padding.flatten() == 1], n_active)[0], theirs)


def test_gradients_come_through_the_probabilities_alone():
    logits = tensor([[1.0, 0.5], [0.2, -0.1], [0.0, 2.0]], requires_grad=True)
    balance(logits, 1)[0].backward()
    shares = tensor([2 / 3, 1 / 3])
    p = logits.detach().softmax(-1)
    # d/dz of n · Σ fᵢ mean(pᵢ): of each token n / tokens · p ∘ (f - p · f).
    assert_close(logits.grad, 2 / 3 * p * (shares - (p * shares).sum(-1, keepdim=True)))


def test_padding_is_left_out_and_the_term_counts_tokens():
    model, short, long = model_of(), batch_of(3, 9), batch_of(3, 14, n_padding=5)
    long.input_ids[:, :9] = short.input_ids
    found = [balanced(model)(model, each) for each in (short, long)]
    assert_close(found[0].terms["balance"].total, found[1].terms["balance"].total)
    assert [int(balanced(model).weights(each)["balance"]) for each in (short, long)] == [27, 27]
    assert (
        found[0].metrics.keys()
        == found[1].metrics.keys()
        == {f"expert.{layer}.{expert}" for layer in range(3) for expert in range(5)}
    )
    for layer in range(3):
        shares = [found[1].metrics[f"expert.{layer}.{expert}"] for expert in range(5)]
        assert sum(int(chosen) for chosen, _ in shares) == 27 * 2
        assert {int(weight) for _, weight in shares} == {27 * 2}


def test_the_mean_over_layers_is_that_of_transformers_layer_by_layer():
    model, batch = model_of(), batch_of(2, 12)
    with noted_routers(model) as logits:
        model(*batch.inputs)
    theirs = [load_balancing_loss_func((each,), 5, 2) for each in logits]
    mean = balanced(model)(model, batch).terms["balance"].total / batch.loss_mask.sum()
    assert len(theirs) == 3
    assert_close(mean, torch.stack(theirs).mean())


def test_the_objective_itself_is_as_it_was_and_nobody_watches_afterwards():
    model, batch = model_of(), batch_of(2, 12)
    found = balanced(model)(model, batch)
    assert_close(found.terms["nll"].total, TokenLoss()(model, batch).terms["nll"].total)
    assert found.terms["balance"].coef == 0.1
    hooks = [each.router._forward_hooks for each in model.modules() if isinstance(each, MixtureOfExperts)]
    assert not any(hooks)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_collapsed_router_learns_to_share(seed: int):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(256, 8, generator=generator) + 0.5  # a direction in common, which one expert follows
    weight = 0.1 * torch.randn(4, 8, generator=generator) + tensor([[0.8], [0.0], [0.0], [0.0]])
    weight.requires_grad_()
    assert balance(tokens @ weight.T, 1)[1].max() > 0.85 * 256
    optimizer = torch.optim.SGD([weight], lr=0.01)
    for _ in range(600):
        optimizer.zero_grad()
        balance(tokens @ weight.T, 1)[0].backward()
        optimizer.step()
    assert balance(tokens @ weight.T, 1)[1].max() < 0.4 * 256


@pytest.mark.parametrize("n_padding", [0, 3])
def test_a_batch_knows_its_padding(n_padding: int):
    batch = batch_of(2, 8, n_padding)
    packed = Batch(
        input_ids=batch.input_ids,
        target_ids=batch.input_ids,
        loss_mask=tensor([[False, True, False, True, False, False, False, False]]).repeat(2, 1),
        position_ids=batch.position_ids,
        segment_ids=tensor([[0, 0, 1, 1, 1, 2, 2, 2]]).repeat(2, 1),
    )
    assert batch.is_text.sum(1).tolist() == [8 - n_padding] * 2
    assert packed.is_text.tolist() == [[True] * 5 + [False] * 3] * 2  # a prompt is text too
