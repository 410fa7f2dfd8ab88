"""What `danlu serve` puts behind its routes: an engine, adapters, vectors, scores."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from danlu.adapters.files import is_adapter, load_score_adapter, on_base, read_adapter
from danlu.config import ConfigError
from danlu.generate.beam import BeamConfig
from danlu.generate.engine import EngineConfig, PagedEngine
from danlu.generate.grammar import Grammars
from danlu.generate.reference import ReferenceEngine
from danlu.generate.request import Engine, TokenFilter
from danlu.generate.sampling import SamplingConfig
from danlu.generate.translating import TranslationEngine
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import load_score_model
from danlu.recipes.model_files import LANGUAGES_FILE, model_dir
from danlu.recipes.speaker import Speaker, load_draft, load_speaker
from danlu.recipes.tool_settings import ToolsConfig
from danlu.recipes.translator import load_translator
from danlu.rl.scoring import score_sequences
from danlu.tokenizer.chat import ChatFormat
from danlu.tokenizer.interface import AnyChatFormat

if TYPE_CHECKING:
    from danlu.serve.api.service import Served

EVERYWHERE = {"0.0.0.0", "::"}
# Where neither request nor settings say; a translation is then drawn greedily.
SPEAKING = SamplingConfig(max_new_tokens=256, temperature=0.7, top_p=0.95)


def check_installed(*modules: str, extra: str) -> None:
    """Refuse to go on without what an extra of the package brings."""
    missing = next((name for name in modules if not find_spec(name)), None)
    if missing:
        raise ConfigError(f"the server needs {missing}: pip install 'danlu[{extra}]'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How a server's requests are run."""

    engine: EngineConfig = field(default_factory=EngineConfig)
    draft: Path | None = None  # smaller model that guesses engine.n_draft tokens ahead
    adapter_folder: Path | None = None  # where /v1/adapters finds more


def load_served(
    model: Path,
    *,
    name: str | None = None,
    adapters: Mapping[str, Path],
    reward_model: Path | None,
    sampling: SamplingConfig,
    tools: ToolsConfig,
    running: Running | None = None,
) -> Served:
    """A model and all that a server can do with it.

    Args:
        name: by which clients ask for it; by default that of its directory.
        adapters: a directory for each name of an adapter.
        reward_model: of /v1/score.
        sampling: where a request does not say.
        tools: of requests with server_tools.
        running: how requests are run; None is the defaults.
    """
    from danlu.serve.api.service import Served

    name, running = name or name_of(model), running or Running()
    if name in adapters:
        raise ConfigError(f"adapters.{name}: the model itself is called so; give one of them another name")
    speaker = load_speaker(model)
    draft = None if running.draft is None else load_draft(running.draft, speaker)
    engine = make_engine(speaker.model, adapters_of(speaker, adapters), running.engine, draft)
    folder = running.adapter_folder
    return Served(
        name=name,
        chat=speaker.chat,
        max_seq_len=speaker.max_seq_len,
        engine=engine,
        adapters=tuple(adapters),
        shelf=None if folder is None else shelf_of(folder, speaker, engine),
        sampling=sampling,
        grammar=grammar_of(speaker.chat),
        toolbox=tools.toolbox,
        loop=tools.loop,
        embed=embedder(speaker.model),
        see=speaker.see if speaker.sees else None,
        score=None if reward_model is None else scorer(reward_model, model, speaker),
    )


def translates(model: Path) -> bool:
    """Whether a directory holds a model that translates."""
    return any((folder / LANGUAGES_FILE).is_file() for folder in (model, model / "model"))


def load_served_translator(model: Path, *, name: str | None = None, sampling: SamplingConfig) -> Served:
    """A model that translates, and all that a server can do with it; the arguments are `load_served`'s."""
    from danlu.serve.api.service import Served, Translating

    translator = load_translator(model)
    tokenizer, languages = translator.tokenizer, translator.languages

    def read(text: str, to: str | None) -> list[int]:
        return translator.read([text], translator.wanted(text, to))[0]

    longest = translator.model.config.max_seq_len
    greedy = SamplingConfig(max_new_tokens=longest, temperature=0.0)
    engine = TranslationEngine(
        translator.model, start_id=tokenizer.eos_id, max_extra_tokens=BeamConfig().max_extra_tokens
    )
    return Served(
        name=name or name_of(model),
        chat=ChatFormat(tokenizer),
        max_seq_len=longest,
        engine=engine,
        sampling=greedy if sampling == SPEAKING else sampling,
        translating=Translating(directions=["-".join(each) for each in languages.directions], read=read),
    )


