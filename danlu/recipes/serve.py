"""`danlu serve MODEL`: the HTTP API over one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from danlu.adapters.files import is_adapter, load_score_adapter, on_base, read_adapter
from danlu.config import ConfigError
from danlu.generate.reference import ReferenceEngine
from danlu.generate.request import Engine
from danlu.generate.sampler import SamplingConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import load_score_model
from danlu.recipes.model_files import model_dir
from danlu.recipes.speaker import Speaker, load_speaker
from danlu.rl.scoring import score_sequences
from danlu.serve.api.limits import Limits

if TYPE_CHECKING:
    from danlu.serve.api.keys import Keys

SUMMARY = "answer over HTTP, in the shape of OpenAI's API: danlu serve MODEL"
POSITIONAL = ("model",)
EVERYWHERE = {"0.0.0.0", "::"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    model: Path  # model or adapter directory, or the run directory of the stage that made it
    name: str | None = None  # by which clients ask for it; by default the name of its directory
    host: str = "127.0.0.1"  # any other than this machine's own takes keys
    port: int = 8000
    keys: Path | None = (
        None  # file of keys, which `danlu key` writes; without it everybody on this machine may ask
    )
    hosts: tuple[str, ...] = ()  # further names by which clients call the server
    adapters: Mapping[str, Path] = field(
        default_factory=dict[str, Path]
    )  # by name: each is a model to clients
    reward_model: Path | None = None  # for /v1/score
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
    from danlu.serve.api.server import bind, is_loopback, serve
    from danlu.serve.api.service import Served

    if not is_loopback(config.host) and config.keys is None:
        raise ConfigError(
            f"host is {config.host}, which others can reach, and there are no keys; make one with "
            "`danlu key NAME FILE` and add keys=FILE"
        )
    keys = _keys(config)
    speaker = load_speaker(config.model)
    name = config.name or name_of(config.model)
    served = Served(
        name=name,
        chat=speaker.chat,
        max_seq_len=speaker.max_seq_len,
        engine=make_engine(speaker.model, adapters_of(speaker, config.adapters)),
        adapters=tuple(config.adapters),
        sampling=config.sampling,
        embed=embedder(speaker.model),
        score=scorer(config, speaker),
    )
    hosts = LOOPBACK | {each.lower() for each in config.hosts} | ({config.host} - EVERYWHERE)
    app = create_app(served, keys=keys, hosts=hosts, limits=config.limits)
    listening = bind(config.host, config.port)
    host, port = listening.getsockname()[:2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    about = "no key is asked for" if keys is None else "a key is asked for"
    serve(app, listening, lambda: print(f"{name} answers at http://{address}/v1 ({about})", flush=True))


def make_engine(model: LanguageModel, adapters: Mapping[str, LanguageModel]) -> Engine:
    """The engine that `danlu serve` runs."""
    return ReferenceEngine(model, adapters=adapters)


def name_of(path: Path) -> str:
    """What a model is called after its directory; `model` and `adapter` say less than the run above them."""
    path = path.resolve()
    return path.parent.name if path.name in ("model", "adapter") else path.name


def adapters_of(speaker: Speaker, paths: Mapping[str, Path]) -> dict[str, LanguageModel]:
    """A model for each adapter, all over the same weights."""
    models: dict[str, LanguageModel] = {}
    for name, path in paths.items():
        model = on_base(
            read_adapter(path / "adapter" if is_adapter(path / "adapter") else path), speaker.model
        )
        if not isinstance(model, LanguageModel):
            raise ConfigError(f"adapters.{name}: {path} adapts a score model; it goes into reward_model")
        models[name] = model.eval()
    return models


def embedder(model: LanguageModel) -> Callable[[Sequence[Sequence[int]]], list[list[float]]]:
    """The mean of the last hidden vectors of a sequence, at length 1."""

    @torch.inference_mode()
    def embed(rows: Sequence[Sequence[int]]) -> list[list[float]]:
        device = model.lm_head.weight.device
        hidden = (model.backbone(torch.tensor([row], device=device))[0].float() for row in rows)
        return [torch.nn.functional.normalize(each.mean(0), dim=0).tolist() for each in hidden]

    return embed


def scorer(config: ServeConfig, speaker: Speaker) -> Callable[[Sequence[Sequence[int]]], list[float]] | None:
    """The reward model's scores; None where there is no reward model."""
    if config.reward_model is None:
        return None
    model, pad_id = load_scores(config.reward_model, config.model, speaker), speaker.chat.tokenizer.pad_id
    return lambda rows: score_sequences(model, rows, pad_id)


def load_scores(path: Path, base_dir: Path, speaker: Speaker) -> ScoreModel:
    """The reward model in a model or adapter directory, or in a run directory."""
    adapter = next((each for each in (path / "adapter", path) if is_adapter(each)), None)
    if (path / "model" / "config.json").exists() or adapter is None:
        return load_score_model(model_dir(path), vocab_size=speaker.chat.tokenizer.vocab_size).eval()
    return load_score_adapter(adapter, base=speaker.model, base_dir=model_dir(base_dir)).eval()


def _keys(config: ServeConfig) -> Keys | None:
    from danlu.serve.api.keys import load_keys

    return None if config.keys is None else load_keys(config.keys)


def _check_installed() -> None:
    try:
        import fastapi  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import prometheus_client  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import uvicorn  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise ConfigError(f"the server needs {error.name}: pip install 'danlu[serve]'") from None
