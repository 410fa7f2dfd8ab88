"""safetensors files: written so that a reader sees the old one or the new one, and checked when read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from danlu.config import ConfigError


class ModelFileError(ConfigError):
    """A model directory cannot be used; the message says where, what was found, what would be right."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], **header: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    save_file(dict(tensors), temporary, metadata={"format": "pt", **header})
    _settle(temporary, path)


def write_json(path: Path, tree: Mapping[str, Any]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(tree, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    _settle(temporary, path)


def _settle(temporary: Path, path: Path) -> None:
    """Rename into place once the bytes are on the disk, so that no half-written file ever has the name."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelFileError(f"{path} is missing; a model directory holds config.json and model.safetensors")
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not UTF-8
        raise ModelFileError(f"{path} is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise ModelFileError(f"{path} holds a {type(tree).__name__}; it must be a JSON object")
    return tree


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a model directory, of one file or of several named by an index."""
    index = path / "model.safetensors.index.json"
    if not index.is_file():
        return read_file(path / "model.safetensors")[0]
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict):
        raise ModelFileError(f"{index} has no weight_map; it must name the file of each tensor")
    tensors: dict[str, Tensor] = {}
    for name in sorted({str(file) for file in names.values()}):
        if Path(name).name != name:
            raise ModelFileError(f"{index} names {name!r}; files must lie beside the index")
        tensors |= read_file(path / name)[0]
    return tensors


def read_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of one file, and what its header says besides."""
    if not path.is_file():
        raise ModelFileError(f"{path} is missing; weights are read from safetensors files only")
    try:
        # Copies: a mapped file that is cut short later would take the process with it.
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a mapping)
            return tensors, dict(file.metadata() or {})
    except SafetensorError as error:
        raise ModelFileError(
            f"{path} is cut short, corrupt or not a safetensors file ({error}); fetch or save it again"
        ) from error


def check_tensors(
    path: Path,
    found: Mapping[str, Tensor],
    wanted: Mapping[str, torch.Size],
    config: str = "config.json",
) -> None:
    """Insist that a directory holds exactly the tensors that its config file promises."""
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or unknown:
        raise ModelFileError(
            f"{path} does not hold the weights that its {config} describes: "
            f"missing {_few(missing)}, unknown {_few(unknown)}"
        )
    for name, shape in wanted.items():
        if found[name].shape != shape:
            raise ModelFileError(
                f"{path}: {name} has shape {tuple(found[name].shape)}; by {config} it is {tuple(shape)}"
            )
        if not found[name].is_floating_point():
            raise ModelFileError(f"{path}: {name} is {found[name].dtype}; quantised weights cannot be read")


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:3]) or "none"
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
