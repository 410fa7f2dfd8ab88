"""What lm-evaluation-harness asks for and how it reads the answers, field by field.

The harness itself is not installed here. `scored` does to an answer what its `parse_logprobs` does.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import httpx2
import pytest
import torch
from small_server import Scripted, client_of, served

from danlu.generate.reference import ReferenceEngine
from danlu.model.heads import LanguageModel
from danlu.serve.api.app import create_app
from danlu.tokenizer.chat import ChatFormat

pytestmark = pytest.mark.anyio
PAIRS = [("hello", " there"), ("你好", "，世界"), ("天", "岁")]  # (context, continuation)


def asked(prompts: list[list[int]]) -> dict[str, Any]:
    """The request that the harness sends for log-likelihoods."""
    return {
        "model": "tiny",
        "prompt": prompts,
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
    }


def scored(answer: dict[str, Any], context_lengths: list[int]) -> list[tuple[float, bool]]:
    found = []
    choices = sorted(answer["choices"], key=itemgetter("index"))
    for choice, n in zip(choices, context_lengths, strict=True):
        tokens = choice["logprobs"]["token_logprobs"][n:-1]
        tops = choice["logprobs"]["top_logprobs"][n:-1]
        greedy = all(token == max(top.values()) for token, top in zip(tokens, tops, strict=True))
        found.append((sum(tokens), greedy))
    return found


def by_hand(model: LanguageModel, ids: list[int], n: int) -> tuple[float, bool]:
    """The log-likelihood of ids[n:] after ids[:n], and whether each is the likeliest, from one forward."""
    with torch.inference_mode():
        logprobs = model(torch.tensor([ids]))[0].log_softmax(-1)
    places = range(n - 1, len(ids) - 1)
    greedy = all(int(logprobs[t].argmax()) == ids[t + 1] for t in places)
    return sum(float(logprobs[t, ids[t + 1]]) for t in places), greedy


async def encoded(client: httpx2.AsyncClient, text: str) -> list[int]:
    """As the harness's remote tokenizer does."""
    response = await client.post("/tokenize", json={"prompt": text, "add_special_tokens": False})
    return response.json()["tokens"]


def greedily_continued(model: LanguageModel, ids: list[int], n: int) -> list[int]:
    with torch.inference_mode():
        for _ in range(n):
            ids = [*ids, int(model(torch.tensor([ids]))[0, -1].argmax())]
    return ids


