"""`danlu import`, `danlu export`, `danlu model`: what comes in, what goes out, what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from danlu.cli import main
from danlu.inspect.anatomy import cache_bytes, dissect, training_bytes
from danlu.model.config import Experts
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import TokenIds, load_language_model, read_model, save_model
from danlu.model.presets import GPT2, QWEN3_MOE
from danlu.recipes.model import in_units
from danlu.recipes.model_speed import rounded

SIZE: dict[str, Any] = {
    "vocab_size": 96,
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 4,
    "head_dim": 8,
    "d_ff": 64,
    "max_seq_len": 64,
}
IDS = torch.arange(1, 40)[None]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Somebody's model: GPT-2 in bfloat16 with a tokenizer that is not ours."""
    source = tmp_path / "theirs"
    save_model(
        LanguageModel(GPT2(**SIZE)), source, dtype="bfloat16", token_ids=TokenIds(pad=3, bos=4, stop=(5,))
    )
    (source / "tokenizer.json").write_text('{"model": {"type": "WordPiece"}}')
    (source / "evil.py").write_text("raise SystemExit")
    return source


def test_weights_come_in_as_they_lie(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["import", str(weights), str(tmp_path / "ours")]) == 0
    told = capsys.readouterr().out
    assert "GPT2LMHeadModel" in told
    assert "as bfloat16" in told
    assert "it cannot be spoken to here: " in told
    assert torch.equal(load_language_model(tmp_path / "ours")(IDS), load_language_model(weights)(IDS))
    kinds = {p.dtype for p in read_model(tmp_path / "ours", dtype="stored").parameters()}
    assert kinds == {torch.bfloat16}
    tree = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert (tree["pad_token_id"], tree["bos_token_id"], tree["eos_token_id"]) == (3, 4, [5])
    assert (tmp_path / "ours" / "tokenizer.json").exists()
    assert not (tmp_path / "ours" / "evil.py").exists()


def test_a_model_goes_out_in_the_format_and_the_files_asked_for(weights: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert main(["export", str(weights), str(out), "dtype=float16", "shard_gb=0.00002"]) == 0
    assert len(list(out.glob("model-*.safetensors"))) > 1
    assert {p.dtype for p in read_model(out, dtype="stored").parameters()} == {torch.float16}


@pytest.mark.parametrize("command", ["import", "export"])
def test_what_exists_is_never_overwritten(
    command: str, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("kept")
    assert main([command, str(weights), str(tmp_path / "full")]) == 2
    assert "which exists" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["precious"]


def test_a_name_on_the_hub_is_no_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["import", "Qwen/Qwen3-0.6B", str(tmp_path / "out")]) == 2
    assert "hf download NAME" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_of_an_import_that_fails(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = weights / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    assert main(["import", str(weights), str(tmp_path / "out")]) == 2
    assert "cut short" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_a_model_is_told_by_its_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = QWEN3_MOE(**SIZE, experts=Experts(n_experts=6, n_active=2))
    save_model(LanguageModel(config), tmp_path / "model", dtype="bfloat16")
    assert main(["model", str(tmp_path), "tokens=100"]) == 0
    told = capsys.readouterr().out
    assert "Qwen3MoeForCausalLM" in told
    # 6 experts of 3 matrices in 2 layers, of which a token takes 2
    assert f"{6 * 3 * 32 * 64 * 2:,}" in told
    assert "2 of 6 experts" in told


def test_parts_add_up_and_idle_experts_are_not_active():
    config = QWEN3_MOE(**SIZE, experts=Experts(n_experts=6, n_active=2))
    model = LanguageModel(config)
    anatomy = dissect(model)
    assert anatomy.n_parameters == sum(p.numel() for p in model.parameters())
    assert anatomy.parts["embedding"] == 96 * 32
    assert anatomy.parts["attention"] == 2 * (4 * 32 * 32)
    assert anatomy.parts["router"] == 2 * 6 * 32
    assert anatomy.parts["norms"] == 2 * (2 * 32 + 2 * 8) + 32
    assert anatomy.n_parameters - anatomy.n_active == 2 * 4 * (3 * 32 * 64)
    matrices = 2 * (4 * 32 * 32 + 6 * 32 + 6 * 3 * 32 * 64)
    assert training_bytes(anatomy, muon=False) == 16 * anatomy.n_parameters
    assert training_bytes(anatomy, muon=True) == 16 * anatomy.n_parameters - 4 * matrices
    assert cache_bytes(config, 10, 2) == 10 * 2 * 2 * 2 * 4 * 8


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1536, "1.54 kB"), (988_065_536, "988 MB")]
)
def test_sizes_are_told_in_units(n_bytes: int, text: str):
    assert in_units(n_bytes) == text


def test_speeds_are_bounded_or_measured(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["model", str(weights), "tokens=16"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "At most, after 16 tokens: memory was measured to read" in told
    assert "measure=true times the model itself" in told
    assert main(["model", str(weights), "tokens=16", "measure=true"]) == 2
    assert "reads only 64 tokens" in capsys.readouterr().err
    save_model(LanguageModel(GPT2(**SIZE | {"max_seq_len": 128})), tmp_path / "longer")
    assert main(["model", str(tmp_path / "longer"), "tokens=16", "measure=true"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "writing in float32, one text; reading and training in" in told
    numbers = told.split("tokens a second")[1].split("measured ")[1].split()[:3]
    assert all(float(number.replace(",", "")) > 0 for number in numbers)
    save_model(ScoreModel(GPT2(**SIZE)), tmp_path / "score")
    assert main(["model", str(tmp_path / "score"), "measure=true"]) == 2
    assert "this is a ScoreModel; language models are measured" in capsys.readouterr().err
    assert main(["model", str(weights), "tokens=0"]) == 2
    assert "tokens is 0; it must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("speed", "shown"), [(12345.6, "12,000"), (996.0, "1,000"), (100.4, "100"), (42.7, "43"), (0.123, "0.12")]
)
def test_speeds_are_shown_in_two_figures(speed: float, shown: str):
    assert rounded(speed) == shown
