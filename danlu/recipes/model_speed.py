"""How fast a model is on this machine: measured where that is asked for, bounded by reckoning otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from time import perf_counter

import torch

from danlu.config import ConfigError
from danlu.data.records import pad_rows
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.inspect.speed import Speeds, best_seconds
from danlu.model.heads import LanguageModel
from danlu.model.hf import AnyModel
from danlu.model.precision import Precision, choose_precision
from danlu.objectives.token_loss import TokenLoss
from danlu.rl.team import evaluating
from danlu.train.loop import LoopConfig, train
from danlu.train.optim import OptimConfig, build_optimizer

MOST_WRITTEN = 64  # tokens of the text that is written
LEARNING_RATE = 1e-9  # the weights are thrown away


def measured(model: AnyModel, n_tokens: int) -> tuple[Speeds, Precision]:
    """Write, read and train on random tokens, as `danlu generate`, a prompt and `danlu sft` do.

    Weights, gradients and AdamW's moments must fit into memory.

    Args:
        model: whose weights are spoilt by it.
        n_tokens: of the prompt, and of an update.

    Returns:
        Tokens a second, and in what was trained.
    """
    if not isinstance(model, LanguageModel):
        raise ConfigError(
            f"measure is true, but this is a {type(model).__name__}; language models are measured, of others "
            "only bounds are reckoned"
        )
    length = min(n_tokens, model.config.max_seq_len - MOST_WRITTEN)
    if length < 1:
        raise ConfigError(f"measure is true, but the model reads only {model.config.max_seq_len} tokens")
    ids = torch.randint(model.config.vocab_size, (length + 1,), generator=torch.Generator().manual_seed(0))
    with evaluating(model), torch.no_grad():
        writing = writing_speed(model, ids[:8].tolist())
    precision = choose_precision(model, batch_size=1, seq_len=length)
    with evaluating(model), torch.no_grad():
        reading = length / best_seconds(partial(model.backbone, ids[None, :-1]))
    return Speeds(writing=writing, reading=reading, training=training_speed(model, ids.tolist())), precision


def writing_speed(model: LanguageModel, prompt: list[int]) -> float:
    """Tokens a second of one text that nothing ends."""
    sampler = Sampler(model, stop_ids=(), max_batch=1)
    write = partial(sampler.generate, [prompt])
    write(SamplingConfig(max_new_tokens=2))  # what is done once
    began = perf_counter()
    write(SamplingConfig(max_new_tokens=MOST_WRITTEN))
    return MOST_WRITTEN / (perf_counter() - began)


def training_speed(model: LanguageModel, ids: list[int]) -> float:
    """Tokens a second of the second and third update; the first also sets up the optimizer."""
    batch = pad_rows([ids], [[True] * len(ids)], pad_id=0)
    optimizer = build_optimizer(model, OptimConfig(lr=LEARNING_RATE))
    loop = LoopConfig(n_steps=3)
    _, *reports = train(model, [batch] * 3, TokenLoss(), optimizer, lambda step: LEARNING_RATE, loop)
    return (len(ids) - 1) / min(report.seconds for report in reports)


def speed_rows(found: dict[str, Speeds]) -> Iterator[tuple[str, ...]]:
    """A line for each way of computing."""
    for name, each in found.items():
        writing = "" if each.writing is None else rounded(each.writing)
        yield name, writing, rounded(each.reading), rounded(each.training)


def rounded(speed: float) -> str:
    """Two figures: more would promise too much."""
    if speed >= 100:
        digits = len(str(int(speed))) - 2
        return f"{round(speed / 10**digits) * 10**digits:,}"
    return f"{speed:.2g}"
