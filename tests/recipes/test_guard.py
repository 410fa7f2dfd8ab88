"""The guard beside PPO: it ends a run whose policy falls, publishes the peak, and survives a kill."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from math import log

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from danlu.adapters.settings import AdapterConfig
from danlu.config import ConfigError
from danlu.data.records import DataError
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.precision import Precision
from danlu.recipes import ppo
from danlu.recipes.pretrain import Shape
from danlu.recipes.stage import publish
from danlu.rl.collect import RolloutConfig
from danlu.rl.guard import Guard, GuardConfig, token_kl
from danlu.tokenizer.bpe import Tokenizer

SHAPE = Shape(d_model=32, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=48, max_seq_len=96)
N_WATCHED = 16
RISES_AND_FALLS = [0.1, 0.5, 0.8, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1]  # smoothed: 0.3, 0.47, 0.57, 0.5, 0.3, …


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    monkeypatch.setattr("danlu.recipes.stage.choose_precision", lambda *_, **__: Precision())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A policy, reward models and prompts; nothing in them has learnt anything."""
    folder = tmp_path_factory.mktemp("guard")
    tokenizer = Tokenizer.train(["What is red? It is a colour."] * 8, 300)
    config = SHAPE.model_config(tokenizer.vocab_size)
    policy = LanguageModel(config, seed=0)
    with torch.no_grad():
        policy.backbone.embedding.weight.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    publish(policy, tokenizer, folder / "policy")
    for name, seed in (("reward", 2), ("judge-1", 3), ("judge-2", 4)):
        publish(ScoreModel(config, seed=seed), tokenizer, folder / name)
    for name, n in (("prompts", 12), ("watched", N_WATCHED)):
        records = [
            {"id": f"{name}-{i}", "messages": [{"role": "user", "content": f"What is {i}?"}]}
            for i in range(n)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return folder


def config(folder, out, **guard):
    return ppo.PpoConfig(
        policy=folder / "policy",
        reward_model=folder / "reward",
        prompts=folder / "prompts.jsonl",
        out=out,
        n_episodes=64,
        rollout=RolloutConfig(n_episodes=8, minibatch_size=4, max_new_tokens=4),
        save_every=2,
        guard=GuardConfig(**{"prompts": folder / "watched.jsonl", "every": 1, **guard}),
    )


class Truth:
    """A world that likes the answers of each look as a course says, whatever they are."""

    def __init__(self, course):
        self.course, self.asked = course, Counter()

    def __call__(self, prompt_id, completion):
        if not prompt_id.startswith("watched"):
            return 0.0
        self.asked[prompt_id] += 1
        return self.course[self.asked[prompt_id] - 1] + 0.001 * int(prompt_id.split("-")[1])


@pytest.fixture
def seen(monkeypatch):
    """The policy's weights at each look, by the updates done."""
    weights, look = {}, Guard.look

    def remember(self, step):
        state = self.team.trained.policy.state_dict()
        weights[step] = {name: tensor.clone() for name, tensor in state.items()}
        return look(self, step)

    monkeypatch.setattr(Guard, "look", remember)
    return weights


def read(path):
    return json.loads(path.read_text())


def published(out):
    return load_file(out / "model" / "model.safetensors")


def assert_published(out, weights):
    stored = published(out)
    embedding = next(tensor for name, tensor in stored.items() if "embed_tokens" in name)
    assert_close(embedding, weights["backbone.embedding.weight"], rtol=0, atol=0)


def test_a_policy_that_falls_is_stopped_and_its_peak_published(folder, tmp_path, seen, capsys):
    out = ppo.run(config(folder, tmp_path / "run", measure="true_score"), Truth(RISES_AND_FALLS))
    # Two updates a rollout. Looks 3 and 4 lie below look 2: seen at look 4, after update 8 of 16.
    frontier = read(out / "frontier.json")
    assert [look["step"] for look in frontier["looks"]] == [0, 2, 4, 6, 8]
    assert [round(look["true_score"] - 0.0075, 6) for look in frontier["looks"]] == RISES_AND_FALLS[:5]
    assert frontier["passed"]
    assert frontier["kept_step"] == 4
    assert read(out / "summary.json")["guard"] == {"passed": True, "kept_step": 4}
    assert_published(out, seen[4])
    assert not torch.equal(seen[4]["backbone.embedding.weight"], seen[8]["backbone.embedding.weight"])
    assert "true_score fell after update 4" in capsys.readouterr().out


def test_without_a_fall_or_where_it_only_records_the_last_weights_are_published(folder, tmp_path, seen):
    rising = [0.1 * i for i in range(9)]
    out = ppo.run(config(folder, tmp_path / "up", measure="true_score"), Truth(rising))
    assert read(out / "frontier.json")["kept_step"] == 16
    assert_published(out, seen[16])
    settings = config(folder, tmp_path / "only", measure="true_score", stop=False)
    out = ppo.run(settings, Truth(RISES_AND_FALLS))
    assert len(read(out / "frontier.json")["looks"]) == 9
    assert_published(out, seen[16])


class Killed(Exception):
    """Stands for whatever ended the run."""


def test_a_guarded_run_that_was_killed_after_its_peak_still_publishes_it(folder, tmp_path, monkeypatch):
    whole = ppo.run(config(folder, tmp_path / "whole", measure="true_score"), Truth(RISES_AND_FALLS))
    cut = config(folder, tmp_path / "cut", measure="true_score")
    truth, look = Truth(RISES_AND_FALLS), Guard.look

    def kill(self, step):
        if step == 8:
            raise Killed
        return look(self, step)

    monkeypatch.setattr(Guard, "look", kill)
    with pytest.raises(Killed):
        ppo.run(cut, truth)
    monkeypatch.setattr(Guard, "look", look)
    ppo.run(cut, truth)
    assert read(cut.out / "frontier.json") == read(whole / "frontier.json")
    for name, tensor in published(whole).items():
        assert_close(tensor, published(cut.out)[name], rtol=0, atol=0)


def test_judges_are_heard_from_a_zero_of_their_own(folder, tmp_path):
    judges = (folder / "judge-1", folder / "judge-2")
    out = ppo.run(config(folder, tmp_path / "run", judges=judges, stop=False))
    looks = read(out / "frontier.json")["looks"]
    assert looks[0]["judges"] == pytest.approx(0, abs=1e-6)
    assert looks[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert looks[-1]["kl"] > 0
    assert all(look["spread"] > 0 for look in looks)
    # Of two judges the worse is the mean less half their distance, which is the deviation over root two.
    for look in looks:
        assert look["worst"] == pytest.approx(look["judges"] - look["spread"] / 2**0.5, abs=1e-5)
    assert all(look["true_score"] is None for look in looks)


@pytest.mark.parametrize(
    ("guard", "message"),
    [
        ({}, "guard.judges is empty"),
        ({"measure": "true_score"}, "the truth is not known here"),
        ({"judges": ("policy",)}, "a ScoreModel is needed here"),
        ({"prompts": "few.jsonl", "measure": "worst", "judges": ("judge-1",)}, "holds 3 prompts"),
    ],
)
def test_a_guard_that_could_see_nothing_is_refused(folder, tmp_path, guard, message):
    lines = (folder / "watched.jsonl").read_text().splitlines(keepends=True)
    (folder / "few.jsonl").write_text("".join(lines[:3]))
    named = {
        name: tuple(folder / each for each in value) if name == "judges" else value
        for name, value in guard.items()
    }
    if "prompts" in named:
        named["prompts"] = folder / named["prompts"]
    with pytest.raises((ConfigError, DataError, RuntimeError, ValueError), match=message):
        ppo.run(config(folder, tmp_path / "run", **named))


def test_kl_of_a_token_is_over_the_whole_vocabulary():
    p, q = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.25, 0.5])
    wanted = 0.5 * log(2) - 0.25 * log(2)
    found = token_kl((3 + p.log())[None, None] * 0.7, q.log()[None, None] * 0.7, 0.7)
    assert float(found) == pytest.approx(wanted, abs=1e-6)


def test_kl_may_be_measured_from_another_model_and_not_beside_an_adapter(folder, tmp_path):
    other = ppo.run(replace(config(folder, tmp_path / "other"), guard=GuardConfig(), n_episodes=16))
    plain = replace(config(folder, tmp_path / "run"), guard=GuardConfig(), n_episodes=8)
    out = ppo.run(replace(plain, reference=other / "model"))
    rollouts = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    first = next(line["rollout"] for line in rollouts if "rollout" in line)
    assert abs(first["kl"]) > 1e-5  # from the start, for the policy does not begin where KL is measured from
    for part in ({"adapter": AdapterConfig(kind="lora")}, {"top_layers": 1}):
        with pytest.raises(ConfigError, match="the same weights without it"):
            replace(plain, reference=other / "model", **part)


def test_an_average_and_a_guard_exclude_each_other(folder, tmp_path):
    with pytest.raises(ConfigError, match="weights that an average would replace"):
        replace(config(folder, tmp_path / "run"), ema_decay=0.9)
