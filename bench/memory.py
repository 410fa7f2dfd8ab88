"""Peak memory of PPO whose networks are adapters and heads on one base, beside SFT with the same adapter.

    python bench/memory.py runs/demo

The base is an untrained model of 12 layers and width 768 with the tokenizer of a finished `danlu run` in the
embedded world, whose demonstrations, rankings and prompts are used. Each stage is the command itself, in a
process of its own, for a few updates of about as many tokens. Memory is the process's peak, once as it is and
once less what Python and torch take before there is a model.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from danlu.model.heads import LanguageModel
from danlu.recipes.pretrain import Shape
from danlu.recipes.stage import chat_format_of, publish

M = Shape(d_model=768, n_layers=12, n_heads=12, n_kv_heads=12, head_dim=64, d_ff=2048)
SHARED = ("adapter.kind=lora", "adapter.merge=false")
N_UPDATES = 6


def main() -> None:
    arguments = parse_arguments()
    teaching: Path = arguments.run / "teaching"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        base = write_base(arguments.run, out)
        few = first_lines(teaching / "rankings.jsonl", 8 * N_UPDATES, out / "rankings.jsonl")
        chats = first_lines(teaching / "demonstrations.jsonl", 100 * N_UPDATES, out / "demonstrations.jsonl")
        danlu("sft", f"base={base}", f"data={chats}", "batch_size=16", "n_epochs=1", out=out / "sft")
        danlu("reward", f"base={base}", f"comparisons={few}", out=out / "reward")
        prompts = teaching / "prompts.jsonl"
        policy = (f"policy={base}", f"reward_model={out / 'reward' / 'adapter'}", f"prompts={prompts}")
        sizes = ("rollout.n_episodes=64", "rollout.minibatch_size=32", f"n_episodes={32 * N_UPDATES}")
        danlu("ppo", *policy, *sizes, "objective.ptx_coef=0", "objective.sft_coef=0", out=out / "ppo")
        bare = peak_of_nothing()
        peaks = {
            name: json.loads((out / name / "summary.json").read_text())["peak_memory_mb"]
            for name in ("sft", "reward", "ppo")
        }
    print(f"Python and torch alone: {bare:.0f} MB")
    for name, peak in peaks.items():
        ratio, net = peak / peaks["sft"], (peak - bare) / (peaks["sft"] - bare)
        print(f"{name:8}{peak:8.0f} MB, {ratio:.2f} x SFT; without the {bare:.0f} MB {net:.2f} x")


def write_base(run: Path, folder: Path) -> Path:
    """An untrained model that speaks the run's tokens."""
    chat_format = chat_format_of(run / "sft" / "model")
    model = LanguageModel(M.model_config(chat_format.tokenizer.vocab_size))
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.0f} M parameters")
    publish(model, chat_format.tokenizer, folder / "base")
    return folder / "base"


def first_lines(source: Path, n: int, target: Path) -> Path:
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)[:n]
    target.write_text("".join(lines), encoding="utf-8")
    return target


def danlu(stage: str, *settings: str, out: Path) -> None:
    """Run a stage with the adapter."""
    command = [sys.executable, "-m", "danlu", stage, *settings, *SHARED, f"out={out}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def peak_of_nothing() -> float:
    """What a process that has imported all that training needs has used, in MB."""
    code = "import danlu.recipes.ppo; print(open('/proc/self/status').read())"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(re.findall(r"VmHWM:\s+(\d+) kB", found.stdout)[0]) / 1024


def parse_arguments() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("run", type=Path, help="directory of a finished `danlu run` in the embedded world")
    return parser.parse_args()


if __name__ == "__main__":
    main()
