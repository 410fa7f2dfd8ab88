"""AdaLoRA's parts by hand, and its budget over a training."""

from __future__ import annotations

from itertools import repeat

import pytest
import torch
from small_models import base_model, some_ids
from torch import nn, tensor
from torch.testing import assert_close

from danlu.adapters.adalora import AdaLora, RankAllocation, allocate, size_at
from danlu.adapters.attach import attach
from danlu.adapters.settings import AdapterConfig, Budget
from danlu.adapters.sharing import twin
from danlu.data.records import Batch
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.objectives.penalty import Penalised
from danlu.objectives.token_loss import TokenLoss
from danlu.rl.team import PolicyAndValue
from danlu.train.loop import LoopConfig, train
from danlu.train.optim import OptimConfig, ProjectedOptimizers, build_optimizer


def update_of(rank: int = 2, **budget: object) -> AdaLora:
    update = AdaLora(nn.Linear(2, 2, bias=False), rank, 1.0)
    update.budget = Budget(**budget)
    return update


def test_the_update_is_the_paper_s():
    """Eq. 3: P Λ Q x, here times a scale of 2."""
    linear = nn.Linear(2, 2, bias=False)
    update = AdaLora(linear, 2, 2.0)
    with torch.no_grad():
        update.lora_a.copy_(tensor([[1.0, 0.0], [1.0, 1.0]]))  # Q
        update.lora_e.copy_(tensor([3.0, 0.5]))  # Λ
        update.lora_b.copy_(tensor([[1.0, 0.0], [0.0, 4.0]]))  # P
        x = tensor([2.0, 4.0])
        # Q x = (2, 6), Λ: (6, 3), P: (6, 12), twice
        assert_close(update(x, linear(x), linear), tensor([12.0, 24.0]))
        assert_close(update.change(linear)[0] @ x, tensor([12.0, 24.0]))


def test_importance_is_smoothed_sensitivity_times_smoothed_uncertainty():
    """Section 3.2 by hand, two updates with betas 0.5 and 0.75."""
    update = update_of(rank=1, sensitivity_beta=0.5, uncertainty_beta=0.75)
    with torch.no_grad():
        update.lora_a.copy_(tensor([[1.0, 2.0]]))
        update.lora_e.copy_(tensor([3.0]))
        update.lora_b.copy_(tensor([[1.0], [-1.0]]))
    for grads in (([[4.0, 0.0]], [2.0], [[0.0], [8.0]]), ([[0.0, 0.0]], [2.0], [[0.0], [0.0]])):
        for weight, grad in zip((update.lora_a, update.lora_e, update.lora_b), grads, strict=True):
            weight.grad = tensor(grad)
        update.observe()
    # λ: |w g| = 6, 6; smoothed 3, 4.5; astray by 3, 1.5; uncertainty 0.75, 0.9375; 4.5 · 0.9375 = 4.21875
    # Q's first: 4, 0; 2, 1; 2, 1; 0.5, 0.625; 0.625, the mean over two weights 0.3125
    # P's second: 8, 0; 4, 2; 4, 2; 1, 1.25; 2.5, the mean over two 1.25
    assert_close(update.importance(), tensor([4.21875 + 0.3125 + 1.25]))


def test_orthogonality_is_the_distance_of_both_from_orthonormal():
    update = update_of()
    with torch.no_grad():
        update.lora_a.copy_(torch.eye(2))
        update.lora_b.copy_(tensor([[2.0, 0.0], [0.0, 1.0]]))
    assert_close(update.orthogonality(), tensor(3.0))  # PᵀP − I = diag(3, 0)
    update.orthogonality().backward()
    assert_close(update.lora_b.grad, tensor([[4.0, 0.0], [0.0, 0.0]]))  # d|p² − 1|/dp at 2


def test_the_budget_falls_as_the_cube_of_what_is_left():
    """Section 3.3: from 12 singular values to 4, between a tenth and seven tenths of the way."""
    budget = Budget(final_rank=2, keep_first=0.1, keep_last=0.3)
    pool = {name: update_of(rank=6) for name in "ab"}
    sizes = [size_at(budget, share, pool) for share in (0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 1.0)]
    # 4 + 8 · (1, 1, 0.75³, 0.5³, 0.25³, 0, 0), rounded down
    assert sizes == [12, 12, 4 + 3, 4 + 1, 4, 4, 4]


