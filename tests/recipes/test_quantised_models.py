"""Commands with quantised models: made, measured beside the original, adapted, never trained in full."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_resume import ppo_config, reward_config, sft_config
from torch.testing import assert_close

from danlu.adapters.attach import adapted_layers
from danlu.adapters.files import load_adapter
from danlu.adapters.settings import AdapterConfig
from danlu.cli import main
from danlu.config import ConfigError
from danlu.data.shards import open_shards
from danlu.model.hf import load_language_model, open_model, read_model
from danlu.model.quantised_weight import QuantisedWeight
from danlu.model.quantize import is_quantised
from danlu.recipes import pretrain, sft
from danlu.recipes.policy import learner
from danlu.recipes.stage import check_base

LORA = AdapterConfig(kind="lora", rank=4, alpha=8.0)
IDS = torch.randint(1, 300, (2, 12), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(kit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model, and the same in 8 and in 4 bits."""
    if not kit.base.exists():
        pretrain.run(kit.pretrain_config(kit.root / "pretrain", 12))
    folder = tmp_path_factory.mktemp("quantised")
    for kind, more in (("int8", []), ("int4", ["group=32"])):
        assert main(["export", str(kit.base), str(folder / kind), f"quantize={kind}", *more]) == 0
    return folder


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_export_quantises_and_every_loader_reads_it(kind: str, folder: Path, kit, capsys):
    model = load_language_model(folder / kind)
    bits = {p.bits for p in model.backbone.blocks.parameters() if isinstance(p, QuantisedWeight)}
    assert bits == {8 if kind == "int8" else 4}
    assert (folder / kind / "tokenizer.json").exists()
    assert main(["model", str(folder / kind)]) == 0
    assert f"stored as {'int8 and bfloat16' if kind == 'int8' else 'int8 and bfloat16 and int4'}" in (
        capsys.readouterr().out
    )
    assert main(["generate", str(folder / kind), "The sky", "raw=true", "sampling.max_new_tokens=4"]) == 0
    assert main(["export", str(folder / kind), str(folder / f"{kind}-plain"), "dtype=float32"]) == 0
    plain = read_model(folder / f"{kind}-plain")
    assert not is_quantised(plain)
    model.backbone.compute_dtype = None
    assert_close(plain(IDS), model(IDS), atol=1e-4, rtol=0)


def test_evaluate_tells_what_a_quantised_model_loses(folder: Path, kit, tmp_path: Path, capsys):
    text = tmp_path / "text.jsonl"
    text.write_text('{"text": "The sky is blue."}\n{"text": "天是蓝的。"}\n', encoding="utf-8")
    arguments = ["evaluate", str(folder / "int4"), f"against={kit.base}", f"out={tmp_path / 'out'}"]
    assert main([*arguments, f"text={text}"]) == 0
    assert "model against the other: bits per byte" in capsys.readouterr().out
    tree = json.loads((tmp_path / "out" / "summary.json").read_text())
    ours, theirs = tree["systems"]["model"], tree["systems"]["against"]
    assert ours["n_bytes"] == theirs["n_bytes"] == len("The sky is blue.天是蓝的。".encode())
    assert ours["perplexity"] == pytest.approx(math.exp(ours["loss"]))
    assert tree["difference"]["perplexity"] == pytest.approx(ours["perplexity"] / theirs["perplexity"] - 1)
    assert ours["weight_bytes"] < 0.35 * theirs["weight_bytes"]
    assert main([*arguments, f"text={kit.shards / 'held_out'}"]) == 0
    tree = json.loads((tmp_path / "out" / "summary.json").read_text())
    model = tree["systems"]["against"]
    # Two routes: the plain forward over each document by itself.
    reference, total, count = load_language_model(kit.base), 0.0, 0
    for document in documents(kit.shards / "held_out"):
        logits = reference(torch.tensor([[document[-1], *document[:-1]]]))[0].detach()
        total += float(torch.nn.functional.cross_entropy(logits, torch.tensor(document), reduction="sum"))
        count += len(document)
    assert model["n_tokens"] == count
    assert model["loss"] == pytest.approx(total / count, rel=1e-4)


def documents(shards: Path) -> list[list[int]]:
    found = open_shards(shards)
    return [
        found.tokens[a:b].astype(int).tolist()
        for a, b in zip(found.starts[:-1], found.starts[1:], strict=True)
    ]


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_sft_trains_an_adapter_over_a_quantised_base(kind: str, folder: Path, kit, tmp_path: Path):
    out = tmp_path / "tuned"
    sft.run(replace(sft_config(kit, out), base=folder / kind, adapter=LORA))
    model = load_adapter(out / "adapter")
    assert is_quantised(model)
    assert all(
        layer.adapters["default"].lora_b.abs().max() > 1e-4 for layer in adapted_layers(model).values()
    )
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < losses[0]
    model.backbone.compute_dtype = None
    assert_close(load_language_model(out / "model")(IDS), model(IDS), atol=1e-4, rtol=0)
    other = "int4" if kind == "int8" else "int8"
    tree = json.loads((out / "adapter" / "adapter_config.json").read_text())
    tree["base_model_name_or_path"] = str(folder / other)
    (out / "adapter" / "adapter_config.json").write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match="was trained on other weights"):
        load_adapter(out / "adapter")


def test_a_quantised_base_is_refused_in_full_before_anything_is_written(
    folder: Path, kit, tmp_path: Path, capsys
):
    base, out = folder / "int4", tmp_path / "out"
    asked = {
        "sft": [f"base={base}", f"data={kit.chats}"],
        "reward": [f"base={base}", f"comparisons={kit.comparisons}"],
        "dpo": [f"policy={base}", f"comparisons={kit.comparisons}"],
    }
    for command, settings in asked.items():
        assert main([command, *settings, f"out={out}"]) == 2
        told = capsys.readouterr().err
        assert f"{base} holds a quantised model, whose weights cannot be trained" in told
        assert "adapter.kind=lora" in told
        assert not out.exists()
    config = ppo_config(kit, out)
    with pytest.raises(ConfigError, match="quantised model"):
        learner(load_language_model(base), config, 0)
    check_base(load_language_model(base), LORA, base)  # with an adapter it may
    assert reward_config(kit, out).adapter == AdapterConfig()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["out.gguf", "quantize=int8"], "for a .gguf file set format"),
        (["out", "format=q8_0"], "it must end with .gguf"),
        (["out", "quantize=int4", "group=48"], "group is 48; it must be one of 32, 64, 128, 256"),
        (["out", "group=128"], "it belongs to int4"),
        (["out.gguf", "format=q5_0"], "expected 'f16' or 'bf16' or 'q8_0' or 'q4_0'"),
    ],
)
def test_export_settings_that_say_nothing_together(words: list[str], message: str, kit, tmp_path, capsys):
    out, *rest = words
    assert main(["export", str(kit.base), str(tmp_path / out), *rest]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_export_writes_one_file_for_llama_cpp(folder: Path, kit, tmp_path: Path, capsys):
    out = tmp_path / "deep" / "model.gguf"
    assert main(["export", str(kit.base), str(out), "format=q8_0"]) == 0
    assert out.read_bytes()[:4] == b"GGUF"
    capsys.readouterr()
    assert main(["export", str(kit.base), str(out)]) == 2
    assert "which exists" in capsys.readouterr().err
    assert main(["export", str(folder / "int4"), str(tmp_path / "four.gguf")]) == 0
    assert open_model(folder / "int4").quantisation is not None
