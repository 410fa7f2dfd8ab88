"""Stages over a mixture of experts: what is reported, what is written, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from small_shape import SHAPE
from test_resume import metrics, sft_config
from test_two_processes import machine, started_twice

from danlu.config import ConfigError
from danlu.model.hf import load_language_model
from danlu.recipes import pretrain, sft
from danlu.recipes.pretrain import Shape

EXPERTS = replace(SHAPE, n_experts=4, n_active=2, d_ff=32)


def shares(line: dict[str, float], layer: int) -> list[float]:
    return [line[f"expert.{layer}.{expert}"] for expert in range(EXPERTS.n_experts)]


def test_pretraining_and_sft_report_the_balance_and_every_expert_share(kit, tmp_path):
    pretrain.run(kit.pretrain_config(tmp_path / "base", 6, model=EXPERTS))
    base = tmp_path / "base" / "model"
    assert json.loads((base / "config.json").read_text())["architectures"] == ["Qwen3MoeForCausalLM"]
    assert load_language_model(base).config.experts == EXPERTS.model_config(8).experts
    sft.run(replace(sft_config(kit, tmp_path / "sft"), base=base))
    for name in ("base", "sft"):
        lines = [line for line in metrics(tmp_path / name) if "loss" in line]
        for line in lines:
            assert 0 < line["balance"] < EXPERTS.n_experts
            assert line["loss"] == pytest.approx(line["nll"] + 0.01 * line["balance"])
            for layer in range(EXPERTS.n_layers):
                assert sum(shares(line, layer)) == pytest.approx(1.0)
                assert max(shares(line, layer)) <= 0.5  # a token takes two different ones


def test_without_a_coefficient_nothing_is_added(kit, tmp_path):
    pretrain.run(kit.pretrain_config(tmp_path / "left", 2, model=EXPERTS, balance_coef=0.0))
    pretrain.run(kit.pretrain_config(tmp_path / "one", 2))
    for name in ("left", "one"):
        assert not any("balance" in line for line in metrics(tmp_path / name))


def test_what_no_layout_has_is_refused_before_training(kit, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="qk_norm"):
        pretrain.run(kit.pretrain_config(out, 2, model=replace(EXPERTS, qk_norm=False)))
    with pytest.raises(ConfigError, match=r"model\.experts.n_active is 5; it must be from 1 to n_experts, 4"):
        pretrain.run(kit.pretrain_config(out, 2, model=replace(EXPERTS, n_active=5)))
    with pytest.raises(ConfigError, match=r"model\.n_experts is 4; objective='mlm' trains BERT"):
        pretrain.run(kit.pretrain_config(out, 2, model=Shape(n_experts=4), objective="mlm"))
    with pytest.raises(ConfigError, match="balance_coef is -1; it must be 0 or more"):
        pretrain.run(kit.pretrain_config(out, 2, balance_coef=-1.0))
    assert not out.exists()


@pytest.mark.slow
def test_two_processes_train_experts_that_one_of_them_does_not_use(kit, tmp_path):
    model = replace(EXPERTS, n_experts=16, n_active=1)
    config = kit.pretrain_config(tmp_path / "two", 4, model=model, batch_size=2, seq_len=4)
    machine(config.out)
    started_twice("pretrain", config, tmp_path)
    lines = [line for line in metrics(config.out) if "loss" in line]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert sum(lines[0][f"expert.0.{expert}"] for expert in range(16)) == pytest.approx(1.0)
