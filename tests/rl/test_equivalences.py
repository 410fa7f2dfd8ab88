"""What must not matter: how an update is split, in which order its rows stand, how far they are padded."""

from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from enumerable import PROMPT, World, batches_of, learn, team_of
from torch.testing import assert_close

from danlu.objectives.kl import KlPenalty
from danlu.objectives.ppo import Ppo, PpoBatch, Surrogate
from danlu.rl.advantages import Baseline, Gae
from danlu.rl.collect import Memory, RolloutConfig, collect
from danlu.rl.controller import AdaptiveKl, KlConfig

WORLD = World(vocab_size=8, stop_id=7, max_new_tokens=3)
ROLLOUT = RolloutConfig(n_episodes=16, n_completions=4, minibatch_size=16, max_new_tokens=3)
METHODS = {
    "ppo": (Gae(), Ppo(entropy_coef=0.01, dual_clip=3.0), KlConfig()),
    "grpo": (
        Baseline(),
        Surrogate(average="completions"),
        KlConfig(init_coef=0.04, target=None, estimator="k3", place="loss"),
    ),
    "rloo": (Baseline(kind="leave_one_out", divide_by_std=False), Surrogate(average="sums"), KlConfig()),
}


def team():
    return team_of(WORLD, WORLD.rewards())


def collected(networks, estimator, kl):
    memory = Memory(AdaptiveKl(kl, n_episodes=100))
    return collect(networks, [PROMPT] * 4, ROLLOUT, estimator, memory, seed=1)


def gradients(networks, objective, batches):
    """Of the whole update, divided as the loop divides."""
    networks.trained.zero_grad()
    counts = [objective.weights(batch) for batch in batches]
    for batch in batches:
        terms = objective(networks.trained, batch).terms
        sum(
            term.coef * term.total / sum(count[name] for count in counts) for name, term in terms.items()
        ).backward()
    return {name: p.grad.clone() for name, p in networks.trained.named_parameters() if p.grad is not None}


@pytest.fixture(params=METHODS)
def update(request):
    """Networks, objective, and one rollout's batch on which the policy has already moved a little."""
    estimator, objective, kl = METHODS[request.param]
    networks = team()
    batch = collected(networks, estimator, kl).batch
    with torch.no_grad():
        for parameter in networks.trained.parameters():
            parameter.mul_(1.02)
    penalty = KlPenalty(kl.estimator, kl.init_coef) if kl.place == "loss" else None
    return networks, objective, PpoBatch(batch, kl=penalty)


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert max(float(each.abs().max()) for each in a.values()) > 1e-3
    for name in a:
        assert_close(a[name], b[name], atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("size", [1, 5, 8])
def test_splitting_an_update_into_micro_batches_changes_nothing(update, size):
    networks, objective, whole = update
    parts = [replace(whole, rollout=whole.rollout.rows(i)) for i in torch.arange(16).split(size)]
    assert_same(gradients(networks, objective, [whole]), gradients(networks, objective, parts))


def test_the_order_of_rows_changes_nothing(update):
    networks, objective, whole = update
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    shuffled = replace(whole, rollout=whole.rollout.rows(order))
    assert_same(gradients(networks, objective, [whole]), gradients(networks, objective, [shuffled]))


def test_padding_changes_nothing(update):
    networks, objective, whole = update
    rollout = whole.rollout
    wider = {
        f.name: F.pad(getattr(rollout, f.name), (0, 8), value=FILLING.get(f.name, 0)) for f in fields(rollout)
    }
    width = wider["input_ids"].shape[1]
    wider["position_ids"] = torch.arange(width).expand(16, width).contiguous()
    padded = replace(whole, rollout=type(rollout)(**wider))
    assert_same(gradients(networks, objective, [whole]), gradients(networks, objective, [padded]))


FILLING = {
    "input_ids": 3,
    "target_ids": 5,
    "segment_ids": 1,
    "old_logprobs": -4.0,
    "ref_logprobs": 2.0,
    "advantages": 7.0,
    "returns": -3.0,
    "old_values": 1.0,
}


@pytest.mark.parametrize("method", METHODS)
def test_accumulating_minibatches_gives_the_weights_of_one_large_batch(method):
    estimator, objective, kl = METHODS[method]
    learnt = []
    for size in (16, 4):
        networks = team()
        batches = batches_of(networks, replace(ROLLOUT, minibatch_size=size), estimator, kl)
        learn(batches, objective, n_steps=2, lr=1e-3, grad_accum_steps=16 // size)
        learnt.append(dict(networks.trained.named_parameters()))
    for name, parameter in learnt[0].items():
        assert_close(learnt[1][name], parameter, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_before_the_first_update_the_ratio_is_one_and_kl_is_zero(method):
    estimator, objective, kl = METHODS[method]
    networks = team()
    rollout = collected(networks, estimator, kl)
    metrics = objective(networks.trained, PpoBatch(rollout.batch)).metrics
    assert float(metrics["ratio"][0] / metrics["ratio"][1]) == pytest.approx(1, abs=1e-6)
    assert float(metrics["approx_kl"][0]) < 1e-10
    assert rollout.stats["kl"] == 0
    assert rollout.stats["sampler_gap"] < 1e-5
