"""Scores of lm-evaluation-harness over `danlu serve` beside its own in this process, question by question.

    python bench/lm_eval_scores.py runs/demo/sft piqa=piqa.jsonl copa=copa.jsonl --questions 200

Each word NAME=FILE is a task. FILE has a JSON object a line: `query`, `choices`, `gold` (which choice is
right), or `context`, `continuation`. The same questions go to `local-completions`, which knows of the model
only what HTTP tells it, tokens included, and to `hf`, which is transformers over the model's directory in
float32. It takes `pip install 'lm_eval[api,hf]'`. The exit status is 1 if any score differs.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from danlu.recipes.model_files import model_dir

CHOICES: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{query}}",
    "doc_to_choice": "choices",
    "doc_to_target": "gold",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
CONTINUATION: dict[str, Any] = {
    "output_type": "loglikelihood",
    "doc_to_text": "{{context}}",
    "doc_to_target": " {{continuation}}",
    "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}],
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the harness says of one task."""

    metrics: Mapping[str, float]
    judged: Sequence[tuple[float, bool]]  # log-likelihood of each continuation, and whether it is greedy


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("tasks", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--questions", type=int, default=200, help="of each task")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with TemporaryDirectory() as folder:
        tasks = [task_of(word, arguments.questions, Path(folder)) for word in arguments.tasks]
        here = outcomes("hf", here_arguments(arguments.model), tasks)
        with serving(arguments.model) as address:
            served = outcomes("local-completions", served_arguments(arguments.model, address), tasks)
    return report(here, served)


def task_of(word: str, n_questions: int, folder: Path) -> dict[str, Any]:
    """A task of the harness from NAME=FILE, over the first questions of the file."""
    name, _, file = word.partition("=")
    with gzip.open(file, "rt") if file.endswith(".gz") else open(file, encoding="utf-8") as lines:
        records = [json.loads(line) for line, _ in zip(lines, range(n_questions), strict=False)]
    kind, fields = (CHOICES, CHOICE_FIELDS) if "choices" in records[0] else (CONTINUATION, TEXT_FIELDS)
    part = folder / f"{name}.jsonl"
    kept = ({field: record[field] for field in fields} for record in records)
    part.write_text("".join(f"{json.dumps(each)}\n" for each in kept), encoding="utf-8")
    source = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(part)}}}
    return {"task": name, **source, "test_split": "test", **kind}


CHOICE_FIELDS = ("query", "choices", "gold")
TEXT_FIELDS = ("context", "continuation")


def longest(model: Path) -> int:
    """Tokens that the model reads."""
    config = json.loads((model_dir(model) / "config.json").read_text(encoding="utf-8"))
    return config["max_position_embeddings"]


def here_arguments(model: Path) -> dict[str, Any]:
    # A server leaves room for one token more, and the harness counts one less over HTTP than here.
    return {"pretrained": str(model_dir(model)), "dtype": "float32", "max_length": longest(model) - 2}


def served_arguments(model: Path, address: str) -> dict[str, Any]:
    return {
        "model": "served",
        "base_url": f"{address}/completions",
        "tokenizer_backend": "remote",
        "tokenized_requests": True,
        "max_length": longest(model),
    }


@contextmanager
def serving(model: Path) -> Generator[str]:
    """The address of a server over the model, which ends with the block."""
    words = [sys.executable, "-m", "danlu", "serve", str(model), "port=0", "name=served"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the server did not start; what it printed stands above")
            yield line.split()[3]
        finally:
            process.terminate()


def outcomes(kind: str, model: Mapping[str, Any], tasks: Sequence[dict[str, Any]]) -> dict[str, Outcome]:
    """What the harness makes of each task."""
    evaluator: Any = importlib.import_module("lm_eval.evaluator")
    found = evaluator.simple_evaluate(
        model=kind,
        model_args={**model},
        tasks=[{**task} for task in tasks],
        batch_size=8,
        device="cpu",
        bootstrap_iters=0,
    )
    return {task["task"]: outcome_of(found, task["task"]) for task in tasks}


def outcome_of(found: Mapping[str, Any], name: str) -> Outcome:
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    judged = [
        (float(logprob), str(greedy) == "True")
        for sample in samples
        for logprob, greedy in sample["filtered_resps"]
    ]
    metrics = {
        key.removesuffix(",none"): value
        for key, value in found["results"][name].items()
        if key.endswith(",none") and "stderr" not in key
    }
    return Outcome(metrics, judged)


def report(here: Mapping[str, Outcome], served: Mapping[str, Outcome]) -> int:
    """Print both, and say whether every score is the same."""
    same = True
    print("task | metric | in process | over HTTP | continuations | largest gap | greedy flags that differ")
    for name, own in here.items():
        other = served[name]
        pairs = list(zip(own.judged, other.judged, strict=True))
        gap = max(abs(a - b) for (a, _), (b, _) in pairs)
        n_flags = sum(a != b for (_, a), (_, b) in pairs)
        for metric, value in own.metrics.items():
            across = other.metrics[metric]
            # A perplexity is continuous; shares of right answers must be the very same.
            close = math.isclose(value, across, rel_tol=1e-4) if metric == "perplexity" else value == across
            same &= close and not n_flags
            print(
                f"{name} | {metric} | {value:.6g} | {across:.6g} | {len(pairs)} | {gap:.2g} | {n_flags}",
                flush=True,
            )
    print("identical" if same else "NOT identical")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
