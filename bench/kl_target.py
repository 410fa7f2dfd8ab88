"""Does the adaptive KL coefficient hold a target of 6 nats while PPO makes answers sound pleased?

    python bench/kl_target.py runs/demo [--target 6] [--seeds 1 2 3] [--episodes 12288]

The task of Ziegler et al. 2019 in the embedded world: the SFT model of a finished `danlu run` is rewarded
for tone alone, by a bag of words that has learnt to tell pleased reviews from displeased ones, measured on
reviews it has not seen. For each seed: the reward of the first and last rollouts, and KL over the last
third.
Results lie in RUN/kl_target/.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean

from ppo_seeds import average, rollouts_of

from danlu.evaluate.bag_of_words import BagOfWords
from danlu.objectives.ppo import Ppo
from danlu.recipes import ppo
from danlu.recipes.embedded import Teacher, TeachingConfig
from danlu.rl.controller import KlConfig
from danlu.rl.rollout import Prompt
from danlu.world.names import LANGS
from danlu.world.splits import Split
from danlu.world.tasks import cell


def main() -> None:
    arguments = parse_arguments()
    run: Path = arguments.run
    plan = json.loads((run / "plan.json").read_text(encoding="utf-8"))
    teacher = Teacher(plan["corpus_bytes"], TeachingConfig(), arguments.world_seed)
    seen, unseen = pairs(teacher, "train", 400), pairs(teacher, "dev", 100)
    tone = BagOfWords.fit(seen, [(1, 2)] * len(seen))
    told_apart = mean(good > bad for good, bad in map(tone.scores, unseen))
    print(f"tone: {100 * told_apart:.0f} % of {len(unseen)} unseen pairs of reviews told apart", flush=True)
    for seed in arguments.seeds:
        out = run / "kl_target" / str(seed)
        config = ppo.PpoConfig(
            policy=run / "sft" / "model",
            prompts=run / "teaching" / "prompts.jsonl",
            out=out,
            n_episodes=arguments.episodes,
            objective=Ppo(),
            value_model="policy",
            kl=KlConfig(init_coef=0.03, target=arguments.target),
            seed=seed,
        )
        ppo.run(config, grade=grade_by(tone))
        print(f"seed {seed}: {course(out, arguments.target)}", flush=True)


def pairs(teacher: Teacher, split: Split, n: int) -> list[tuple[str, str]]:
    """A pleased and a displeased review each, of one language."""
    found: list[tuple[str, str]] = []
    for lang in LANGS:
        asked = cell(teacher.world, split, "sentiment", lang, n, teacher.seed)
        pleased = [q.prompt for q in asked if q.gold.get("accept", [""])[0] in ("positive", "正面")]
        displeased = [q.prompt for q in asked if q.prompt not in pleased]
        found += zip(pleased, displeased, strict=False)
    return found


def grade_by(tone: BagOfWords) -> Callable[[Prompt, str], float]:
    return lambda prompt, answer: tone.scores([answer])[0]


def course(out: Path, target: float) -> str:
    """Reward of the first and last tenth of the rollouts, and KL over the last third beside its target."""
    rollouts = rollouts_of(out)
    tenth, third = len(rollouts) // 10, len(rollouts) // 3
    kl = average(rollouts[-third:], "kl")
    first, last = average(rollouts[:tenth], "score"), average(rollouts[-tenth:], "score")
    return (
        f"reward {first:+.2f} → {last:+.2f} over {len(rollouts)} rollouts, KL over the last third {kl:.2f} "
        f"({100 * (kl / target - 1):+.0f} % of the target {target:g})"
    )


def parse_arguments() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("run", type=Path, help="directory of a finished `danlu run` in the embedded world")
    parser.add_argument("--target", type=float, default=6.0, help="nats a completion")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--episodes", type=int, default=12_288)
    parser.add_argument("--world-seed", type=int, default=0, help="seed of the run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
