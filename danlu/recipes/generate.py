"""`danlu generate MODEL PROMPT`: one answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from danlu.config import ConfigError
from danlu.generate.sampler import SamplingConfig
from danlu.recipes.speaker import load_speaker
from danlu.recipes.thinking import MOST_CHAINS, ThinkingConfig, consider, shown
from danlu.tokenizer.chat import Message

SUMMARY = "answer one prompt, or continue a text: danlu generate MODEL PROMPT"
POSITIONAL = ("model", "prompt")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateConfig:
    model: Path  # model or adapter directory, or the run directory of the stage that made it
    prompt: str
    system: str | None = None  # system message before the prompt
    raw: bool = False  # continue the prompt as a text, as a base model does, rather than answer it
    think: int = 0  # sample so many chains of thought and give the answer of most; 0 answers at once
    thinking: ThinkingConfig = field(default_factory=ThinkingConfig)
    sampling: SamplingConfig = field(
        default_factory=lambda: SamplingConfig(max_new_tokens=256, temperature=0.7, top_p=0.95)
    )

    def __post_init__(self) -> None:
        if not 0 <= self.think <= MOST_CHAINS:
            raise ConfigError(f"think is {self.think}; it must be from 0 to {MOST_CHAINS}")
        if self.think and self.raw:
            raise ConfigError("think and raw are set; a text that is continued is thought about by nobody")


def run(config: GenerateConfig) -> Path:
    speaker = load_speaker(config.model)
    tokenizer = speaker.chat.tokenizer
    if config.raw:
        ids, stop_ids = [tokenizer.eos_id, *tokenizer.encode(config.prompt)], frozenset({tokenizer.eos_id})
        print(config.prompt, end="")
    else:
        messages: list[Message] = [{"role": "user", "content": config.prompt}]
        if config.system is not None:
            messages.insert(0, {"role": "system", "content": config.system})
        if config.think:
            print(
                shown(
                    consider(speaker, messages, config.sampling, config.think, config.thinking),
                    config.thinking,
                )
            )
            return config.model
        ids = speaker.chat.prompt(messages)
        stop_ids = speaker.chat.stop_ids
    for text in speaker.say(ids, stop_ids, config.sampling):
        print(text, end="", flush=True)
    print()
    return config.model
