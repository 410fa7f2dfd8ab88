"""SFT with LoRA beside PEFT under transformers' Trainer: same base, rank, rows and counted targets, in turns.

    python bench/lora.py                    a Llama of 124 M parameters, rows of 512 tokens
    python bench/lora.py --shape tiny --rounds 1

One turn is some updates by AdamW of rank 16 on every linear layer of the blocks. Theirs compete in float32
and under bfloat16 autocast, with attention by torch's kernel or by plain products, compiled or not, and with
the base's weights themselves in bfloat16. Every process keeps its memory as ours does. Trust the ratios: the
workers take turns, so that a busy moment falls on all alike. Memory is each process's peak, imports included.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trainer_turns import train_in_turns, waits_for_turns
from turns import Turns, Worker, median_ratio, serve

from danlu.adapters.attach import attach
from danlu.adapters.settings import AdapterConfig
from danlu.data.records import Batch
from danlu.model.heads import LanguageModel
from danlu.model.hf import load_language_model, save_model
from danlu.model.precision import Precision, apply_precision
from danlu.model.presets import LLAMA
from danlu.objectives.token_loss import TokenLoss
from danlu.train.allocator import keep_memory
from danlu.train.loop import LoopConfig, train
from danlu.train.optim import OptimConfig, build_optimizer

OURS = "danlu"
THEIRS = ("fp32", "bf16", "bf16-weights", "fp32-eager", "bf16-eager", "fp32-compiled", "bf16-compiled")
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RANK, ALPHA, LR = 16, 32, 2e-4
N_BATCHES = 4  # taken over and over


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A Llama, and the rows of an update."""

    n_layers: int
    d_model: int
    d_ff: int
    vocab_size: int
    seq_len: int
    batch_size: int

    def build(self) -> LanguageModel:
        config = LLAMA(
            vocab_size=self.vocab_size,
            d_model=self.d_model,
            n_layers=self.n_layers,
            n_heads=self.d_model // 64,
            n_kv_heads=self.d_model // 64,
            head_dim=64,
            d_ff=self.d_ff,
            max_seq_len=self.seq_len,
        )
        return LanguageModel(config)

    def rows(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Ids, (batch, seq + 1), and True where the next one counts, (batch, seq): answers after prompts.

        Packed rows are full, so nobody spends time on padding.
        """
        generator = torch.Generator().manual_seed(0)
        shape = (self.batch_size, self.seq_len + 1)
        for _ in range(N_BATCHES):
            ids = torch.randint(self.vocab_size, shape, generator=generator)
            yield ids, (torch.arange(self.seq_len) % 128 >= 64).expand(self.batch_size, -1)


SHAPES = {
    "M": Shape(n_layers=12, d_model=768, d_ff=2048, vocab_size=50304, seq_len=512, batch_size=4),
    "tiny": Shape(n_layers=2, d_model=128, d_ff=256, vocab_size=512, seq_len=128, batch_size=2),
}


def main() -> None:
    arguments = parse()
    if arguments.worker:
        work(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        save_model(SHAPES[arguments.shape].build(), Path(folder))
        shared = ["--shape", arguments.shape, "--folder", folder, "--threads", str(arguments.threads)]
        shared += ["--updates", str(arguments.updates)]
        names = (OURS, *arguments.competitors)
        workers = [Worker(name, [*shared, "--worker", name]) for name in names]
        for _ in range(arguments.rounds):
            for worker in workers:
                worker.turn()
        print_table(arguments, workers)
        for worker in workers:
            worker.close()


def parse() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--shape", choices=SHAPES, default="M")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=2, help="a turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--competitors", nargs="+", choices=THEIRS, default=list(THEIRS))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def print_table(arguments: argparse.Namespace, workers: list[Worker]) -> None:
    shape = SHAPES[arguments.shape]
    tokens = arguments.updates * shape.batch_size * shape.seq_len
    print(f"{arguments.shape}, {arguments.threads} threads, {arguments.rounds} rounds in turns")
    print(f"{'':16}{'tokens/s':>10}{'ours is':>9}{'first, s':>10}{'GB':>7}{'ours takes':>12}")
    for worker in workers:
        speed = tokens / statistics.median(worker.seconds)
        ratio, share = median_ratio(worker, workers[0]), workers[0].memory_gb / worker.memory_gb
        print(
            f"{worker.name:16}{speed:10.0f}{ratio:8.2f}x{worker.first_s:10.1f}{worker.memory_gb:7.2f}"
            f"{share:11.2f}x"
        )


def work(arguments: argparse.Namespace) -> None:
    keep_memory()
    torch.set_num_threads(arguments.threads)
    shape, folder = SHAPES[arguments.shape], Path(arguments.folder)
    if arguments.worker == OURS:
        serve(ours(shape, folder, arguments.updates))
    else:
        theirs(arguments.worker, shape, folder, arguments.updates)


def ours(shape: Shape, folder: Path, n_updates: int) -> Callable[[], float]:
    """So many updates a turn, as `danlu sft` makes them."""
    model = load_language_model(folder)
    attach(model, AdapterConfig(kind="lora", rank=RANK, alpha=ALPHA))
    apply_precision(model.train(), Precision(dtype="bfloat16", kernels="packed"))
    batches = itertools.cycle([batch_of(ids, counted) for ids, counted in shape.rows()])
    optimizer = build_optimizer(model, OptimConfig(lr=LR, weight_decay=0.0))
    updates = train(model, batches, TokenLoss(), optimizer, lambda step: LR, LoopConfig(n_steps=10**9))
    return lambda: [next(updates).loss for _ in range(n_updates)][-1]


def batch_of(ids: Tensor, counted: Tensor) -> Batch:
    """Rows of one segment each."""
    positions = torch.arange(counted.shape[1]).expand(counted.shape)
    return Batch(
        input_ids=ids[:, :-1].contiguous(),
        target_ids=ids[:, 1:].contiguous(),
        loss_mask=counted.contiguous(),
        position_ids=positions.contiguous(),
        segment_ids=torch.zeros_like(positions),
    )


def theirs(name: str, shape: Shape, folder: Path, n_updates: int) -> None:
    """PEFT's model under transformers' Trainer, which waits for its turns."""
    warnings.filterwarnings("ignore")
    transformers: Any = importlib.import_module("transformers")
    peft: Any = importlib.import_module("peft")
    in_bfloat16 = name == "bf16-weights"
    base = transformers.LlamaForCausalLM.from_pretrained(
        folder,
        dtype=torch.bfloat16 if in_bfloat16 else torch.float32,
        attn_implementation="eager" if "eager" in name else "sdpa",
    )
    lora = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(LAYERS), task_type="CAUSAL_LM")
    turns = Turns()
    with tempfile.TemporaryDirectory() as out:
        settings = transformers.TrainingArguments(
            output_dir=out,
            per_device_train_batch_size=shape.batch_size,
            max_steps=10**6,
            learning_rate=LR,
            lr_scheduler_type="constant",
            optim="adamw_torch_fused",
            bf16=name.startswith("bf16"),
            torch_compile=name.endswith("compiled"),
            use_cpu=True,
            report_to=[],
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = transformers.Trainer(
            model=peft.get_peft_model(base, lora),
            args=settings,
            train_dataset=examples_of(shape),
            callbacks=[waits_for_turns(turns, n_updates)],
        )
        train_in_turns(trainer)


def examples_of(shape: Shape) -> list[dict[str, Tensor]]:
    """Rows with labels as transformers wants them: shifted there, -100 where nothing counts."""
    found: list[dict[str, Tensor]] = []
    for ids, counted in shape.rows():
        labels = ids[:, :-1].clone()
        labels[:, 1:] = ids[:, 1:-1].masked_fill(~counted[:, :-1], -100)
        labels[:, 0] = -100
        found += [{"input_ids": a, "labels": b} for a, b in zip(ids[:, :-1], labels, strict=True)]
    return found


if __name__ == "__main__":
    main()