def test_the_most_important_of_all_layers_are_kept():
    updates = [update_of(rank=2), update_of(rank=3)]
    for update, scores in zip(updates, ([0.5, 3.0], [1.0, 2.0, 0.1]), strict=True):
        update.lora_e.data.fill_(1.0)
        update.sensitivity_lora_e.copy_(tensor(scores))
        update.uncertainty_lora_e.fill_(1.0)
    allocate(updates, 3)
    assert updates[0].lora_e.tolist() == [0.0, 1.0]
    assert updates[1].lora_e.tolist() == [1.0, 1.0, 0.0]
    assert updates[1].kept.tolist() == [True, True, False]


def ada_model() -> LanguageModel:
    budget = Budget(final_rank=2, every=2, keep_first=0.2, keep_last=0.4, orthogonality=0.1)
    model = base_model()
    attach(model, AdapterConfig(kind="adalora", rank=4, alpha=8.0, budget=budget))
    return model


def trained(model: LanguageModel, n_steps: int, total: int, start: int = 0) -> tuple[list[int], list[float]]:
    """Singular values other than zero, and the penalty, after each update."""
    ids = some_ids()
    batch = Batch(
        input_ids=ids[:, :-1],
        target_ids=ids[:, 1:],
        loss_mask=torch.ones_like(ids[:, 1:], dtype=torch.bool),
        position_ids=torch.arange(16).expand(3, 16),
        segment_ids=torch.zeros(3, 16, dtype=torch.int64),
    )
    ranks = RankAllocation(model, lambda: total, step=start)
    optimizer = ProjectedOptimizers(build_optimizer(model, OptimConfig(lr=1e-2)), ranks)
    objective = Penalised(TokenLoss(), "orthogonality", ranks.orthogonality, ranks.coefficient)
    kept: list[int] = []
    penalties: list[float] = []
    loop, batches = LoopConfig(n_steps=start + n_steps, grad_accum_steps=2), repeat(batch)
    for report in train(model, batches, objective, optimizer, lambda step: 1e-2, loop, start=start):
        kept.append(sum(int(e.count_nonzero()) for n, e in model.named_parameters() if n.endswith("lora_e")))
        penalties.append(report.metrics["orthogonality"])
        assert report.loss == pytest.approx(report.metrics["nll"] + 0.1 * report.metrics["orthogonality"])
    return kept, penalties


def test_over_a_training_the_budget_falls_to_its_end_and_stays_there():
    model = ada_model()
    kept, penalties = trained(model, 20, 20)
    n_layers = 2 * 7
    assert kept[:3] == [4 * n_layers] * 3
    assert kept[-8:] == [2 * n_layers] * 8
    assert kept[11] == 2 * n_layers
    allocations = kept[3:12:2]
    assert allocations == sorted(allocations, reverse=True)
    assert penalties[-1] < 0.9 * penalties[0]
    ranks = {int(e.count_nonzero()) for n, e in model.named_parameters() if n.endswith("lora_e")}
    assert len(ranks) > 1  # it went where it matters


def test_the_penalty_counts_once_however_an_update_is_cut():
    """Two micro-batches an update: the mean of the term is the penalty itself."""
    model = ada_model()
    before = float(RankAllocation(model, lambda: 1).orthogonality().detach())
    assert trained(model, 1, 20)[1] == [pytest.approx(before)]


def test_its_state_is_in_the_model_so_a_copy_goes_on_alike():
    model = ada_model()
    trained(model, 6, 20)
    other = ada_model()
    other.load_state_dict(model.state_dict())
    again = [trained(each, 6, 20, start=6)[0] for each in (model, other)]
    assert again[0] == again[1]


def test_policy_and_value_model_have_budgets_of_their_own():
    policy = ada_model()
    value = ScoreModel.on(twin(policy.backbone))
    ranks = RankAllocation(PolicyAndValue(policy, value), lambda: 10)
    assert [len(pool) for pool in ranks.pools] == [14, 14]
    assert ranks.trace()["kept"] == 2 * 14 * 4
    assert "value.backbone.blocks.1.mlp.sublayer.out" in ranks.trace()["ranks"]
    policy.requires_grad_(False)
    assert [len(pool) for pool in RankAllocation(PolicyAndValue(policy, value), lambda: 10).pools] == [14]
    assert not RankAllocation(base_model(), lambda: 10)
