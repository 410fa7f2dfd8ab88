"""How fast a model can be here: bounds from what this machine's memory and arithmetic were measured to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

import torch

from danlu.inspect.anatomy import WIDTHS, Anatomy, cache_bytes
from danlu.model.config import ModelConfig

FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
N_READ_BYTES = 1 << 28  # far more than a cache holds
SIDE = 1536  # of the matrices whose product is timed
TRIES = 5  # the best counts: others may be at work beside


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the CPU does a second with the threads that torch has."""

    bytes_per_s: float  # read from memory
    flops_per_s: Mapping[str, float]  # in large matrix products, by number format


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """Tokens a second."""

    writing: float | None  # one text, a token after the other; None: an encoder writes nothing
    reading: float  # a prompt
    training: float


def measure_machine() -> Machine:
    """Time a pass over memory and a large product in each format; it takes a second or two."""
    numbers = torch.ones(N_READ_BYTES // 4)
    flops: dict[str, float] = {}
    for name, dtype in FORMATS.items():
        a, b = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
        flops[name] = 2 * SIDE**3 / best_seconds(lambda a=a, b=b: a @ b)
    return Machine(bytes_per_s=N_READ_BYTES / best_seconds(numbers.sum), flops_per_s=flops)


def best_seconds(work: Callable[[], object]) -> float:
    """The shortest of several tries, after one that does not count."""
    work()
    seconds: list[float] = []
    for _ in range(TRIES):
        began = perf_counter()
        work()
        seconds.append(perf_counter() - began)
    return min(seconds)


def bounds(anatomy: Anatomy, config: ModelConfig, machine: Machine, n_tokens: int) -> dict[str, Speeds]:
    """The most tokens a second in each format; nothing but weights, cache and products is reckoned.

    To write a token every weight that it passes is read from memory once, and the cache of the `n_tokens`
    before it. To read one takes two operations a weight and those of attention, to train on one three times
    as many (Kaplan et al. 2020, table 1).
    """
    found: dict[str, Speeds] = {}
    n_weights = weights_in_products(anatomy, config)
    forward = 2 * n_weights + attention_flops(config, n_tokens)
    for name, width in WIDTHS.items():
        n_bytes = width * n_weights + cache_bytes(config, n_tokens, width)
        flops_per_s = machine.flops_per_s[name]
        found[name] = Speeds(
            writing=None if config.topology == "encoder" else machine.bytes_per_s / n_bytes,
            reading=flops_per_s / forward,
            training=flops_per_s / (3 * forward),
        )
    return found


def weights_in_products(anatomy: Anatomy, config: ModelConfig) -> int:
    """Weights that a token is multiplied by: tables are only looked up, but a tied one is the output too."""
    tables = ["positions", "token types", *([] if config.tie_embeddings else ["embedding"])]
    return anatomy.n_active - sum(anatomy.parts.get(name, 0) for name in tables)


def attention_flops(config: ModelConfig, n_tokens: int) -> float:
    """Scores and weighted values of one token, the mean over a text of so many."""
    if config.topology == "encoder":
        seen = [float(n_tokens)] * config.n_layers
    else:
        seen = [min(window or n_tokens, n_tokens / 2) for window in config.windows]
    return 4 * config.n_heads * config.head_dim * sum(seen)
