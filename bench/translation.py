"""Training speed beside transformers' Marian of the same shape, in turns; and how well real pairs are learnt.

    python bench/translation.py speed small                    each as it comes
    python bench/translation.py speed small --same-allocator   every process keeps its memory as ours does
    python bench/translation.py quality mt_tatoeba_en_zh --minutes 20

`speed`: every competitor is a process of its own that holds a model with the same weights and takes the same
batches of pairs of similar length, with dropout and smoothed labels. They take turns, one update each, so
that a busy moment on the machine falls on all alike: trust the ratios. The first updates, in which compilers
run, are reported apart. What is counted are target tokens, without padding.

`quality`: trains on the pairs as `danlu translate train` does and scores what was held out.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import IO, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.data.pairs import Languages
from danlu.data.records import TranslationBatch
from danlu.data.translation import Ids, Markers, TranslationBatches
from danlu.model.dropout import add_dropout
from danlu.model.hf import TokenIds, load_translation_model, save_model
from danlu.model.precision import Precision, apply_precision
from danlu.model.translation import TranslationModel
from danlu.objectives.token_loss import SmoothedTokenLoss
from danlu.recipes.translation import TrainTranslator, TranslatorShape, train_translator
from danlu.train.allocator import keep_memory

# Theirs in two formats, with attention by torch's kernel or by plain products (eager), compiled or not.
COMPETITORS = (
    *("danlu", "danlu-plain", "fp32", "bf16", "fp32-eager", "bf16-eager"),
    *("bf16-compiled", "bf16-eager-compiled"),
)
SHAPES = {
    "small": TranslatorShape(),
    "base": TranslatorShape(d_model=512, n_layers=6, n_heads=8, d_ff=2048),
}
VOCAB_SIZE = {"small": 8192, "base": 37000}
DROPOUT, SMOOTHING = 0.1, 0.1
N_BATCHES = 6  # taken over and over
PAD, END = 0, 1


def main() -> None:
    arguments = parse()
    if arguments.command == "quality":
        quality(arguments)
    elif arguments.worker:
        work(arguments)
    else:
        speed(arguments)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    timed = commands.add_parser("speed")
    timed.add_argument("shape", choices=SHAPES)
    timed.add_argument("--rounds", type=int, default=12)
    timed.add_argument("--batch-tokens", type=int, default=2048)
    timed.add_argument("--length", type=int, default=12, help="mean tokens of a sentence, either side")
    timed.add_argument("--threads", type=int, default=os.cpu_count())
    timed.add_argument("--same-allocator", action="store_true", help="every process keeps its memory")
    timed.add_argument("--competitors", nargs="+", choices=COMPETITORS, default=list(COMPETITORS))
    timed.add_argument("--json", type=Path, help="write the figures here too")
    timed.add_argument("--worker", help=argparse.SUPPRESS)
    timed.add_argument("--folder", help=argparse.SUPPRESS)
    learnt = commands.add_parser("quality")
    learnt.add_argument("pairs", type=Path, help="what is not here is looked for under $DANLU_DATA")
    learnt.add_argument("--minutes", type=float, default=20.0)
    learnt.add_argument("--epochs", type=float, default=100.0)
    learnt.add_argument("--one-way", action="store_true", help="from English into Chinese only")
    learnt.add_argument("--out", type=Path, help="run directory to keep")
    return parser.parse_args()


def quality(arguments: argparse.Namespace) -> None:
    """Train in the time there is, and say what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        began = perf_counter()
        out = train_translator(
            TrainTranslator(
                pairs=(arguments.pairs,),
                out=arguments.out or Path(folder) / "run",
                languages=Languages(both_ways=not arguments.one_way),
                minutes=arguments.minutes,
                n_epochs=arguments.epochs,
            )
        )
        seconds = perf_counter() - began
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    print(
        f"{summary['n_parameters']:,} parameters, {summary['n_pairs']:,} pairs, {summary['n_steps']} updates"
    )
    print(f"{summary['epochs']:.1f} epochs; {seconds / 60:.1f} minutes, scoring included")
    for direction, scores in summary["scores"].items():
        for name, each in scores.items():
            interval = f"[{each['low']:.1f}, {each['high']:.1f}]"
            print(f"{direction}: {name} {each['value']:.1f} {interval}  {each['signature']}")
    print(f"{summary['n_held_out']} held-out pairs; the first of them:")
    for source, translation in summary["samples"]:
        print(f"  {source} → {translation}")


def speed(arguments: argparse.Namespace) -> None:
    shape = SHAPES[arguments.shape].model_config(VOCAB_SIZE[arguments.shape])
    with tempfile.TemporaryDirectory() as folder:
        save_model(TranslationModel(shape), Path(folder), token_ids=TokenIds(pad=PAD, stop=(END,), start=END))
        workers = [Worker(name, arguments, folder) for name in arguments.competitors]
        for _ in range(arguments.rounds):
            for worker in workers:
                worker.turn()
        print_table(arguments, workers)
        for worker in workers:
            worker.close()


