"""A run that was cut off and goes on ends with the same weights, bit for bit, as one that never stopped."""

import json
from dataclasses import replace
from pathlib import Path
from shutil import copy

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.objectives.ppo import Ppo
from danlu.objectives.preference import Preference
from danlu.objectives.ranking import Ranking
from danlu.recipes import dpo, ppo, pretrain, reward, sft
from danlu.recipes.stage import Stage
from danlu.rl.collect import RolloutConfig
from danlu.train.loop import LoopConfig


class Cut(Exception):
    """Stands for whatever ended the run."""


@pytest.fixture(scope="session")
def trained(kit):
    """The three models that the stages start from."""
    pretrain.run(kit.pretrain_config(kit.root / "pretrain", 12))
    sft.run(sft_config(kit, kit.root / "sft"))
    reward.run(reward_config(kit, kit.root / "reward"))
    return kit


def sft_config(kit, out):
    return sft.SftConfig(
        base=kit.base,
        data=kit.chats,
        out=out,
        batch_size=2,
        seq_len=48,
        n_epochs=3.0,
        save_every=2,
        eval_every=3,
    )


def reward_config(kit, out):
    return reward.RewardConfig(
        base=kit.chat_model,
        comparisons=kit.comparisons,
        held_out=kit.comparisons,
        demonstrations=kit.chats,
        out=out,
        prompts_per_batch=2,
        save_every=2,
        eval_every=2,
    )


def ppo_config(kit, out):
    return ppo.PpoConfig(
        policy=kit.chat_model,
        reward_model=kit.reward_model,
        prompts=kit.prompts,
        out=out,
        n_episodes=48,
        rollout=RolloutConfig(n_episodes=8, minibatch_size=4, n_epochs=2, max_new_tokens=8),
        objective=Ppo(ptx_coef=0.1),
        pretrain_shards=kit.shards / "train",
        pretrain_rows=2,
        pretrain_seq_len=16,
        save_every=4,
    )


def dpo_config(kit, out):
    return dpo.DpoConfig(
        policy=kit.chat_model,
        comparisons=kit.comparisons,
        held_out=kit.comparisons,
        out=out,
        prompts_per_batch=2,
        n_epochs=2.0,
        save_every=2,
        eval_every=3,
        sample_prompts=(),
    )


def kto_config(kit, out):
    return replace(
        dpo_config(kit, out),
        objective=Preference(variant="kto"),
        comparisons=None,
        ratings=kit.ratings,
        loop=LoopConfig(grad_accum_steps=2),
        n_epochs=4.0,
    )


def cut_after(monkeypatch, n_updates):
    """Let every stage end with an exception after so many updates."""
    whole = Stage.updates

    def part(self):
        for number, update in enumerate(whole(self), start=1):
            yield update
            if number == n_updates:
                raise Cut

    monkeypatch.setattr(Stage, "updates", part)


def stages(kit):
    return {
        "pretrain": (pretrain.run, kit.pretrain_config(Path(), 11)),
        "sft": (sft.run, sft_config(kit, Path())),
        "reward": (reward.run, reward_config(kit, Path())),
        "reward with ties": (
            reward.run,
            replace(reward_config(kit, Path()), objective=Ranking(kind="davidson")),
        ),
        "ppo": (ppo.run, ppo_config(kit, Path())),
        "dpo": (dpo.run, dpo_config(kit, Path())),
        "kto": (dpo.run, kto_config(kit, Path())),
    }


@pytest.mark.parametrize(
    ("stage", "n_updates"),
    [
        ("pretrain", 7),
        ("sft", 5),
        ("reward", 5),
        ("reward with ties", 5),
        ("ppo", 13),
        ("dpo", 7),
        ("kto", 9),
    ],
)
def test_a_stage_resumes_bit_for_bit(trained, tmp_path, stage, n_updates):
    run, config = stages(trained)[stage]
    whole = run(replace(config, out=tmp_path / "whole"))
    resumed = replace(config, out=tmp_path / "cut")
    # Both runs compute alike: which kernels are fastest is measured once a run, and noise may decide it.
    resumed.out.mkdir()
    copy(whole / "machine.json", resumed.out)
    with pytest.MonkeyPatch.context() as patch:
        cut_after(patch, n_updates)
        with pytest.raises(Cut):
            run(resumed)
    assert not (resumed.out / "model").exists()
    run(resumed)
    a = load_file(whole / "model" / "model.safetensors")
    b = load_file(resumed.out / "model" / "model.safetensors")
    assert a.keys() == b.keys()
    for name in a:
        assert_close(a[name], b[name], rtol=0, atol=0)
    steps = [[line["step"] for line in metrics(path) if "loss" in line] for path in (whole, resumed.out)]
    assert steps[0] == steps[1] == list(range(1, len(steps[0]) + 1))


def metrics(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_a_finished_stage_is_not_done_again(trained):
    before = (trained.root / "sft" / "summary.json").stat().st_mtime_ns
    sft.run(sft_config(trained, trained.root / "sft"))
    assert (trained.root / "sft" / "summary.json").stat().st_mtime_ns == before


def test_a_resumed_run_whose_settings_changed_is_refused(trained):
    changed = replace(sft_config(trained, trained.root / "sft"), n_epochs=4)
    with pytest.raises(ConfigError, match=r"n_epochs was 3\.0, is 4"):
        sft.run(changed)


def test_before_the_first_update_the_ratio_is_one(trained, tmp_path):
    out = ppo.run(replace(ppo_config(trained, tmp_path / "ppo"), n_episodes=8))
    first = next(line for line in metrics(out) if "ratio" in line)
    assert abs(first["ratio"] - 1) < 1e-5
    assert first["approx_kl"] < 1e-9
    rollout = next(line["rollout"] for line in metrics(out) if "rollout" in line)
    dtype = json.loads((out / "machine.json").read_text())["dtype"]  # whichever was faster here
    assert rollout["sampler_gap"] < {"float32": 1e-4, "bfloat16": 0.02}[dtype]
    assert abs(rollout["kl"]) < 1e-4  # the policy still is the reference


def test_the_reward_model_scores_demonstrations_at_zero_on_average(trained):
    from danlu.data.chats import read_chats
    from danlu.model.hf import load_score_model
    from danlu.recipes.score_scale import centre
    from danlu.recipes.stage import chat_format_of

    model = load_score_model(trained.reward_model)
    chats = read_chats(trained.chats)
    before = float(model.shift)
    assert abs(before) > 1e-6
    assert abs(centre(model, chats, chat_format_of(trained.reward_model)) - before) < 0.02  # bfloat16
