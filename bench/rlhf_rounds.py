"""Do several rounds of RLHF beat one with as many labels and as many episodes?

    python bench/rlhf_rounds.py runs/demo [--rounds 3] [--labels 6000] [--episodes 12288] [--per-cell 50]

Both begin with the SFT model of a finished `danlu run` in the embedded world. One has all labels and episodes
in a single round, the other the same numbers in equal parts; all else is alike. Prints the true score and the
exam after every round with its paired gain, and the paired difference between the two, which answer the same
questions. Results lie in RUN/rlhf_rounds/.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from danlu.evaluate.exam import load_results, paired_difference
from danlu.evaluate.statistics import Interval
from danlu.recipes import rlhf
from danlu.recipes.round_settings import OPEN_PPO, RankingsConfig, RlhfConfig


def main() -> None:
    arguments = parse_arguments()
    run: Path = arguments.run
    outs: dict[int, Path] = {}
    for rounds in (1, arguments.rounds):
        rollout = OPEN_PPO.rollout.n_episodes
        n_episodes = arguments.episodes // rounds // rollout * rollout
        outs[rounds] = rlhf.run(
            RlhfConfig(
                sft=run / "sft" / "model",
                out=run / "rlhf_rounds" / f"{rounds}-seed-{arguments.seed}",
                rounds=rounds,
                rankings=RankingsConfig(n_prompts=arguments.labels // rounds),
                exam_per_cell=arguments.per_cell,
                seed=arguments.seed,
                ppo=replace(OPEN_PPO, n_episodes=n_episodes),
            )
        )
    for rounds, out in outs.items():
        show(f"{rounds} round{'s' * (rounds > 1)}", out)
    first, last = (out / f"round-{rounds}" / "evaluate" for rounds, out in outs.items())
    for kind in ("exam", "true_score"):
        before, after = (load_results(folder / f"{kind}.jsonl") for folder in (first, last))
        print(f"{kind}: {arguments.rounds} rounds over one {in_points(paired_difference(before, after))}")


def show(title: str, out: Path) -> None:
    """Means after every round and each round's paired gain, in percent."""
    for kind in ("exam", "true_score"):
        text = (out / "evaluate" / kind / "summary.json").read_text(encoding="utf-8")
        summary: dict[str, Any] = json.loads(text)
        means = [f"{100 * tree['macro']['mean']:.1f}" for tree in summary["systems"].values()]
        print(f"{title}, {kind}: {' → '.join(means)}; gains {', '.join(gains(summary['differences']))}")


def gains(differences: Sequence[dict[str, Any]]) -> list[str]:
    return [f"{d['from']} → {d['to']} {in_points(Interval.from_tree(d['macro']))}" for d in differences]


def in_points(found: Interval) -> str:
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def parse_arguments() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("run", type=Path, help="directory of a finished `danlu run` in the embedded world")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--labels", type=int, default=6000, help="prompts ranked, in all rounds together")
    parser.add_argument("--episodes", type=int, default=12_288, help="of PPO, in all rounds together")
    parser.add_argument("--per-cell", type=int, default=50, help="exam questions a category and language")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
