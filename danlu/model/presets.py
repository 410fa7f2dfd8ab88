"""Families: a configuration with its choices filled in. A size is a call: `QWEN3(vocab_size=4096, …)`."""

from __future__ import annotations

from functools import partial

from danlu.model.transformer import ModelConfig

LLAMA = ModelConfig
QWEN2 = partial(ModelConfig, bias="qkv", rope_theta=1_000_000.0)
QWEN3 = partial(ModelConfig, qk_norm=True, rope_theta=1_000_000.0)
