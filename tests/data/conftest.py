from __future__ import annotations

import pytest

from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat

TEXTS = [
    "Hello, who are you?",
    "I am Danlu.",
    "你好，你是谁？",
    "我是丹炉。",
    "What is two and two? Four.",
] * 4


@pytest.fixture(scope="session")
def tokenizer():
    """A real tokenizer of 300 tokens."""
    return Tokenizer.train(TEXTS, 300)


@pytest.fixture(scope="session")
def chat_format(tokenizer):
    return ChatFormat(tokenizer)
