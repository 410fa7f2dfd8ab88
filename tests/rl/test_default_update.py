"""PPO as it is without any option: its loss by the published formulas, one completion at a time."""

import pytest
import torch
from enumerable import World, batches_of, team_of

from danlu.generate.sampler import Sampler
from danlu.objectives.ppo import Ppo
from danlu.rl.advantages import Gae
from danlu.rl.collect import RolloutConfig
from danlu.rl.controller import KlConfig

WORLD = World(vocab_size=8, stop_id=7, max_new_tokens=5)
ROLLOUT = RolloutConfig(n_episodes=16, minibatch_size=16, max_new_tokens=5)
COEF, PENALTY, LAMBDA, CLIP = 0.3, 1.0, 0.95, 0.2


@pytest.fixture
def networks():
    """A policy that has left its reference, and a reward that sets completions apart."""
    team = team_of(WORLD, WORLD.rewards(0.5))
    moved(team.trained.policy, 1.1)
    team.trained.eval()
    return team


@torch.no_grad()
def moved(model, factor):
    for parameter in model.parameters():
        parameter.mul_(factor)


@torch.no_grad()
def read(network, rollout):
    """What a network says at each token of one completion: log-probabilities, or values."""
    prompt, said = list(rollout.prompt.ids), list(rollout.completion.ids)
    out = network(torch.tensor([[*prompt, *said][:-1]]))[0, len(prompt) - 1 :]
    return out.double() if out.ndim == 1 else out.double().log_softmax(-1)[range(len(said)), said]


def rewards_of(team, rollout):
    """Ouyang et al. 2022, eq. 2, with a missing end penalised."""
    rewards = -COEF * (read(team.trained.policy, rollout) - read(team.reference, rollout))
    (score,) = team.reward([rollout]).double()
    rewards[-1] += score if rollout.ended else min(score, 0) - PENALTY
    return rewards


def advantages_of(rewards, values):
    """Schulman et al. 2016, eq. 16."""
    advantages, running, following = torch.zeros_like(rewards), 0.0, 0.0
    for t in reversed(range(len(rewards))):
        running = rewards[t] + following - values[t] + LAMBDA * running
        following, advantages[t] = values[t], running
    return advantages


def test_the_default_loss_is_that_of_the_formulas(networks):
    batches = batches_of(networks, ROLLOUT, Gae(), KlConfig(init_coef=COEF))
    batch = next(iter(batches))
    rollouts, trained = batches.latest.rollouts, networks.trained
    assert {rollout.ended for rollout in rollouts} == {True, False}
    old = [read(trained.policy, rollout) for rollout in rollouts]
    values = [read(trained.value, rollout) for rollout in rollouts]
    plain = [
        advantages_of(rewards_of(networks, rollout), v) for rollout, v in zip(rollouts, values, strict=True)
    ]
    returns = [a + v for a, v in zip(plain, values, strict=True)]
    flat = torch.cat(plain)
    whitened = [(a - flat.mean()) / flat.std(correction=0) for a in plain]
    moved(trained, 1.05)  # as an update would, so that ratios are not one
    policy, value, n = 0.0, 0.0, len(flat)
    for i, rollout in enumerate(rollouts):
        ratio = (read(trained.policy, rollout) - old[i]).exp()
        policy -= torch.minimum(ratio * whitened[i], ratio.clamp(1 - CLIP, 1 + CLIP) * whitened[i]).sum()
        new = read(trained.value, rollout)
        near = values[i] + (new - values[i]).clamp(-CLIP, CLIP)
        errors = (new - returns[i]).square(), (near - returns[i]).square()
        value += 0.5 * torch.maximum(*errors).sum()
    objective = Ppo()
    loss, weights = objective(trained, batch), objective.weights(batch)
    assert {name: int(weight) for name, weight in weights.items()} == {"policy": n, "value": n}
    found = {name: term.total.item() / n for name, term in loss.terms.items()}
    assert found["policy"] == pytest.approx(float(policy) / n, rel=1e-4, abs=1e-6)
    assert found["value"] == pytest.approx(float(value) / n, rel=1e-4)
    assert abs(found["policy"]) > 1e-3
    assert loss.terms["value"].coef == 0.1


def test_a_rollout_takes_one_pass_of_each_network_a_minibatch_and_an_update_one_more(networks):
    passes = {"policy": 0, "value": 0, "reference": 0}

    def counter(name):
        def count(module, inputs, kwargs, output):
            passes[name] += kwargs.get("kv_cache") is None  # what the sampler does is another matter

        return count

    models = (networks.trained.policy, networks.trained.value, networks.reference)
    for name, model in zip(passes, models, strict=True):
        model.backbone.register_forward_hook(counter(name), with_kwargs=True)
    config = RolloutConfig(n_episodes=16, minibatch_size=8, max_new_tokens=5)
    batch = next(iter(batches_of(networks, config, Gae(), KlConfig())))
    assert passes == {"policy": 2, "value": 2, "reference": 2}
    Ppo()(networks.trained, batch)
    assert passes == {"policy": 3, "value": 3, "reference": 2}
    assert isinstance(networks.sampler, Sampler)
