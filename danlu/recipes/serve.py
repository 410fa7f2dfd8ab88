"""`danlu serve MODEL`: the HTTP API over one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from danlu.config import ConfigError
from danlu.generate.sampler import SamplingConfig
from danlu.recipes.serving import adapters_of, embedder, make_engine, name_of, scorer
from danlu.recipes.speaker import load_speaker
from danlu.recipes.tool_settings import ToolsConfig
from danlu.serve.api.limits import Limits

if TYPE_CHECKING:
    from danlu.serve.api.service import Served

SUMMARY = "answer over HTTP, in the shape of OpenAI's API: danlu serve MODEL"
POSITIONAL = ("model",)
EVERYWHERE = {"0.0.0.0", "::"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    model: Path  # model or adapter directory, or the run directory of the stage that made it
    name: str | None = None  # by which clients ask for it; by default the name of its directory
    host: str = "127.0.0.1"  # any other than this machine's own takes keys
    port: int = 8000
    keys: Path | None = None  # file that `danlu key` writes; without it everybody on this machine may ask
    hosts: tuple[str, ...] = ()  # further names by which clients call the server
    adapters: Mapping[str, Path] = field(default_factory=dict[str, Path])  # each name is a model to clients
    reward_model: Path | None = None  # for /v1/score
    tools: ToolsConfig = field(default_factory=ToolsConfig)  # for requests with server_tools
    sampling: SamplingConfig = field(  # where a request does not say
        default_factory=lambda: SamplingConfig(max_new_tokens=256, temperature=0.7, top_p=0.95)
    )
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65_536:
            raise ConfigError(f"port is {self.port}; it must be 0 to 65535, 0 being any that is free")


def run(config: ServeConfig) -> None:
    _check_installed()
    from danlu.serve.api.app import create_app
    from danlu.serve.api.guard import LOOPBACK
    from danlu.serve.api.keys import load_keys
    from danlu.serve.api.server import bind, is_loopback, serve

    if not is_loopback(config.host) and config.keys is None:
        raise ConfigError(
            f"host is {config.host}, which others can reach, and there are no keys; make one with "
            "`danlu key NAME` and add keys=keys.toml"
        )
    keys = None if config.keys is None else load_keys(config.keys)
    hosts = LOOPBACK | {each.lower() for each in config.hosts} | ({config.host.lower()} - EVERYWHERE)
    with bind(config.host, config.port) as listening:
        app = create_app(_served(config), keys=keys, hosts=hosts, limits=config.limits)
        host, port = listening.getsockname()[:2]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        about = "no key is asked for" if keys is None else "a key is asked for"
        name = app.state.service.served.name
        serve(app, listening, lambda: print(f"{name} answers at http://{address}/v1 ({about})", flush=True))


def _served(config: ServeConfig) -> Served:
    from danlu.serve.api.service import Served

    name = config.name or name_of(config.model)
    if name in config.adapters:
        raise ConfigError(f"adapters.{name}: the model itself is called so; give one of them another name")
    speaker, rater = load_speaker(config.model), config.reward_model
    return Served(
        name=name,
        chat=speaker.chat,
        max_seq_len=speaker.max_seq_len,
        engine=make_engine(speaker.model, adapters_of(speaker, config.adapters)),
        adapters=tuple(config.adapters),
        sampling=config.sampling,
        embed=embedder(speaker.model),
        toolbox=config.tools.toolbox,
        loop=config.tools.loop,
        score=None if rater is None else scorer(rater, config.model, speaker),
    )


def _check_installed() -> None:
    try:
        import fastapi  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import prometheus_client  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import uvicorn  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise ConfigError(f"the server needs {error.name}: pip install 'danlu[serve]'") from None
