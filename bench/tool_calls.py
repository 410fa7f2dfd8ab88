"""Whether a home-made model calls tools: teaches a base model by demonstrations, then examines it.

    python bench/tool_calls.py BASE OUT    BASE is a base model, such as runs/demo/pretrain/model

The world must be that of the base model's text: `danlu run` writes its size into plan.json.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from danlu.recipes import evaluate, sft, tool_tasks
from danlu.recipes.evaluate import EvaluateConfig, which_world
from danlu.recipes.sft import SftConfig
from danlu.recipes.tool_tasks import ToolTasksConfig
from danlu.train.optim import OptimConfig

CONTEXT = 1152  # positions: a chat with the descriptions of two tools has up to 800 tokens
N_DEMONSTRATIONS = 10_000
N_PER_CELL = 100


def main() -> None:
    base, out = Path(sys.argv[1]), Path(sys.argv[2])
    corpus_bytes, seed = which_world(EvaluateConfig(model=base))
    taught = ToolTasksConfig(
        out=out / "teaching", n_demonstrations=N_DEMONSTRATIONS, corpus_bytes=corpus_bytes, seed=seed
    )
    if not taught.out.exists():
        tool_tasks.run(taught)
    lengthened(base, out / "base")
    sft.run(
        SftConfig(
            base=out / "base",
            data=taught.out / "demonstrations.jsonl",
            out=out / "sft",
            n_epochs=1.5,
            batch_size=4,
            seq_len=1100,
            optim=OptimConfig(kind="muon", lr=4e-3),
            eval_every=100_000,
            sample_prompts=(),
        )
    )
    evaluate.run(
        EvaluateConfig(
            model=out / "sft", tools=True, n_per_cell=N_PER_CELL, corpus_bytes=corpus_bytes, seed=seed
        )
    )


def lengthened(model: Path, out: Path) -> None:
    """A copy for longer contexts: positions are rotations, so nothing needs adding but the limit."""
    if out.exists():
        return
    shutil.copytree(model, out)
    path = out / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["max_position_embeddings"] = CONTEXT
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
