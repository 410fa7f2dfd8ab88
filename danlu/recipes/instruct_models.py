"""The models of `danlu instruct`: which is asked, here or by HTTP, and which scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from danlu.config import ConfigError
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.instruct.asking import Ask, Question, Reply
from danlu.instruct.endpoint import Client, Endpoint
from danlu.instruct.making import Score
from danlu.model.hf import load_score_model
from danlu.recipes.model_files import model_dir
from danlu.recipes.speaker import Speaker, load_speaker
from danlu.recipes.stage import chat_format_of
from danlu.rl.scoring import score_sequences
from danlu.tokenizer.chat import Message

AT_ONCE = 64  # replies sampled together


def asker(model: Path | None, endpoint: Endpoint, sampling: SamplingConfig) -> Ask:
    """Whatever is asked."""
    if model is not None:
        return LocalModel(load_speaker(model), sampling)
    asked = {"max_tokens": sampling.max_new_tokens, "temperature": sampling.temperature}
    return Client(endpoint, asked | {"top_p": sampling.top_p}, sampling.seed)


class LocalModel:
    """A model of ours, asked as many questions at a time as it can be."""

    def __init__(self, speaker: Speaker, sampling: SamplingConfig) -> None:
        self.speaker, self.sampling = speaker, sampling

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Reply]]:
        prompts = [self._prompt(question) for question in questions]
        fitting = [i for i, ids in enumerate(prompts) if len(ids) < self.speaker.max_seq_len]
        if not fitting:
            raise ConfigError(
                f"the shortest question has {min(map(len, prompts))} tokens and the model is built for "
                f"{self.speaker.max_seq_len}; lower making.n_shown, or give shorter seeds"
            )
        for i in sorted(set(range(len(prompts))) - set(fitting)):
            yield i, Reply(fault="question too long for the model")
        for first in range(0, len(fitting), AT_ONCE):
            some = fitting[first : first + AT_ONCE]
            yield from zip(some, self._replies([questions[i] for i in some]), strict=True)

    def _prompt(self, question: Question) -> list[int]:
        chat = self.speaker.chat
        if question.plain:
            return [chat.tokenizer.eos_id, *chat.tokenizer.encode(question.text)]
        return chat.prompt([{"role": "user", "content": question.text}])

    def _replies(self, questions: Sequence[Question]) -> list[Reply]:
        tokenizer = self.speaker.chat.tokenizer
        stop_ids = {tokenizer.eos_id} if questions[0].plain else self.speaker.chat.stop_ids
        sampler = Sampler(
            self.speaker.model,
            stop_ids=stop_ids,
            forbidden_ids=tokenizer.control_ids - frozenset(stop_ids),
            max_batch=AT_ONCE,
        )
        prompts, keys = [self._prompt(each) for each in questions], [each.key for each in questions]
        return [
            Reply(text=tokenizer.decode(each.ids), finished=each.finish_reason == "stop")
            for each in sampler.generate(prompts, self.sampling, keys=keys)
        ]


def scorer(path: Path) -> Score:
    """The scores of a reward model, for chats that fit into it."""
    folder = model_dir(path)
    chat = chat_format_of(folder)
    model = load_score_model(folder, vocab_size=chat.tokenizer.vocab_size).eval()

    def score(chats: Sequence[Sequence[Message]]) -> list[float | None]:
        # The score is read at the end of the answer, not at the line end that stands behind it.
        rows = [chat.render(each) for each in chats]
        ids = [row.ids[: max(i for i, said in enumerate(row.loss_mask) if said) + 1] for row in rows]
        fits = [len(each) <= model.config.max_seq_len for each in ids]
        wanted = [each for each, fit in zip(ids, fits, strict=True) if fit]
        scores = iter(score_sequences(model, wanted, chat.tokenizer.pad_id))
        return [next(scores) if fit else None for fit in fits]

    return score
