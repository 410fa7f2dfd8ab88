"""The files of a model directory: none is ever half-written, and all are checked when read."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from danlu.model.tensor_file import ModelFileError, Stored, ToWrite, scan_file, settle, write_file

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
WEIGHT_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
MAX_SHARD_BYTES = 5_000_000_000
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], **header: str) -> None:
    """Write one safetensors file."""
    write_file(path, {name: ToWrite(t.dtype, t.shape, lambda t=t: t) for name, t in tensors.items()}, header)


def write_shards(path: Path, tensors: Mapping[str, ToWrite], max_bytes: int = MAX_SHARD_BYTES) -> None:
    """Write a model directory's weights: one file, or several of up to `max_bytes` and their index."""
    shards = _shares(tensors, max_bytes)
    if len(shards) == 1:
        write_file(path / SINGLE, tensors, {})
        (path / INDEX).unlink(missing_ok=True)  # an older, larger model's
        return
    names = [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        write_file(path / name, {key: tensors[key] for key in shard}, {})
    total = sum(each.n_bytes for each in tensors.values())
    where = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
    write_json(path / INDEX, {"metadata": {"total_size": total}, "weight_map": where})
    (path / SINGLE).unlink(missing_ok=True)


def _shares(tensors: Mapping[str, ToWrite], max_bytes: int) -> list[list[str]]:
    """Names in their order, cut where a file would become too large."""
    shares: list[list[str]] = [[]]
    room = max_bytes
    for name, each in tensors.items():
        if shares[-1] and each.n_bytes > room:
            shares.append([])
            room = max_bytes
        shares[-1].append(name)
        room -= each.n_bytes
    return shares


def write_json(path: Path, tree: Mapping[str, Any]) -> None:
    settle(path, [(json.dumps(tree, indent=2, ensure_ascii=False) + "\n").encode("utf-8")])


def read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelFileError(f"{path} is missing; a model directory holds config.json and {SINGLE}")
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not UTF-8
        raise ModelFileError(f"{path} is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise ModelFileError(f"{path} holds a {type(tree).__name__}; it must be a JSON object")
    return tree


def scan_tensors(path: Path) -> dict[str, Stored]:
    """All tensors of a model directory, unread, of one file or of several named by an index."""
    index = path / INDEX
    if not index.is_file():
        return scan(path / SINGLE)[0]
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict):
        raise ModelFileError(f"{index} has no weight_map; it must name the file of each tensor")
    tensors: dict[str, Stored] = {}
    for name in sorted({str(file) for file in names.values()}):
        if Path(name).name != name:
            raise ModelFileError(f"{index} names {name!r}; files must lie beside the index")
        found = scan(path / name)[0]
        if twice := sorted(tensors.keys() & found.keys()):
            raise ModelFileError(f"{path / name}: {', '.join(twice)} stand in another file too")
        tensors |= found
    return tensors


def scan(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """As `scan_file`; where there is no such file, the message tells what lies there instead."""
    if path.is_file():
        return scan_file(path)
    pickled = sorted({found.name for pattern in PICKLES for found in path.parent.glob(pattern)})
    if not pickled:
        raise ModelFileError(f"{path} is missing; weights are read from safetensors files only")
    raise ModelFileError(
        f"{path.parent} holds {', '.join(pickled)} and no {path.name}; weights are read from "
        "safetensors files only, for to open a pickle is to run what it holds. If you trust it, convert it "
        "elsewhere: with transformers, AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(NEW_DIR)"
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a model directory."""
    return {name: stored.read() for name, stored in scan_tensors(path).items()}


def read_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of one file, and what its header says besides."""
    stored, header = scan(path)
    return {name: each.read() for name, each in stored.items()}, header


class Shaped(Protocol):
    """A tensor, or one that is still to be read."""

    @property
    def shape(self) -> torch.Size: ...

    @property
    def dtype(self) -> torch.dtype: ...


def check_tensors(
    path: Path,
    found: Mapping[str, Shaped],
    wanted: Mapping[str, torch.Size],
    config: str = "config.json",
    dtypes: Collection[torch.dtype] = WEIGHT_DTYPES,
) -> None:
    """Insist that a directory holds exactly the tensors that its config file promises."""
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or unknown:
        raise ModelFileError(
            f"{path} does not hold the weights that its {config} describes: "
            f"missing {', '.join(missing) or 'none'}, unknown {', '.join(unknown) or 'none'}"
        )
    wrong = [
        f"{name} has shape {tuple(found[name].shape)}; by {config} it is {tuple(shape)}"
        for name, shape in wanted.items()
        if found[name].shape != shape
    ]
    if wrong:
        raise ModelFileError(f"{path}: {'; '.join(wrong)}")
    for name in wanted:
        if found[name].dtype not in dtypes:
            raise ModelFileError(
                f"{path}: {name} is {found[name].dtype}, and {config} names no quantisation; weights are "
                f"{', '.join(str(dtype).removeprefix('torch.') for dtype in dtypes)}"
            )
