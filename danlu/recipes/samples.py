"""What each system says to the same questions, for people to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.data.language import identify
from danlu.generate.sampling import SamplingConfig
from danlu.recipes.answering import complete
from danlu.recipes.speaker import Speaker
from danlu.tokenizer.chat import Message

SAMPLING = SamplingConfig(max_new_tokens=96, temperature=0.7, top_p=0.95)  # as in `danlu chat`


def answers_side_by_side(
    speakers: Mapping[str, Speaker], questions: Sequence[Sequence[Message]]
) -> list[dict[str, Any]]:
    """Each question with what every system answers; the base model, which knows no turns, goes on with it."""
    said = {name: answers(speaker, questions, plain=name == "base") for name, speaker in speakers.items()}
    return [
        {
            "messages": list(question),
            "language": identify(question[-1]["content"]),
            "answers": {name: {"text": texts[number]} for name, texts in said.items()},
        }
        for number, question in enumerate(questions)
    ]


def answers(speaker: Speaker, questions: Sequence[Sequence[Message]], *, plain: bool) -> list[str]:
    chat, tokenizer = speaker.chat, speaker.chat.tokenizer
    if plain:
        texts = ["\n".join(message["content"] for message in question) + "\n" for question in questions]
        prompts = [[tokenizer.eos_id, *tokenizer.encode(text)] for text in texts]
        return complete(speaker, prompts, {tokenizer.eos_id}, SAMPLING)
    return complete(speaker, [chat.prompt(question) for question in questions], chat.stop_ids, SAMPLING)
