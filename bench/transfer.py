"""What pretraining brings to a labelled task: accuracy by number of transferred layers (GPT-1's figure 2).

    python bench/transfer.py runs/demo/pretrain reviews.jsonl [--minutes 20] [--held-out FILE] [--out DIR]

The base's first n layers are kept and the rest drawn anew, from all of them to none (and -1: not even the
embeddings, which is training from scratch), of a decoder with the auxiliary language-modelling loss; all and
none also without it. The first run gets an equal share of the time; every other run makes as many passes over
the data as it did. Scores are on the same held-out examples, with 95 % intervals, beside a bag of words and
the commonest label. bench/lineage.py makes such tables from raw text on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from danlu.inspect.view import console
from danlu.model.hf import open_model
from danlu.recipes.classify import ClassifyConfig, train
from danlu.recipes.labelled_data import ExamplesConfig
from danlu.recipes.model_files import model_dir

AUXILIARY = 0.5  # GPT-1's
Trial = tuple[int, float]  # layers kept, weight of the auxiliary loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A labelled set."""

    name: str
    data: Path
    held_out: Path | None = None
    examples: ExamplesConfig = field(default_factory=ExamplesConfig)
    max_len: int = 128  # tokens of a row


def main() -> None:
    arguments = parse_arguments()
    task = Task(
        name=arguments.data.stem,
        data=arguments.data,
        held_out=arguments.held_out,
        examples=ExamplesConfig(task=arguments.task, held_out_share=arguments.held_out_share),
        max_len=arguments.max_len,
    )
    base = model_dir(arguments.base)
    show(run_trials(base, task, trials_of(base), arguments.out, arguments.minutes, arguments.seed))


def trials_of(base: Path, *, every_layer: bool = True) -> list[Trial]:
    """Every number of layers kept, or only all and none; of a decoder with and without the auxiliary loss."""
    shape = open_model(base).model.config
    auxiliary = 0.0 if shape.topology == "encoder" else AUXILIARY
    kept = range(shape.n_layers, -2, -1) if every_layer else (shape.n_layers, -1)
    without = [(shape.n_layers, 0.0), (-1, 0.0)] if auxiliary else []
    return [*((n, auxiliary) for n in kept), *without]


def run_trials(
    base: Path, task: Task, trials: Sequence[Trial], out: Path, minutes: float, seed: int = 0
) -> list[dict[str, Any]]:
    """Train every trial, all with as many passes over the data, and write `transfer.json`."""
    n_epochs: float | None = None
    rows: list[dict[str, Any]] = []
    config = ClassifyConfig(
        data=task.data,
        held_out=task.held_out,
        base=base,
        examples=task.examples,
        max_len=task.max_len,
        eval_every=10**9,
        seed=seed,
    )
    for kept, auxiliary in trials:
        trial = replace(
            config,
            out=out / f"layers{kept}_auxiliary{auxiliary:g}",
            auxiliary=auxiliary,
            keep_layers=kept,
            n_epochs=n_epochs or 10.0,
            minutes=None if n_epochs else minutes / len(trials),
        )
        summary = json.loads((train(trial, console()) / "summary.json").read_text(encoding="utf-8"))
        n_epochs = n_epochs or summary["epochs"]
        rows.append({"layers": kept, "auxiliary": auxiliary, **summary})
        (out / "transfer.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    name = rows[0]["headline"]
    print(f"\n{name}, passes over the data: {rows[0]['epochs']:.2f}")
    print(f"{'layers kept':>12}{'auxiliary':>11}{'score':>8}   95 % interval")
    for row in rows:
        print(f"{row['layers']:>12}{row['auxiliary']:>11g}{line(row['scores']['fine-tuned'][name])}")
    for system, found in rows[0]["scores"].items():
        if system != "fine-tuned":
            print(f"{system:>23}{line(found[name])}")


def line(tree: dict[str, float]) -> str:
    return f"{100 * tree['mean']:8.1f}   {100 * tree['low']:.1f} to {100 * tree['high']:.1f}"


def parse_arguments() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("base", type=Path, help="model directory, or the run directory of `danlu pretrain`")
    parser.add_argument("data", type=Path, help="labelled examples")
    parser.add_argument("--minutes", type=float, default=20.0, help="of training, over all runs together")
    parser.add_argument(
        "--held-out", type=Path, help="examples to measure on; by default a share of the data"
    )
    parser.add_argument("--held-out-share", type=float, default=0.2)
    parser.add_argument("--task", default="auto", choices=("auto", "class", "similarity", "choice"))
    parser.add_argument("--max-len", type=int, default=128, help="tokens of a row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
