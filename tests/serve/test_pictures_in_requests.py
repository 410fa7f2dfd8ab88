"""Pictures in requests, in OpenAI's parts: answered where the model sees, plainly refused elsewhere."""

from __future__ import annotations

import base64
import copy
from functools import partial
from typing import Any

import pytest
import torch
from small_server import Scripted, client_of, served

from danlu.data.images import pixels_of
from danlu.generate.reference import ReferenceEngine
from danlu.model.config import PatchConfig
from danlu.model.heads import LanguageModel
from danlu.model.vocabulary import with_eye
from danlu.serve.api.app import create_app
from danlu.serve.api.limits import Limits
from danlu.tokenizer.chat import ChatFormat, Sight
from danlu.world.scene import Thing, draw
from danlu.world.seeing import png

pytestmark = pytest.mark.anyio
PATH = "/v1/chat/completions"
SIZES = PatchConfig(side=48, patch=16, d_model=8, n_layers=1, n_heads=2, d_ff=8)


def url(*things: Thing) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(draw(things))).decode()}"


RED, BLUE = url(Thing("circle", "red", 0, 0)), url(Thing("ring", "blue", 2, 1))


def part(link: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": link, **more}}


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content}


def body(*parts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": list(parts)}]
    return {"model": "tiny", "messages": messages, "temperature": 0, "max_tokens": 4, **changes}


@pytest.fixture(scope="module")
def eyes(chat: ChatFormat) -> ChatFormat:
    return ChatFormat(chat.tokenizer.with_images(), Sight(side=48, n_patches=9))


@pytest.fixture(scope="module")
def able(model: LanguageModel) -> LanguageModel:
    return with_eye(copy.deepcopy(model), SIZES, seed=1).eval()


def app(eyes: ChatFormat, engine: Any, limits: Limits | None = None) -> Any:
    return create_app(served(eyes, engine, see=partial(pixels_of, side=48)), limits=limits)


async def test_the_answer_is_what_the_model_says_to_what_it_sees(eyes: ChatFormat, able: LanguageModel):
    async with client_of(app(eyes, ReferenceEngine(able))) as client:
        asked = body(text("hello "), part(RED, detail="auto"), text("weather"), part(BLUE))
        response = await client.post(PATH, json=asked)
        tokenized = await client.post("/tokenize", json={"messages": asked["messages"]})
    assert response.status_code == 200, response.text
    images = [{"at": 6, "url": RED}, {"at": 13, "url": BLUE}]
    ids = eyes.prompt([{"role": "user", "content": "hello weather", "images": images}])
    assert tokenized.json()["tokens"] == ids
    row = list(ids)
    with torch.no_grad():
        patches = able.backbone.look(pixels_of([RED, BLUE], 48))
        while len(row) < len(ids) + 4 and row[-1] not in eyes.stop_ids:
            logits = able(torch.tensor([row]), patches=patches)[0, -1]
            logits[[*(eyes.tokenizer.control_ids - eyes.stop_ids)]] = -torch.inf
            row.append(int(logits.argmax()))
    answer = response.json()
    assert answer["choices"][0]["message"]["content"] == eyes.tokenizer.decode(row[len(ids) :])
    assert answer["usage"]["prompt_tokens"] == len(ids)


async def test_requests_with_other_pictures_share_no_prefix(eyes: ChatFormat):
    engine = Scripted([eyes.tokenizer.im_end_id])
    async with client_of(app(eyes, engine)) as client:
        for link in (RED, RED, BLUE):
            await client.post(PATH, json=body(part(link), text("hello")))
        await client.post(PATH, json=body(text("hello")))
    salts = [request.salt for request in engine.requests]
    assert salts[0] == salts[1] != salts[2]
    assert salts[3] not in salts[:3]
    assert engine.requests[3].pictures is None
    assert [int(request.pictures.shape[0]) for request in engine.requests[:3]] == [1, 1, 1]


async def test_a_model_without_eyes_says_so(chat: ChatFormat, model: LanguageModel):
    async with client_of(create_app(served(chat, ReferenceEngine(model)))) as client:
        response = await client.post(PATH, json=body(part(RED), text("hello")))
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "not_available", "messages")
    assert error["message"] == "this model reads text only"


@pytest.mark.parametrize(
    ("bad", "status", "message"),
    [
        (part("data:image/png;base64,AAAA"), 400, "an image file is of an unknown kind; only PNG is read"),
        (part("data:image/png;base64,!"), 400, "no base64"),
        (part(RED[:-60]), 400, "the PNG file is broken or ends too early"),
        (part("https://example.com/a.png"), 422, "should match pattern '^data:image/png;base64,'"),
        (part("file:///etc/passwd"), 422, "should match pattern"),
        (part(RED, detail="high"), 422, "Input should be 'auto'"),
        (part(RED, size=3), 422, "Extra inputs are not permitted"),
        ({"type": "input_audio"}, 422, "'type' must be one of 'text'"),
    ],
)
async def test_what_is_no_picture_is_refused(eyes: ChatFormat, able: LanguageModel, bad, status, message):
    async with client_of(app(eyes, ReferenceEngine(able))) as client:
        response = await client.post(PATH, json=body(text("hello"), bad))
    assert response.status_code == status
    assert message in response.json()["error"]["message"]


async def test_pictures_are_the_users_and_so_many_at_most(eyes: ChatFormat, able: LanguageModel):
    async with client_of(app(eyes, ReferenceEngine(able), Limits(images=1))) as client:
        crowded = await client.post(PATH, json=body(part(RED), part(BLUE)))
        messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": [part(RED)]}]
        foreign = await client.post(PATH, json=body(messages=[*messages, messages[0]]))
    assert (crowded.status_code, crowded.json()["error"]["code"]) == (400, "limit_exceeded")
    assert "2 pictures; at most 1" in crowded.json()["error"]["message"]
    assert foreign.status_code == 422
