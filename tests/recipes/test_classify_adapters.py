"""`danlu classify` with an adapter: what is trained, what is written, and that PEFT reads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from test_classify import bases, config, rows_of, summary, tokenizer, write
from torch import Tensor
from torch.testing import assert_close

from danlu.adapters.files import load_adapter, load_classifier_adapter, read_adapter
from danlu.adapters.settings import AdapterConfig, Bottleneck, VirtualTokens
from danlu.cli import main
from danlu.config import ConfigError
from danlu.model.classifiers import Classifier
from danlu.model.hf import load_classifier, read_model
from danlu.model.weights import ModelFileError
from danlu.recipes import classify
from danlu.recipes.classify import usual_lr
from danlu.recipes.labelled_data import ExamplesConfig
from danlu.recipes.labelling import PredictConfig, run_predict

# This version of PEFT asks that version of transformers by an older name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
__all__ = ["bases", "tokenizer"]  # fixtures

VIRTUAL = VirtualTokens(n=4)
ADAPTERS = {
    "lora": AdapterConfig(kind="lora", rank=4),
    "dora": AdapterConfig(kind="dora", rank=4),
    "adalora": AdapterConfig(kind="adalora", rank=8),
    "ia3": AdapterConfig(kind="ia3"),
    "houlsby": AdapterConfig(kind="houlsby", bottleneck=Bottleneck(width=4)),
    "pfeiffer": AdapterConfig(kind="pfeiffer", bottleneck=Bottleneck(width=4)),
    "prefix": AdapterConfig(kind="prefix", virtual=VIRTUAL),
    "prompt": AdapterConfig(kind="prompt", virtual=VIRTUAL),
}


def said(model: Path, data: Path, out: Path) -> list[dict[str, Any]]:
    run_predict(PredictConfig(model=model, text=str(data), out=out))
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


@torch.no_grad()
def answer_of(model: Classifier, ids: Tensor) -> Tensor:
    """What a classifier says of one row."""
    model.eval()
    return model.answer(model.hidden(ids, None, None, None), torch.tensor([ids.shape[1] - 1]))


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("base", ["qwen3", "gpt1", "bert"])
def test_every_adapter_is_trained_written_and_read(
    kind: str, base: str, bases: dict[str, Path], tmp_path: Path
):
    data, out, adapter = write(tmp_path / "a.jsonl", rows_of("class")), tmp_path / "out", ADAPTERS[kind]
    settings = config(bases[base], data, out, adapter=adapter)
    if base == "bert" and kind in ("prefix", "prompt"):
        with pytest.raises(ConfigError, match=f"kind '{kind}' needs a decoder"):
            classify.run(settings)
        assert not out.exists()
        return
    classify.run(settings)
    assert (out / "model").exists() == adapter.merges
    if adapter.merges:
        merged = said(out, data, tmp_path / "merged.jsonl")
        shutil.rmtree(out / "model")
    found = said(out, data, tmp_path / "said.jsonl")
    assert {each["label"] for each in found} <= {"up", "down"}
    if adapter.merges:
        assert [each["label"] for each in merged] == [each["label"] for each in found]
        for a, b in zip(merged, found, strict=True):
            assert a["probabilities"] == pytest.approx(b["probabilities"], abs=2e-3)
    held_out = summary(out)["scores"]["fine-tuned"]["classes"].values()
    assert sum(each["n"] for each in held_out) == 4


@pytest.mark.parametrize("kind", ["similarity", "choice", "span", "tag"])
@pytest.mark.parametrize("base", ["qwen3", "bert"])
def test_every_task_can_be_learnt_by_an_adapter(kind: str, base: str, bases: dict[str, Path], tmp_path: Path):
    data, out = write(tmp_path / "a.jsonl", rows_of(kind)), tmp_path / "out"
    task = ExamplesConfig(task="similarity" if kind == "similarity" else "auto", held_out_share=0.2)
    lora = AdapterConfig(kind="lora", rank=4, merge=False)
    classify.run(config(bases[base], data, out, examples=task, adapter=lora))
    assert not (out / "model").exists()
    model = load_classifier_adapter(out / "adapter")
    assert model.answers.kind == kind
    assert len(said(out, data, tmp_path / "said.jsonl")) == 40


def test_the_base_stays_and_the_head_is_learnt(bases: dict[str, Path], tmp_path: Path):
    data, out = write(tmp_path / "a.jsonl", rows_of("class")), tmp_path / "out"
    classify.run(config(bases["bert"], data, out, adapter=ADAPTERS["houlsby"]))
    base, made = read_model(bases["bert"]), load_classifier_adapter(out / "adapter")
    weights = dict(made.named_parameters())
    for name, weight in base.backbone.named_parameters():
        kept = weights.get(f"backbone.{name}")
        assert kept is not None
        assert torch.equal(kept, weight)
    assert not torch.equal(made.get_parameter("pooler.weight"), base.get_parameter("pooler.weight"))


@pytest.mark.parametrize("kind", ["lora", "dora", "ia3", "prompt"])
def test_peft_classifies_as_we_do(kind: str, bases: dict[str, Path], tmp_path: Path):
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    data, out = write(tmp_path / "a.jsonl", rows_of("class")), tmp_path / "out"
    classify.run(config(bases["qwen3"], data, out, adapter=ADAPTERS[kind]))
    base = transformers.AutoModelForSequenceClassification.from_pretrained(bases["qwen3"], num_labels=2)
    theirs = peft.PeftModel.from_pretrained(base, out / "adapter").eval()
    ids = torch.randint(5, 300, (1, 11), generator=torch.Generator().manual_seed(0))
    answer = answer_of(load_classifier_adapter(out / "adapter"), ids)
    with torch.no_grad():
        logits = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    assert_close(answer, logits, atol=1e-5, rtol=1e-5)
    if kind == "lora":
        assert_close(answer_of(load_classifier(out / "model"), ids), answer, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("task", ["class", "span", "tag"])
def test_peft_reads_a_berts_adapter_with_its_head(task: str, bases: dict[str, Path], tmp_path: Path):
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    data, out = write(tmp_path / "a.jsonl", rows_of(task)), tmp_path / "out"
    classify.run(config(bases["bert"], data, out, adapter=ADAPTERS["lora"]))
    ours = load_classifier_adapter(out / "adapter").eval()
    name = {"class": "SequenceClassification", "span": "QuestionAnswering", "tag": "TokenClassification"}[
        task
    ]
    labels = {} if task == "span" else {"num_labels": len(ours.answers.labels)}
    base = getattr(transformers, f"AutoModelFor{name}").from_pretrained(bases["bert"], **labels)
    theirs = peft.PeftModel.from_pretrained(base, out / "adapter").eval()
    ids = torch.randint(5, 300, (1, 11), generator=torch.Generator().manual_seed(0))
    answer = answer_of(ours, ids)
    with torch.no_grad():
        found = theirs(input_ids=ids, attention_mask=torch.ones_like(ids))
    logits = torch.stack([found.start_logits, found.end_logits], -1) if task == "span" else found.logits
    assert_close(answer, logits, atol=1e-5, rtol=1e-5)


def test_an_adapter_learns_ten_times_as_fast():
    assert usual_lr(768, AdapterConfig()) == 6.25e-5
    assert usual_lr(768, ADAPTERS["lora"]) == pytest.approx(6.25e-4)
    assert usual_lr(64, ADAPTERS["lora"]) == 3e-3


def test_other_commands_say_whose_adapter_it_is(
    bases: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data, out = write(tmp_path / "a.jsonl", rows_of("class")), tmp_path / "out"
    classify.run(config(bases["qwen3"], data, out, adapter=ADAPTERS["prefix"]))
    with pytest.raises(ModelFileError, match="adapts a classifier; danlu classify reads it"):
        load_adapter(out / "adapter")
    assert read_adapter(out / "adapter").task == "SEQ_CLS"
    capsys.readouterr()
    assert main(["classify", str(out), "film good"]) == 0
    assert "%" in capsys.readouterr().out
    assert main(["classify", str(data), f"base={out}", f"out={tmp_path / 'b'}"]) == 2
    assert "adapter" in capsys.readouterr().err
