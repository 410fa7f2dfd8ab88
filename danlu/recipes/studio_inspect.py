"""What the page Inspect sees: models are loaded for it alone, so that none that is served is touched."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import torch

from danlu.adapters.files import find_base, is_adapter, read_adapter
from danlu.data import shapes
from danlu.data.chats import chat_of, comparison_of, rating_of
from danlu.data.preferences import lay_out_completions, single
from danlu.data.rankings import lay_out as lay_out_rankings
from danlu.data.rankings import tokenize_comparisons
from danlu.data.records import Batch, pad_rows
from danlu.data.sft import render_chat
from danlu.data.sources import Record
from danlu.evaluate.markup import join
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.inspect.attention import LayerWeights, self_attention
from danlu.inspect.predictions import logit_lens, next_tokens
from danlu.inspect.reader import named, spans_of
from danlu.inspect.view import Shown, lines_of_batch, lines_of_ranking, spelled
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import AnyModel
from danlu.recipes.attention import opened
from danlu.recipes.attention_page import large_head, shared_names, strongest
from danlu.recipes.model_files import model_dir
from danlu.rl.rollout import Prompt, Rollout, lay_out
from danlu.serve.studio.microscope import (
    MOST_DRAWN,
    MOST_READ,
    Branch,
    Example,
    Guess,
    HeadSeen,
    InspectError,
    Lens,
    MaskLine,
    Masks,
    Reading,
    Said,
    Scores,
    Stage,
    TokenSeen,
)
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat

P = ParamSpec("P")
T = TypeVar("T")
N_DRAWN = 64  # tokens that a policy answers with at most
MOST_LABEL = 40  # columns of a token


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, and how it reads."""

    model: AnyModel
    chat: ChatFormat

    @property
    def tokenizer(self) -> Tokenizer:
        return self.chat.tokenizer


