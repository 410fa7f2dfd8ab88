"""PEFT as the witness: what we save it loads, what it saves we load, and both answer alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import CONFIGS, FAMILIES, base_model, some_ids, stir, taught
from torch.testing import assert_close

from danlu.adapters.files import load_adapter, save_adapter
from danlu.adapters.settings import AdapterConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import save_model

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
pytestmark = [
    # This version of PEFT asks that version of transformers by an older name.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    # It says so of the pattern of any AdaLoRA and of any layer of experts, its own included, and applies it.
    pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys did not:RuntimeWarning"),
]
KINDS = ("lora", "dora", "adalora", "ia3", "prefix", "prompt")
# Transformers has the experts of a layer in one tensor, where only LoRA of PEFT's can follow.
ATTENTION = ("q", "k", "v", "self_attn.sublayer.out")


def config_for(kind: str, family: str) -> AdapterConfig:
    config = CONFIGS[kind]
    layered = kind in ("dora", "adalora", "ia3")
    return replace(config, targets=ATTENTION) if family == "qwen3_moe" and layered else config


def theirs(base: Path, task: str = "CausalLM", **options: Any) -> Any:
    loader = getattr(transformers, f"AutoModelFor{task}")
    return loader.from_pretrained(base, dtype=torch.float32, **options).eval()


def assert_same(ours: torch.Tensor, other: torch.Tensor) -> None:
    """Equal to 1e-5 of the largest logit; what PEFT answers to virtual tokens themselves is left out."""
    other = other[:, -ours.shape[1] :]
    assert_close(ours, other, atol=1e-5 * float(other.abs().max()), rtol=0)


def cases() -> list[tuple[str, str]]:
    """All but prefixes of GPT-1, which in transformers has no cache that they could lie in."""
    return [(kind, family) for kind in KINDS for family in FAMILIES if (kind, family) != ("prefix", "gpt1")]


@pytest.mark.parametrize(("kind", "family"), cases())
@torch.no_grad()
def test_peft_loads_what_we_save(kind: str, family: str, tmp_path: Path):
    config = config_for(kind, family)
    save_model(base_model(FAMILIES[family]), tmp_path / "base")
    model = taught(base_model(FAMILIES[family]), config).eval()
    save_adapter(model, tmp_path / "adapter", config, base=tmp_path / "base")
    loaded = peft.PeftModel.from_pretrained(theirs(tmp_path / "base"), tmp_path / "adapter").eval()
    assert_same(model(some_ids()), loaded(some_ids()).logits)
    assert_same(load_adapter(tmp_path / "adapter")(some_ids()), model(some_ids()))


def peft_config(kind: str, family: str) -> Any:
    """Settings of PEFT's own that reach every layer of the blocks."""
    attention = ["q_proj", "k_proj", "v_proj", "o_proj"]
    everything = attention if family == "qwen3_moe" else "all-linear"
    low_rank = {"target_modules": everything, "lora_alpha": 6, "task_type": "CAUSAL_LM"}
    virtual = {"num_virtual_tokens": 5, "task_type": "CAUSAL_LM"}
    feedforward = {"gpt1": "mlp.c_proj", "gpt2": "mlp.c_proj", "gpt3": "mlp.c_proj"}.get(family, "down_proj")
    targets = {"gpt1": ["c_attn"], "gpt2": ["c_attn"]}.get(family, ["k_proj", "v_proj"])
    inputs = [] if family == "qwen3_moe" else [feedforward]
    made = {
        "lora": lambda: peft.LoraConfig(r=3, use_rslora=True, **low_rank),
        "dora": lambda: peft.LoraConfig(r=3, use_dora=True, **low_rank),
        "adalora": lambda: peft.AdaLoraConfig(init_r=3, target_r=2, total_step=10, **low_rank),
        "ia3": lambda: peft.IA3Config(
            target_modules=targets + inputs, feedforward_modules=inputs, task_type="CAUSAL_LM"
        ),
        "prefix": lambda: peft.PrefixTuningConfig(prefix_projection=True, encoder_hidden_size=7, **virtual),
        "prompt": lambda: peft.PromptTuningConfig(**virtual),
    }
    config = made[kind]()
    if family in ("gpt1", "gpt2") and hasattr(config, "fan_in_fan_out"):
        config.fan_in_fan_out = True
    return config


