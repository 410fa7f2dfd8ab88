"""The fine-tuning loss by hand and against transformers: classes, numbers, choices, orders, spans, tags."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from danlu.data.labelled import LabelledBatch
from danlu.model.classifiers import Answers, DecoderClassifier, SpanClassifier
from danlu.model.encoder_heads import EncoderClassifier
from danlu.model.heads import LanguageModel
from danlu.model.hf import TokenIds, save_model
from danlu.model.presets import BERT, GPT1
from danlu.objectives.classification import Classification, item_outputs

SIZES = {
    "vocab_size": 64,
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 2,
    "n_kv_heads": 2,
    "head_dim": 16,
    "d_ff": 128,
    "max_seq_len": 32,
}


class Told:
    """A model whose outputs are given."""

    def __init__(self, outputs: Tensor) -> None:
        self.outputs = outputs

    def hidden(self, *inputs: Any) -> Tensor:
        return torch.zeros(())

    def answer(self, hidden: Tensor, end_index: Tensor) -> Tensor:
        return self.outputs


def batch(
    kind: Any, targets: Tensor, item_ids: list[int], mask: Tensor | None = None, **changed: Any
) -> LabelledBatch:
    n = len(item_ids)
    shape = (n, 4) if mask is None else tuple(mask.shape)
    given: dict[str, Any] = {
        "input_ids": torch.zeros(shape, dtype=torch.int64),
        "segment_ids": torch.zeros(shape, dtype=torch.int64),
        "type_ids": None,
        "end_index": torch.full((n,), shape[1] - 1),
        "answer_mask": torch.zeros(shape, dtype=torch.bool) if mask is None else mask,
        "loss_mask": torch.ones(shape, dtype=torch.bool),
    }
    return LabelledBatch(kind=kind, targets=targets, item_ids=tensor(item_ids), **{**given, **changed})


def loss_of(outputs: Tensor, given: LabelledBatch) -> tuple[float, float]:
    """Total and weight of the label's term."""
    objective = Classification(auxiliary=0.0)
    loss = objective(Told(outputs), given)
    return float(loss.terms["label"].total), float(objective.weights(given)["label"])


def test_classes_by_hand():
    outputs = tensor([[0.0, math.log(3)], [math.log(4), 0.0]])  # right with 3/4 and wrong with 1/5
    total, weight = loss_of(outputs, batch("class", tensor([1, 1]), [0, 1]))
    assert (total, weight) == (pytest.approx(math.log(4 / 3) + math.log(5)), 2)


def test_numbers_by_hand():
    total, weight = loss_of(tensor([[0.5], [-1.0]]), batch("class", tensor([0.0, 1.0]), [0, 1]))
    assert (total, weight) == (pytest.approx(0.25 + 4), 2)


def test_both_orders_are_added():
    outputs = tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 5.0], [0.0, -5.0]])
    given = batch("similarity", tensor([0, 0]), [0, 0, 1, 1])
    assert_close(item_outputs(outputs, given), tensor([[3.0, 1.0], [0.0, 0.0]]))


def test_choices_compete_within_their_item_only():
    outputs = tensor([[0.0], [math.log(3)], [0.0], [0.0], [0.0]])
    total, weight = loss_of(outputs, batch("choice", tensor([1, 2]), [0, 0, 1, 1, 1]))
    assert (total, weight) == (pytest.approx(math.log(4 / 3) + math.log(3)), 2)


def test_a_span_can_lie_only_where_it_may():
    mask = tensor([[True, False, True, True]])
    outputs = tensor([[[0.0, 0.0], [9.0, 9.0], [0.0, math.log(2)], [0.0, 0.0]]])
    total, weight = loss_of(outputs, batch("span", tensor([[3, 2]]), [0], mask))
    assert (total, weight) == (pytest.approx((math.log(3) + math.log(2)) / 2), 1)


def test_tags_count_words():
    mask = tensor([[False, True, False, True]])
    outputs = torch.zeros(1, 4, 3)
    outputs[0, 1, 2] = math.log(2)
    total, weight = loss_of(outputs, batch("tag", tensor([[0, 2, 0, 1]]), [0], mask))
    assert (total, weight) == (pytest.approx(math.log(2) + math.log(3)), 2)


