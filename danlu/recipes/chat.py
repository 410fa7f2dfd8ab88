"""`danlu chat MODEL`: a conversation in the terminal, or with lines from a pipe."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from danlu.config import ConfigError
from danlu.generate.sampling import SamplingConfig
from danlu.recipes.conversation import Conversation, Manner, write
from danlu.recipes.speaker import load_speaker
from danlu.recipes.tamer import Pupil, Shaping
from danlu.recipes.tool_settings import ToolsConfig
from danlu.rl.tamer import HeadConfig

SUMMARY = "talk with a model in the terminal, and teach it by thumbs: danlu chat MODEL [--tamer]"
POSITIONAL = ("model",)
N_CANDIDATES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatConfig:
    model: Path  # model or adapter directory, or the run directory of the stage that made it
    system: str | None = None  # system message before the conversation
    sampling: SamplingConfig = field(
        default_factory=lambda: SamplingConfig(max_new_tokens=256, temperature=0.7, top_p=0.95)
    )
    context: Literal["drop", "summarise"] = "drop"  # what becomes of the oldest turns when all do not fit
    tools: ToolsConfig = field(default_factory=ToolsConfig)  # what the model may call
    tamer: bool = False  # learn from thumbs and grades during the chat
    feedback: Path | None = None  # .jsonl for them; by default MODEL/tamer/feedback.jsonl
    n_candidates: int = N_CANDIDATES  # tamer: answers drawn, of which the head chooses one
    head: HeadConfig = field(default_factory=HeadConfig)  # tamer: how grades are learnt

    def __post_init__(self) -> None:
        defaults = {"feedback": None, "n_candidates": N_CANDIDATES, "head": HeadConfig()}
        changed = [name for name, default in defaults.items() if getattr(self, name) != default]
        if changed and not self.tamer:
            raise ConfigError(f"{changed[0]} is set, but nothing is learnt; add tamer=true")
        if self.tamer and self.tools != ToolsConfig():
            raise ConfigError("tools and tamer are set; answers with calls of tools cannot be graded")
        if self.n_candidates < 1:
            raise ConfigError(f"n_candidates is {self.n_candidates}; it must be at least 1")
        if self.feedback is not None and self.feedback.suffix != ".jsonl":
            raise ConfigError(f"feedback is {self.feedback}; it must be the name of a .jsonl file")


def run(config: ChatConfig) -> Path:
    conversation = begin(config)
    write(f"{conversation.help}\n\n")
    for line in typed_lines():
        if line == "/quit":
            break
        conversation.hear(line)
    return config.model


def begin(config: ChatConfig) -> Conversation:
    """A conversation that has yet to begin."""
    speaker = load_speaker(config.model)
    if not config.tamer:
        manner = Manner(toolbox=config.tools.toolbox, limits=config.tools.loop, context=config.context)
        return Conversation(speaker, config.system or "", config.sampling, manner=manner)
    feedback = config.feedback or config.model / "tamer" / "feedback.jsonl"
    shaping = Shaping(speaker, feedback, config.head, write)
    return Pupil(shaping, config.n_candidates, config.system or "", config.sampling)


def typed_lines() -> Iterator[str]:
    """Lines of the standard input, asked for with a prompt where somebody types them."""
    if not sys.stdin.isatty():
        yield from without_newlines(sys.stdin)
        return
    with suppress(ImportError):  # gives `input` its line editing, where the system has it
        importlib.import_module("readline")
    while True:
        try:
            yield input("> ")
        except (EOFError, KeyboardInterrupt):
            write("\n")
            return


def without_newlines(lines: Iterable[str]) -> Iterator[str]:
    return (line.rstrip("\r\n") for line in lines)
