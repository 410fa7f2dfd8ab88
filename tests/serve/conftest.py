"""A server over a tiny model of random weights, in this process."""

from __future__ import annotations

import pytest

from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def chat() -> ChatFormat:
    texts = ['user assistant system tool tools 你好，世界 hello there weather 天气 {"city": "北京"}\n'] * 3
    return ChatFormat(Tokenizer.train(texts, 330))


@pytest.fixture(scope="session")
def model(chat: ChatFormat) -> LanguageModel:
    sizes = {"d_model": 16, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "head_dim": 8, "d_ff": 16}
    config = ModelConfig(vocab_size=chat.tokenizer.vocab_size, max_seq_len=256, **sizes)
    return LanguageModel(config, seed=1).eval()
