import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from danlu.train import checkpoint as module
from danlu.train.checkpoint import (
    LATEST,
    CheckpointError,
    atomic_folder,
    load_latest,
    restore,
    save_checkpoint,
)
from danlu.train.optim import OptimConfig, build_optimizer


def trained(n_updates, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    optimizer = build_optimizer(model, OptimConfig(kind="muon", lr=0.1))
    for _ in range(n_updates):
        update(model, optimizer)
    return model, optimizer


def update(model, optimizer):
    model(torch.ones(3, 4)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_a_restored_run_goes_on_bit_for_bit(tmp_path):
    model, optimizer = trained(3)
    save_checkpoint(tmp_path, 3, model, optimizer, {"position": 7})
    other, other_optimizer = trained(0, seed=1)
    latest = load_latest(tmp_path)
    assert (latest.step, latest.extra) == (3, {"position": 7})
    restore(latest, other, other_optimizer)
    for _ in range(2):
        update(model, optimizer)
        update(other, other_optimizer)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert_close(a, b, rtol=0, atol=0)


def test_only_the_last_two_stay(tmp_path):
    model, optimizer = trained(1)
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, model, optimizer, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == [LATEST, "step-2", "step-3"]


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


CALLS = ("fsync", "rename", "replace", "unlink", "mkdir")


def kill_at(monkeypatch, k):
    """Let the k-th call that touches the disk raise, and return how many there were."""
    count = 0

    def spy(real):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == k:
                raise Killed
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(os, "fsync", spy(os.fsync))
    for name in CALLS[1:]:
        monkeypatch.setattr(Path, name, spy(getattr(Path, name)))
    monkeypatch.setattr(module.shutil, "rmtree", spy(module.shutil.rmtree))
    monkeypatch.setattr(module, "save_file", spy(module.save_file))
    return lambda: count


def test_a_kill_at_any_instant_leaves_the_old_or_the_new_checkpoint_whole(tmp_path):
    model, optimizer = trained(2)
    k, seen = 0, set()
    while True:
        k += 1
        folder = tmp_path / str(k)
        folder.mkdir()
        save_checkpoint(folder, 1, model, optimizer, {"n": 1})
        save_checkpoint(folder, 2, model, optimizer, {"n": 2})
        with pytest.MonkeyPatch.context() as patch:
            calls = kill_at(patch, k)
            with suppress(Killed):
                save_checkpoint(folder, 3, model, optimizer, {"n": 3})
            done = calls() < k
        latest = load_latest(folder)
        assert latest.extra == {"n": latest.step}
        assert latest.step in (2, 3)
        seen.add(latest.step)
        save_checkpoint(folder, 3, model, optimizer, {"n": 3})
        assert load_latest(folder).step == 3
        if done:
            break
    assert seen == {2, 3}
    assert k > 10


def test_a_damaged_file_is_named(tmp_path):
    model, optimizer = trained(1)
    path = save_checkpoint(tmp_path, 1, model, optimizer, {})
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged"):
        load_latest(tmp_path)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: missing"):
        load_latest(tmp_path)


def test_a_foreign_marker_is_refused(tmp_path):
    (tmp_path / LATEST).write_text("step-1")
    with pytest.raises(CheckpointError, match="not written by danlu"):
        load_latest(tmp_path)


def test_another_models_checkpoint_is_refused(tmp_path):
    model, optimizer = trained(1)
    save_checkpoint(tmp_path, 1, model, optimizer, {})
    wider = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    with pytest.raises(CheckpointError, match=r"0\.bias has shape \(4,\); the model here needs \(5,\)"):
        restore(load_latest(tmp_path), wider, build_optimizer(wider, OptimConfig()))
    deeper = nn.Sequential(*model, nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match="belongs to another model"):
        restore(load_latest(tmp_path), deeper, build_optimizer(deeper, OptimConfig()))


def test_a_full_disk_says_so_and_keeps_what_was_saved(tmp_path, monkeypatch):
    model, optimizer = trained(1)
    save_checkpoint(tmp_path, 1, model, optimizer, {})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(CheckpointError, match=r"disk is full .* saved before is untouched"):
        save_checkpoint(tmp_path, 2, model, optimizer, {})
    assert load_latest(tmp_path).step == 1
    assert not list(tmp_path.glob("*.tmp"))


def test_a_folder_replaces_another_only_when_its_body_ends_well(tmp_path):
    target = tmp_path / "model"
    with atomic_folder(target) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(ZeroDivisionError):
        fill_and_fail(target)
    assert (target / "a").read_text() == "old"
    with atomic_folder(target) as folder:
        (folder / "b").write_text("new")
    assert [p.name for p in target.iterdir()] == ["b"]


def fill_and_fail(target):
    with atomic_folder(target) as folder:
        (folder / "a").write_text("half")
        raise ZeroDivisionError


def test_the_marker_holds_a_digest_of_every_file(tmp_path):
    model, optimizer = trained(1)
    path = save_checkpoint(tmp_path, 1, model, optimizer, {})
    digests = json.loads((tmp_path / LATEST).read_text())["sha256"]
    assert digests.keys() == {p.name for p in path.iterdir()}