def shelf_of(folder: Path, speaker: Speaker, engine: Engine) -> AdapterShelf:
    """The adapters below a folder; ConfigError where the engine takes none while it runs."""
    if not isinstance(engine, PagedEngine):
        raise ConfigError(
            "adapter_folder is set, and a model that sees pictures takes adapters at start only"
        )
    return AdapterShelf(folder, speaker, engine)


class AdapterShelf:
    """The adapters below a folder, for `/v1/adapters`; see `Shelf` in serve/api/service.py.

    A directory that a link leads to from elsewhere is none of the folder's.
    """

    def __init__(self, folder: Path, speaker: Speaker, engine: PagedEngine) -> None:
        if not folder.is_dir():
            raise ConfigError(f"adapter_folder is {folder}, which is no directory")
        self._folder, self._speaker, self._engine = folder.resolve(), speaker, engine

    def names(self) -> list[str]:
        return sorted(each.name for each in self._folder.iterdir() if self._place(each) is not None)

    def read(self, directory: str) -> Callable[[str], None]:
        place = self._place(self._folder / directory)
        if place is None:
            raise FileNotFoundError(f"{directory} holds no adapter any more")
        model = adapted(place, self._speaker)
        return lambda name: self._engine.load_adapter(name, model)

    def drop(self, name: str) -> None:
        self._engine.unload_adapter(name)

    def _place(self, directory: Path) -> Path | None:
        """The adapter's own directory, which may be that of the run that made it."""
        if Path(os.path.realpath(directory)).parent != self._folder:
            return None
        places = (directory / "adapter", directory)
        inside = [each for each in places if Path(os.path.realpath(each)).is_relative_to(self._folder)]
        return next((each for each in inside if is_adapter(each)), None)


def names_of(host: str, more: Iterable[str]) -> frozenset[str]:
    """By which names clients may call a server that listens at `host`."""
    from danlu.serve.api.guard import LOOPBACK

    return LOOPBACK | {each.lower() for each in more} | ({host.lower()} - EVERYWHERE)


def address_of(listening: socket.socket) -> str:
    """Host and port as they stand in a URL."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def make_engine(
    model: LanguageModel,
    adapters: Mapping[str, LanguageModel],
    config: EngineConfig | None = None,
    draft: LanguageModel | None = None,
) -> Engine:
    """The engine that `danlu serve` runs."""
    if model.config.pictures is not None:  # the paged engine reads text only
        if draft is not None:
            raise ConfigError(
                "draft is set, and a model that sees pictures runs without guesses; leave it out"
            )
        return ReferenceEngine(model, adapters=adapters)
    try:
        engine = PagedEngine(model, config, draft=draft)
    except ValueError as error:
        raise ConfigError(f"engine: {error}") from error
    for name, adapted in adapters.items():
        engine.load_adapter(name, adapted)
    return engine


def grammar_of(chat: AnyChatFormat) -> Callable[[Mapping[str, Any]], TokenFilter]:
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
    path = Path(os.path.realpath(path))  # of links in a circle `resolve` makes an error
    return path.parent.name if path.name in ("model", "adapter") else path.name


def adapters_of(speaker: Speaker, paths: Mapping[str, Path]) -> dict[str, LanguageModel]:
    """A model for each adapter, all over the same weights."""
    models: dict[str, LanguageModel] = {}
    for name, path in paths.items():
        try:
            models[name] = adapted(path / "adapter" if is_adapter(path / "adapter") else path, speaker)
        except ConfigError as error:
            raise ConfigError(f"adapters.{name}: {error}") from error
    return models


def adapted(path: Path, speaker: Speaker) -> LanguageModel:
    """What the adapter in a directory makes of a speaker's model, over the same weights."""
    model = on_base(read_adapter(path), speaker.model)
    if not isinstance(model, LanguageModel):
        raise ConfigError(f"{path} adapts a score model; it goes into reward_model")
    return model.eval()


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
