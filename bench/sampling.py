"""Rollout sampling against `transformers`' batched generate: same weights, same prompts, same lengths.

    python bench/sampling.py [--rounds 5] [--threads 2] [--shape small] [--longest 96]

Both sides draw from the whole distribution at temperature 1. Lengths are planted: in the first case every row
ends after the same number of tokens, in the second they spread evenly over 1 : 8 and each side may stop a row
as soon as it is done. The sides take turns within one run, and each side's dtypes compete: its better median
counts. `transformers` returns tokens only; the sampler returns log-probabilities as well.
"""

from __future__ import annotations

import argparse
import copy
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers
from torch import Tensor

from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.model.hf import save_model
from danlu.model.presets import QWEN3

N_PROMPTS = 64
SIZES = {
    "tiny": (192, 4, 3, 1, 512, 2048),
    "small": (256, 4, 4, 2, 704, 4096),
    "S": (384, 6, 6, 2, 1024, 8192),
}  # d_model, layers, heads, key-value heads, d_ff, vocabulary; heads are 64 wide
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    model = LanguageModel(shape(*SIZES[arguments.shape])).eval()
    n_parameters = sum(p.numel() for p in model.parameters())
    print(
        f"{arguments.shape}: {n_parameters / 1e6:.1f} M parameters, {N_PROMPTS} prompts, "
        f"{arguments.threads} threads"
    )
    prompts = make_prompts(model.config.vocab_size)
    longest = arguments.longest
    with tempfile.TemporaryDirectory() as directory:
        save_model(model, Path(directory))
        sides = our_sides(model) | their_sides(Path(directory))
        for case, lengths in {
            "equal lengths": [longest] * N_PROMPTS,
            "lengths 1 : 8": spread(longest // 8, longest),
        }.items():
            compare(case, sides, prompts, lengths, arguments.rounds)


def shape(
    d_model: int, n_layers: int, n_heads: int, n_kv_heads: int, d_ff: int, vocab_size: int
) -> ModelConfig:
    """A Qwen3 of that size."""
    return QWEN3(
        vocab_size=vocab_size,
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=64,
        d_ff=d_ff,
        max_seq_len=256,
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shape", choices=SIZES, default="small")
    parser.add_argument("--longest", type=int, default=96, help="tokens of the longest completion")
    return parser.parse_args()


def make_prompts(vocab_size: int) -> list[list[int]]:
    """Prompts of 12 to 40 tokens, as short questions have."""
    rng = random.Random(0)
    return [[rng.randrange(10, vocab_size) for _ in range(rng.randint(12, 40))] for _ in range(N_PROMPTS)]


def spread(shortest: int, longest: int) -> list[int]:
    """One length a prompt, evenly from `shortest` to `longest`, in mixed order."""
    lengths = [shortest + i * (longest - shortest) // (N_PROMPTS - 1) for i in range(N_PROMPTS)]
    random.Random(1).shuffle(lengths)
    return lengths


Side = Callable[[list[list[int]], list[int]], int]
"""Completes each prompt by its number of tokens; returns how many tokens that were in all."""


def our_sides(model: LanguageModel) -> dict[str, Side]:
    rounded = copy.deepcopy(model)
    rounded.backbone.compute_dtype = torch.bfloat16
    make = partial(Sampler, stop_ids=(), max_batch=N_PROMPTS)
    samplers = {
        "danlu fp32": make(model),
        "danlu bf16": make(rounded),
        "danlu fp32, no compiler": make(model, kernel="torch"),
    }
    return {name: partial(sample_ours, sampler) for name, sampler in samplers.items()}


def sample_ours(sampler: Sampler, prompts: list[list[int]], lengths: list[int]) -> int:
    ids = [
        sampler.add(prompt, SamplingConfig(max_new_tokens=n), key=i)
        for i, (prompt, n) in enumerate(zip(prompts, lengths, strict=True))
    ]
    while sampler.n_unfinished:
        sampler.step()
    completions = [sampler.take(i) for i in ids]
    return sum(len(completion.ids) for completion in completions if completion)


def their_sides(directory: Path) -> dict[str, Side]:
    load = partial(transformers.AutoModelForCausalLM.from_pretrained, directory)
    return {
        f"transformers {name}": partial(sample_theirs, load(dtype=dtype).eval())
        for name, dtype in DTYPES.items()
    }


class StopAt(transformers.StoppingCriteria):
    """Ends each row at its own number of tokens."""

    def __init__(self, ends: Tensor) -> None:
        self.ends = ends

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        return input_ids.shape[1] >= self.ends


def sample_theirs(model: Any, prompts: list[list[int]], lengths: list[int]) -> int:
    width = max(map(len, prompts))
    input_ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    attention_mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    new = model.generate(
        input_ids=input_ids,
        attention_mask=attention_mask,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max(lengths),
        stopping_criteria=transformers.StoppingCriteriaList([StopAt(width + torch.tensor(lengths))]),
        pad_token_id=0,
        eos_token_id=None,
    )
    assert new.shape[1] == width + max(lengths)
    return sum(lengths)


def compare(
    case: str, sides: dict[str, Side], prompts: list[list[int]], lengths: list[int], rounds: int
) -> None:
    """Let the sides take turns and print each one's median, then the ratio of the better ones."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, side in sides.items():
            start = time.perf_counter()
            n_tokens = side(prompts, lengths)
            assert n_tokens == sum(lengths)
            if turn:  # the first turn warms up
                seconds[name].append(time.perf_counter() - start)
    rates = {name: sum(lengths) / median(times) for name, times in seconds.items()}
    print(f"\n{case}: {min(lengths)} to {max(lengths)} tokens, {sum(lengths)} in all, median of {rounds}")
    for name, rate in rates.items():
        print(f"  {name:24} {rate:9,.0f} tokens/s   {median(seconds[name]):6.3f} s")
    ours = max(rate for name, rate in rates.items() if name.startswith("danlu"))
    theirs = max(rate for name, rate in rates.items() if name.startswith("transformers"))
    print(f"  ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
