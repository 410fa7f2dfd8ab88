"""BERT against transformers, both ways: masked words, the next sentence, classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from danlu.model.classifiers import Answers
from danlu.model.encoder_heads import EncoderClassifier, MaskedLanguageModel
from danlu.model.hf import load_language_model, load_masked_language_model, read_model, save_model
from danlu.model.presets import BERT
from danlu.model.weights import ModelFileError

transformers = pytest.importorskip("transformers")

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "initializer_range": 0.15,
}
CLASSES = ["ForPreTraining", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification"]


def theirs_of(name: str) -> Any:
    torch.manual_seed(3)
    model = getattr(transformers, f"Bert{name}")(transformers.BertConfig(**SIZES, num_labels=3)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape) * 0.2)
    return model


def inputs() -> tuple[Tensor, Tensor]:
    """Ids and types, (3, 29)."""
    generator = torch.Generator().manual_seed(5)
    types = (torch.arange(29) >= torch.tensor([[12], [20], [7]])).long()
    return torch.randint(1, 96, (3, 29), generator=generator), types


def expected(model: Any, **given: Tensor) -> Tensor:
    output = model(**given)
    return output.prediction_logits if hasattr(output, "prediction_logits") else output.logits


@torch.no_grad()
@pytest.mark.parametrize("name", CLASSES)
def test_bert_agrees_both_ways(name: str, tmp_path: Path):
    theirs = theirs_of(name)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = read_model(tmp_path / "theirs")
    assert sum(p.numel() for p in ours.parameters()) == theirs.num_parameters()
    ids, types = inputs()
    wanted = expected(theirs, input_ids=ids, token_type_ids=types)
    assert_close(ours(ids, type_ids=types), wanted, atol=1e-4, rtol=0)
    save_model(ours, tmp_path / "ours")
    back = type(theirs).from_pretrained(tmp_path / "ours", dtype=torch.float32).eval()
    assert_close(expected(back, input_ids=ids, token_type_ids=types), wanted, atol=1e-4, rtol=0)


@torch.no_grad()
def test_the_next_sentence_is_told_alike(tmp_path: Path):
    theirs = theirs_of("ForPreTraining")
    theirs.save_pretrained(tmp_path)
    ours = load_masked_language_model(tmp_path)
    ids, types = inputs()
    hidden = ours.backbone(ids, type_ids=types)
    wanted = theirs(input_ids=ids, token_type_ids=types).seq_relationship_logits
    assert_close(ours.follows(hidden), wanted, atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_changes_no_logit(side: str, tmp_path: Path):
    theirs = theirs_of("ForMaskedLM")
    theirs.save_pretrained(tmp_path)
    ours, (ids, types) = load_masked_language_model(tmp_path), inputs()
    place, n = torch.arange(29).expand(3, 29), torch.tensor([[29], [17], [9]])
    real = place < n if side == "right" else place >= 29 - n
    at = (real.cumsum(1) - 1).clamp(min=0)
    wanted = theirs(input_ids=ids, token_type_ids=types, attention_mask=real.long(), position_ids=at).logits
    assert_close(ours(ids, at, real.long(), types)[real], wanted[real], atol=1e-4, rtol=0)


@torch.no_grad()
def test_the_names_of_the_first_release_are_understood(tmp_path: Path):
    from safetensors.torch import load_file, save_file

    theirs_of("ForPreTraining").save_pretrained(tmp_path)
    before = load_masked_language_model(tmp_path)(inputs()[0])
    file = tmp_path / "model.safetensors"
    tensors = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): each
        for name, each in load_file(file).items()
    }
    save_file(tensors, file)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("BertForPreTraining", "BertForMaskedLM"))
    assert torch.equal(load_masked_language_model(tmp_path)(inputs()[0]), before)


def test_an_encoder_sees_what_comes_after():
    model = MaskedLanguageModel(BERT(**shape()))
    ids = inputs()[0][:1]
    changed = ids.clone()
    changed[0, -1] = (ids[0, -1] + 1) % 96
    assert not torch.equal(model(ids)[0, 0], model(changed)[0, 0])


def test_bert_base_has_the_published_number_of_parameters():
    sizes = {"vocab_size": 30522, "d_model": 768, "n_layers": 12, "n_heads": 12, "n_kv_heads": 12}
    with torch.device("meta"):
        model = EncoderClassifier(BERT(**sizes, head_dim=64, d_ff=3072), Answers(labels=("no", "yes")))
    assert (
        sum(p.numel() for p in model.parameters()) == 109_482_240 + 2 * 768 + 2
    )  # the model, and the classes


def test_a_masked_language_model_is_no_language_model(tmp_path: Path):
    save_model(MaskedLanguageModel(BERT(**shape())), tmp_path)
    with pytest.raises(ModelFileError, match="holds a MaskedLanguageModel; a LanguageModel is needed"):
        load_language_model(tmp_path)


def shape() -> dict[str, int]:
    return {
        "vocab_size": 96,
        "d_model": 32,
        "n_layers": 2,
        "n_heads": 4,
        "n_kv_heads": 4,
        "head_dim": 8,
        "d_ff": 56,
    }
