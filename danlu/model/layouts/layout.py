"""What a Hugging Face layout says of a model: its settings, its classes, and where each weight lies."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from danlu.model.classifiers import Answers, DecoderClassifier, SpanClassifier, TokenClassifier
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.layouts.settings import Settings

Renames = Sequence[tuple[str, str]]
ANSWERS_KEY = "danlu_answers"  # ours, in config.json: what a classifier's outputs stand for
EYE, EYE_THERE = "backbone.eye.", "danlu_eye."
SPAN = (r"^span\.", "qa_outputs.")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one of our weights lies in their files."""

    name: str
    part: int = 0
    n_parts: int = 1  # some keep queries, keys and values as one
    transposed: bool = False  # some keep (in, out)

    def cut(self, theirs: Tensor) -> Tensor:
        """Our weight, seen inside their tensor."""
        whole = theirs.t() if self.transposed and theirs.ndim == 2 else theirs
        return whole if self.n_parts == 1 else whole.chunk(self.n_parts)[self.part]


def join(places: Sequence[Place], ours: Sequence[Tensor]) -> Tensor:
    """Their tensor from all of our weights that lie in it, in the order of their parts."""
    whole = ours[0] if len(ours) == 1 else torch.cat([*ours])
    return whole.t() if places[0].transposed and whole.ndim == 2 else whole


