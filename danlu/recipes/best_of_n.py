"""`danlu best_of_n`: sample several answers a prompt, fine-tune on the best; in rounds, expert iteration."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from danlu.config import ConfigError
from danlu.data.records import DataError
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model.hf import load_language_model
from danlu.model.quantize import refuse_training
from danlu.recipes import sft
from danlu.recipes.judge import check_judge, load_reward_model, reward_by
from danlu.recipes.policy import read_prompts
from danlu.recipes.stage import chat_format_of, publish
from danlu.rl.judges import CheckedReward, Endpoint, Grade
from danlu.rl.rollout import Rollout
from danlu.tokenizer.chat import ChatFormat
from danlu.train.checkpoint import replace_file
from danlu.train.optim import OptimConfig
from danlu.train.run import open_run

SUMMARY = "sample several answers a prompt, fine-tune on the best (best-of-n distillation)"
PROMPTS_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfNConfig:
    policy: Path  # model directory to start from
    reward_model: Path | None = None  # model or adapter directory; none where something else rewards
    endpoint: Endpoint = field(default_factory=Endpoint)
    grade_timeout_s: float | None = None  # a function that `run` is handed may take so long for an answer
    prompts: Path  # {"id", "messages"} a line
    out: Path
    n_completions: int = 8  # of each prompt; the best that ended is learnt
    n_rounds: int = 1  # each samples from the model that the last one made
    max_new_tokens: int = 48
    temperature: float = 1.0
    n_epochs: float = 1.0  # passes over the best of a round
    batch_size: int = 8  # rows of packed chats an update
    seq_len: int = 256
    seed: int = 0
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=2e-4, weight_decay=0.0))

    def __post_init__(self) -> None:
        for name in ("n_completions", "n_rounds"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")


def run(config: BestOfNConfig, *, grade: Grade | None = None) -> Path:
    """Sample, choose and fine-tune, as many rounds as wanted.

    Args:
        config: the settings.
        grade: a function of prompt and answer that rewards in the reward model's place.
    """
    check_judge(config, grade)
    chat_format = chat_format_of(config.policy)
    whole = open_run(config.out, config)
    if whole.finished:
        return config.out
    reference = load_language_model(config.policy, vocab_size=chat_format.tokenizer.vocab_size)
    refuse_training(reference, str(config.policy))
    reward = reward_by(config, load_reward_model(config, reference), grade, chat_format)
    whole.forget_after(0)  # rounds that were done before are told again
    model, rounds = config.policy, list[dict[str, Any]]()
    for number in range(1, config.n_rounds + 1):
        folder = config.out / f"round-{number}"
        if not (folder / "best.jsonl").exists():
            write_lines(
                folder / "best.jsonl", best_answers(model, reward, chat_format, config, config.seed + number)
            )
        rounds.append(summary_of(folder / "best.jsonl", config.n_completions))
        whole.log(number, **rounds[-1])
        sft.run(
            sft.SftConfig(
                base=model,
                data=folder / "best.jsonl",
                out=folder / "sft",
                batch_size=config.batch_size,
                seq_len=config.seq_len,
                n_epochs=config.n_epochs,
                seed=config.seed + number,
                optim=config.optim,
                too_long="drop",  # encoded anew, an answer may take more tokens than were drawn
            )
        )
        model = folder / "sft" / "model"
    publish(load_language_model(model), chat_format.tokenizer, whole.model)
    whole.finish(rounds=rounds)
    return config.out


def best_answers(
    model: Path, reward: CheckedReward, chat_format: ChatFormat, config: BestOfNConfig, seed: int
) -> Iterator[dict[str, Any]]:
    """The best completion of each prompt as a chat; a prompt none of whose completions ended is left out."""
    policy = load_language_model(model, vocab_size=chat_format.tokenizer.vocab_size).eval()
    longest = policy.config.max_seq_len - config.max_new_tokens
    prompts = read_prompts(config.prompts, chat_format, longest)
    n = config.n_completions
    sampler = Sampler(policy, stop_ids=chat_format.stop_ids, max_batch=n * min(PROMPTS_AT_ONCE, len(prompts)))
    sampling = SamplingConfig(max_new_tokens=config.max_new_tokens, temperature=config.temperature, seed=seed)
    for first in range(0, len(prompts), PROMPTS_AT_ONCE):
        asked = prompts[first : first + PROMPTS_AT_ONCE]
        keys = range(first, first + len(asked))
        drawn = iter(sampler.generate([prompt.ids for prompt in asked], sampling, n, keys))
        rollouts = [Rollout(prompt, next(drawn)) for prompt in asked for _ in range(n)]
        scores = reward(rollouts).tolist()
        for i in range(0, len(rollouts), n):
            yield from best_of(rollouts[i : i + n], scores[i : i + n], chat_format)


def best_of(
    rollouts: Sequence[Rollout], scores: Sequence[float], chat_format: ChatFormat
) -> Iterator[dict[str, Any]]:
    """The completion with the highest score among those that ended, if there are any."""
    ended = [i for i, rollout in enumerate(rollouts) if rollout.ended]
    if not ended:
        return
    best = max(ended, key=scores.__getitem__)
    prompt, completion = rollouts[best].prompt, rollouts[best].completion
    yield {
        "id": prompt.id,
        "messages": [*prompt.messages, chat_format.parse(completion.ids)],
        "score": scores[best],
        "mean_score": sum(scores) / len(scores),
    }


def write_lines(path: Path, records: Iterator[dict[str, Any]]) -> None:
    """One object a line, whole or not at all."""
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    if not lines:
        raise DataError(
            "no completion of any prompt ended within max_new_tokens; allow more tokens, or fine-tune the "
            "policy on answers that end"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, "".join(lines))


def summary_of(path: Path, n: int) -> dict[str, Any]:
    """What choosing gained, and how far at most it leads away: log n - (n - 1) / n nats a completion."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        "n_chosen": len(records),
        "score": sum(record["mean_score"] for record in records) / len(records),
        "best_score": sum(record["score"] for record in records) / len(records),
        "kl_bound": math.log(n) - (n - 1) / n,
    }
