"""Two processes change nothing beyond rounding: the same command, alone and started twice by torchrun."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from test_resume import metrics, reward_config, sft_config

from danlu.adapters.settings import AdapterConfig
from danlu.config import ConfigError, to_toml
from danlu.data.chats import read_chats
from danlu.model.config import PatchConfig
from danlu.model.hf import load_language_model
from danlu.objectives.token_loss import TokenLoss
from danlu.recipes import pretrain, reward, sft
from danlu.recipes.sft import batches_of
from danlu.recipes.stage import chat_format_of
from danlu.train.loop import LoopConfig, total_weights
from danlu.train.optim import OptimConfig
from danlu.train.parallel import Together, rows_each
from danlu.world.scene import COLOURS, Thing
from danlu.world.seeing import data_url

ADAMW = OptimConfig(lr=1e-3)


def machine(out):
    """What would be measured, set: both runs must compute alike."""
    out.mkdir(parents=True)
    (out / "machine.json").write_text(json.dumps({"dtype": "float32", "kernels": "plain", "threads": 1}))


def started_twice(command, config, folder):
    """Run a stage as torchrun's two processes."""
    file = folder / "settings.toml"
    file.write_text(to_toml(config), encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, "-m", "danlu", command, str(file)], check=True, env=environment, timeout=300)


def uneven_chats(folder):
    """Chats whose answers differ in length, so that the processes count different numbers of targets."""
    question = {"role": "user", "content": "What colour is snow?"}
    answers = [" ".join(["white"] * (1 + i % 3)) for i in range(16)]
    turns = [[question, {"role": "assistant", "content": answer}] for answer in answers]
    path = folder / "uneven.jsonl"
    path.write_text("".join(json.dumps({"messages": each}) + "\n" for each in turns), encoding="utf-8")
    return path


def few_pictures(folder):
    """The same chats, some with a picture: in most batches one process has none, in others both."""
    lines = uneven_chats(folder).read_text(encoding="utf-8").splitlines()
    chats = [json.loads(line) for line in lines]
    for number in (2, 3, 9):
        shown = data_url((Thing("ring", list(COLOURS)[number % 6], 1, 1),))
        said = chats[number]["messages"][0]
        parts = [
            {"type": "image_url", "image_url": {"url": shown}},
            {"type": "text", "text": said["content"]},
        ]
        chats[number]["messages"][0] = {**said, "content": parts}
    path = folder / "few_pictures.jsonl"
    path.write_text("".join(json.dumps(chat) + "\n" for chat in chats), encoding="utf-8")
    return path


def settings(kit, stage, out):
    if stage == "pretrain":
        return kit.pretrain_config(out, 6, loop=LoopConfig(n_steps=6, grad_accum_steps=2), optim=ADAMW)
    config = replace(sft_config(kit, out), batch_size=4, data=uneven_chats(kit.root), optim=ADAMW)
    if stage == "sft with pictures":
        small = PatchConfig(side=8, patch=4, d_model=16, n_layers=1, n_heads=2, d_ff=16)
        return replace(config, data=few_pictures(kit.root), see=True, pictures=small)
    return config if stage == "sft" else replace(config, adapter=AdapterConfig(kind="lora", rank=4))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["pretrain", "sft", "sft with an adapter", "sft with pictures"])
def test_two_processes_end_where_one_does(kit, tmp_path, stage):
    command, run = ("pretrain", pretrain.run) if stage == "pretrain" else ("sft", sft.run)
    pretrain.run(kit.pretrain_config(kit.root / "pretrain", 12))
    one, two = (settings(kit, stage, tmp_path / name) for name in ("one", "two"))
    for config in (one, two):
        machine(config.out)
    run(one)
    started_twice(command, two, tmp_path)
    before = {} if stage == "pretrain" else load_file(kit.base / "model.safetensors")
    a, b = (load_file(config.out / "model" / "model.safetensors") for config in (one, two))
    assert a.keys() == b.keys()
    before = {name: weight for name, weight in before.items() if weight.shape == a[name].shape}
    for name in a:
        assert float((a[name] - b[name]).abs().max()) < 2e-5
    assert not before or any(float((a[name] - before[name]).abs().max()) > 1e-3 for name in before)
    first, second = ([line for line in metrics(c.out) if "loss" in line] for c in (one, two))
    assert [line["step"] for line in second] == [line["step"] for line in first]  # written once
    for ours, theirs in zip(second, first, strict=True):
        for name in ("loss", "nll", "grad_norm", "tokens"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4)


def test_each_process_gets_its_rows_of_the_same_batch(kit):
    pretrain.run(kit.pretrain_config(kit.root / "pretrain", 12))
    chat_format, config = chat_format_of(kit.base), replace(sft_config(kit, kit.root / "x"), batch_size=4)
    chats = read_chats(uneven_chats(kit.root))
    whole = batches_of(chats, chat_format, config, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("danlu.train.parallel.world", lambda: 2)
        parts = [batches_of(chats, chat_format, config, 0, (rank, 2)) for rank in (0, 1)]
    uneven = 0
    for _ in range(5):
        first, second = (next(part) for part in parts)
        assert torch.equal(torch.cat([first.input_ids, second.input_ids]), next(whole).input_ids)
        uneven += int(first.loss_mask.sum() != second.loss_mask.sum())
    assert uneven  # or dividing by each process's own count would pass for right


def test_together_but_alone_an_objective_is_itself(kit, tmp_path):
    """One process in the group: values, weights and gradients are the plain objective's."""
    pretrain.run(kit.pretrain_config(kit.root / "pretrain", 12))
    batch = next(
        batches_of(read_chats(kit.chats), chat_format_of(kit.base), sft_config(kit, tmp_path), seed=0)
    )
    plain, shared = load_language_model(kit.base), load_language_model(kit.base)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        together = Together(shared, TokenLoss())
        assert total_weights(together, [batch], 0) == total_weights(TokenLoss(), [batch], 0)
        losses = [TokenLoss()(plain, batch), together(shared, batch)]
        for loss in losses:
            loss.terms["nll"].total.backward()
    finally:
        dist.destroy_process_group()
    values = [float(loss.terms["nll"].total.detach()) for loss in losses]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    for ours, theirs in zip(shared.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)


def test_a_stage_for_one_process_refuses_to_be_started_twice(kit, tmp_path, monkeypatch):
    pretrain.run(kit.pretrain_config(kit.root / "pretrain", 12))
    monkeypatch.setenv("WORLD_SIZE", "2")
    config = replace(reward_config(kit, tmp_path / "reward"), base=kit.base)
    with pytest.raises(ConfigError, match="2 processes were started, but this command runs in one"):
        reward.run(config)
    assert not config.out.exists()


def test_a_batch_that_cannot_be_shared_out_is_refused(monkeypatch):
    monkeypatch.setattr("danlu.train.parallel.world", lambda: 2)
    with pytest.raises(ConfigError, match="batch_size is 3; it must be a multiple of the 2 processes"):
        rows_each(3)