class Worker:
    """A competitor in its own process, which does one update whenever it is told to."""

    def __init__(self, name: str, arguments: argparse.Namespace, folder: str) -> None:
        self.name, self.seconds, self.rates = name, list[float](), list[float]()
        self.loss = self.memory_gb = 0.0
        command = [sys.executable, __file__, "speed", arguments.shape, "--worker", name, "--folder", folder]
        for option in ("threads", "batch_tokens", "length"):
            command += [f"--{option.replace('_', '-')}", str(getattr(arguments, option))]
        command += ["--same-allocator"] if arguments.same_allocator else []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        # Every batch once: optimizers allocate their state, compilers meet each shape.
        self.first_s = sum(self._ask()["seconds"] for _ in range(N_BATCHES))

    def turn(self) -> None:
        answer = self._ask()
        self.seconds.append(answer["seconds"])
        self.rates.append(answer["tokens"] / answer["seconds"])
        self.loss, self.memory_gb = answer["loss"], answer["memory_gb"]

    def _ask(self) -> dict[str, float]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write("go\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with code {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        self._process.communicate()


def work(arguments: argparse.Namespace) -> None:
    """Do an update a line read, and answer with its seconds, its target tokens and its loss."""
    is_ours = arguments.worker.startswith("danlu")
    if is_ours or arguments.same_allocator:
        keep_memory()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else a library prints goes to stderr
    torch.set_num_threads(arguments.threads)
    batches = batches_of(arguments)
    model, loss_of = (ours if is_ours else theirs)(Path(arguments.folder), arguments.worker)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    for number, _ in enumerate(sys.stdin):
        batch = batches[number % len(batches)]
        began = perf_counter()
        loss = loss_of(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        value = loss.item()
        answer(answers, perf_counter() - began, int(batch.loss_mask.sum()), value)


def answer(answers: IO[str], seconds: float, tokens: int, loss: float) -> None:
    memory_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found = {"seconds": seconds, "tokens": tokens, "loss": loss, "memory_gb": memory_gb}
    answers.write(json.dumps(found) + "\n")
    answers.flush()


def batches_of(arguments: argparse.Namespace) -> list[TranslationBatch]:
    """Random ids in sentences whose lengths vary as those of real ones do, the same in every process."""
    rng, longest = random.Random(0), 5 * arguments.length
    vocab_size = VOCAB_SIZE[arguments.shape]

    def sentence(length: float) -> list[int]:
        n = max(2, min(longest - 1, round(rng.gauss(length, length / 6))))
        return [*(rng.randrange(2, vocab_size) for _ in range(n)), END]

    pairs: list[Ids] = []
    for _ in range(64 * arguments.batch_tokens // arguments.length):
        length = rng.gammavariate(4, arguments.length / 4)
        pairs.append((sentence(length), sentence(length)))
    markers = Markers(start=END, pad=PAD)
    stream = TranslationBatches(pairs, arguments.batch_tokens, 0, markers, max_len=longest)
    return [next(stream) for _ in range(N_BATCHES)]


def ours(folder: Path, name: str) -> tuple[nn.Module, Callable[[TranslationBatch], Tensor]]:
    model = load_translation_model(folder).train()
    add_dropout(model, DROPOUT, seed=0)
    kernels = "plain" if name == "danlu-plain" else "packed"
    apply_precision(model, Precision(dtype="bfloat16", kernels=kernels))
    objective = SmoothedTokenLoss(label_smoothing=SMOOTHING)

    def loss_of(batch: TranslationBatch) -> Tensor:
        terms = objective(model, batch).terms.values()
        total = sum((term.coef * term.total for term in terms), torch.zeros(()))
        return total / batch.loss_mask.sum()

    return model, loss_of


def theirs(folder: Path, name: str) -> tuple[nn.Module, Callable[[TranslationBatch], Tensor]]:
    transformers: Any = importlib.import_module("transformers")
    attention = "eager" if "eager" in name else "sdpa"
    model = transformers.MarianMTModel.from_pretrained(
        folder, dtype=torch.float32, dropout=DROPOUT, attn_implementation=attention
    ).train()
    call = torch.compile(model, dynamic=True) if name.endswith("compiled") else model

    def loss_of(batch: TranslationBatch) -> Tensor:
        labels = batch.target_ids.masked_fill(~batch.loss_mask, -100)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=name.startswith("bf16")):
            logits = call(
                input_ids=batch.source_ids,
                attention_mask=(batch.source_segment_ids == 0).long(),
                decoder_input_ids=batch.input_ids,
                use_cache=False,
            ).logits
            return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=SMOOTHING)

    return model, loss_of


def print_table(arguments: argparse.Namespace, workers: Sequence[Worker]) -> None:
    allocator = "the same allocator for all" if arguments.same_allocator else "each as it comes"
    print(
        f"{arguments.shape}, {arguments.threads} threads, {allocator}, batches of {arguments.batch_tokens} "
        f"positions, sentences of {arguments.length} tokens, {arguments.rounds} rounds in turns"
    )
    print(f"{'':20}{'tokens/s':>9}{'ours is':>9}{'first, s':>10}{'GB':>6}{'loss':>9}")
    rows: list[dict[str, Any]] = []
    for worker in workers:
        speed, ratio = statistics.median(worker.rates), median_ratio(worker, workers[0])
        print(
            f"{worker.name:20}{speed:9.0f}{ratio:8.2f}x{worker.first_s:10.1f}{worker.memory_gb:6.1f}"
            f"{worker.loss:9.4f}"
        )
        rows.append({"name": worker.name, "tokens_per_s": speed, "ours_is": ratio})
    if arguments.json:
        arguments.json.write_text(json.dumps({"shape": arguments.shape, "rows": rows}, indent=2))


def median_ratio(worker: Worker, reference: Worker) -> float:
    """How many times as fast the reference is, by the median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(worker.seconds, reference.seconds, strict=True))


if __name__ == "__main__":
    main()
