"""Adapters that come and go over HTTP while the server runs."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from small_server import Scripted, client_of, served

from danlu.adapters.attach import attach
from danlu.adapters.files import save_adapter
from danlu.adapters.settings import AdapterConfig
from danlu.adapters.sharing import twin
from danlu.config import ConfigError
from danlu.generate.engine import EngineConfig
from danlu.generate.kernel import DecoderConfig
from danlu.generate.sampling import SamplingConfig
from danlu.model.adapted import places
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.recipes.serving import Running, load_served
from danlu.recipes.stage import publish
from danlu.recipes.tool_settings import ToolsConfig
from danlu.serve.api.app import create_app
from danlu.serve.api.keys import load_keys, make_key
from danlu.serve.api.limits import Limits
from danlu.tokenizer.chat import ChatFormat

pytestmark = pytest.mark.anyio
ADAPTERS, COMPLETIONS = "/v1/adapters", "/v1/completions"


def write_adapter(model: LanguageModel, base: Path, path: Path, seed: int) -> None:
    config = AdapterConfig(kind="lora")
    other = twin(model.requires_grad_(False))
    attach(other, config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parts in places(other).values():
            for parameter in parts.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.5)
    save_adapter(other, path, config, base=base)


@pytest.fixture(scope="module")
def run(chat: ChatFormat, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and beside it a folder of adapters, one of them as a run leaves it."""
    root = tmp_path_factory.mktemp("adapters")
    sizes = {"d_model": 32, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "head_dim": 16, "d_ff": 48}
    config = ModelConfig(vocab_size=chat.tokenizer.vocab_size, max_seq_len=256, **sizes)
    model = LanguageModel(config, seed=1).eval()
    publish(model, chat.tokenizer, root / "tiny" / "model")
    write_adapter(model, root / "tiny" / "model", root / "shelf" / "calm", 1)
    write_adapter(model, root / "tiny" / "model", root / "shelf" / "loud" / "adapter", 2)
    write_adapter(model, root / "tiny" / "model", root / "outside", 3)
    (root / "shelf" / "link").symlink_to(root / "outside")
    (root / "shelf" / "circle").symlink_to("circle")
    (root / "shelf" / "empty").mkdir()
    broken = root / "shelf" / "broken"
    broken.mkdir()
    for file in (root / "outside").iterdir():
        (broken / file.name).write_bytes(file.read_bytes()[:-40])
    return root


def app_of_run(run: Path, *, at_start: bool = False, **changes: Any) -> Any:
    shelf = run / "shelf"
    found = load_served(
        run / "tiny",
        adapters={"calm": shelf / "calm", "loud": shelf / "loud"} if at_start else {},
        reward_model=None,
        sampling=SamplingConfig(max_new_tokens=12),
        tools=ToolsConfig(),
        running=Running(adapter_folder=shelf, engine=EngineConfig(decoder=DecoderConfig(exact=True))),
    )
    return create_app(found, **changes)


@asynccontextmanager
async def serving(run: Path, **changes: Any) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of_run(run, **changes)) as client:
        yield client


async def said(client: httpx2.AsyncClient, model: str, **changes: Any) -> dict[str, Any]:
    body = {"model": model, "prompt": "hello", "logprobs": 2, "seed": 5, "temperature": 1, **changes}
    response = await client.post(COMPLETIONS, json=body)
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]


async def test_an_adapter_loaded_over_http_says_what_one_loaded_at_the_start_says(run: Path):
    async with serving(run, at_start=True) as client:
        wanted = {name: await said(client, name) for name in ("tiny", "calm", "loud")}
    assert len({each["text"] for each in wanted.values()}) == 3
    async with serving(run) as client:
        listed = (await client.get(ADAPTERS)).json()
        assert listed == {"object": "list", "loaded": [], "available": ["broken", "calm", "loud"]}
        for body in ({"name": "calm"}, {"name": "noisy", "directory": "loud"}):
            loaded = await client.post(ADAPTERS, json=body)
            assert (loaded.status_code, loaded.json()["id"]) == (200, body["name"])
        models = [each["id"] for each in (await client.get("/v1/models")).json()["data"]]
        assert models == ["tiny", "calm", "noisy"]
        found = await asyncio.gather(*(said(client, name) for name in ("tiny", "calm", "noisy") * 3))
        assert found == [wanted[name] for name in ("tiny", "calm", "loud")] * 3
        gone = await client.delete(f"{ADAPTERS}/calm")
        assert gone.json() == {"id": "calm", "object": "adapter", "deleted": True}
        refused = await client.post(COMPLETIONS, json={"model": "calm", "prompt": "hello"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
        assert await said(client, "noisy") == wanted["loud"]
        assert (await client.post(ADAPTERS, json={"name": "calm"})).status_code == 200
        assert await said(client, "calm") == wanted["calm"]


async def test_what_runs_is_undisturbed_and_an_adapter_in_use_stays(run: Path):
    long = {"max_tokens": 200, "logit_bias": {"2": -100}}
    async with serving(run) as client:
        alone = await said(client, "tiny", **long)
        await client.post(ADAPTERS, json={"name": "calm"})
        busy = asyncio.create_task(said(client, "calm", max_tokens=250, n=64))
        running = [asyncio.create_task(said(client, "tiny", **long)) for _ in range(3)]
        while "danlu_sequences_unfinished 67.0" not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.005)
        refused = await client.delete(f"{ADAPTERS}/calm")
        assert refused.status_code == 409
        assert "in use by request" in refused.json()["error"]["message"]
        assert refused.headers["Retry-After"] == "1"
        assert (await client.post(ADAPTERS, json={"name": "loud"})).status_code == 200
        assert (await client.get(ADAPTERS)).json()["loaded"] == ["calm", "loud"]
        assert not busy.done()
        await busy
        assert await asyncio.gather(*running) == [alone] * 3
        assert (await client.delete(f"{ADAPTERS}/calm")).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"name": "link"}, 404, "no such directory"),
        ({"name": "empty"}, 404, "no such directory"),
        ({"name": "nowhere"}, 404, "no such directory"),
        ({"name": "a", "directory": "broken"}, 400, "the adapter cannot be used"),
        ({"name": "tiny", "directory": "calm"}, 409, "a model of that name is here"),
        ({"name": "a", "directory": "../outside"}, 422, "directory"),
        ({"name": "a", "directory": "/etc"}, 422, "directory"),
        ({"name": ".."}, 422, "name"),
        ({"name": "a/b"}, 422, "name"),
        ({"name": ""}, 422, "name"),
        ({"name": "a" * 65}, 422, "name"),
        ({"name": 1}, 422, "name"),
        ({}, 422, "name"),
        ({"name": "calm", "path": "/etc"}, 422, "path"),
    ],
    ids=str,
)
async def test_what_cannot_be_loaded_is_refused_and_nothing_changes(
    run: Path, body: dict[str, Any], status: int, message: str
):
    async with serving(run) as client:
        response = await client.post(ADAPTERS, json=body)
        assert response.status_code == status, response.text
        assert message in response.text
        assert (await client.get(ADAPTERS)).json()["loaded"] == []
        assert (await said(client, "tiny"))["text"]