def joined_shape(places: Sequence[Place], ours: Sequence[torch.Size]) -> torch.Size:
    """The shape of what `join` gives."""
    shape = (sum(each[0] for each in ours), *ours[0][1:])
    return torch.Size(shape[::-1] if places[0].transposed else shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One class of theirs, and ours that it stands for."""

    name: str
    kind: type[nn.Module]
    build: Callable[[ModelConfig, Settings, Collection[str]], nn.Module]  # the last: names of the weights
    suits: Callable[[Any], bool] = lambda model: True
    renames: Renames = ()  # of its own, after those of the layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One model type of theirs."""

    model_type: str
    heads: Sequence[Head]
    suits: Callable[[ModelConfig], bool]  # whether it can express a configuration
    read: Callable[[Settings], ModelConfig]
    write: Callable[[ModelConfig], dict[str, Any]]
    renames: Renames  # from our names to theirs, applied in turn
    prefix: str  # of the backbone's weights; files of a bare backbone leave it out
    fused: Renames = ()  # likewise, for what they keep as thirds of one tensor; the name's end tells which
    transposed: str = r"(?!)"  # our names of matrices that they keep as (in, out)
    unread: str = r"(?!)"  # their names of what is no weight, or a weight's second copy
    aliases: Renames = ()  # from older names of theirs to newer ones
    buffers: Sequence[str] = ()  # ours that lie in their files beside the weights

    def tensors_of(self, model: nn.Module) -> dict[str, Tensor]:
        """All of a model that lies in their files, under our names."""
        buffers = {name: model.get_buffer(name) for name in self.buffers}
        return {**dict(model.named_parameters()), **buffers}

    def place(self, ours: str) -> Place:
        """Where a weight of ours lies; none of theirs has an encoder of pictures like ours."""
        if ours.startswith(EYE):
            return Place(EYE_THERE + ours.removeprefix(EYE))
        theirs, part, n_parts = ours, 0, 1
        for pattern, replacement in self.fused:
            if match := re.search(pattern, theirs):
                theirs, part, n_parts = re.sub(pattern, replacement, theirs), "qkv".index(match["part"]), 3
        for pattern, replacement in self.renames:
            theirs = re.sub(pattern, replacement, theirs)
        return Place(theirs, part, n_parts, bool(re.search(self.transposed, ours)))

    def under(self, head: Head) -> Layout:
        """The layout as one of its classes has it."""
        return replace(self, renames=(*self.renames, *head.renames))

    def name_now(self, theirs: str, known: Collection[str]) -> str:
        """What a tensor of a file is called in this layout's present form."""
        for pattern, replacement in self.aliases:
            theirs = re.sub(pattern, replacement, theirs)
        return self.prefix + theirs if theirs not in known and self.prefix + theirs in known else theirs


def decoder_heads(
    prefix: str,
    language: str,
    tags: Renames | None = ((r"^classifier\.", "score."),),
    spans: Renames | None = (),
) -> tuple[Head, ...]:
    """A decoder's classes: a language model, a score or a class for a text, tags, and spans.

    Args:
        prefix: what all their names begin with.
        language: how the language model's name goes on.
        tags: renames of the class for tokens; None where there is no such class.
        spans: likewise for spans.
    """
    scores = f"{prefix}ForSequenceClassification"
    heads = [
        Head(name=prefix + language, kind=LanguageModel, build=lambda config, *_: LanguageModel(config)),
        Head(name=scores, kind=ScoreModel, build=_scorer),
        Head(name=scores, kind=DecoderClassifier, build=_scorer),
    ]
    if tags is not None:
        name = f"{prefix}ForTokenClassification"
        heads.append(Head(name=name, kind=TokenClassifier, build=tagger, renames=tags))
    if spans is not None:
        name, renames = f"{prefix}ForQuestionAnswering", (SPAN, *spans)
        heads.append(Head(name=name, kind=SpanClassifier, build=span_reader, renames=renames))
    return tuple(heads)


def _scorer(config: ModelConfig, settings: Settings, names: Collection[str]) -> nn.Module:
    """A score model has one label and nothing that tells what its number means."""
    if ANSWERS_KEY not in settings.tree and len(labels_of(settings, ("",))) == 1:
        return ScoreModel(config)
    return DecoderClassifier(config, answers_of(settings))


def tagger(config: ModelConfig, settings: Settings, names: Collection[str]) -> TokenClassifier:
    """A class for tokens."""
    return TokenClassifier(config, replace(answers_of(settings), kind="tag"))


def span_reader(config: ModelConfig, settings: Settings, names: Collection[str]) -> SpanClassifier:
    """A class for spans."""
    return SpanClassifier(config, Answers(kind="span"))


def answers_of(settings: Settings) -> Answers:
    """What a classifier's outputs stand for; of one by others, the labels alone are told."""
    labels = labels_of(settings, ("LABEL_0", "LABEL_1"))
    tree = settings.get(ANSWERS_KEY)
    if tree is None:
        return Answers(labels=labels if len(labels) > 1 else ())
    if not isinstance(tree, Mapping):
        raise settings.wrong(ANSWERS_KEY, tree, "a table")
    return Answers.from_tree(tree, labels)


def labels_of(settings: Settings, default: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the outputs, in their order."""
    table = settings.get("id2label")
    if table is None:
        n = settings.integer("num_labels", len(default))
        return default if n == len(default) else tuple(f"LABEL_{i}" for i in range(n))
    if not isinstance(table, Mapping) or sorted(table) != sorted(map(str, range(len(table)))):
        raise settings.wrong("id2label", table, 'a table of names under "0", "1" and so on')
    if settings.get("num_labels", len(table)) != len(table):
        raise settings.wrong("num_labels", settings.get("num_labels"), f"{len(table)}, as id2label says")
    return tuple(str(table[str(i)]) for i in range(len(table)))


def answers_tree(answers: Answers) -> dict[str, Any]:
    """What config.json says of a classifier's answers, for others and for us."""
    n = answers.n_outputs
    labels = answers.labels if len(answers.labels) == n else [f"LABEL_{i}" for i in range(n)]
    tree: dict[str, Any] = {
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        ANSWERS_KEY: answers.to_tree(),
    }
    if answers.kind in ("class", "similarity"):
        tree["problem_type"] = "regression" if answers.is_number else "single_label_classification"
    return tree


def same_settings(config: ModelConfig, **values: Any) -> bool:
    """Whether the configuration has just these values."""
    return all(getattr(config, name) == value for name, value in values.items())


def sizes_from(settings: Settings, names: Mapping[str, str]) -> dict[str, Any]:
    """Our sizes under their names."""
    return {ours: settings.integer(theirs) for ours, theirs in names.items()}


def sizes_to(config: ModelConfig, names: Mapping[str, str]) -> dict[str, Any]:
    """Their names with our sizes."""
    return {theirs: getattr(config, ours) for ours, theirs in names.items()}
