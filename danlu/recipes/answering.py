"""Ways to have a model answer many conversations: as an assistant, or as a base model shown examples."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import cast

from rich.console import Console
from rich.progress import track

from danlu.evaluate.task import Answer, Message
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.recipes.speaker import Speaker, look_and_answer
from danlu.tokenizer.chat import Message as Turn
from danlu.tokenizer.chat import images_of
from danlu.world.demonstrations import few_shot_prompt, first_answer
from danlu.world.question import Question
from danlu.world.truth import World

GREEDY = SamplingConfig(max_new_tokens=64, temperature=0.0)
CHUNK = 256  # conversations between two movements of the progress bar


def answerer(speaker: Speaker, sampling: SamplingConfig = GREEDY) -> Answer:
    """Answers as the assistant of the chat format; a conversation that fills the context gets no answer."""

    def answer(conversations: Sequence[Sequence[Message]]) -> list[str]:
        chat = speaker.chat
        asked = [cast(Sequence[Turn], turns) for turns in conversations]
        prompts = [chat.prompt(turns) for turns in asked]
        shown = {number: urls for number, turns in enumerate(asked) if (urls := images_of(turns))}
        return complete(speaker, prompts, chat.stop_ids, sampling, shown)

    return answer


def few_shot_answerer(
    speaker: Speaker, world: World, questions: Sequence[Question], sampling: SamplingConfig = GREEDY
) -> Answer:
    """Continues plain text: four solved questions of the same kind, then the one asked.

    Args:
        speaker: a base model, which knows no turns.
        world: whose train questions are shown solved.
        questions: in the order in which their conversations will come.
        sampling: how to draw.
    """

    def answer(conversations: Sequence[Sequence[Message]]) -> list[str]:
        if [tuple(turns) for turns in conversations] != [question.messages for question in questions]:
            raise ValueError("these are not the conversations of the questions that were announced")
        tokenizer = speaker.chat.tokenizer
        prompts = [few_shot_prompt(world, question) for question in questions]
        ids = [[tokenizer.eos_id, *tokenizer.encode(prompt)] for prompt in prompts]
        return [first_answer(text) for text in complete(speaker, ids, {tokenizer.eos_id}, sampling)]

    return answer


def complete(
    speaker: Speaker,
    prompts: Sequence[list[int]],
    stop_ids: Collection[int],
    sampling: SamplingConfig,
    shown: Mapping[int, Sequence[str]] | None = None,
) -> list[str]:
    """The text that follows each prompt; none where the prompt leaves no room.

    `shown` are data URLs of pictures by the number of the prompt that has their markers.
    """
    shown = shown or {}
    tokenizer = speaker.chat.tokenizer
    sampler = Sampler(
        speaker.model,
        stop_ids=stop_ids,
        forbidden_ids=tokenizer.control_ids - frozenset(stop_ids),
        max_batch=64,
    )
    fitting = [(i, ids) for i, ids in enumerate(prompts) if len(ids) < speaker.max_seq_len]
    texts = [""] * len(prompts)
    quiet = not Console().is_terminal
    seeing = [(i, ids) for i, ids in fitting if i in shown]
    for i, ids in track(seeing, "looking and answering", transient=True, disable=quiet or not seeing):
        pictures = speaker.see(shown[i])
        assert pictures is not None, "there is at least one"
        request = speaker.request(ids, stop_ids, sampling, i, pictures)
        texts[i] = tokenizer.decode([token for _, token, _ in look_and_answer(speaker.model, [request])])
    reading = [(i, ids) for i, ids in fitting if i not in shown]
    chunks = [list(islice(reading, start, start + CHUNK)) for start in range(0, len(reading), CHUNK)]
    for chunk in track(chunks, "answering", transient=True, disable=quiet):
        numbers = [i for i, _ in chunk]
        completions = sampler.generate([ids for _, ids in chunk], sampling, keys=numbers)
        for i, completion in zip(numbers, completions, strict=True):
            texts[i] = tokenizer.decode(completion.ids)
    return texts