async def test_no_more_are_loaded_than_the_limit_says(run: Path):
    async with serving(run, limits=Limits(adapters=1)) as client:
        assert (await client.post(ADAPTERS, json={"name": "calm"})).status_code == 200
        again = await client.post(ADAPTERS, json={"name": "calm"})
        assert (again.status_code, again.json()["error"]["param"]) == (409, "name")
        second = await client.post(ADAPTERS, json={"name": "loud"})
        assert second.status_code == 409
        assert "1 adapters are loaded, which is the most" in second.json()["error"]["message"]
        assert (await client.delete(f"{ADAPTERS}/loud")).status_code == 404
        assert (await client.delete(f"{ADAPTERS}/tiny")).status_code == 404
        assert (await client.delete(f"{ADAPTERS}/calm")).status_code == 200
        assert (await client.post(ADAPTERS, json={"name": "loud"})).status_code == 200


async def test_of_many_that_ask_at_once_for_one_name_one_gets_it(run: Path):
    async with serving(run) as client:
        answers = await asyncio.gather(*(client.post(ADAPTERS, json={"name": "calm"}) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


async def test_it_takes_a_key_of_scope_admin(run: Path, tmp_path: Path):
    path = tmp_path / "keys.toml"
    talker, owner = make_key(path, "talker", ["chat"]), make_key(path, "owner", ["admin"])
    async with serving(run, keys=load_keys(path)) as client:
        for key, status in ((talker, 403), (owner, 200)):
            headers = {"Authorization": f"Bearer {key}"}
            assert (await client.get(ADAPTERS, headers=headers)).status_code == status
            loaded = await client.post(ADAPTERS, json={"name": "calm"}, headers=headers)
            assert loaded.status_code == status
            assert (await client.delete(f"{ADAPTERS}/calm", headers=headers)).status_code == status


async def test_a_server_without_a_folder_loads_none(chat: ChatFormat):
    async with client_of(create_app(served(chat, Scripted([70])))) as client:
        assert (await client.get(ADAPTERS)).json() == {"object": "list", "loaded": [], "available": []}
        for answer in (
            await client.post(ADAPTERS, json={"name": "calm"}),
            await client.delete(f"{ADAPTERS}/calm"),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_available")


async def test_a_folder_that_is_none_is_refused_at_the_start(run: Path):
    with pytest.raises(ConfigError, match="which is no directory"):
        load_served(
            run / "tiny",
            adapters={},
            reward_model=None,
            sampling=SamplingConfig(),
            tools=ToolsConfig(),
            running=Running(adapter_folder=run / "nowhere"),
        )


async def test_a_model_and_a_folder_that_are_deleted_disturb_nothing_loaded(run: Path, tmp_path: Path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy, symlinks=True)
    async with serving(copy) as client:
        before = await said(client, "tiny")
        assert (await client.post(ADAPTERS, json={"name": "calm"})).status_code == 200
        calm = await said(client, "calm")
        shutil.rmtree(copy)
        assert await said(client, "tiny") == before
        assert await said(client, "calm") == calm
        for refused in (await client.get(ADAPTERS), await client.post(ADAPTERS, json={"name": "loud"})):
            assert refused.status_code == 409
            told = refused.json()["error"]["message"]
            assert told == "the folder of adapters cannot be read: No such file or directory"
        assert (await client.get("/ready")).status_code == 200
        assert (await client.delete(f"{ADAPTERS}/calm")).status_code == 200
