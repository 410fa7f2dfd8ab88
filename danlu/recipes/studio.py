"""`danlu studio MODEL…`: the web pages, and the API, over one model or several to compare."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from danlu.config import ConfigError
from danlu.feedback.queue import QueueConfig
from danlu.generate.sampling import SamplingConfig
from danlu.recipes.feedback_tasks import model_digest
from danlu.recipes.model_files import model_dir
from danlu.recipes.serving import address_of, check_installed, load_served, name_of, names_of
from danlu.recipes.tool_settings import ToolsConfig
from danlu.serve.api.limits import Limits

if TYPE_CHECKING:
    from danlu.serve.studio.voice import Voice
    from danlu.serve.studio.workshop import Workshop

SUMMARY = "talk with a model, judge its answers and teach it in the browser: danlu studio MODEL…"
POSITIONAL = ("model",)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudioConfig:
    model: tuple[Path, ...]  # model or run directories; the API serves the first
    runs: Path = Path("runs")  # folder of all runs; lessons lie in its folder lessons
    data: tuple[Path, ...] = ()  # further folders whose data may be looked at
    db: str = "feedback.db"  # SQLite file, or postgresql://user@host/name
    host: str = "127.0.0.1"  # any other than this machine's own takes accounts
    port: int = 8000
    hosts: tuple[str, ...] = ()  # further names by which browsers call the server; any takes accounts
    person: str = "me"  # who judges, as long as there is no account
    queue: QueueConfig = field(default_factory=QueueConfig)
    sampling: SamplingConfig = field(  # where the page does not say
        default_factory=lambda: SamplingConfig(max_new_tokens=256, temperature=0.7, top_p=0.95)
    )
    limits: Limits = field(default_factory=Limits)
    tools: ToolsConfig = field(default_factory=ToolsConfig)  # that models may call in the chat

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError("model is empty; name at least one: danlu studio MODEL")
        names = [name_of(each) for each in self.model]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"two models are called {twice[0]!r}; rename one of their directories")
        if not 0 <= self.port < 65_536:
            raise ConfigError(f"port is {self.port}; it must be 0 to 65535, 0 being any that is free")


def run(config: StudioConfig) -> None:
    modules = ("fastapi", "prometheus_client", "uvicorn", "nicegui", "markdown_it")
    check_installed(*modules, extra="studio")
    from danlu.feedback.store import Store
    from danlu.recipes.studio_inspect import ModelMicroscope
    from danlu.recipes.studio_scores import with_scores
    from danlu.serve.api.server import bind, is_loopback, serve
    from danlu.serve.studio.app import create_studio
    from danlu.serve.studio.data_sets import Catalogue
    from danlu.serve.studio.studio import Studio
    from danlu.serve.studio.workshop import Workshop, check_runs

    check_runs(config.runs)
    # A name that is not this machine's own means that a proxy lets others in.
    local = is_loopback(config.host) and not config.hosts
    with Store.open(config.db, config.queue) as store, bind(config.host, config.port) as listening:
        workshop = Workshop(
            runs=config.runs,
            db=config.db,
            models={name_of(path): model_dir(path) for path in config.model},
            load=partial(load_made, config),
        )
        voices = [load_voice(config, path) for path in config.model]
        voices = [*made_before(workshop), *voices]
        voices[0] = with_scores(voices[0], workshop.latest_reward_model)
        studio = Studio(
            store=store,
            voices=voices,
            local=local,
            person=config.person,
            workshop=workshop,
            catalogue=Catalogue(folders_of(config)),
            microscope=ModelMicroscope(),
        )
        if not local and not any(each.role == "admin" and each.active for each in studio.accounts.people()):
            raise ConfigError(
                f"{reached(config)}, so others can reach the studio, and nobody has an account; make the "
                f"first with `danlu account NAME role=admin db={config.db}`"
            )
        app = create_studio(studio, hosts=names_of(config.host, config.hosts))
        address = address_of(listening)
        about = "nobody signs in" if not studio.asks_for_sign_in else "one signs in"
        serve(
            app, listening, lambda: print(f"the studio is at http://{address}/studio ({about})", flush=True)
        )


def folders_of(config: StudioConfig) -> dict[str, Path]:
    """The folders whose data may be looked at, by the last part of their names."""
    folders: dict[str, Path] = {}
    for path in (config.runs, *config.data):
        if path != config.runs and not path.is_dir():  # that of the runs may be missing yet
            raise ConfigError(f"data: {path} is no folder; name folders that are there")
        name = stem = path.resolve().name or "data"
        number = 1
        while name in folders:
            number += 1
            name = f"{stem}-{number}"
        folders[name] = path.resolve()
    return folders


def reached(config: StudioConfig) -> str:
    """By which setting others reach the server."""
    return f"hosts names {config.hosts[0]}" if config.hosts else f"host is {config.host}"


def load_voice(config: StudioConfig, path: Path, name: str | None = None) -> Voice:
    """A model that can be talked with."""
    from danlu.serve.api.service import Service
    from danlu.serve.studio.voice import Voice

    served = load_served(
        path, name=name, adapters={}, reward_model=None, sampling=config.sampling, tools=config.tools
    )
    return Voice(digest=model_digest(model_dir(path)), service=Service(served, config.limits))


def load_made(config: StudioConfig, name: str, path: Path) -> Voice:
    """What a lesson has made; a page says it where that cannot be loaded."""
    from danlu.serve.studio.workshop import LessonError

    try:
        return load_voice(config, path, name)
    except (ValueError, RuntimeError, OSError) as error:
        raise LessonError(f"the model of the lesson {name} cannot be loaded: {error}") from error


def made_before(workshop: Workshop) -> list[Voice]:
    """The models of lessons that were in use when the studio last ran; what cannot be loaded is told."""
    from danlu.serve.studio.workshop import LessonError

    voices: list[Voice] = []
    for name in workshop.used():
        try:
            voices.append(workshop.load_again(name))
        except LessonError as error:
            print(f"left out: {error}", flush=True)
    return voices
