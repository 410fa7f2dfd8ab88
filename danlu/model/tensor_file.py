"""One safetensors file: looked at without reading it, read a tensor at a time, written a tensor at a time.

Bytes go from the file straight into a tensor's own memory and back, so that a model is opened in its own size
and saved in no more. Nothing is mapped: a mapped file that is cut short later takes the process with it.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from danlu.config import ConfigError

Header = dict[str, str]
MOST_HEADER_BYTES = 100_000_000  # safetensors' own limit


class ModelFileError(ConfigError):
    """A model directory cannot be used; the message says where, what was found, what would be right."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a file, not read yet."""

    path: Path
    dtype: torch.dtype
    shape: torch.Size
    start: int  # bytes from the beginning of the file

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> Tensor:
        """The tensor, in memory of its own."""
        out = torch.empty(self.shape, dtype=self.dtype)
        room = out.reshape(-1).view(torch.uint8).numpy().data
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.start)
            while len(room):
                n = file.readinto(room)
                if not n:
                    raise _broken(self.path, f"it ends {len(room)} bytes too early")
                room = room[n:]
        return out


@dataclass(frozen=True, slots=True)
class ToWrite:
    """A tensor that is made when its turn comes."""

    dtype: torch.dtype
    shape: torch.Size
    make: Callable[[], Tensor]

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def scan_file(path: Path) -> tuple[dict[str, Stored], Header]:
    """The tensors of one file, unread, and what its header says besides; only a whole file will do."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = file.read(8)
        n_header = struct.unpack("<Q", length)[0] if len(length) == 8 else size
        if n_header > min(size - 8, MOST_HEADER_BYTES):
            raise _broken(path, f"a header of {n_header} bytes in a file of {size}")
        raw = file.read(n_header)
    try:
        tree = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_repetition)
    except ValueError as error:  # not JSON, not UTF-8, or a name twice
        raise _broken(path, f"its header cannot be read: {error}") from error
    if not isinstance(tree, dict):
        raise _broken(path, "its header is no JSON object")
    header = cast(dict[str, Any], tree).pop("__metadata__", None) or {}
    found = {name: _stored(path, name, entry, 8 + n_header) for name, entry in tree.items()}
    _check_extent(path, found, 8 + n_header, size)
    return found, header


def write_file(path: Path, tensors: Mapping[str, ToWrite], header: Header) -> None:
    """Write a file under a temporary name and rename it once it is whole on the disk."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt", **header}}
    end = 0
    for name, each in tensors.items():
        start, end = end, end + each.n_bytes
        entries[name] = {"dtype": NAMES[each.dtype], "shape": list(each.shape), "data_offsets": [start, end]}
    raw = json.dumps(entries).encode()
    raw += b" " * (-len(raw) % 8)
    settle(path, _parts(struct.pack("<Q", len(raw)) + raw, tensors))


def settle(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file so that its name never belongs to anything half-written."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _parts(head: bytes, tensors: Mapping[str, ToWrite]) -> Iterator[bytes | memoryview]:
    yield head
    for name, each in tensors.items():
        made = each.make().detach().to(device="cpu", dtype=each.dtype).contiguous()
        assert made.shape == each.shape, name
        yield made.reshape(-1).view(torch.uint8).numpy().data


def _stored(path: Path, name: str, entry: Any, data: int) -> Stored:
    """One entry of a header; `data` is where the bytes of the first tensor begin."""
    try:
        dtype, shape = DTYPES[entry["dtype"]], torch.Size(entry["shape"])
        start, end = entry["data_offsets"]
        if min([start, *shape]) < 0 or end - start != math.prod(shape) * dtype.itemsize:
            raise ValueError("its bytes are not as many as its shape needs")
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _broken(path, f"what it says of {name} makes no sense: {error}") from error
    return Stored(path, dtype, shape, data + start)


def _check_extent(path: Path, found: Mapping[str, Stored], data: int, size: int) -> None:
    """Tensors must lie side by side, from the end of the header to the end of the file."""
    spans = sorted((each.start, each.start + each.n_bytes, name) for name, each in found.items())
    for (_, end, left), (start, _, right) in pairwise([(data, data, "the header"), *spans]):
        if start != end:
            how = "overlap" if start < end else f"have {start - end} stray bytes between them"
            raise _broken(path, f"{left} and {right} {how}")
    end = spans[-1][1] if spans else data
    if end != size:
        raise _broken(path, f"it has {size} bytes and its tensors end at byte {end}")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a name stands there twice")
    return dict(pairs)


def _broken(path: Path, why: str) -> ModelFileError:
    return ModelFileError(
        f"{path} is cut short, corrupt or not a safetensors file ({why}); fetch or save it again"
    )


DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
