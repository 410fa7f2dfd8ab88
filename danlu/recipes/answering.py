"""Ways to have a model answer many conversations: as an assistant, or as a base model shown examples."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any, cast

from rich.console import Console
from rich.progress import track

from danlu.dialogue.tool_loop import Complete
from danlu.dialogue.tool_loop import Turn as ToolTurn
from danlu.evaluate.task import Answer, Message
from danlu.generate.sampler import Completion, Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.recipes.speaker import Speaker
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
        ids = [[tokenizer.begin_id, *tokenizer.encode(prompt)] for prompt in prompts]
        return [first_answer(text) for text in complete(speaker, ids, {tokenizer.eos_id}, sampling)]

    return answer


def turns_with_tools(
    speaker: Speaker, tools: Sequence[Mapping[str, Any]], sampling: SamplingConfig = GREEDY
) -> Complete:
    """The model's next turn in many conversations, in which it may call tools; for a loop of tool calls.

    A conversation that fills the context gets an empty turn that counts as cut.
    """
    chat = speaker.chat

    def complete(conversations: Sequence[Sequence[Turn]]) -> list[ToolTurn]:
        prompts = [chat.prompt(turns, tools) for turns in conversations]
        may = chat.stop_ids | ({chat.call_id} if chat.call_id is not None else frozenset[int]())
        done = completions(speaker, prompts, chat.stop_ids, sampling, may)
        return [
            ToolTurn({"role": "assistant", "content": ""}, cut=True)
            if each is None
            else ToolTurn(chat.parse(each.ids), cut=each.finish_reason == "length")
            for each in done
        ]

    return complete


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
    seen = _looked(speaker, {i: prompts[i] for i in shown}, stop_ids, sampling, shown)
    reading = [i for i in range(len(prompts)) if i not in shown]
    read = completions(speaker, [prompts[i] for i in reading], stop_ids, sampling, stop_ids, reading)
    decode = speaker.chat.tokenizer.decode
    texts = seen | {
        i: "" if each is None else decode(each.ids) for i, each in zip(reading, read, strict=True)
    }
    return [texts[i] for i in range(len(prompts))]


def _looked(
    speaker: Speaker,
    prompts: Mapping[int, list[int]],
    stop_ids: Collection[int],
    sampling: SamplingConfig,
    shown: Mapping[int, Sequence[str]],
) -> dict[int, str]:
    """The text that follows each prompt with pictures, by the prompt's number."""
    texts, quiet = dict.fromkeys(prompts, ""), not Console().is_terminal or not prompts
    for i, ids in track(prompts.items(), "looking and answering", transient=True, disable=quiet):
        if len(ids) >= speaker.max_seq_len:
            continue
        pictures = speaker.see(shown[i])
        assert pictures is not None, "there is at least one"
        texts[i] = "".join(speaker.speak(ids, stop_ids, sampling, i, pictures))
    return texts


def completions(
    speaker: Speaker,
    prompts: Sequence[list[int]],
    stop_ids: Collection[int],
    sampling: SamplingConfig,
    allowed: Collection[int],
    keys: Sequence[int] | None = None,
) -> list[Completion | None]:
    """What follows each prompt, with no control tokens but `allowed`; None where it leaves no room.

    `keys` name the prompts for the random numbers; by default their places do.
    """
    keys = range(len(prompts)) if keys is None else keys
    sampler = Sampler(
        speaker.model,
        stop_ids=stop_ids,
        forbidden_ids=speaker.chat.tokenizer.control_ids - frozenset(allowed),
        max_batch=64,
    )
    fitting = [(i, ids) for i, ids in enumerate(prompts) if len(ids) < speaker.max_seq_len]
    done: list[Completion | None] = [None] * len(prompts)
    chunks = [list(islice(fitting, start, start + CHUNK)) for start in range(0, len(fitting), CHUNK)]
    for chunk in track(chunks, "answering", transient=True, disable=not Console().is_terminal):
        numbers = [i for i, _ in chunk]
        found = sampler.generate([ids for _, ids in chunk], sampling, keys=[keys[i] for i in numbers])
        for i, completion in zip(numbers, found, strict=True):
            done[i] = completion
    return done
