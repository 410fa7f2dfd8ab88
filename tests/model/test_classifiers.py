"""Heads for texts, tokens and spans against transformers, both ways, on every layout that has the class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.model.classifiers import (
    Answers,
    DecoderClassifier,
    SpanClassifier,
    TokenClassifier,
    forget_layers,
)
from danlu.model.config import ModelConfig
from danlu.model.encoder_heads import EncoderClassifier
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import TokenIds, load_classifier, read_model, save_model
from danlu.model.presets import BERT, GPT1, GPT2, GPT3, LLAMA, MISTRAL, QWEN2, QWEN3
from danlu.model.weights import ModelFileError

transformers = pytest.importorskip("transformers")

SIZES = {
    "vocab_size": 96,
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 4,
    "head_dim": 8,
    "d_ff": 128,
    "max_seq_len": 64,
}
PAD = 0
DECODERS = {
    "gpt1": GPT1(**SIZES),
    "gpt2": GPT2(**SIZES),
    "gpt_neo": GPT3(**SIZES),
    "llama": LLAMA(**SIZES),
    "mistral": MISTRAL(**SIZES),
    "qwen2": QWEN2(**SIZES),
    "qwen3": QWEN3(**SIZES),
}
LABELS = ("bad", "fair", "good")


def shaken(model: Any) -> Any:
    """Every weight and bias away from its tidy start."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


def ids_of(n_rows: int = 3, length: int = 13) -> Tensor:
    return torch.randint(1, 96, (n_rows, length), generator=torch.Generator().manual_seed(5))


def theirs_from(path: Path, auto: str) -> Any:
    return getattr(transformers, auto).from_pretrained(path, dtype=torch.float32).eval()


@torch.no_grad()
@pytest.mark.parametrize("name", DECODERS)
def test_a_decoders_class_is_read_at_the_last_token_as_theirs_is(name: str, tmp_path: Path):
    ours = shaken(DecoderClassifier(DECODERS[name], Answers(labels=LABELS)))
    save_model(ours, tmp_path, token_ids=TokenIds(pad=PAD))
    ids = ids_of()
    ends = torch.tensor([12, 8, 3])
    padded = ids.masked_fill(torch.arange(13) > ends[:, None], PAD)
    theirs = theirs_from(tmp_path, "AutoModelForSequenceClassification")
    wanted = theirs(input_ids=padded, attention_mask=(padded != PAD).long()).logits
    assert_close(ours.answer(ours.hidden(padded, None, None, None), ends), wanted, atol=1e-4, rtol=0)
    assert theirs.config.id2label == dict(enumerate(LABELS))
    theirs.save_pretrained(tmp_path / "back")
    back = load_classifier(tmp_path / "back")
    assert isinstance(back, DecoderClassifier)
    assert back.answers == ours.answers
    assert_close(back(ids), ours(ids), atol=1e-6, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("name", [*DECODERS, "bert"])
@pytest.mark.parametrize("kind", ["tag", "span"])
def test_heads_for_tokens_agree_with_theirs(name: str, kind: str, tmp_path: Path):
    config = BERT(**SIZES) if name == "bert" else DECODERS[name]
    made = TokenClassifier if kind == "tag" else SpanClassifier
    ours = shaken(made(config, Answers(kind=kind, labels=("O", "B-A", "I-A") if kind == "tag" else ())))
    if name == "gpt1":
        with pytest.raises(ModelFileError, match="openai-gpt has no class of other programs for a"):
            save_model(ours, tmp_path)
        return
    save_model(ours, tmp_path)
    auto = "AutoModelForTokenClassification" if kind == "tag" else "AutoModelForQuestionAnswering"
    theirs, ids = theirs_from(tmp_path, auto), ids_of()
    output = theirs(input_ids=ids)
    wanted = output.logits if kind == "tag" else torch.stack([output.start_logits, output.end_logits], -1)
    assert_close(ours(ids), wanted, atol=1e-4, rtol=0)
    theirs.save_pretrained(tmp_path / "back")
    assert_close(load_classifier(tmp_path / "back")(ids), ours(ids), atol=1e-6, rtol=0)


@torch.no_grad()
def test_berts_choices_agree_with_theirs(tmp_path: Path):
    ours = shaken(EncoderClassifier(BERT(**SIZES), Answers(kind="choice")))
    save_model(ours, tmp_path)
    theirs = transformers.BertForMultipleChoice.from_pretrained(tmp_path, dtype=torch.float32).eval()
    ids = ids_of(6)
    wanted = theirs(input_ids=ids.view(2, 3, 13)).logits
    assert_close(ours(ids).view(2, 3), wanted, atol=1e-4, rtol=0)
    assert load_classifier(tmp_path).answers.kind == "choice"


def test_a_number_is_no_score_and_keeps_its_scale(tmp_path: Path):
    answers = Answers(kind="similarity", mean=2.5, deviation=1.5)
    save_model(DecoderClassifier(DECODERS["qwen3"], answers), tmp_path / "number")
    save_model(ScoreModel(DECODERS["qwen3"]), tmp_path / "score")
    assert load_classifier(tmp_path / "number").answers == answers
    assert isinstance(read_model(tmp_path / "score"), ScoreModel)


@pytest.mark.parametrize(
    ("kind", "labels", "n"), [("class", LABELS, 3), ("class", (), 1), ("choice", (), 1), ("span", (), 2)]
)
def test_outputs_are_counted(kind: Any, labels: tuple[str, ...], n: int):
    assert Answers(kind=kind, labels=labels).n_outputs == n


def test_answers_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="labels is empty; tags need them"):
        Answers(kind="tag")
    with pytest.raises(ConfigError, match="describes no answers"):
        Answers.from_tree({"kind": "class"}, LABELS)


@pytest.mark.parametrize("kept", [-1, 0, 1, 2])
def test_the_first_layers_are_kept_and_the_rest_drawn_anew(kept: int):
    base = shaken(LanguageModel(DECODERS["qwen3"]))
    before = {name: weight.clone() for name, weight in base.backbone.named_parameters()}
    model = DecoderClassifier(DECODERS["qwen3"], Answers(labels=LABELS), backbone=base.backbone)
    forget_layers(model, kept, seed=7)
    same = {name for name, weight in model.backbone.named_parameters() if torch.equal(weight, before[name])}
    wanted = {name for name in before if kept == 2 or name.startswith(f"blocks.{0 if kept > 0 else 'x'}.")}
    wanted |= {"embedding.weight"} if kept >= 0 else set()
    assert same == wanted


def test_more_layers_than_there_are_cannot_be_kept():
    model = DecoderClassifier(DECODERS["qwen3"], Answers(labels=LABELS))
    with pytest.raises(ConfigError, match="keep_layers is 3; it must be from 0 to the 2 layers"):
        forget_layers(model, 3, seed=0)


def test_an_unfit_shape_is_told_before_training():
    odd = ModelConfig(**{**SIZES, "mlp": "gelu"})
    with pytest.raises(ModelFileError, match="no Hugging Face layout"):
        save_model(DecoderClassifier(odd, Answers(labels=LABELS)), Path("unused"))
