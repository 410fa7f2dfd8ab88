"""How a language model does on text that it has not seen: bits per byte, and how it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from danlu.data.shards import Shards
from danlu.evaluate.perplexity import loss_by_language, summarise_losses
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model.heads import LanguageModel
from danlu.tokenizer.bpe import Tokenizer


class Rows(Protocol):
    """The shape in which text is read."""

    @property
    def batch_size(self) -> int: ...

    @property
    def seq_len(self) -> int: ...


@torch.no_grad()
def loss_on(
    model: LanguageModel, held_out: Shards, rows: Rows, max_tokens: int | None = None
) -> dict[str, Any]:
    """Loss and bits per byte by language; `max_tokens` limits the positions read of each."""
    losses = loss_by_language(
        model, held_out, rows.batch_size, rows.seq_len, max_tokens=max_tokens, lead_with_eos=True
    )
    return summarise_losses(losses)


def samples(model: LanguageModel, tokenizer: Tokenizer, prompts: Sequence[str]) -> list[str]:
    """How the model goes on from each prompt."""
    if not prompts:
        return []
    sampler = Sampler(model, stop_ids={tokenizer.eos_id}, max_batch=len(prompts))
    sampling = SamplingConfig(max_new_tokens=48, temperature=0.7)
    ids = [[tokenizer.eos_id, *tokenizer.encode(prompt)] for prompt in prompts]
    return [
        prompt + tokenizer.decode(completion.ids)
        for prompt, completion in zip(prompts, sampler.generate(ids, sampling), strict=True)
    ]