def _told(
    function: Callable[Concatenate[ModelMicroscope, Path, P], T],
) -> Callable[Concatenate[ModelMicroscope, Path, P], T]:
    """Whatever a model, a text or a file makes impossible becomes an error that the page shows."""

    @wraps(function)
    def act(self: ModelMicroscope, model: Path, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(self, model, *args, **kwargs)
        except (ValueError, RuntimeError, OSError, KeyError) as error:
            raise InspectError(str(error)) from error

    return act


class ModelMicroscope:
    """Loads models as they are asked for and keeps the last two."""

    @_told
    def read(self, model: Path, said: Said) -> Sequence[int]:
        return _ids_of(_subject(model), said)

    @_told
    def tokens(self, model: Path, ids: Sequence[int], n_best: int) -> Reading:
        subject, speaks = _speaking(model)
        read = ids[: min(MOST_READ, speaks.config.max_seq_len)]
        _check(speaks, read)
        labels = [*labels_of(subject.tokenizer, read), ""]
        seen = [TokenSeen(at=0, id=read[0], label=labels[0])]
        for each in next_tokens(speaks, read, n_best):
            there = each.probability is not None
            seen.append(
                TokenSeen(
                    at=each.at,
                    id=read[each.at] if there else -1,
                    label=labels[each.at],
                    logprob=math.log(max(each.probability, 1e-45)) if each.probability is not None else None,
                    rank=each.rank,
                    entropy=each.entropy,
                    best=[_guess(subject.tokenizer, guess.id, guess.probability) for guess in each.best],
                )
            )
        return Reading(tokens=seen, n_left_out=len(ids) - len(read))

    @_told
    def branch(self, model: Path, ids: Sequence[int], n_new: int) -> Branch:
        subject, speaks = _speaking(model)
        _check(speaks, ids)
        tokenizer = subject.tokenizer
        room = speaks.config.max_seq_len - len(ids)
        stop_ids = {tokenizer.eos_id, tokenizer.im_end_id}
        new: Sequence[int] = ()
        if room > 0 and ids[-1] not in stop_ids:
            sampler = Sampler(speaks, stop_ids=stop_ids, max_batch=1)
            greedy = SamplingConfig(max_new_tokens=min(n_new, room), temperature=0.0)
            new = sampler.generate([list(ids)], greedy)[0].ids
        return Branch(
            ids=[*ids, *new],
            before=tokenizer.decode(ids[:-1], show_control=True),
            token=tokenizer.decode(ids[-1:], show_control=True),
            after=tokenizer.decode(new, show_control=True),
            ended=(new or ids)[-1] in stop_ids,
        )

    @_told
    def heads(self, model: Path, ids: Sequence[int]) -> Sequence[int]:
        return [len(each.weights) for each in _attention(model, tuple(ids[:MOST_DRAWN]))]

    @_told
    def head(self, model: Path, ids: Sequence[int], layer: int, head: int) -> HeadSeen:
        read = tuple(ids[:MOST_DRAWN])
        weights = _attention(model, read)[layer].weights[head]
        labels = labels_of(_subject(model).tokenizer, read)
        sides = (labels, labels)
        drawing = join([shared_names("head", sides), large_head("head-weights", weights, "head")])
        pairs = [(labels[row], labels[column], weight) for row, column, weight in strongest(weights)]
        return HeadSeen(drawing=str(drawing), strongest=pairs, n_tokens=len(read))

    @_told
    def lens(self, model: Path, ids: Sequence[int]) -> Lens:
        subject, speaks = _speaking(model)
        read = ids[:MOST_DRAWN]
        _check(speaks, read)
        return Lens(
            labels=labels_of(subject.tokenizer, read),
            layers=[
                (each.n_layers, [_guess(subject.tokenizer, g.id, g.probability) for g in each.guesses])
                for each in logit_lens(speaks, read)
            ],
        )

    @_told
    def masks(self, model: Path, stage: Stage, example: Example) -> Masks:
        subject = _subject(model)
        record = Record(example.fields, example.source, example.line)
        shown = MASKS[stage](subject, example, record)
        kept = shown.lines[:MOST_READ]
        return Masks(
            stage=stage,
            lines=[
                MaskLine(
                    at=line.at,
                    position=line.position,
                    segment=line.segment,
                    id=line.id,
                    label=_label(subject.tokenizer, line.id),
                    mark=line.mark,
                    target="" if line.target is None else _label(subject.tokenizer, line.target),
                    numbers=line.numbers,
                )
                for line in kept
            ],
            columns=shown.columns,
            n_learnt=sum(line.mark in ("*", "$", "S") for line in shown.lines),
            n_left_out=len(shown.lines) - len(kept),
        )

    @_told
    def scores(self, model: Path, said: Said) -> Scores:
        subject = _subject(model)
        if not isinstance(subject.model, ScoreModel):
            raise InspectError(f"{model} gives no scores; choose a reward model")
        ids = _ids_of(subject, said)
        read = ids[: min(MOST_READ, subject.model.config.max_seq_len)]
        _check(subject.model, read)
        with torch.no_grad():
            found = subject.model(torch.tensor([read]))[0].tolist()
        return Scores(
            labels=labels_of(subject.tokenizer, read), scores=found, n_left_out=len(ids) - len(read)
        )


def _subject(path: Path) -> Subject:
    """The model at a path, loaded anew when its files have changed."""
    place = model_dir(path)
    changed = max((each.stat().st_mtime_ns for each in place.iterdir()), default=0)
    return _loaded(path, changed)


@lru_cache(maxsize=2)
def _loaded(path: Path, changed_at: int) -> Subject:
    model, _ = opened(path)
    adapter = next((each for each in (path, path / "adapter") if is_adapter(each)), None)
    of_base = adapter is not None and not (path / "model" / "config.json").is_file()
    directory = find_base(read_adapter(adapter)) if of_base and adapter is not None else model_dir(path)
    return Subject(model, ChatFormat(Tokenizer.load(directory)))


def _speaking(path: Path) -> tuple[Subject, LanguageModel]:
    subject = _subject(path)
    if not isinstance(subject.model, LanguageModel):
        raise InspectError(f"{path} writes no text; choose a language model")
    return subject, subject.model


def _ids_of(subject: Subject, said: Said) -> list[int]:
    """A text after the end of the one before, as in pretraining; a chat as in fine-tuning."""
    if isinstance(said, str):
        return [subject.tokenizer.eos_id, *subject.tokenizer.encode(said)]
    return subject.chat.render(list(said)).ids


def _check(model: AnyModel, ids: Sequence[int]) -> None:
    if not ids:
        raise InspectError("there is nothing to read")
    if max(ids) >= model.config.vocab_size:
        raise InspectError(
            f"the tokenizer gives token {max(ids)}, but the model knows {model.config.vocab_size}; "
            "it was trained with another one"
        )


@lru_cache(maxsize=4)
def _attention(path: Path, ids: tuple[int, ...]) -> list[LayerWeights]:
    subject = _subject(path)
    if not isinstance(subject.model, LanguageModel | ScoreModel):
        raise InspectError(f"{path} is no decoder; `danlu attention` draws what it looks at")
    _check(subject.model, ids)
    return self_attention(subject.model, ids)


def labels_of(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """What each token is called: parts of one character by the character and a number, 难₁ 难₂."""
    pieces = [tokenizer.decode_bytes([each], show_control=True) for each in ids]
    try:
        text = b"".join(pieces).decode("utf-8")
    except UnicodeDecodeError:
        return [_label(tokenizer, each) for each in ids]
    if not all(pieces):
        return [_label(tokenizer, each) for each in ids]
    return [each.label[:MOST_LABEL] for each in named(text, ids, spans_of(text, [len(p) for p in pieces]))]


def _label(tokenizer: Tokenizer, token: int) -> str:
    return spelled(token, tokenizer, MOST_LABEL) if token < tokenizer.vocab_size else f"#{token}"


def _guess(tokenizer: Tokenizer, token: int, probability: float) -> Guess:
    return Guess(id=token, label=_label(tokenizer, token), probability=probability)


def _row(subject: Subject, ids: Sequence[int], mask: Sequence[bool]) -> Shown:
    """One sequence as a row of its own."""
    tokenizer = subject.tokenizer
    batch = pad_rows([ids], [mask], tokenizer.pad_id)
    ends = {tokenizer.eos_id, tokenizer.im_end_id}
    return lines_of_batch(batch, 0, batch.segment_ids == 1, ends)


def _document(subject: Subject, example: Example, record: Record) -> Shown:
    """A document as packing lays it: read after an end, and every token learnt, its own end included."""
    tokenizer = subject.tokenizer
    if example.ids:
        if example.fingerprint != tokenizer.fingerprint:
            raise InspectError(
                "these shards were made with another tokenizer than this model's; "
                "choose a model that was trained on them"
            )
        ids = list(example.ids)
    else:
        text = example.fields.get("text")
        if not isinstance(text, str):
            raise InspectError(
                f"{record.source}:{record.line} has no field 'text', which pretraining reads; "
                "choose another stage"
            )
        ids = [*tokenizer.encode(text), tokenizer.eos_id]
    return _row(subject, [tokenizer.eos_id, *ids], [False] + [True] * len(ids))


def _chat(subject: Subject, example: Example, record: Record) -> Shown:
    return _row(subject, *render_chat(chat_of(record), subject.chat))


def _comparison(subject: Subject, example: Example, record: Record) -> Shown:
    groups = tokenize_comparisons([comparison_of(record)], subject.chat, subject.model.config.max_seq_len)
    pad_id = subject.tokenizer.pad_id
    return lines_of_ranking(lay_out_rankings(groups, pad_id), 0, pad_id)


def _rating(subject: Subject, example: Example, record: Record) -> Shown:
    """A rated completion as KTO reads it."""
    tokenizer = subject.tokenizer
    comparison = single(rating_of(record))
    groups = tokenize_comparisons([comparison], subject.chat, subject.model.config.max_seq_len)
    laid = lay_out_completions(groups, tokenizer.pad_id)
    batch = Batch(
        input_ids=laid.input_ids,
        target_ids=laid.target_ids,
        loss_mask=laid.loss_mask,
        position_ids=laid.position_ids,
        segment_ids=laid.branch_ids,
    )
    ends = {tokenizer.eos_id, tokenizer.im_end_id}
    return lines_of_batch(batch, 0, laid.input_ids == tokenizer.pad_id, ends)


def _rollout(subject: Subject, example: Example, record: Record) -> Shown:
    """A prompt that the model answers: what it drew is what policy training learns from."""
    if not isinstance(subject.model, LanguageModel):
        raise InspectError("this model writes no text; choose a language model as the policy")
    tokenizer = subject.tokenizer
    ids = subject.chat.prompt(shapes.prompt(record.fields))
    room = subject.model.config.max_seq_len - len(ids)
    if room < 1:
        raise InspectError(f"the prompt has {len(ids)} tokens, and leaves the model no room for an answer")
    sampler = Sampler(subject.model, stop_ids=subject.chat.stop_ids, max_batch=1)
    (drawn,) = sampler.generate([ids], SamplingConfig(max_new_tokens=min(N_DRAWN, room)))
    batch = lay_out([Rollout(Prompt("", ids), drawn)], tokenizer.pad_id)
    logprobs = torch.zeros(batch.input_ids.shape)
    logprobs[batch.loss_mask] = torch.tensor(drawn.logprobs)
    ends = {tokenizer.eos_id, tokenizer.im_end_id}
    return lines_of_batch(batch, 0, batch.segment_ids == 1, ends, {"logprob": logprobs})


MASKS: dict[Stage, Callable[[Subject, Example, Record], Shown]] = {
    "pretrain": _document,
    "sft": _chat,
    "reward": _comparison,
    "kto": _rating,
    "ppo": _rollout,
}
