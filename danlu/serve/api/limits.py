"""Every limit of the server in one table: what a request may ask for, and how much runs at a time."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from danlu.config import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    body_bytes: int = 2**20  # of one request
    body_s: float = 30.0  # time in which a request's body must have come
    body_depth: int = 64  # brackets within brackets
    messages: int = 1000  # of one conversation
    images: int = 16  # likewise
    new_tokens: int = 32_768  # that one completion may ask for; the context's end ends it sooner
    choices: int = 128  # completions of one request: prompts times n
    adapters: int = 32  # loaded at a time
    inputs: int = 256  # texts in one request for embeddings or scores
    stops: int = 16  # stop strings
    stop_characters: int = 256  # of one of them
    tools: int = 128
    schema_bytes: int = 65_536  # of one JSON schema
    schema_depth: int = 32
    sequences: int = 512  # completions that wait or run, of all requests together; more get 503
    requests_per_key: int = 64  # at a time; more get 429
    wall_s: float = 600.0  # of one request
    connections: int = 1024
    drain_s: float = 30.0  # for what runs when the server is told to end
    retry_after_s: int = 1  # told to whoever is sent away

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value <= 0:
                raise ConfigError(f"{name} is {value}; it must be above 0")
