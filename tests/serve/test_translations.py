"""A model that translates, served: what `danlu translate` says, over HTTP; and what it cannot do, refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_server import client_of

from danlu.config import ConfigError
from danlu.data.pairs import Languages
from danlu.generate.beam import BeamConfig
from danlu.generate.request import Event, Request
from danlu.generate.sampling import SamplingConfig
from danlu.generate.translating import TranslationEngine
from danlu.model.presets import TRANSFORMER
from danlu.model.translation import TranslationModel
from danlu.recipes.serve import ServeConfig, load
from danlu.recipes.translator import Translator
from danlu.serve.api.app import create_app
from danlu.tokenizer.bpe import Tokenizer

pytestmark = pytest.mark.anyio
TEXTS = ["hello there", "weather", "你好，世界", "hello 天气 there weather hello"]
GREEDY, MOST_EXTRA = BeamConfig(beam_size=1), 12
SOURCES = [(70, 71, 72), (80,), (90, 91, 70, 71, 72, 73, 74), (70, 71, 72)]


@pytest.fixture(scope="module")
def translator() -> Translator:
    """Of random weights, sure enough of itself that translations differ and some of them end."""
    tokenizer = Tokenizer.train(["hello there weather 你好，世界 天气 >>zh<< >>en<<"] * 3, 300)
    config = TRANSFORMER(
        vocab_size=tokenizer.vocab_size,
        d_model=16,
        n_layers=2,
        d_ff=32,
        n_heads=2,
        n_kv_heads=2,
        head_dim=8,
        max_seq_len=96,
    )
    model = TranslationModel(config, seed=5)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.25)
        model.logits_bias[0, tokenizer.eos_id] = 1.0
    return Translator(model.eval(), tokenizer, Languages(both_ways=True))


@pytest.fixture(scope="module")
def directory(translator: Translator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("translator") / "model"
    translator.save(path)
    return path


def app_of(directory: Path) -> Any:
    return create_app(load(ServeConfig(model=directory, name="t")))


@pytest.mark.parametrize("to", ["en", "zh"])
async def test_a_translation_is_that_of_danlu_translate(translator: Translator, directory: Path, to: str):
    expected = translator.translate(TEXTS, to, GREEDY)
    assert len(set(expected)) > 2
    async with client_of(app_of(directory)) as client:
        several = await client.post("/v1/completions", json={"model": "t", "prompt": TEXTS, "to": to})
        assert [each["text"] for each in several.json()["choices"]] == expected
        for text, translation in zip(TEXTS, expected, strict=True):
            response = await client.post("/v1/completions", json={"model": "t", "prompt": text, "to": to})
            told = response.json()
            assert told["choices"][0]["text"] == translation
            assert told["usage"]["prompt_tokens"] == len(translator.read([text], to)[0])


async def test_the_language_is_the_one_that_the_text_is_not_in(translator: Translator, directory: Path):
    async with client_of(app_of(directory)) as client:
        for text, to in (("hello there, how is the weather?", "zh"), ("你好，世界，天气", "en")):
            response = await client.post("/v1/completions", json={"model": "t", "prompt": text})
            assert response.json()["choices"][0]["text"] == translator.translate([text], to, GREEDY)[0]


async def test_a_stream_says_the_same(translator: Translator, directory: Path):
    expected = translator.translate(TEXTS[:1], "zh", GREEDY)[0]
    body = {"model": "t", "prompt": TEXTS[0], "to": "zh", "stream": True, "logprobs": 1}
    async with client_of(app_of(directory)) as client:
        response = await client.post("/v1/completions", json=body)
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    assert "".join(choice["text"] for choice in choices) == expected
    assert all(p <= 0 for choice in choices for p in choice["logprobs"]["token_logprobs"])
    assert choices[-1]["finish_reason"] in ("stop", "length")


async def test_the_model_says_what_it_is_and_what_it_cannot_do_is_refused(directory: Path):
    refused: list[tuple[str, dict[str, Any], int, str]] = [
        ("/v1/completions", {"prompt": "hello", "to": "fr"}, 400, "this model translates into"),
        ("/v1/completions", {"prompt": "hello", "echo": True}, 400, "continue nothing"),
        ("/v1/completions", {"prompt": "hello " * 200}, 400, "tokens"),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "hello"}]},
            404,
            "/v1/completions",
        ),
        ("/v1/embeddings", {"input": "hello"}, 404, "this server"),
    ]
    async with client_of(app_of(directory)) as client:
        (about,) = (await client.get("/v1/models")).json()["data"]
        assert about["translates"] == ["en-zh", "zh-en"]
        for path, body, status, said in refused:
            response = await client.post(path, json={"model": "t", **body})
            assert response.status_code == status, response.text
            assert said in response.json()["error"]["message"]


def test_what_goes_with_a_language_model_only_is_refused(directory: Path):
    with pytest.raises(ConfigError, match="reward_model is set"):
        load(ServeConfig(model=directory, reward_model=directory))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_translation_does_not_depend_on_those_beside_it(translator: Translator, temperature: float):
    requests = [asked(translator, ids, key, temperature) for key, ids in enumerate(SOURCES)]
    alone = [said(translator, [request]) for request in requests]
    together = said(translator, requests)
    assert together == {key: events for found in alone for key, events in found.items()}
    for key, ids in enumerate(SOURCES):
        assert len(together[key]) <= len(ids) + MOST_EXTRA


def asked(translator: Translator, ids: tuple[int, ...], key: int, temperature: float) -> Request:
    sampling = SamplingConfig(max_new_tokens=40, temperature=temperature, seed=3)
    stop_ids = frozenset({translator.tokenizer.eos_id})
    return Request(prompt_ids=ids, sampling=sampling, key=key, stop_ids=stop_ids, n_top=2)


def said(translator: Translator, requests: list[Request]) -> dict[int | str, list[Event]]:
    """Each request's events by its key. A new one comes after each step, beside one that is cancelled."""
    eos_id = translator.tokenizer.eos_id
    engine = TranslationEngine(translator.model, start_id=eos_id, max_extra_tokens=MOST_EXTRA)
    keys, waiting = dict[int, int | str](), [*requests]
    found: dict[int | str, list[Event]] = {request.key: [] for request in requests}
    cancelled = engine.add(replace(requests[0], key="cancelled"))
    while waiting or engine.n_unfinished:
        if waiting:
            request = waiting.pop(0)
            keys[engine.add(request)] = request.key
        for event in engine.step():
            if event.request_id != cancelled:
                found[keys[event.request_id]].append(replace(event, request_id=0))
        engine.cancel(cancelled)
    return found
