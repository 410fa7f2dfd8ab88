"""Does the adaptive KL coefficient hold a target of 6 nats while PPO makes reviews sound pleased?

    python bench/kl_target.py runs/demo [--target 6] [--seeds 1 2 3] [--episodes 24576]

The sentiment task of Ziegler et al. 2019 in the embedded world. The SFT model of a finished `danlu run`
learns to write reviews, pleased and displeased ones in equal parts; PPO then rewards tone alone, by a bag of
words that has learnt to tell the two apart, measured on reviews it has not seen. For each seed: the reward of
the first and last rollouts, and KL over the last third. Results lie in RUN/kl_target/.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import mean

from ppo_seeds import average, rollouts_of

from danlu.evaluate.bag_of_words import BagOfWords
from danlu.objectives.ppo import Ppo
from danlu.recipes import ppo, sft
from danlu.recipes.embedded import write_jsonl
from danlu.rl.controller import KlConfig
from danlu.rl.rollout import Prompt
from danlu.world.names import LANGS, Lang
from danlu.world.tasks_reading import review

ASK = {"en": "Write a review of this: {it}.", "zh": "写一条评论，评的是{it}。"}
N_REVIEWS = 6000  # that the policy learns from
HORIZON = 1024  # episodes; a twenty-fourth of the run


def main() -> None:
    arguments = parse_arguments()
    results: Path = arguments.run / "kl_target"
    rng = Random(arguments.reviews_seed)
    seen, unseen = [pair(rng) for _ in range(800)], [pair(rng) for _ in range(200)]
    tone = BagOfWords.fit(seen, [(1, 2)] * len(seen))
    told_apart = mean(good > bad for good, bad in map(tone.scores, unseen))
    print(f"tone: {100 * told_apart:.0f} % of {len(unseen)} unseen pairs of reviews told apart", flush=True)
    policy, prompts = reviewer(arguments.run, results, rng)
    for seed in arguments.seeds:
        out = results / str(seed)
        config = ppo.PpoConfig(
            policy=policy,
            prompts=prompts,
            out=out,
            n_episodes=arguments.episodes,
            objective=Ppo(),
            value_model="policy",
            kl=KlConfig(target=arguments.target, horizon=HORIZON),
            seed=seed,
        )
        ppo.run(config, grade=grade_by(tone))
        print(f"seed {seed}: {course(out, arguments.target)}", flush=True)


def pair(rng: Random) -> tuple[str, str]:
    """A pleased and a displeased review, in one language."""
    lang = rng.choice(LANGS)
    pleased, displeased = (written(lang, positive, rng)[1] for positive in (True, False))
    return pleased, displeased


def written(lang: Lang, positive: bool, rng: Random) -> tuple[str, str]:
    """What asks for a review, and the review."""
    subject, sentences = review(lang, positive, rng)
    return ASK[lang].format(it=subject), (" " if lang == "en" else "").join(sentences)


def reviewer(run: Path, results: Path, rng: Random) -> tuple[Path, Path]:
    """A model that writes reviews of either kind, and the file of prompts that ask for one."""
    chats = [written(rng.choice(LANGS), rng.random() < 0.5, rng) for _ in range(N_REVIEWS)]
    write_jsonl(results / "reviews.jsonl", map(chat, chats))
    prompts = ((i, chat(each)["messages"][:1]) for i, each in enumerate(chats))
    write_jsonl(results / "prompts.jsonl", ({"id": str(i), "messages": messages} for i, messages in prompts))
    config = sft.SftConfig(
        base=run / "sft" / "model", data=results / "reviews.jsonl", out=results / "sft", n_epochs=1
    )
    return sft.run(config) / "model", results / "prompts.jsonl"


def chat(written: tuple[str, str]) -> dict[str, list[dict[str, str]]]:
    roles = ("user", "assistant")
    return {"messages": [{"role": r, "content": c} for r, c in zip(roles, written, strict=True)]}


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
    parser.add_argument("--episodes", type=int, default=24_576)
    parser.add_argument("--reviews-seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
