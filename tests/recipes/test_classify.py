"""`danlu classify` in miniature: every task from its file to predictions that transformers shares."""

from __future__ import annotations

import gzip
import json
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from danlu.cli import main
from danlu.config import ConfigError
from danlu.data.records import DataError
from danlu.data.shards import TokenizedDocument, bytes_per_id, write_shards
from danlu.model.encoder_heads import MaskedLanguageModel
from danlu.model.heads import LanguageModel
from danlu.model.presets import BERT, GPT1, QWEN3
from danlu.recipes import classify, pretrain
from danlu.recipes.classify import ClassifyConfig
from danlu.recipes.labelled_data import ExamplesConfig
from danlu.recipes.labelling import PredictConfig, run_predict
from danlu.recipes.pretrain import Shape
from danlu.recipes.stage import Stage, publish
from danlu.tokenizer.bpe import Tokenizer

SIZES = {"d_model": 32, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "head_dim": 16, "d_ff": 128}
GOOD, BAD = ("good", "fine", "很好", "不错"), ("bad", "poor", "很差", "糟糕")
THINGS = ("film", "room", "meal", "book", "车", "菜")
DATA = Path(os.environ.get("DANLU_DATA", "no data"))  # real sets, for those who have them
DATA_NC = DATA.with_name("data-nc")


def rows_of(kind: str) -> list[dict[str, Any]]:
    """Forty examples that a few updates suffice to learn something from."""
    rng, rows = random.Random(0), []
    for i in range(40):
        good, thing = i % 2, rng.choice(THINGS)
        word = rng.choice((BAD, GOOD)[good])
        text = f"{thing} {word} {i}"
        rows.append(
            {
                "class": {"text": text, "label": "up" if good else "down"},
                "pair": {"premise": text, "hypothesis": f"{thing} {GOOD[0]}", "label": ["no", "yes"][good]},
                "similarity": {"s1": text, "s2": thing, "score": good + 0.5 * (i % 3)},
                "choice": {"prompt": thing, "choices": [rng.choice(BAD), word, "x"], "answer": 1},
                "span": {"question": "what", "context": text, "answers": [word]},
                "tag": {"tokens": [thing, word], "tags": ["O", "B-UP" if good else "B-DOWN"]},
            }[kind]
        )
    return rows


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    words = [json.dumps(row, ensure_ascii=False) for kind in ("class", "span") for row in rows_of(kind)]
    return Tokenizer.train(words, 400)


