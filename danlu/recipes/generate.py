"""`danlu generate MODEL PROMPT`: one answer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from danlu.config import ConfigError
from danlu.data.images import as_url
from danlu.generate.sampling import SamplingConfig
from danlu.recipes.speaker import check_guesses, guessing_of, load_speaker
from danlu.recipes.thinking import MOST_CHAINS, ThinkingConfig, consider, shown
from danlu.tokenizer.chat import Message, images_of

SUMMARY = "answer one prompt, or continue a text: danlu generate MODEL PROMPT"
POSITIONAL = ("model", "prompt")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateConfig:
    model: Path  # model or adapter directory, or the run directory of the stage that made it
    prompt: str
    system: str | None = None  # system message before the prompt
    images: tuple[Path, ...] = ()  # PNG files that stand before the prompt, for a model that sees
    raw: bool = False  # continue the prompt as a text, as a base model does, rather than answer it
    think: int = 0  # sample so many chains of thought and give the answer of most; 0 answers at once
    n_draft: int = (
        0  # tokens guessed ahead, from repetitions in the text or by draft; changes the speed alone
    )
    draft: Path | None = None  # smaller model of the same tokenizer that guesses them
    thinking: ThinkingConfig = field(default_factory=ThinkingConfig)
    sampling: SamplingConfig = field(
        default_factory=lambda: SamplingConfig(max_new_tokens=256, temperature=0.7, top_p=0.95)
    )

    def __post_init__(self) -> None:
        if self.raw and self.images:
            raise ConfigError("images is set, but a raw text has no place for them; leave raw out")
        check_guesses(self.n_draft, self.draft)
        if not 0 <= self.think <= MOST_CHAINS:
            raise ConfigError(f"think is {self.think}; it must be from 0 to {MOST_CHAINS}")
        if self.think and self.raw:
            raise ConfigError("think and raw are set; a text that is continued is thought about by nobody")


def run(config: GenerateConfig) -> Path:
    speaker = load_speaker(config.model)
    speaker = replace(speaker, guessing=guessing_of(config.n_draft, config.draft, speaker))
    tokenizer = speaker.chat.tokenizer
    pictures = None
    if config.raw:
        ids, stop_ids = [tokenizer.begin_id, *tokenizer.encode(config.prompt)], frozenset({tokenizer.eos_id})
        print(config.prompt, end="")
    else:
        asked: Message = {"role": "user", "content": config.prompt}
        if config.images:
            asked["images"] = [{"at": 0, "url": as_url(path)} for path in config.images]
        messages = [asked]
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
        ids, pictures = speaker.chat.prompt(messages), speaker.see(images_of(messages))
        stop_ids = speaker.chat.stop_ids
    for text in speaker.say(ids, stop_ids, config.sampling, pictures=pictures, goes_on=config.raw):
        print(text, end="", flush=True)
    print()
    return config.model
