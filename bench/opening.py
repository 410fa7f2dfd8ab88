"""What opening a model costs: memory against the size of its file, time against reading that file.

    python bench/opening.py [MILLIONS]    parameters, 500 by default; needs 3 bytes of disk for each

A Llama shape in bfloat16 is written to a temporary folder, and quantised to int8 and int4 beside it. Every
measurement is a process of its own. What the interpreter, torch and this package take before anything is
opened is told apart and not counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import torch
from rich.console import Console
from rich.table import Table

from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.model.hf import read_model, save_model
from danlu.model.presets import LLAMA
from danlu.model.quantize import Quantisation

ROUNDS = 5
MB = 1 << 20
KINDS: dict[str, Quantisation | None] = {
    "bfloat16": None,
    "int8": Quantisation(bits=8),
    "int4": Quantisation(bits=4),
}


def shape(millions: int) -> ModelConfig:
    """A Llama shape of about so many parameters: width, layers and MLP grow together."""
    width = 128 * round((millions * 1e6 / 500e6) ** (1 / 3) * 9)
    per_layer = 2.5 * width**2 + 3 * width * 4 * width
    vocabulary = 32_000
    return LLAMA(
        vocab_size=vocabulary,
        d_model=width,
        n_layers=max(1, round((millions * 1e6 - vocabulary * width) / per_layer)),
        n_heads=width // 64,
        n_kv_heads=max(1, width // 64 // 4) if (width // 64) % max(1, width // 64 // 4) == 0 else width // 64,
        head_dim=64,
        d_ff=4 * width,
    )


def main() -> None:
    if sys.argv[1:2] == ["open"]:
        print(json.dumps(opened(Path(sys.argv[2]))))
        return
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory() as folder:
        report(millions, Path(folder))


def report(millions: int, folder: Path) -> None:
    model = LanguageModel(shape(millions))
    n_parameters = sum(p.numel() for p in model.parameters())
    for name, quantisation in KINDS.items():
        save_model(model, folder / name, dtype="bfloat16", quantisation=quantisation)
    del model
    table = Table(title=f"{n_parameters:,} parameters", box=None)
    columns = ("file", "size", "before", "opening", "× size", "time", "× reading")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for name in KINDS:
        size = (folder / name / "model.safetensors").stat().st_size
        rounds = [measured(folder / name) for _ in range(ROUNDS)]
        before, took = (max(each[key] for each in rounds) for key in ("before", "took"))
        ratio = sorted(each["open_s"] / each["read_s"] for each in rounds)[ROUNDS // 2]
        seconds = sorted(each["open_s"] for each in rounds)[ROUNDS // 2]
        sizes = (f"{n / MB:,.0f} MB" for n in (size, before, took))
        table.add_row(name, *sizes, f"{took / size:.3f}", f"{seconds:.2f} s", f"{ratio:.2f}")
    Console().print(table)


def measured(path: Path) -> dict[str, float]:
    """One opening, in a process that does nothing else."""
    command = [sys.executable, __file__, "open", str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def opened(path: Path) -> dict[str, float]:
    """Bytes and seconds of opening a model directory, and seconds of reading its file."""
    torch.mm(torch.ones(2, 2), torch.ones(2, 2))  # threads and libraries that any work would load
    file = path / "model.safetensors"
    began = perf_counter()
    read_whole(file)
    read_s = perf_counter() - began
    before = forget_peak()
    began = perf_counter()
    model = read_model(path, dtype="stored")
    open_s = perf_counter() - began
    took = peak() - before
    assert next(model.parameters()).numel()
    return {"before": before, "took": took, "open_s": open_s, "read_s": read_s}


def read_whole(file: Path) -> None:
    """The least that anybody must do: the file's bytes into memory of their own, once."""
    room = memoryview(bytearray(file.stat().st_size))
    with file.open("rb", buffering=0) as stream:
        while len(room) and (n := stream.readinto(room)):
            room = room[n:]


def forget_peak() -> int:
    """Begin to measure the peak anew, where Linux allows it; the memory that is in use now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """The most memory that this process has had at once, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    main()