def test_gpt1s_loss_is_theirs_label_and_half_the_words(tmp_path):
    """OpenAIGPTForSequenceClassification and OpenAIGPTLMHeadModel are the witnesses of eq. 5."""
    transformers = pytest.importorskip("transformers")
    base = LanguageModel(GPT1(**SIZES), seed=1)
    model = DecoderClassifier(base.config, Answers(labels=("a", "b", "c")), backbone=base.backbone, seed=2)
    save_model(base, tmp_path / "words")
    save_model(model, tmp_path / "class", token_ids=TokenIds(pad=0))
    model.lm_head = base.lm_head
    ids = torch.randint(1, 64, (3, 9), generator=torch.Generator().manual_seed(0))
    ends, targets = tensor([8, 5, 7]), tensor([2, 0, 1])
    ids = ids.masked_fill(torch.arange(9) > ends[:, None], 0)
    counted = torch.arange(9) < ends[:, None]
    given = batch(
        "class", targets, [0, 1, 2], input_ids=ids, end_index=ends, loss_mask=counted, answer_mask=counted
    )
    objective = Classification(auxiliary=0.5)
    loss, weights = objective(model, given), objective.weights(given)
    theirs = transformers.OpenAIGPTForSequenceClassification.from_pretrained(tmp_path / "class").eval()
    words = transformers.OpenAIGPTLMHeadModel.from_pretrained(tmp_path / "words").eval()
    labels = ids.masked_fill(torch.arange(9) > ends[:, None], -100)
    with torch.no_grad():
        wanted = theirs(input_ids=ids, labels=targets).loss
        wanted_words = words(input_ids=ids, labels=labels).loss
    assert_close(loss.terms["label"].total / weights["label"], wanted, atol=1e-5, rtol=0)
    assert_close(loss.terms["words"].total / weights["words"], wanted_words, atol=1e-5, rtol=0)
    assert loss.terms["words"].coef == 0.5


@pytest.mark.parametrize("kind", ["class", "span"])
def test_berts_losses_are_theirs(kind: Any, tmp_path):
    transformers = pytest.importorskip("transformers")
    made = EncoderClassifier if kind == "class" else SpanClassifier
    model = made(BERT(**SIZES), Answers(kind=kind, labels=("a", "b") if kind == "class" else ()))
    save_model(model, tmp_path)
    ids = torch.randint(1, 64, (2, 8), generator=torch.Generator().manual_seed(0))
    types = (torch.arange(8) > 4).long().expand(2, 8)
    targets = tensor([1, 0]) if kind == "class" else tensor([[5, 6], [2, 7]])
    everywhere = torch.ones(2, 8, dtype=torch.bool)
    given = batch(kind, targets, [0, 1], everywhere, input_ids=ids, type_ids=types)
    objective = Classification(auxiliary=0.0)
    loss = objective(model, given).terms["label"].total / objective.weights(given)["label"]
    auto = "BertForSequenceClassification" if kind == "class" else "BertForQuestionAnswering"
    theirs = getattr(transformers, auto).from_pretrained(tmp_path).eval()
    asked = (
        {"labels": targets}
        if kind == "class"
        else {"start_positions": targets[:, 0], "end_positions": targets[:, 1]}
    )
    with torch.no_grad():
        assert_close(loss, theirs(input_ids=ids, token_type_ids=types, **asked).loss, atol=1e-5, rtol=0)


def test_the_gradient_does_not_depend_on_how_an_update_is_divided():
    base = LanguageModel(GPT1(**SIZES), seed=1)
    model = DecoderClassifier(base.config, Answers(labels=("a", "b")), backbone=base.backbone)
    model.lm_head = base.lm_head
    ids = torch.randint(1, 64, (4, 6), generator=torch.Generator().manual_seed(0))
    targets = tensor([0, 1, 1, 0])
    objective = Classification(auxiliary=0.5)

    def gradient(parts: list[slice]) -> Tensor:
        model.zero_grad()
        given = [
            batch(
                "class",
                targets[p],
                [*range(len(targets[p]))],
                input_ids=ids[p],
                end_index=torch.full((len(targets[p]),), 5),
                loss_mask=(torch.arange(6) < 5).expand(len(targets[p]), 6),
            )
            for p in parts
        ]
        totals = {name: sum(objective.weights(b)[name] for b in given) for name in ("label", "words")}
        for each in given:
            loss = objective(model, each)
            sum(term.coef * term.total / totals[name] for name, term in loss.terms.items()).backward()
        return model.backbone.embedding.weight.grad.clone()

    assert_close(gradient([slice(0, 4)]), gradient([slice(0, 1), slice(1, 4)]), atol=1e-6, rtol=1e-4)