@pytest.fixture(scope="session")
def bases(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root, sizes = tmp_path_factory.mktemp("bases"), {**SIZES, "vocab_size": tokenizer.vocab_size}
    models = {
        "qwen3": LanguageModel(QWEN3(**sizes, max_seq_len=64)),
        "gpt1": LanguageModel(GPT1(**sizes, max_seq_len=64)),
        "bert": MaskedLanguageModel(BERT(**{**sizes, "max_seq_len": 64})),
    }
    for name, model in models.items():
        publish(model, tokenizer, root / name)
    return {name: root / name for name in models}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def config(base: Path, data: Path, out: Path, **changed: Any) -> ClassifyConfig:
    given = {"batch_size": 4, "n_epochs": 1.0, "lr": 1e-3, "eval_every": 4, "max_len": 32, **changed}
    return ClassifyConfig(data=data, base=base, out=out, **given)


def summary(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", ["class", "pair", "similarity", "choice", "span", "tag"])
@pytest.mark.parametrize("base", ["qwen3", "bert"])
def test_every_task_goes_from_its_file_to_predictions(
    kind: str, base: str, bases: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data, out = write(tmp_path / "a.jsonl", rows_of(kind)), tmp_path / "out"
    task = ExamplesConfig(task="similarity" if kind == "similarity" else "auto", held_out_share=0.2)
    classify.run(config(bases[base], data, out, examples=task))
    told = summary(out)
    assert 0 <= told["scores"]["fine-tuned"][told["headline"]]["mean"] <= 1 or told["headline"] == "spearman"
    assert "<table>" in (out / "report.html").read_text(encoding="utf-8")
    run_predict(PredictConfig(model=out, text=str(data), out=tmp_path / "said.jsonl"))
    said = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(said) == 40
    answer = {"choice": "answer", "span": "answer", "tag": "tags"}.get(kind, "label")
    if kind == "span":
        assert all(each[answer] in each["context"] for each in said)
    elif kind == "tag":
        assert all(len(each["tags"]) == len(each["tokens"]) for each in said)
    elif kind == "similarity":
        assert all(isinstance(each["label"], float) for each in said)
    else:
        assert {each[answer] for each in said} <= {"up", "down", "yes", "no", 0, 1, 2}


def test_what_is_predicted_is_what_transformers_says(bases: dict[str, Path], tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    data, out = write(tmp_path / "a.jsonl", rows_of("class")), tmp_path / "out"
    classify.run(config(bases["gpt1"], data, out))
    run_predict(PredictConfig(model=out, text=str(data), out=tmp_path / "said.jsonl"))
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(out / "model").eval()
    tokenizer = Tokenizer.load(out / "model")
    for line in (tmp_path / "said.jsonl").read_text(encoding="utf-8").splitlines()[:5]:
        said = json.loads(line)
        ids = [tokenizer.eos_id, *tokenizer.encode(said["text"]), tokenizer.im_end_id]
        with torch.no_grad():
            shares = theirs(input_ids=torch.tensor([ids])).logits.softmax(-1)[0]
        for number, share in enumerate(shares.tolist()):
            assert said["probabilities"][theirs.config.id2label[number]] == pytest.approx(share, abs=1e-3)


def test_words_that_tell_are_learnt(bases: dict[str, Path], tmp_path: Path):
    data, out = write(tmp_path / "a.jsonl", rows_of("class")), tmp_path / "out"
    classify.run(config(bases["qwen3"], data, out, n_epochs=12.0, lr=3e-3))
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["systems"]["fine-tuned"]["accuracy"]["mean"] == 1.0
    assert report["systems"]["majority"]["accuracy"]["mean"] == 0.5


class Cut(Exception):
    """Stands for whatever ended the run."""


def test_a_run_that_was_cut_off_ends_with_the_same_weights(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = write(tmp_path / "a.jsonl", rows_of("class"))
    whole = config(bases["qwen3"], data, tmp_path / "whole", save_every=3)
    classify.run(whole)
    parts = replace(whole, out=tmp_path / "parts")
    plain = Stage.updates

    def cut(stage: Stage) -> Any:
        for report, progress in plain(stage):
            if report.step == 5:
                raise Cut
            yield report, progress

    (tmp_path / "parts").mkdir()
    machine = (tmp_path / "whole" / "machine.json").read_text()
    (tmp_path / "parts" / "machine.json").write_text(machine)
    monkeypatch.setattr(Stage, "updates", cut)
    with pytest.raises(Cut):
        classify.run(parts)
    monkeypatch.setattr(Stage, "updates", plain)
    classify.run(parts)
    for name, tensor in load_file(tmp_path / "whole" / "model" / "model.safetensors").items():
        assert_close(
            load_file(tmp_path / "parts" / "model" / "model.safetensors")[name], tensor, rtol=0, atol=0
        )


def test_the_command_line_tells_a_file_from_a_model(
    bases: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    table = tmp_path / "train.csv"
    lines = [f"{row['text']},{row['label']}\n" for row in rows_of("class")]
    table.write_text("评论,标签\n" + "".join(lines), encoding="utf-8")
    given = [f"base={bases['qwen3']}", f"out={tmp_path / 'out'}", "n_epochs=0.2", "max_len=32"]
    assert main(["classify", str(table), *given]) == 0
    assert "down" in capsys.readouterr().out
    assert main(["classify", str(tmp_path / "out"), "菜 很好"]) == 0
    assert "%" in capsys.readouterr().out
    assert main(["classify", "nothing.here", "base=x"]) == 2
    assert "neither a file of examples (.csv, .tsv" in capsys.readouterr().err
    assert main(["classify", "train", "--help"]) == 0
    assert "keep_layers" in capsys.readouterr().out


def test_bad_settings_and_data_are_told_before_anything_is_written(bases: dict[str, Path], tmp_path: Path):
    data = write(tmp_path / "a.jsonl", rows_of("class"))
    other = write(tmp_path / "b.jsonl", [{"text": "菜", "label": "sideways"}])
    one = write(tmp_path / "c.jsonl", [{"text": f"x{i}", "label": "up"} for i in range(9)])
    tags = write(tmp_path / "d.jsonl", rows_of("tag"))
    out = tmp_path / "out"
    for changed, error, message in (
        ({"held_out": other}, DataError, "'sideways' occurs in the held-out examples, never in training"),
        ({"data": one}, DataError, "all have the label 'up'; two are needed"),
        ({"base": bases["bert"], "auxiliary": 0.5}, ConfigError, "predicts no next word; set auxiliary=0"),
        ({"keep_layers": 5}, ConfigError, "must be from 0 to the 2 layers of the base"),
        (
            {"examples": ExamplesConfig(task="span")},
            ConfigError,
            "by its columns .* holds examples for 'class'",
        ),
        ({"data": tags, "base": bases["gpt1"]}, ValueError, "openai-gpt has no class of other programs"),
    ):
        with pytest.raises(error, match=message):
            classify.run(replace(config(bases["qwen3"], data, out), **changed))
        assert not out.exists()


def test_a_bert_is_pretrained_on_own_text_and_fine_tuned(kit: Any, tmp_path: Path):
    tokenizer = Tokenizer.load(kit.tokenizer)
    text = "The sky is blue. The grass is green. The snow is white. The coal is black. "
    for part in ("train", "held_out"):
        write_shards(
            [TokenizedDocument(tokenizer.encode(text[20 * i :] + text)) for i in range(4)],
            tmp_path / "shards" / part,
            token_bytes=bytes_per_id(tokenizer),
            eos_id=tokenizer.eos_id,
            fingerprint=tokenizer.fingerprint,
        )
    shape = Shape(d_model=32, n_layers=2, n_heads=2, d_ff=64, max_seq_len=64)
    asked = {"objective": "mlm", "model": shape, "seq_len": 24, "eval_tokens": 200}
    plan = kit.pretrain_config(tmp_path / "bert", 60, **asked, eval_every=60, save_every=100)
    pretrain.run(replace(plan, shards=tmp_path / "shards"))
    found = json.loads((tmp_path / "bert" / "summary.json").read_text())["held_out"]
    assert set(found) == {"nll", "next", "words_right", "next_right"}
    assert found["nll"] < 3.5  # ln of 320 words is 5.8
    data = write(tmp_path / "a.jsonl", rows_of("class"))
    classify.run(config(tmp_path / "bert", data, tmp_path / "out"))
    assert summary(tmp_path / "out")["scores"]["fine-tuned"]["n"] == 4


def test_what_only_a_decoder_has_is_no_choice_of_berts(kit: Any, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"model\.n_kv_heads is 1; objective='mlm' trains BERT"):
        pretrain.run(kit.pretrain_config(tmp_path / "bert", 1, objective="mlm"))


def test_real_labelled_sets_can_be_read(tmp_path: Path):
    """Each set that lies beside the project, by its own columns."""
    from danlu.data.examples import read_examples

    wanted = {
        "cls_sst2": ("class", 1, {}),
        "cls_rte": ("class", 2, {}),
        "cls_stsb": ("class", 2, {}),
        "cls_zh_sentiment": ("class", 1, {}),
        "cls_cola": ("class", 1, {}),
    }
    present = {name: each for name, each in wanted.items() if (DATA_NC / name).is_dir()}
    if not present:
        pytest.skip("no labelled sets lie beside the project")
    for name, (kind, n_texts, names) in present.items():
        found = read_examples(sorted((DATA_NC / name).glob("open*.jsonl*"))[0], names)
        assert (found.kind, len(found.rows[0].texts)) == (kind, n_texts)
        assert len(found) > 100


def test_real_questions_have_their_answers_in_the_passage(tmp_path: Path):
    from danlu.data.examples import read_examples

    folder = DATA / "qa_cmrc2018"
    if not folder.is_dir():
        pytest.skip("no questions lie beside the project")
    passages, questions = (
        [json.loads(line) for line in gzip.decompress(packed.read_bytes()).splitlines()]
        for packed in (folder / f"open.{name}.jsonl.gz" for name in ("passages", "questions"))
    )
    text_of = {each["pid"]: each["text"] for each in passages}
    rows = [
        {"question": each["question"], "context": text_of[each["pid"]], "answers": each["answers"]}
        for each in questions[:300]
        if each["answers"][0] in text_of[each["pid"]]
    ]
    found = read_examples(write(tmp_path / "q.jsonl", rows))
    assert found.kind == "span"
    assert len(found) > 250
