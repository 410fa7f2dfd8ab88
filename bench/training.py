"""Training speed beside transformers' Llama of the same shape, in turns within one run.

    python bench/training.py S                       each as it comes
    python bench/training.py S --same-allocator      every process keeps its memory as ours does

Every competitor is a process of its own that holds a model with the same weights. They take turns, one update
each, so that a busy moment on the machine falls on all alike: trust the ratios. The first update, in which
compilers run, is reported apart. `ceiling` is the rate of a large bfloat16 matrix product in the same run.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from turns import Worker, median_ratio, serve

from danlu.model.heads import LanguageModel
from danlu.model.hf import load_language_model, save_model
from danlu.model.precision import Precision, apply_precision
from danlu.model.presets import LLAMA
from danlu.train.allocator import keep_memory

COMPETITORS = ("danlu", "fp32", "bf16", "fp32-compiled", "bf16-compiled", "ceiling")
OURS = "danlu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    n_layers: int
    d_model: int
    n_heads: int
    d_ff: int
    vocab_size: int
    seq_len: int
    batch_size: int

    @property
    def tokens(self) -> int:
        return self.batch_size * self.seq_len

    @property
    def flops(self) -> float:
        """Of the matrix products of one update: 6 a weight and token, and attention over half the square."""
        layer = 4 * self.d_model**2 + 3 * self.d_model * self.d_ff
        weights = self.n_layers * layer + self.d_model * self.vocab_size
        attention = 6 * self.n_layers * self.d_model * self.seq_len
        return self.tokens * (6.0 * weights + attention)

    def build(self) -> LanguageModel:
        return LanguageModel(
            LLAMA(
                vocab_size=self.vocab_size,
                d_model=self.d_model,
                n_layers=self.n_layers,
                n_heads=self.n_heads,
                n_kv_heads=self.n_heads,
                head_dim=self.d_model // self.n_heads,
                d_ff=self.d_ff,
                max_seq_len=self.seq_len,
            )
        )


SHAPES = {
    "XS": Shape(n_layers=4, d_model=256, n_heads=4, d_ff=704, vocab_size=4096, seq_len=256, batch_size=16),
    "S": Shape(n_layers=6, d_model=384, n_heads=6, d_ff=1024, vocab_size=8192, seq_len=256, batch_size=32),
    "M": Shape(n_layers=12, d_model=768, n_heads=12, d_ff=2048, vocab_size=50304, seq_len=512, batch_size=4),
}


def main() -> None:
    arguments = parse()
    if arguments.worker:
        work(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        save_model(SHAPES[arguments.shape].build(), Path(folder))
        workers = [Worker(name, worker_arguments(name, arguments, folder)) for name in arguments.competitors]
        for _ in range(arguments.rounds):
            for worker in workers:
                worker.turn()
        print_table(arguments, workers)
        for worker in workers:
            worker.close()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--same-allocator", action="store_true", help="every process keeps its memory")
    parser.add_argument("--competitors", nargs="+", choices=COMPETITORS, default=list(COMPETITORS))
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def worker_arguments(name: str, arguments: argparse.Namespace, folder: str) -> list[str]:
    given = [arguments.shape, "--worker", name, "--folder", folder, "--threads", str(arguments.threads)]
    return [*given, "--same-allocator"] if arguments.same_allocator else given


def work(arguments: argparse.Namespace) -> None:
    """Do an update a turn, and answer with its loss; the ceiling, with its rate."""
    if arguments.worker == OURS or arguments.same_allocator:
        keep_memory()
    torch.set_num_threads(arguments.threads)
    shape = SHAPES[arguments.shape]
    serve(ceiling(shape) if arguments.worker == "ceiling" else competitor(arguments, shape))


def competitor(arguments: argparse.Namespace, shape: Shape) -> Callable[[], float]:
    """One weight update of a model, on the same random tokens every time."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(shape.vocab_size, (shape.batch_size, shape.seq_len + 1), generator=generator)
    build = ours if arguments.worker == OURS else theirs
    model, loss_of = build(Path(arguments.folder), ids, arguments.worker)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def update() -> float:
        loss = loss_of()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return update


def ours(folder: Path, ids: Tensor, name: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = load_language_model(folder)
    apply_precision(model, Precision(dtype="bfloat16", kernels="packed"))
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    mask = torch.ones_like(targets, dtype=torch.bool)
    return model, lambda: model.nll_sum(inputs, None, None, targets, mask) / targets.numel()


def theirs(folder: Path, ids: Tensor, name: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    transformers: Any = importlib.import_module("transformers")
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    call = torch.compile(model) if name.endswith("compiled") else model
    # `shift_labels` are targets already shifted: the same loss on the same positions as ours.
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    def loss_of() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=name.startswith("bf16")):
            return call(input_ids=inputs, labels=inputs, shift_labels=targets, use_cache=False).loss

    return model, loss_of


def ceiling(shape: Shape) -> Callable[[], float]:
    """A product of the size of the model's largest layer: rows of a batch by the MLP."""
    x = torch.randn(shape.tokens, shape.d_model, dtype=torch.bfloat16)
    weight = torch.randn(2 * shape.d_ff, shape.d_model, dtype=torch.bfloat16)
    times = max(int(2e11 / (2.0 * shape.tokens * weight.numel())), 1)

    def update() -> float:
        began = perf_counter()
        for _ in range(times):
            torch.mm(x, weight.t())
        return times * 2.0 * shape.tokens * weight.numel() / (perf_counter() - began) / 1e12  # TFLOP/s

    return update


def print_table(arguments: argparse.Namespace, workers: Sequence[Worker]) -> None:
    shape = SHAPES[arguments.shape]
    rates = [max(w.values) for w in workers if w.name == "ceiling"]
    models = [w for w in workers if w.name != "ceiling"]
    allocator = "the same allocator for all" if arguments.same_allocator else "each as it comes"
    print(f"{arguments.shape}, {arguments.threads} threads, {allocator}, {arguments.rounds} rounds in turns")
    if rates:
        print(f"ceiling: {rates[0]:.3f} TFLOP/s bfloat16 matrix product")
    print(f"{'':16}{'tokens/s':>9}{'ours is':>9}{'of ceiling':>11}{'first, s':>9}{'GB':>6}{'loss':>9}")
    rows: list[dict[str, Any]] = []
    for worker in models:
        speed = shape.tokens / statistics.median(worker.seconds)
        ratio = median_ratio(worker, models[0])
        share = shape.flops * speed / shape.tokens / (rates[0] * 1e12) if rates else float("nan")
        print(
            f"{worker.name:16}{speed:9.0f}{ratio:8.2f}x{share:11.0%}{worker.first_s:9.1f}"
            f"{worker.memory_gb:6.1f}{worker.values[-1]:9.4f}"
        )
        rows.append({"name": worker.name, "tokens_per_s": speed, "ours_is": ratio, "of_ceiling": share})
    if arguments.json:
        arguments.json.write_text(json.dumps({"shape": arguments.shape, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
