"""`danlu serve MODEL`: the HTTP API over one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from danlu.config import ConfigError
from danlu.generate.engine import EngineConfig
from danlu.generate.sampling import SamplingConfig
from danlu.recipes.serving import (
    SPEAKING,
    Running,
    address_of,
    check_installed,
    load_served,
    load_served_translator,
    names_of,
    translates,
)
from danlu.recipes.speaker import check_guesses
from danlu.recipes.tool_settings import ToolsConfig
from danlu.serve.api.limits import Limits

if TYPE_CHECKING:
    from danlu.serve.api.service import Served

SUMMARY = "answer over HTTP, in the shape of OpenAI's API: danlu serve MODEL"
POSITIONAL = ("model",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    model: Path  # model or adapter directory, or the run directory of the stage that made it
    name: str | None = None  # by which clients ask for it; by default the name of its directory
    host: str = "127.0.0.1"  # any other than this machine's own takes keys
    port: int = 8000
    keys: Path | None = None  # file that `danlu key` writes; without it everybody on this machine may ask
    hosts: tuple[str, ...] = ()  # further names by which clients call the server
    adapters: Mapping[str, Path] = field(default_factory=dict[str, Path])  # each name is a model to clients
    adapter_folder: Path | None = None  # whose directories may be loaded as adapters over HTTP
    draft: Path | None = None  # smaller model of the same tokenizer that guesses engine.n_draft tokens ahead
    engine: EngineConfig = field(default_factory=EngineConfig)
    reward_model: Path | None = None  # for /v1/score
    tools: ToolsConfig = field(default_factory=ToolsConfig)  # for requests with server_tools
    sampling: SamplingConfig = field(  # where a request does not say
        default_factory=lambda: SPEAKING
    )
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65_536:
            raise ConfigError(f"port is {self.port}; it must be 0 to 65535, 0 being any that is free")
        if self.engine.decoder.logprobs != "model":
            raise ConfigError("engine.decoder.logprobs: a server tells the model's own; leave it at 'model'")
        check_guesses(self.engine.n_draft, self.draft)


def load(config: ServeConfig) -> Served:
    """The model, and all that the server can do with it."""
    if translates(config.model):
        for setting in ("adapters", "adapter_folder", "draft", "reward_model"):
            if getattr(config, setting):
                raise ConfigError(f"{setting} is set, and {config.model} translates; leave it out")
        return load_served_translator(config.model, name=config.name, sampling=config.sampling)
    return load_served(
        config.model,
        name=config.name,
        adapters=config.adapters,
        reward_model=config.reward_model,
        sampling=config.sampling,
        tools=config.tools,
        running=Running(engine=config.engine, draft=config.draft, adapter_folder=config.adapter_folder),
    )


def run(config: ServeConfig) -> None:
    check_installed("fastapi", "prometheus_client", "uvicorn", extra="serve")
    from danlu.serve.api.app import create_app
    from danlu.serve.api.keys import load_keys
    from danlu.serve.api.server import bind, is_loopback, serve

    if not is_loopback(config.host) and config.keys is None:
        raise ConfigError(
            f"host is {config.host}, which others can reach, and there are no keys; make one with "
            "`danlu key NAME` and add keys=keys.toml"
        )
    keys = None if config.keys is None else load_keys(config.keys)
    with bind(config.host, config.port) as listening:
        served = load(config)
        app = create_app(served, keys=keys, hosts=names_of(config.host, config.hosts), limits=config.limits)
        address = address_of(listening)
        about = "no key is asked for" if keys is None else "a key is asked for"
        serve(
            app,
            listening,
            lambda: print(f"{served.name} answers at http://{address}/v1 ({about})", flush=True),
        )
