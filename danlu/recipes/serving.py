"""What `danlu serve` puts behind its routes: an engine, adapters, vectors, scores."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from danlu.adapters.files import is_adapter, load_score_adapter, on_base, read_adapter
from danlu.config import ConfigError
from danlu.generate.engine import PagedEngine
from danlu.generate.grammar import Grammars
from danlu.generate.reference import ReferenceEngine
from danlu.generate.request import Engine, TokenFilter
from danlu.generate.sampling import SamplingConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import load_score_model
from danlu.recipes.model_files import model_dir
from danlu.recipes.speaker import Speaker, load_speaker
from danlu.recipes.tool_settings import ToolsConfig
from danlu.rl.scoring import score_sequences
from danlu.tokenizer.chat import ChatFormat

if TYPE_CHECKING:
    from danlu.serve.api.service import Served

EVERYWHERE = {"0.0.0.0", "::"}


def check_installed(*modules: str, extra: str) -> None:
    """Refuse to go on without what an extra of the package brings."""
    missing = next((name for name in modules if not find_spec(name)), None)
    if missing:
        raise ConfigError(f"the server needs {missing}: pip install 'danlu[{extra}]'")


def load_served(
    model: Path,
    *,
    name: str | None = None,
    adapters: Mapping[str, Path],
    reward_model: Path | None,
    sampling: SamplingConfig,
    tools: ToolsConfig,
) -> Served:
    """A model and all that a server can do with it."""
    from danlu.serve.api.service import Served

    name = name or name_of(model)
    if name in adapters:
        raise ConfigError(f"adapters.{name}: the model itself is called so; give one of them another name")
    speaker = load_speaker(model)
    return Served(
        name=name,
        chat=speaker.chat,
        max_seq_len=speaker.max_seq_len,
        engine=make_engine(speaker.model, adapters_of(speaker, adapters)),
        adapters=tuple(adapters),
        sampling=sampling,
        grammar=grammar_of(speaker.chat),
        toolbox=tools.toolbox,
        loop=tools.loop,
        embed=embedder(speaker.model),
        see=speaker.see if speaker.sees else None,
        score=None if reward_model is None else scorer(reward_model, model, speaker),
    )


def names_of(host: str, more: Iterable[str]) -> frozenset[str]:
    """By which names clients may call a server that listens at `host`."""
    from danlu.serve.api.guard import LOOPBACK

    return LOOPBACK | {each.lower() for each in more} | ({host.lower()} - EVERYWHERE)


def address_of(listening: socket.socket) -> str:
    """Host and port as they stand in a URL."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def make_engine(model: LanguageModel, adapters: Mapping[str, LanguageModel]) -> Engine:
    """The engine that `danlu serve` runs."""
    if model.config.pictures is not None:  # the paged engine reads text only
        return ReferenceEngine(model, adapters=adapters)
    engine = PagedEngine(model)
    for name, adapted in adapters.items():
        engine.load_adapter(name, adapted)
    return engine


def grammar_of(chat: ChatFormat) -> Callable[[Mapping[str, Any]], TokenFilter]:
    """What turns a JSON schema into a filter of one answer's tokens; ValueError says why it cannot."""
    tokenizer = chat.tokenizer
    grammars = Grammars(
        [tokenizer.decode_bytes([i]) for i in range(tokenizer.vocab_size)],
        control_ids=tokenizer.control_ids,
        end_ids=chat.stop_ids,
    )
    return lambda schema: grammars.filter("json_schema", json.dumps(schema))


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


def scorer(path: Path, base_dir: Path, speaker: Speaker) -> Callable[[Sequence[Sequence[int]]], list[float]]:
    """The scores of the reward model in a directory."""
    model, pad_id = load_scores(path, base_dir, speaker), speaker.chat.tokenizer.pad_id
    return lambda rows: score_sequences(model, rows, pad_id)


def load_scores(path: Path, base_dir: Path, speaker: Speaker) -> ScoreModel:
    """The reward model in a model or adapter directory, or in a run directory."""
    adapter = next((each for each in (path / "adapter", path) if is_adapter(each)), None)
    if (path / "model" / "config.json").exists() or adapter is None:
        return load_score_model(model_dir(path), vocab_size=speaker.chat.tokenizer.vocab_size).eval()
    return load_score_adapter(adapter, base=speaker.model, base_dir=model_dir(base_dir)).eval()