@pytest.mark.parametrize(("kind", "family"), cases())
@torch.no_grad()
def test_we_load_what_peft_saves(kind: str, family: str, tmp_path: Path):
    torch.manual_seed(0)
    save_model(base_model(FAMILIES[family]), tmp_path / "base")
    model = peft.get_peft_model(theirs(tmp_path / "base"), peft_config(kind, family)).eval()
    stir([p for p in model.parameters() if p.requires_grad], 3)
    model.save_pretrained(tmp_path / "adapter")
    assert_same(load_adapter(tmp_path / "adapter")(some_ids()), model(some_ids()).logits)


def test_ranks_and_pruned_ranks_of_single_layers_go_both_ways(tmp_path: Path):
    save_model(base_model(), tmp_path / "base")
    config = AdapterConfig(kind="lora", rank=2, ranks={"q": 4, "blocks.1.mlp.sublayer.out": 1}, alpha=3.0)
    model = taught(base_model(), config)
    save_adapter(model, tmp_path / "ours", config, base=tmp_path / "base")
    loaded = peft.PeftModel.from_pretrained(theirs(tmp_path / "base"), tmp_path / "ours").eval()
    with torch.no_grad():
        assert_same(model(some_ids()), loaded(some_ids()).logits)
    pruned = peft.get_peft_model(theirs(tmp_path / "base"), peft_config("adalora", "qwen3"))
    stir([p for p in pruned.parameters() if p.requires_grad], 3)
    names = [name for name, _ in pruned.base_model.model.named_parameters() if ".lora_E." in name]
    kept = {name: [number % 2 == 0, True, number % 3 == 0] for number, name in enumerate(names)}
    pruned.peft_config["default"].rank_pattern = kept
    pruned.base_model.rankallocator.mask_using_rank_pattern(pruned.base_model.model, kept)
    with torch.no_grad():
        wanted = pruned.eval()(some_ids()).logits
        pruned.save_pretrained(tmp_path / "pruned")
        back = load_adapter(tmp_path / "pruned")
        assert_same(back(some_ids()), wanted)
    ranks = {len(p) for name, p in back.named_parameters() if name.endswith("lora_e")}
    assert ranks == {1, 2, 3}


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_reward_adapter_is_a_sequence_classifier_to_peft(kind: str, tmp_path: Path):
    save_model(base_model(), tmp_path / "base")
    model = taught(ScoreModel.on(base_model().backbone, seed=9), CONFIGS[kind]).eval()
    model.shift.fill_(0.75)
    save_adapter(model, tmp_path / "adapter", CONFIGS[kind], base=tmp_path / "base")
    torch.manual_seed(0)
    classifier = theirs(tmp_path / "base", "SequenceClassification", num_labels=1, pad_token_id=0)
    loaded = peft.PeftModel.from_pretrained(classifier, tmp_path / "adapter").eval()
    ids = some_ids(batch=1)
    assert_close(model(ids)[:, -1] + 0.75, loaded(ids).logits[:, 0], atol=1e-5, rtol=1e-5)
    assert torch.equal(load_adapter(tmp_path / "adapter")(ids), model(ids))


def test_a_third_of_a_joint_layer_may_be_adapted_alone(tmp_path: Path):
    """GPT-2 keeps q, k and v as one layer; here k has no adapter, and q and v have two ranks."""
    family = FAMILIES["gpt2"]
    save_model(base_model(family), tmp_path / "base")
    for kind in ("lora", "dora"):
        config = AdapterConfig(kind=kind, rank=2, ranks={"v": 3}, targets=("q", "v"))
        model = taught(base_model(family), config)
        save_adapter(model, tmp_path / kind, config, base=tmp_path / "base")
        loaded = peft.PeftModel.from_pretrained(theirs(tmp_path / "base"), tmp_path / kind).eval()
        back = load_adapter(tmp_path / kind)
        assert isinstance(back, LanguageModel)
        with torch.no_grad():
            assert_same(model(some_ids()), loaded(some_ids()).logits)
            assert_same(back(some_ids()), model(some_ids()))
        own = [tuple(p.shape) for name, p in back.named_parameters() if name.endswith("lora_a")]
        assert own == [(2, 32), (3, 32)] * 2
