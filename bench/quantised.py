"""What training an adapter takes over a base in bfloat16, int8 and int4: weights, and a step's peak memory.

    python bench/quantised.py [MILLIONS]    parameters, 500 by default; needs 4 bytes of disk for each

One update of LoRA on every linear layer at 512 tokens, each in a process of its own. The base in bfloat16 is
tried with each kind of kernel and counts with the one that takes least. What the process takes before the
model is opened is not counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from opening import KINDS, MB, forget_peak, peak, shape
from rich.console import Console
from rich.table import Table

from danlu.adapters.attach import attach
from danlu.adapters.settings import AdapterConfig
from danlu.model.heads import LanguageModel
from danlu.model.hf import read_model, save_model
from danlu.model.precision import KernelChoice, Precision, apply_precision
from danlu.model.quantize import weight_bytes
from danlu.train.allocator import keep_memory

N_TOKENS = 512
KERNELS: tuple[KernelChoice, ...] = ("plain", "native", "packed")


def main() -> None:
    if sys.argv[1:2] == ["step"]:
        print(json.dumps(step(Path(sys.argv[2]), KERNELS[int(sys.argv[3])])))
        return
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory() as folder:
        report(millions, Path(folder))


def report(millions: int, folder: Path) -> None:
    model = LanguageModel(shape(millions))
    title = f"{sum(p.numel() for p in model.parameters()):,} parameters, LoRA, {N_TOKENS} tokens"
    for name, quantisation in KINDS.items():
        save_model(model, folder / name, dtype="bfloat16", quantisation=quantisation)
    del model
    table = Table(title=title, box=None)
    columns = ("base", "weights", "×", *(f"peak, {kernels}" for kernels in KERNELS), "× least of bfloat16")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    found = {name: {k: measured(folder / name, k) for k in KERNELS} for name in KINDS}
    dense = found["bfloat16"]
    least = min(each["peak"] for each in dense.values())
    for name, by_kernel in found.items():
        weights = by_kernel["plain"]["weights"]
        peaks = (f"{by_kernel[k]['peak'] / MB:,.0f} MB" for k in KERNELS)
        best = min(each["peak"] for each in by_kernel.values())
        share = weights / dense["plain"]["weights"]
        table.add_row(name, f"{weights / MB:,.0f} MB", f"{share:.3f}", *peaks, f"{best / least:.3f}")
    Console().print(table)


def measured(path: Path, kernels: KernelChoice) -> dict[str, float]:
    """One step, in a process that does nothing else."""
    command = [sys.executable, __file__, "step", str(path), str(KERNELS.index(kernels))]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def step(path: Path, kernels: KernelChoice) -> dict[str, float]:
    """Bytes of the weights, and the most that opening, adapting and one update take."""
    keep_memory()
    torch.mm(torch.ones(2, 2), torch.ones(2, 2))
    before = forget_peak()
    model = read_model(path, dtype="stored")
    assert isinstance(model, LanguageModel)
    weights = weight_bytes(model)
    attach(model, AdapterConfig(kind="lora"))
    apply_precision(model, Precision(dtype="bfloat16", kernels=kernels))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    ids = torch.randint(model.config.vocab_size, (1, N_TOKENS), generator=torch.Generator().manual_seed(0))
    everything = torch.ones_like(ids, dtype=torch.bool)
    for _ in range(2):  # the second has the optimizer's state beside it
        model.nll_sum(ids, None, None, ids, everything).backward()
        optimizer.step()
        optimizer.zero_grad()
    return {"weights": weights, "peak": peak() - before}


if __name__ == "__main__":
    main()
