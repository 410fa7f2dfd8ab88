"""Adapter directories in the layout of the PEFT library: `adapter_config.json`, `adapter_model.safetensors`.

Tensors have the names that PEFT gives them over the base in its Hugging Face layout; kinds that PEFT does not
have follow its manner. What PEFT has no place for stands in the header of the safetensors file, which it does
not read: a digest of the base's weights, what lies in a joint layer, and of a score model its zero, its unit
and its raters.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from danlu.adapters.attach import DEFAULT, bring, names
from danlu.adapters.file_form import ANSWERS_KEY, CONFIG, WEIGHTS, AdapterFile, Model, head_key, heads_of
from danlu.adapters.forms import parts_of, settings_of, write_parts
from danlu.adapters.settings import AdapterConfig
from danlu.adapters.sharing import base_digest, twin
from danlu.model.classifiers import (
    Answers,
    Classifier,
    DecoderClassifier,
    SpanClassifier,
    TokenClassifier,
)
from danlu.model.encoder_heads import EncoderClassifier, classifier_over
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import SCORE_KEYS, apply_score_tree, load_model, read_model, score_tree
from danlu.model.layouts.settings import Settings
from danlu.model.translation import TranslationModel
from danlu.model.weights import ModelFileError, read_file, read_json, write_json, write_tensors

TASKS: dict[type[nn.Module], str] = {
    LanguageModel: "CAUSAL_LM",
    ScoreModel: "SEQ_CLS",
    DecoderClassifier: "SEQ_CLS",
    EncoderClassifier: "SEQ_CLS",
    TokenClassifier: "TOKEN_CLS",
    SpanClassifier: "QUESTION_ANS",
}


def is_adapter(path: Path) -> bool:
    """Whether a directory holds an adapter."""
    return (path / CONFIG).is_file()


def save_adapter(
    model: Model,
    path: Path,
    config: AdapterConfig,
    *,
    base: Path,
    name: str = DEFAULT,
) -> None:
    """Write an adapter directory.

    Args:
        model: with the adapter attached, not merged.
        path: where to; created if missing.
        config: what the adapter was attached with.
        base: the model directory that the adapter belongs to; it is named in the config as given.
        name: of the adapter, where the model has several.
    """
    written = write_parts(model, name, config)
    header = {"base_sha256": base_digest(model), **written.header}
    tensors = written.tensors | {head_key(config, name): each for name, each in heads_of(model).items()}
    if isinstance(model, ScoreModel):
        header |= {key: json.dumps(value) for key, value in score_tree(model).items()}
    if isinstance(model, Classifier):
        told = {**model.answers.to_tree(), "labels": model.answers.labels}
        header[ANSWERS_KEY] = json.dumps(told, ensure_ascii=False)
    tree = {"base_model_name_or_path": str(base), "task_type": TASKS[type(model)], **written.tree}
    path.mkdir(parents=True, exist_ok=True)
    write_tensors(
        path / WEIGHTS, {key: each.detach().contiguous() for key, each in tensors.items()}, **header
    )
    write_json(path / CONFIG, tree)


def load_adapter(path: Path, *, vocab_size: int | None = None) -> LanguageModel | ScoreModel:
    """The model that an adapter directory makes with its base, for a tokenizer of `vocab_size` if given."""
    file = read_adapter(path)
    if file.classifies:
        raise ModelFileError(f"{path} adapts a classifier; danlu classify reads it")
    return on_base(file, load_model(find_base(file), vocab_size=vocab_size))


def load_classifier_adapter(path: Path) -> Classifier:
    """The classifier that an adapter directory makes with its base, which may have any head."""
    file = read_adapter(path)
    if not file.classifies:
        raise ModelFileError(f"{path} adapts no classifier; name what `danlu classify` made")
    base = read_model(find_base(file))
    if isinstance(base, TranslationModel):
        raise ModelFileError(f"{file.base} holds a translation model, which no classifier stands on")
    model = classifier_over(base.backbone, _answers(file))
    bring_whole(model, file)
    return model


def load_score_adapter(path: Path, *, base: LanguageModel | ScoreModel, base_dir: Path) -> ScoreModel:
    """A score model from an adapter directory.

    Args:
        path: the adapter directory.
        base: a model that is loaded already; if the adapter belongs to it, the result stands on the same
            weights, which are then frozen.
        base_dir: where `base` was read from.
    """
    file = read_adapter(path)
    if not file.scores:
        raise ModelFileError(f"{path} adapts a language model; the adapter of a score model is needed here")
    found = find_base(file)
    if found.resolve() != base_dir.resolve():
        base = load_model(found, vocab_size=base.config.vocab_size)
    model = on_base(file, base)
    assert isinstance(model, ScoreModel)
    return model


def on_base(file: AdapterFile, base: LanguageModel | ScoreModel) -> LanguageModel | ScoreModel:
    """The adapter's model over the very weights of `base`, which are frozen."""
    if isinstance(base, ScoreModel) and not file.scores:
        raise ModelFileError(f"{file.path} adapts a language model, but {file.base} holds a score model")
    base.requires_grad_(False)
    model = ScoreModel.on(twin(base.backbone)) if file.scores else twin(base)
    apply_adapter(model, file)
    return model


