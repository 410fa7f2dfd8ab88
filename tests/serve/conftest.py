"""A server over a tiny model of random weights, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from danlu.generate.reference import ReferenceEngine
from danlu.generate.request import Engine
from danlu.generate.sampler import SamplingConfig
from danlu.model.heads import LanguageModel
from danlu.model.transformer import ModelConfig
from danlu.serve.api.app import create_app
from danlu.serve.api.service import Served
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat

BASE = "http://localhost"
GREEDY = {"temperature": 0, "max_tokens": 8}


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


@pytest.fixture
def engine(model: LanguageModel) -> Engine:
    return ReferenceEngine(model)


def served(chat: ChatFormat, engine: Engine | None, **changes: Any) -> Served:
    defaults: dict[str, Any] = {"sampling": SamplingConfig(max_new_tokens=8), "max_seq_len": 256}
    return Served(name="tiny", chat=chat, engine=engine, **(defaults | changes))


@asynccontextmanager
async def client_of(app: FastAPI, **headers: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an application that runs in this very event loop."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client,
    ):
        yield client


@pytest.fixture
def open_client(chat: ChatFormat, engine: Engine) -> AbstractAsyncContextManager[httpx2.AsyncClient]:
    return client_of(create_app(served(chat, engine)))
