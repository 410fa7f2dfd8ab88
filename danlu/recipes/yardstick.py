"""Best-of-n beside PPO: what choosing among n answers of the reference buys, and for how much KL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from danlu.evaluate.statistics import macro_bootstrap
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model.hf import load_language_model
from danlu.recipes.guard import load_reward, truth_of
from danlu.recipes.policy import read_prompts
from danlu.recipes.ppo import PpoConfig
from danlu.recipes.stage import chat_format_of
from danlu.rl.frontier import best_of_n, best_of_n_kl
from danlu.rl.guard import Judgement, Scores
from danlu.rl.judges import TrueScore
from danlu.rl.rollout import Rollout
from danlu.train.run import Run

PROMPTS_AT_ONCE = 32
SEED = 555_000_001


@dataclass(frozen=True, slots=True)
class Pool:
    """What completions of one prompt score, and what they are worth by each measure."""

    scores: list[float]
    worth: dict[str, list[float]]


def best_of_n_curve(config: PpoConfig, true_score: TrueScore | None, n_most: int) -> list[dict[str, Any]]:
    """Worth of the best of 1, 2, 4, … completions by the score of PPO's reward model, at the guard's prompts.

    Args:
        config: of a run of PPO that has ended; its reference is sampled, so that KL means the same.
        true_score: as PPO got it.
        n_most: completions of each prompt.

    Returns:
        For each n the KL and, with 95 % intervals over prompts, the score and every measure of the guard.
    """
    zeros: dict[str, float] = json.loads((config.out / "frontier.json").read_text(encoding="utf-8"))["zeros"]
    pools = [pool_of(scores, zeros) for scores in sample_pools(config, true_score, n_most)]
    curve: list[dict[str, Any]] = []
    n = 1
    while n <= n_most:
        point: dict[str, Any] = {"n": n, "kl": best_of_n_kl(n)}
        for name in pools[0].worth:
            expected = [best_of_n(pool.scores, pool.worth[name], n) for pool in pools]
            point[name] = macro_bootstrap([expected]).to_tree()
        curve.append(point)
        n *= 2
    return curve


def sample_pools(config: PpoConfig, true_score: TrueScore | None, n: int) -> list[Scores]:
    """What everybody says of `n` completions by the reference to each of the guard's prompts."""
    assert config.guard.prompts is not None
    assert config.reward_model is not None
    reference = config.reference or config.policy
    run, chat_format = Run(config.out), chat_format_of(reference)
    model = load_language_model(reference, vocab_size=chat_format.tokenizer.vocab_size).eval()
    judgement = Judgement(
        load_reward(config.reward_model, run, chat_format),
        {str(path): load_reward(path, run, chat_format) for path in config.guard.judges},
        truth_of(true_score, chat_format),
        config.rollout.missing_end_penalty,
    )
    prompts = read_prompts(
        config.guard.prompts, chat_format, model.config.max_seq_len - config.rollout.max_new_tokens
    )
    sampler = Sampler(model, stop_ids=chat_format.stop_ids, max_batch=128)
    sampling = SamplingConfig(
        max_new_tokens=config.rollout.max_new_tokens, temperature=config.rollout.temperature, seed=SEED
    )
    found: list[Scores] = []
    for first in range(0, len(prompts), PROMPTS_AT_ONCE):
        asked = prompts[first : first + PROMPTS_AT_ONCE]
        keys = range(first, first + len(asked))
        completions = iter(sampler.generate([prompt.ids for prompt in asked], sampling, n, keys))
        found += [judgement([Rollout(prompt, next(completions)) for _ in range(n)]) for prompt in asked]
    return found


def pool_of(scores: Scores, zeros: Mapping[str, float]) -> Pool:
    """The numbers by which the guard measured."""
    worth: dict[str, Tensor] = {"score": scores.score}
    if scores.judges:
        gains = torch.stack([given - zeros[name] for name, given in scores.judges.items()])
        worth |= {"judges": gains.mean(dim=0), "worst": gains.amin(dim=0)}
    if scores.true_score is not None:
        worth["true_score"] = scores.true_score
    return Pool(scores.score.tolist(), {name: values.tolist() for name, values in worth.items()})
