"""Stages with an adapter: what they train, what they leave behind, and who can read it."""

import json
from dataclasses import replace
from shutil import copy

import pytest
import torch
from safetensors.torch import load_file
from test_resume import Cut, cut_after, dpo_config, ppo_config, reward_config, sft_config
from torch.testing import assert_close

from danlu.adapters.attach import adapted_layers, adapters_off
from danlu.adapters.files import load_adapter
from danlu.adapters.settings import AdapterConfig, Bottleneck, Budget, VirtualTokens
from danlu.cli import main
from danlu.config import ConfigError, load
from danlu.model.hf import load_language_model, load_score_model
from danlu.objectives.preference import Preference
from danlu.recipes import dpo, ppo, pretrain, reward, sft
from danlu.recipes.ppo import build_team
from danlu.recipes.speaker import load_speaker
from danlu.recipes.stage import chat_format_of
from danlu.tokenizer.bpe import Tokenizer
from danlu.train.run import open_run

LORA = AdapterConfig(kind="lora", rank=4, alpha=8.0)
IDS = torch.randint(1, 300, (2, 12), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def adapted(kit):
    """Models that were trained whole, and the same stages with an adapter."""
    pretrain.run(kit.pretrain_config(kit.root / "pretrain", 12))
    sft.run(sft_config(kit, kit.root / "sft"))
    sft.run(replace(sft_config(kit, kit.root / "sft-lora"), adapter=LORA))
    reward.run(replace(reward_config(kit, kit.root / "reward-lora"), adapter=LORA))
    return kit


def test_sft_trains_the_adapter_and_leaves_the_base_alone(adapted):
    run = adapted.root / "sft-lora"
    model, base = load_adapter(run / "adapter"), load_language_model(adapted.base)
    assert len(adapted_layers(model)) == 2 * 7
    updates = [layer.adapters["default"] for layer in adapted_layers(model).values()]
    assert all(update.lora_b.abs().max() > 1e-4 for update in updates)
    with adapters_off(model):
        assert torch.equal(model(IDS), base(IDS))
    assert float((model(IDS) - base(IDS)).detach().abs().max()) > 1e-3
    losses = [line["loss"] for line in metrics(run) if "loss" in line]
    assert losses[-1] < losses[0]


def test_the_merged_model_answers_as_the_adapter_on_its_base(adapted):
    run = adapted.root / "sft-lora"
    assert_close(
        load_language_model(run / "model")(IDS), load_adapter(run / "adapter")(IDS), atol=1e-4, rtol=0
    )
    reward_run = adapted.root / "reward-lora"
    merged, on_base = load_score_model(reward_run / "model"), load_adapter(reward_run / "adapter")
    assert float(on_base.shift) == float(merged.shift) != 0.0
    assert_close(merged(IDS), on_base(IDS), atol=1e-4, rtol=0)


def metrics(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_an_adapter_directory_speaks_as_the_merged_model_does(adapted, capsys):
    run = adapted.root / "sft-lora"
    said = []
    for path in (run, run / "model", run / "adapter"):
        assert main(["generate", str(path), "What colour is snow?", "sampling.temperature=0"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] == said[2] != "\n"


def test_without_merging_there_is_an_adapter_only_and_it_is_found(adapted, tmp_path):
    config = replace(sft_config(adapted, tmp_path / "sft"), adapter=replace(LORA, merge=False), n_epochs=1.0)
    sft.run(config)
    assert not (config.out / "model").exists()
    assert adapted_layers(load_speaker(config.out).model)
    assert {p.name for p in (config.out / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip


def test_an_adapter_of_a_score_model_does_not_speak(adapted):
    with pytest.raises(ValueError, match="adapts a score model"):
        load_speaker(adapted.root / "reward-lora" / "adapter")


def test_a_stage_does_not_begin_from_an_adapter(adapted, tmp_path):
    config = replace(sft_config(adapted, tmp_path / "x"), base=adapted.root / "sft-lora" / "adapter")
    with pytest.raises(ConfigError, match="holds an adapter; a stage begins from a model directory"):
        sft.run(config)


@pytest.mark.parametrize("command", ["model", "import"])
def test_an_adapter_alone_is_no_model_to_tell_of_or_take_in(adapted, command, tmp_path, capsys):
    out = [str(tmp_path / "x")] if command == "import" else []
    assert main([command, str(adapted.root / "sft-lora" / "adapter"), *out]) == 2
    assert "holds an adapter; merge it first, with `danlu export" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_checkpoints_hold_what_is_trained_and_nothing_else(adapted):
    (checkpoint,) = sorted((adapted.root / "sft-lora" / "checkpoints").glob("step-*"))[-1:]
    assert {name.rpartition(".")[2] for name in load_file(checkpoint / "model.safetensors")} == {
        "lora_a", "lora_b",
    }  # fmt: skip


def test_a_stage_with_an_adapter_and_dropout_resumes_bit_for_bit(adapted, tmp_path):
    config = replace(sft_config(adapted, tmp_path / "whole"), adapter=replace(LORA, dropout=0.3))
    assert_resumes(sft.run, config, tmp_path, 5)


def assert_resumes(run, config, tmp_path, n_updates):
    whole = run(config)
    resumed = replace(config, out=tmp_path / "cut")
    resumed.out.mkdir()
    copy(whole / "machine.json", resumed.out)
    with pytest.MonkeyPatch.context() as patch:
        cut_after(patch, n_updates)
        with pytest.raises(Cut):
            run(resumed)
    run(resumed)
    a, b = (load_file(path / "adapter" / "adapter_model.safetensors") for path in (whole, resumed.out))
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name])


def adapted_ppo(kit, out):
    return replace(
        ppo_config(kit, out),
        adapter=LORA,
        policy=kit.chat_model,
        reward_model=kit.root / "reward-lora" / "adapter",
    )


def test_ppo_with_adapters_resumes_bit_for_bit(adapted, tmp_path):
    config = replace(adapted_ppo(adapted, tmp_path / "whole"), n_episodes=16, save_every=1)
    assert_resumes(ppo.run, config, tmp_path, 5)


def test_the_team_of_four_stands_on_one_base(adapted, tmp_path):
    config = adapted_ppo(adapted, tmp_path / "ppo")
    team = build_team(config, chat_format_of(config.policy), open_run(config.out, config))
    policy, value, reference = team.trained.policy, team.trained.value, team.reference
    separate = load_language_model(config.policy)
    base = {p.data_ptr() for p in reference.parameters()}
    for model in (policy, value):
        own = [name for name, p in model.named_parameters() if p.data_ptr() not in base]
        assert own == [name for name, p in model.named_parameters() if p.requires_grad]
        assert all("lora_" in name or name == "score.weight" for name in own)
    separate.backbone.compute_dtype = reference.backbone.compute_dtype
    separate.backbone.run_blocks = reference.backbone.run_blocks
    assert torch.equal(reference(IDS), separate(IDS))
    assert torch.equal(policy(IDS), separate(IDS))  # the update begins at zero
    with adapters_off(policy):
        assert torch.equal(policy(IDS), separate(IDS))
    assert torch.equal(value(IDS), load_as(reference, config.reward_model)(IDS))


def load_as(reference, path):
    """A score model from its directory, computing as `reference` does."""
    model = load_adapter(path).eval()
    model.backbone.compute_dtype = reference.backbone.compute_dtype
    model.backbone.run_blocks = reference.backbone.run_blocks
    return model


def test_ppo_with_adapters_learns_and_samples_what_it_trains(adapted, tmp_path):
    out = ppo.run(replace(adapted_ppo(adapted, tmp_path / "ppo"), n_episodes=24))
    lines = metrics(out)
    first = next(line for line in lines if "ratio" in line)
    assert abs(first["ratio"] - 1) < 1e-5
    rollouts = [line["rollout"] for line in lines if "rollout" in line]
    assert len(rollouts) == 3
    assert rollouts[0]["kl"] == pytest.approx(0, abs=1e-4)
    assert abs(rollouts[-1]["kl"]) > 1e-6  # the policy has left its reference, which is its own base
    assert all(rollout["sampler_gap"] < 1e-2 for rollout in rollouts)
    with adapters_off(policy := load_adapter(out / "adapter")):
        assert torch.equal(policy(IDS), load_language_model(adapted.chat_model)(IDS))
    assert_close(load_language_model(out / "model")(IDS), policy(IDS), atol=1e-4, rtol=0)


def test_a_whole_reward_model_lends_its_weights_to_the_value_model(adapted, tmp_path):
    config = replace(
        adapted_ppo(adapted, tmp_path / "ppo"), reward_model=adapted.root / "reward-lora" / "model"
    )
    team = build_team(config, chat_format_of(config.policy), open_run(config.out, config))
    value, merged = team.trained.value, load_score_model(config.reward_model)
    trained = [name for name, p in value.named_parameters() if p.requires_grad]
    assert all("lora_" in name or name == "score.weight" for name in trained)
    merged.backbone.compute_dtype = value.backbone.compute_dtype
    merged.backbone.run_blocks = value.backbone.run_blocks
    assert torch.equal(value(IDS), merged(IDS))


def test_dropout_is_refused_in_ppo(kit, tmp_path):
    with pytest.raises(ConfigError, match=r"adapter\.dropout is 0\.1; it must be 0 in PPO"):
        replace(ppo_config(kit, tmp_path), adapter=replace(LORA, dropout=0.1))


def test_the_command_line_sets_the_adapter():
    words = ["base=a", "data=b", "out=c", "adapter.kind=lora", "adapter.rank=4", "adapter.targets=q,v"]
    assert load(sft.SftConfig, None, words).adapter == AdapterConfig(kind="lora", rank=4, targets=("q", "v"))
    with pytest.raises(ConfigError, match=r"adapter\.rank is set, but kind is 'none'"):
        load(sft.SftConfig, None, [*words[:3], "adapter.rank=4"])


KINDS = {
    "dora": AdapterConfig(kind="dora", rank=4, alpha=8.0),
    "adalora": AdapterConfig(
        kind="adalora", rank=4, alpha=8.0, budget=Budget(final_rank=2, every=2, keep_last=0.4)
    ),
    "ia3": AdapterConfig(kind="ia3"),
    "houlsby": AdapterConfig(kind="houlsby", bottleneck=Bottleneck(width=4)),
    "pfeiffer": AdapterConfig(kind="pfeiffer", bottleneck=Bottleneck(width=4)),
    "prefix": AdapterConfig(kind="prefix", virtual=VirtualTokens(n=3, width=8)),
    "p_tuning_v2": AdapterConfig(kind="p_tuning_v2", virtual=VirtualTokens(n=3)),
    "prompt": AdapterConfig(kind="prompt", virtual=VirtualTokens(n=3, init_text="It is")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_goes_through_every_stage(adapted, kind, tmp_path):
    """SFT, reward model, PPO with that reward model, and DPO: each trains the adapter and no base weight."""
    adapter = KINDS[kind]
    quick = {"n_epochs": 1.0, "adapter": adapter}
    outs = [sft.run(replace(sft_config(adapted, tmp_path / "sft"), **quick))]
    outs += [reward.run(replace(reward_config(adapted, tmp_path / "reward"), **quick))]
    config = replace(
        adapted_ppo(adapted, tmp_path / "ppo"),
        adapter=adapter,
        reward_model=tmp_path / "reward" / "adapter",
        n_episodes=16,
    )
    outs += [ppo.run(config)]
    outs += [dpo.run(replace(dpo_config(adapted, tmp_path / "dpo"), **quick))]
    for out, base in zip(outs, (adapted.base, *[adapted.chat_model] * 3), strict=True):
        model = load_adapter(out / "adapter")
        with torch.no_grad():
            if out.name != "reward":
                before = load_language_model(base)(IDS)
                assert float((model(IDS) - before).abs().max()) > 1e-6
                with adapters_off(model):
                    assert torch.equal(model(IDS), before)
        assert (out / "model").exists() == adapter.merges
    rollouts = [line["rollout"] for line in metrics(tmp_path / "ppo") if "rollout" in line]
    assert abs(rollouts[0]["kl"]) < 1e-3 or not adapter.merges
    assert all(rollout["sampler_gap"] < 1e-2 for rollout in rollouts)


def test_the_budget_of_adalora_is_traced_in_the_metrics(adapted, tmp_path):
    config = replace(sft_config(adapted, tmp_path / "sft"), adapter=KINDS["adalora"])
    lines = metrics(sft.run(config))
    budgets = [line["budget"] for line in lines if "budget" in line]
    assert len(budgets) > 1
    kept = [budget["kept"] for budget in budgets]
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] == 2 * 14
    assert sum(budgets[-1]["ranks"].values()) == kept[-1]
    assert all(line["orthogonality"] > 0 for line in lines if "loss" in line)
    zeros = [
        int((tensor == 0).sum())
        for name, tensor in load_file(config.out / "adapter" / "adapter_model.safetensors").items()
        if name.endswith("lora_E")
    ]
    assert sum(zeros) == 2 * 14


def test_adalora_resumes_bit_for_bit(adapted, tmp_path):
    config = replace(sft_config(adapted, tmp_path / "whole"), adapter=KINDS["adalora"])
    assert_resumes(sft.run, config, tmp_path, 5)


def test_dpo_with_an_adapter_has_its_base_as_reference(adapted, tmp_path):
    config = replace(dpo_config(adapted, tmp_path / "dpo"), adapter=LORA)
    n_tokens = Tokenizer.load(config.policy).vocab_size
    policy, reference = dpo.load_pair(config, n_tokens)
    shared = {p.data_ptr() for p in reference.parameters()}
    assert all(p.data_ptr() in shared for p in policy.parameters() if not p.requires_grad)
    assert torch.equal(policy(IDS), reference(IDS))
    assert dpo.load_pair(replace(config, objective=Preference(variant="simpo")), n_tokens)[1] is None
    lines = metrics(dpo.run(config))
    first = next(line for line in lines if "preference" in line)
    assert first["preference"] == pytest.approx(0.6931, abs=1e-3)  # log 2: the two are alike
    with pytest.raises(ConfigError, match=r"adapter\.dropout is 0\.1; it must be 0 here"):
        replace(config, adapter=replace(LORA, dropout=0.1))


def test_adapters_are_added_up_on_the_command_line(adapted, tmp_path, capsys):
    first, second = adapted.root / "sft-lora", tmp_path / "second"
    sft.run(replace(sft_config(adapted, second), adapter=KINDS["ia3"], n_epochs=1.0))
    words = [str(tmp_path / "sum"), f"adapters={first},{second}/adapter", "factors=1,-0.5"]
    assert main(["merge", *words]) == 0
    base = dict(load_language_model(adapted.base).named_parameters())
    parts = [dict(load_language_model(run / "model").named_parameters()) for run in (first, second)]
    for name, weight in load_language_model(tmp_path / "sum").named_parameters():
        wanted = base[name] + (parts[0][name] - base[name]) - 0.5 * (parts[1][name] - base[name])
        assert_close(weight, wanted, atol=1e-5, rtol=1e-5)
    capsys.readouterr()
    sft.run(replace(sft_config(adapted, tmp_path / "prompt"), adapter=KINDS["prompt"], n_epochs=1.0))
    for wrong, message in (
        (["factors=1"], "factors has 1 numbers; it must have one for each of the 2 adapters"),
        ([f"adapters={tmp_path}/prompt"], "is of kind 'prompt', which no weight can stand for"),
        (
            [f"adapters={first},{adapted.root}/reward-lora"],
            "can be added on one base only",
        ),
    ):
        assert main(["merge", str(tmp_path / "wrong"), words[1], *wrong]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "wrong").exists()
