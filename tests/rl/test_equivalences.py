"""What must not matter: how an update is split, in which order its rows stand, padding, packing."""

from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from enumerable import PROMPT, World, batches_of, learn, team_of
from torch.testing import assert_close

from danlu.objectives.kl import KlPenalty
from danlu.objectives.ppo import Ppo, PpoBatch, Surrogate
from danlu.rl import batches, collect
from danlu.rl.advantages import Baseline, Gae
from danlu.rl.collect import Memory, RolloutConfig
from danlu.rl.controller import AdaptiveKl, KlConfig
from danlu.rl.packing import packed

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
    "reinforce": (Baseline(kind="running", divide_by_std=False), Surrogate(), KlConfig()),
}


def team():
    return team_of(WORLD, WORLD.rewards())


def collected(networks, estimator, kl):
    memory = Memory(AdaptiveKl(kl, n_episodes=100))
    return collect.collect(networks, [PROMPT] * 4, ROLLOUT, estimator, memory, seed=1)


def gradients(networks, objective, parts):
    """Of the whole update, divided as the loop divides."""
    networks.trained.zero_grad()
    counts = [objective.weights(batch) for batch in parts]
    for batch in parts:
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
        name: F.pad(each, (0, 8), value=FILLING.get(name, 0))
        for name in (f.name for f in fields(rollout))
        if (each := getattr(rollout, name)) is not None
    }
    width = wider["input_ids"].shape[1]
    wider["position_ids"] = torch.arange(width).expand(16, width).contiguous()
    padded = replace(whole, rollout=type(rollout)(**wider))
    assert_same(gradients(networks, objective, [whole]), gradients(networks, objective, [padded]))


@pytest.mark.parametrize("average", ["tokens", "completions", "sums"])
@pytest.mark.parametrize("estimator", [None, "k2", "k3"])
def test_packing_changes_nothing(update, average, estimator):
    networks, objective, whole = update
    objective = replace(objective, average=average, entropy_coef=0.01)
    whole = replace(whole, kl=None if estimator is None else KlPenalty(estimator, 0.1))
    rows = replace(whole, rollout=packed(whole.rollout))
    assert len(rows.rollout) == 1  # all 16 share it, so what counts rows is wrong by 16
    assert_same(gradients(networks, objective, [whole]), gradients(networks, objective, [rows]))
    for each in (whole, rows):
        count = {"tokens": int(whole.rollout.loss_mask.sum()), "completions": 16, "sums": 16}[average]
        assert int(objective.weights(each)["policy"]) == count
    one, other = (objective(networks.trained, each).metrics for each in (whole, rows))
    for name, (total, weight) in one.items():
        assert_close(other[name][0] / other[name][1], total / weight, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_packing_changes_no_weight_that_is_learnt(method, monkeypatch):
    estimator, objective, kl = METHODS[method]
    learnt = []
    for layout in ("packed", "one a row"):
        if layout == "one a row":
            monkeypatch.setattr(batches, "packed", lambda rows: rows)
            monkeypatch.setattr(collect, "Packing", OneARow)
        networks = team()
        stream = batches_of(networks, replace(ROLLOUT, minibatch_size=4, n_epochs=2), estimator, kl)
        learn(stream, objective, n_steps=8, lr=1e-3)
        assert stream.latest.stats["length"] == pytest.approx(
            sum(len(rollout.completion.ids) for rollout in stream.latest.rollouts) / 16
        )
        learnt.append(dict(networks.trained.named_parameters()))
    for name, parameter in learnt[0].items():
        assert_close(learnt[1][name], parameter, atol=1e-5, rtol=1e-4)


class OneARow:
    """Packing that packs nothing."""

    @classmethod
    def of(cls, batch):
        return cls()

    def pack(self, batch):
        return batch

    def unpack(self, values):
        return values


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
        stream = batches_of(networks, replace(ROLLOUT, minibatch_size=size), estimator, kl)
        learn(stream, objective, n_steps=2, lr=1e-3, grad_accum_steps=16 // size)
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
