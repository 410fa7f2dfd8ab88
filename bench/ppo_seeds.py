"""PPO of a finished run again with other seeds: does every one of them gain by the truth?

    python bench/ppo_seeds.py runs/demo [--seeds 1 2 3 4 5] [--minutes 1.4] [--per-cell 100]
    python bench/ppo_seeds.py runs/demo --seeds 1 2 3 4 5 6 7 8 9 10 --epochs 4 --episodes 8192

Policy, reward model and prompts are the run's; a seed decides which prompts come when and what is sampled.
For each seed: the true score of the first and the last rollouts, KL over the last third against its target,
and the exam against the SFT model, question by question. Results and curves.svg lie in RUN/ppo_seeds/, or
RUN/ppo_seeds_4_epochs/ for four passes over each rollout.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from danlu.evaluate.exam import paired_by_category, paired_difference, summarise
from danlu.recipes import ppo
from danlu.recipes.embedded import Teacher, TeachingConfig
from danlu.recipes.evaluate import examine
from danlu.recipes.speaker import load_speaker
from danlu.rl.collect import RolloutConfig
from danlu.rl.controller import KlConfig
from danlu.world.tasks import questions


def main() -> None:
    arguments = parse_arguments()
    run: Path = arguments.run
    plan = json.loads((run / "plan.json").read_text(encoding="utf-8"))
    minutes = arguments.minutes or json.loads((run / "budgets.json").read_text())["ppo"] / 60
    length = {"n_episodes": arguments.episodes} if arguments.episodes else {"minutes": minutes}
    world_seed = arguments.world_seed
    teacher = Teacher(plan["corpus_bytes"], TeachingConfig(), world_seed)
    asked = questions(teacher.world, arguments.split, arguments.per_cell, world_seed)
    before = examine(load_speaker(run / "sft"), teacher.world, asked)
    print(f"SFT: {100 * summarise(before)['macro']['mean']:.1f} % of {len(asked)} questions", flush=True)
    passes = "" if arguments.epochs == 1 else f"_{arguments.epochs}_epochs"
    results = run / f"ppo_seeds{passes}"
    for seed in arguments.seeds:
        out = results / str(seed)
        config = ppo.PpoConfig(
            policy=run / "sft" / "model",
            reward_model=run / "reward" / "model",
            prompts=run / "teaching" / "prompts.jsonl",
            out=out,
            rollout=RolloutConfig(n_epochs=arguments.epochs),
            **length,
            pretrain_shards=run / "shards" / "train",
            demonstrations=run / "teaching" / "demonstrations.jsonl",
            seed=seed,
        )
        ppo.run(config, teacher.true_score)
        after = examine(load_speaker(out), teacher.world, asked)
        gain = paired_difference(before, after)
        print(f"seed {seed}: {course(out, config.kl)}")
        print(f"  exam {100 * gain.mean:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]", flush=True)
        by_category = paired_by_category(before, after).items()
        print("  " + ", ".join(f"{name} {100 * d.mean:+.0f}" for name, d in by_category), flush=True)
    draw([rollouts_of(results / str(seed)) for seed in arguments.seeds], results / "curves.svg")


def course(out: Path, kl: KlConfig) -> str:
    """True score of the first and last tenth, at least two rollouts each, and KL over the last third."""
    rollouts = rollouts_of(out)
    n = max(2, len(rollouts) // 10)
    first, last = average(rollouts[:n], "true_score"), average(rollouts[-n:], "true_score")
    late = average(rollouts[-(len(rollouts) // 3) :], "kl")
    score = average(rollouts[-n:], "score") - average(rollouts[:n], "score")
    return (
        f"true score {first:.3f} → {last:.3f}, score {score:+.2f} over {len(rollouts)} rollouts, "
        f"KL over the last third {late:.2f} (target {kl.target})"
    )


def rollouts_of(out: Path) -> list[dict[str, Any]]:
    """The statistics of every rollout of a run."""
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record["rollout"] for record in map(json.loads, lines) if "rollout" in record]


def draw(runs: Sequence[Sequence[dict[str, Any]]], path: Path) -> None:
    """One line a seed: true score, score and KL, each a running mean over a tenth of the rollouts."""
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    titles = {"true_score": "true score", "score": "reward model's score", "kl": "KL, nats a completion"}
    for axes, (name, title) in zip(figure.subplots(1, len(titles)), titles.items(), strict=True):
        for rollouts in runs:
            width = max(1, len(rollouts) // 10)
            values = np.convolve([each[name] for each in rollouts], np.ones(width) / width, mode="valid")
            axes.plot(np.arange(len(values)) + width, values, linewidth=1, alpha=0.8)
        axes.set(title=title, xlabel="rollouts")
    figure.savefig(path)


def average(rollouts: Sequence[dict[str, Any]], name: str) -> float:
    return mean(rollout[name] for rollout in rollouts)


def parse_arguments() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("run", type=Path, help="directory of a finished `danlu run` in the embedded world")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--minutes", type=float, help="for each seed; by default what the run gave PPO")
    parser.add_argument("--episodes", type=int, help="for each seed, instead of minutes")
    parser.add_argument("--epochs", type=int, default=1, help="passes over each rollout")
    parser.add_argument("--per-cell", type=int, default=100, help="exam questions a category and language")
    parser.add_argument("--split", choices=("dev", "exam"), default="exam")
    parser.add_argument("--world-seed", type=int, default=0, help="seed of the run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
