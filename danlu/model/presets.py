"""Families: a configuration with its choices filled in. A size is a call: `QWEN3(vocab_size=4096, …)`."""

from __future__ import annotations

from functools import partial

from danlu.model.config import ModelConfig

_BEFORE_LLAMA = partial(ModelConfig, norm="layernorm", position="learned", bias="all", norm_eps=1e-5)
TRANSFORMER = partial(  # Vaswani et al. 2017
    ModelConfig,
    topology="encoder-decoder",
    norm="layernorm",
    norm_position="post",
    norm_eps=1e-5,
    position="sinusoidal",
    scaled_embedding=True,
    mlp="relu",
    bias="all",
)
GPT1 = partial(_BEFORE_LLAMA, norm_position="post", mlp="gelu_tanh")  # Radford et al. 2018
GPT2 = partial(_BEFORE_LLAMA, mlp="gelu_tanh")  # Radford et al. 2019
# Brown et al. 2020, dense and banded layers in turn, in the form of its open rebuild, GPT-Neo (Black et al.
# 2021): no biases on queries, keys and values, and scores that are not divided.
GPT3 = partial(
    GPT2, attention_pattern=("full", "window"), window=256, bias="all_but_qkv", scaled_scores=False
)
BERT = partial(  # Devlin et al. 2018
    _BEFORE_LLAMA,
    topology="encoder",
    norm_position="post",
    norm_eps=1e-12,
    mlp="gelu",
    n_token_types=2,
    max_seq_len=512,
)
LLAMA = ModelConfig  # Touvron et al. 2023; for 3.1, give rope_scaling (Grattafiori et al. 2024)
MISTRAL = partial(ModelConfig, attention_pattern=("window",), window=4096)  # Jiang et al. 2023
QWEN2 = partial(ModelConfig, bias="qkv", rope_theta=1_000_000.0)  # and 2.5: Yang et al. 2024
QWEN3 = partial(ModelConfig, qk_norm=True, rope_theta=1_000_000.0)  # Yang et al. 2025
QWEN3_MOE = partial(QWEN3, mlp="moe")  # give experts
