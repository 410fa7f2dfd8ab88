"""Checkpoints that survive a kill at any instant: the old one or the new one is whole, never neither.

A checkpoint is a folder of safetensors and JSON. It is written under a temporary name, flushed to the disk
and renamed; only then is the file `LATEST`, which holds the SHA-256 of every file, replaced atomically.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from danlu.train.optim import Optimizers

LATEST = "LATEST"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or must not be read; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified checkpoint on disk."""

    path: Path
    step: int  # weight updates done
    extra: Mapping[str, Any]  # where the batches stand and whatever else the stage must carry on with


def save_checkpoint(
    folder: Path,
    step: int,
    model: nn.Module,
    optimizer: Optimizers,
    extra: Mapping[str, Any],
    *,
    keep: int = 2,
) -> Path:
    """Write `folder/step-N` whole or not at all, then let `LATEST` name it; older ones beyond `keep` go."""
    target = folder / f"step-{step}"
    if latest_step(folder) == step:
        return target
    with atomic_folder(target) as temporary:
        save_file(model_tensors(model), temporary / "model.safetensors")
        save_file(optimizer_tensors(model, optimizer), temporary / "optimizer.safetensors")
        write_durably(temporary / "state.json", json.dumps({"step": step, "extra": extra}))
    digests = {file.name: sha256(file) for file in sorted(target.iterdir())}
    replace_file(folder / LATEST, json.dumps({"step": step, "sha256": digests}))
    prune(folder, keep=keep, newest=step)
    return target


def load_latest(folder: Path) -> Checkpoint | None:
    """The checkpoint that `LATEST` names, checked byte for byte; None where there is none."""
    marker = folder / LATEST
    if not marker.exists():
        return None
    try:
        latest = json.loads(marker.read_text())
        path, digests = folder / f"step-{latest['step']}", latest["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{marker}: not written by danlu ({error}); remove {folder} to start over"
        ) from None
    for name, expected in digests.items():
        file = path / name
        if not file.exists():
            raise CheckpointError(f"{file}: missing, but {marker} names it; remove {folder} to start over")
        if sha256(file) != expected:
            raise CheckpointError(
                f"{file}: damaged (its SHA-256 differs from {marker}); remove {folder} to start over"
            )
    state = json.loads((path / "state.json").read_text())
    return Checkpoint(path, state["step"], state["extra"])


def read_latest(folder: Path) -> dict[str, Any] | None:
    """What `LATEST` says, or None where nothing was saved."""
    marker = folder / LATEST
    if not marker.exists():
        return None
    try:
        latest = json.loads(marker.read_text())
        return {"step": int(latest["step"]), "sha256": dict(latest["sha256"])}
    except (ValueError, KeyError, TypeError) as error:
        reason = f"not written by danlu ({error})"
        raise CheckpointError(f"{marker}: {reason}; remove {folder} to start over") from None


def latest_step(folder: Path) -> int | None:
    """Updates done in the newest whole checkpoint."""
    latest = read_latest(folder)
    return None if latest is None else latest["step"]


def restore(checkpoint: Checkpoint, model: nn.Module, optimizer: Optimizers) -> None:
    """Put weights and optimizer state back, bit for bit."""
    copy_tensors(checkpoint.path / "model.safetensors", named_tensors(model))
    stored = read_tensors(checkpoint.path / "optimizer.safetensors")
    by_name = dict(model.named_parameters())
    for key, tensor in stored.items():
        name, _, field = key.rpartition("/")
        if name not in by_name:
            raise CheckpointError(
                f"{checkpoint.path}: optimizer state for {name!r}, which this model does not have"
            )
        for part in optimizer.parts:
            if any(by_name[name] is p for group in part.param_groups for p in group["params"]):
                part.state[by_name[name]][field] = tensor


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Weights and kept buffers, tied ones once, ready to be written."""
    return {name: tensor.detach().contiguous() for name, tensor in named_tensors(model).items()}


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Live parameters that are trained, and persistent buffers, by name.

    What is frozen is read again from where it came from. `named_parameters` lists a tied weight once.
    """
    kept = model.state_dict().keys()
    trained = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
    return {name: t for name, t in chain(trained, model.named_buffers()) if name in kept}


def optimizer_tensors(model: nn.Module, optimizer: Optimizers) -> dict[str, Tensor]:
    """Moments and step counts as `parameter name/field`."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        for field, value in optimizer.state_of(parameter).items():
            tensors[f"{name}/{field}"] = torch.as_tensor(value).detach().contiguous().clone()
    return tensors


def copy_tensors(path: Path, into: Mapping[str, Tensor]) -> None:
    """Copy a safetensors file over live tensors; names and shapes must be the same."""
    stored = read_tensors(path)
    if stored.keys() != into.keys():
        odd = sorted(stored.keys() ^ into.keys())[:4]
        raise CheckpointError(f"{path}: belongs to another model; these tensors are not in both: {odd}")
    with torch.no_grad():
        for name, tensor in stored.items():
            if tensor.shape != into[name].shape:
                found, wanted = tuple(tensor.shape), tuple(into[name].shape)
                raise CheckpointError(f"{path}: {name} has shape {found}; the model here needs {wanted}")
            into[name].copy_(tensor)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file."""
    try:
        return load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from None


@contextmanager
def atomic_folder(target: Path) -> Generator[Path]:
    """Yield a temporary folder that takes the name `target`, replacing an old one, if the body ends well."""
    temporary, retired = target.with_name(target.name + ".tmp"), target.with_name(target.name + ".old")
    if retired.exists() and not target.exists():
        retired.rename(target)  # a kill fell between the two renames below
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            sync(file)
        sync(temporary)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"{target}: {explain(error, target)}; what was saved before is untouched"
        ) from error
    shutil.rmtree(retired, ignore_errors=True)
    if target.exists():
        target.rename(retired)
    temporary.rename(target)
    sync(target.parent)
    shutil.rmtree(retired, ignore_errors=True)


def explain(error: BaseException, target: Path) -> str:
    """A full disk in plain words; safetensors reports it only in its message."""
    full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
    if not full:
        return f"could not be written ({error})"
    free = shutil.disk_usage(target.parent).free // 2**20 if target.parent.exists() else 0
    return (
        f"could not be written, the disk is full ({free} MiB free); make room and run the same command again"
    )


def replace_file(path: Path, text: str) -> None:
    """Atomically give `path` a new content."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        write_durably(temporary, text)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path}: {explain(error, path)}; what was saved before is untouched"
        ) from error


def write_durably(path: Path, text: str) -> None:
    """Write and flush to the disk before returning."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prune(folder: Path, *, keep: int, newest: int) -> None:
    """Remove all but the last `keep` checkpoints and whatever a kill left half done."""
    steps = sorted(int(p.name.removeprefix("step-")) for p in folder.glob("step-*") if p.suffix == "")
    for step in [s for s in steps if s <= newest][:-keep] + [s for s in steps if s > newest]:
        shutil.rmtree(folder / f"step-{step}")
    for leftover in chain(folder.glob("step-*.tmp"), folder.glob("step-*.old")):
        shutil.rmtree(leftover, ignore_errors=True)