async def test_scores_are_those_of_one_forward(chat: ChatFormat, model: LanguageModel):
    async with client_of(create_app(served(chat, ReferenceEngine(model)))) as client:
        contexts = [await encoded(client, context) for context, _ in PAIRS]
        rows = [[*ids, *await encoded(client, more)] for ids, (_, more) in zip(contexts, PAIRS, strict=True)]
        contexts.append(contexts[0])
        rows.append(greedily_continued(model, contexts[0], 3))  # one that is greedy
        answer = (await client.post("/v1/completions", json=asked(rows))).json()
    found = scored(answer, [len(ids) for ids in contexts])
    expected = [by_hand(model, row, len(ids)) for row, ids in zip(rows, contexts, strict=True)]
    assert [score for score, _ in found] == pytest.approx([score for score, _ in expected], abs=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert found[-1][1]
    assert not all(greedy for _, greedy in found)


async def test_every_list_has_an_entry_more_than_the_prompt_and_begins_with_null(
    chat: ChatFormat, model: LanguageModel
):
    rows = [chat.tokenizer.encode(text) for text in ("hello there", "你好岁月", "x")]
    async with client_of(create_app(served(chat, ReferenceEngine(model)))) as client:
        answer = (await client.post("/v1/completions", json=asked(rows))).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    for row, choice in zip(rows, answer["choices"], strict=True):
        logprobs = choice["logprobs"]
        assert {len(each) for each in logprobs.values()} == {len(row) + 1}
        assert logprobs["token_logprobs"][0] is None
        assert logprobs["top_logprobs"][0] is None
        # The likeliest is there though one was asked for, and the token itself with the very same float.
        for token, logprob, top in zip(
            logprobs["tokens"][1:], logprobs["token_logprobs"][1:], logprobs["top_logprobs"][1:], strict=True
        ):
            assert top[token] == logprob
            assert len(top) == 1 + (max(top.values()) != logprob)


async def test_an_entry_stands_for_the_end_token_too(chat: ChatFormat):
    # Else the slice [n:-1] would drop the last token of the prompt.
    engine = Scripted([chat.tokenizer.eos_id])
    async with client_of(create_app(served(chat, engine))) as client:
        answer = (await client.post("/v1/completions", json=asked([[70, 71]]) | {"echo": False})).json()
    (choice,) = answer["choices"]
    assert choice["logprobs"]["tokens"] == ["<|endoftext|>"]
    assert (choice["text"], choice["finish_reason"]) == ("", "stop")


async def test_halves_of_characters_do_not_overwrite_each_other(chat: ChatFormat, model: LanguageModel):
    with torch.no_grad():
        wide = {**asked([[70, 71, 72]]), "logprobs": 20}
    async with client_of(create_app(served(chat, ReferenceEngine(model)))) as client:
        answer = (await client.post("/v1/completions", json=wide)).json()
    tops = answer["choices"][0]["logprobs"]["top_logprobs"][1:]
    assert all(len(top) in (20, 21) for top in tops)
    assert any(token.startswith("bytes:\\x") for top in tops for token in top)


async def test_the_remote_tokenizer_finds_what_it_needs(chat: ChatFormat):
    async with client_of(create_app(served(chat, Scripted([70])))) as client:
        told = (await client.get("/tokenizer_info")).json()
        assert {"eos_token", "bos_token", "pad_token"} <= told.keys()
        # The harness takes encode(eos_token)[0] for the token that it puts before an empty context.
        assert (await encoded(client, told["eos_token"]))[0] == chat.tokenizer.eos_id
        ids = await encoded(client, "你好 hello")
        assert ids == chat.tokenizer.encode("你好 hello")
        back = await client.post("/detokenize", json={"tokens": ids})
        assert back.json()["prompt"] == "你好 hello"
        assert told["chat_template"] is None  # the harness then says so rather than score the wrong ids


async def test_texts_come_back_in_the_order_of_the_prompts(chat: ChatFormat, model: LanguageModel):
    """As for `generate_until`: stop strings, of which the end token's name is one."""
    request = {
        "model": "tiny",
        "max_tokens": 6,
        "temperature": 0,
        "stop": ["\n\n", "<|endoftext|>"],
        "seed": 1,
    }
    async with client_of(create_app(served(chat, ReferenceEngine(model)))) as client:
        rows = [chat.tokenizer.encode(text) for text in ("hello", "你好", "天气")]
        together = (await client.post("/v1/completions", json={**request, "prompt": rows})).json()
        alone = [
            (await client.post("/v1/completions", json={**request, "prompt": [row]})).json() for row in rows
        ]
    assert [choice["text"] for choice in together["choices"]] == [
        each["choices"][0]["text"] for each in alone
    ]


async def test_text_offsets_point_into_the_text(chat: ChatFormat, model: LanguageModel):
    request = {"model": "tiny", "prompt": "hello 你好", "max_tokens": 5, "temperature": 0, "logprobs": 0}
    async with client_of(create_app(served(chat, ReferenceEngine(model)))) as client:
        echoed = (await client.post("/v1/completions", json={**request, "echo": True})).json()["choices"][0]
        plain = (await client.post("/v1/completions", json=request)).json()["choices"][0]
        scored_only = (
            await client.post("/v1/completions", json={**request, "echo": True, "max_tokens": 0})
        ).json()
    assert echoed["text"] == "hello 你好" + plain["text"]
    spelled = echoed["logprobs"]
    for token, start in zip(spelled["tokens"], spelled["text_offset"], strict=True):
        if not token.startswith(("bytes:", "<|")):
            assert echoed["text"][start:].startswith(token)
    n = len(plain["logprobs"]["tokens"])
    assert n == 5
    assert [offset + 8 for offset in plain["logprobs"]["text_offset"]] == spelled["text_offset"][-n:]
    assert scored_only["choices"][0]["text"] == "hello 你好"
    assert scored_only["choices"][0]["logprobs"]["tokens"] == spelled["tokens"][:-n]
    assert scored_only["usage"]["completion_tokens"] == 0


async def test_a_streamed_completion_says_the_same(chat: ChatFormat, model: LanguageModel):
    from test_chat_api import chunks_of

    request = {"model": "tiny", "prompt": ["hello", "你"], "max_tokens": 6, "temperature": 0, "logprobs": 2}
    request |= {"echo": True, "n": 2}
    async with client_of(create_app(served(chat, ReferenceEngine(model)))) as client:
        whole = (await client.post("/v1/completions", json=request)).json()
        streamed = (await client.post("/v1/completions", json={**request, "stream": True})).text
    parts = [choice for chunk in chunks_of(streamed) for choice in chunk["choices"]]
    for choice in whole["choices"]:
        mine = [part for part in parts if part["index"] == choice["index"]]
        assert "".join(part["text"] for part in mine) == choice["text"]
        for name, values in choice["logprobs"].items():
            assert [each for part in mine for each in part["logprobs"][name]] == values
        assert mine[-1]["finish_reason"] == choice["finish_reason"]
