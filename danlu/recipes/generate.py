"""`danlu generate MODEL PROMPT`: one answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from danlu.generate.sampling import SamplingConfig
from danlu.recipes.speaker import load_speaker
from danlu.tokenizer.chat import Message

SUMMARY = "answer one prompt, or continue a text: danlu generate MODEL PROMPT"
POSITIONAL = ("model", "prompt")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateConfig:
    model: Path  # model or adapter directory, or the run directory of the stage that made it
    prompt: str
    system: str | None = None  # system message before the prompt
    raw: bool = False  # continue the prompt as a text, as a base model does, rather than answer it
    sampling: SamplingConfig = field(
        default_factory=lambda: SamplingConfig(max_new_tokens=256, temperature=0.7, top_p=0.95)
    )


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
        ids = speaker.chat.prompt(messages)
        stop_ids = speaker.chat.stop_ids
    for text in speaker.say(ids, stop_ids, config.sampling):
        print(text, end="", flush=True)
    print()
    return config.model
