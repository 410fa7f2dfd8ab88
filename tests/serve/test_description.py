"""The description of the API holds an example for each body, and the server does what the example asks."""

from __future__ import annotations

from typing import Any

import pytest
from small_server import Scripted, client_of, served

from danlu.model.heads import LanguageModel
from danlu.recipes.serving import embedder
from danlu.serve.api.app import create_app
from danlu.serve.api.keys import Caller
from danlu.tokenizer.chat import ChatFormat

pytestmark = pytest.mark.anyio
NOT_THERE = "/v1/adapters"  # its example names an adapter, and there is none here


async def test_every_example_is_answered(chat: ChatFormat, model: LanguageModel):
    engine = Scripted([70, 71, chat.tokenizer.im_end_id])
    app = create_app(served(chat, engine, embed=embedder(model), score=lambda rows: [0.5 for _ in rows]))
    async with client_of(app) as client:
        tree: dict[str, Any] = (await client.get("/openapi.json")).json()
        bodies = {
            path: methods["post"]["requestBody"]["content"]["application/json"]["example"]
            for path, methods in tree["paths"].items()
            if "requestBody" in methods.get("post", {})
        }
        assert NOT_THERE in bodies
        assert "one model in the shape" in tree["info"]["description"].lower()
        for path, body in bodies.items():
            answer = await client.post(path, json=body)
            expected = 404 if path == NOT_THERE else 200
            assert answer.status_code == expected, (path, answer.text)


class Everybody:
    """Knows every key."""

    def caller(self, key: str) -> Caller:
        return Caller(name=key, scopes=frozenset({"chat"}))


async def test_the_description_says_where_a_key_is_needed(chat: ChatFormat):
    async with client_of(create_app(served(chat, None), keys=Everybody())) as client:
        tree = (await client.get("/openapi.json", headers={"authorization": "Bearer any"})).json()
    assert tree["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    assert tree["paths"]["/v1/chat/completions"]["post"]["security"] == [{"key": []}]
    assert "security" not in tree["paths"]["/health"]["get"]