def apply_adapter(model: LanguageModel | ScoreModel, file: AdapterFile, *, name: str = DEFAULT) -> None:
    """Attach an adapter under a name to the base that it was trained on; any other base is refused.

    It alone counts then; `attach.activate` lets others that the model has count too.
    """
    if file.scores != isinstance(model, ScoreModel):
        raise ModelFileError(f"{file.path} is of task {file.task}, which the model here is not made for")
    if file.scores and names(model):
        raise ModelFileError(
            f"{file.path}: the model has the adapter {names(model)[0]!r} and its score head already; an "
            "adapter of a score model brings its own, so one model takes one"
        )
    bring_whole(model, file, name=name)
    if isinstance(model, ScoreModel):
        apply_score_tree(Settings(file.path / WEIGHTS, _told(file)), model)


def bring_whole(model: Model, file: AdapterFile, *, name: str = DEFAULT) -> None:
    """Attach an adapter with the head that comes with it, if the base is its own."""
    bring(model, parts_of(model, file), name=name)
    digest = file.header.get("base_sha256")
    if digest is not None and digest != base_digest(model):
        raise ModelFileError(
            f"{file.path}: was trained on other weights than those in {file.base}; name its own base"
        )
    with torch.no_grad():
        for theirs, weight in heads_of(model).items():
            weight.copy_(file.tensors[head_key(file.config, theirs)])


def read_adapter(path: Path) -> AdapterFile:
    """Read an adapter directory; a setting that changes the arithmetic as we cannot is refused."""
    where, tree = path / CONFIG, read_json(path / CONFIG)
    config = settings_of(where, tree)
    if tree.get("task_type") not in TASKS.values():
        raise ModelFileError(
            f"{where}: task_type is {tree.get('task_type')!r}; it must be one of {sorted({*TASKS.values()})}"
        )
    base = tree.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ModelFileError(
            f"{where}: base_model_name_or_path is {base!r}; it must name the base's directory"
        )
    tensors, header = read_file(path / WEIGHTS)
    return AdapterFile(path, Path(base), tree["task_type"], config, tree, tensors, header)


def find_base(file: AdapterFile) -> Path:
    """The model directory that an adapter names, seen from here or from the adapter's own directory."""
    for folder in (file.base, file.path / file.base):
        if (folder / "config.json").is_file():
            return folder
    raise ModelFileError(
        f"{file.path / CONFIG}: the base {str(file.base)!r} is no model directory here; "
        "put it there, or name its place in base_model_name_or_path"
    )


def _answers(file: AdapterFile) -> Answers:
    """What a classifier's outputs stand for."""
    try:
        tree = json.loads(file.header[ANSWERS_KEY])
        labels = tuple(str(label) for label in tree["labels"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{file.path / WEIGHTS}: its header is damaged: {error}") from error
    return Answers.from_tree(tree, labels)


def _told(file: AdapterFile) -> dict[str, Any]:
    """What the header says of a score model."""
    try:
        return {key: json.loads(file.header[key]) for key in SCORE_KEYS if key in file.header}
    except ValueError as error:
        raise ModelFileError(f"{file.path / WEIGHTS}: its header is damaged: {error}") from error
