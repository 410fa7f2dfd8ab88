"""Adapter directories: what transformers makes of the tensors, what comes back, what must be refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import LORA, SIZES, base_model, some_ids, taught
from torch.testing import assert_close

from danlu.adapters.attach import adapted_layers
from danlu.adapters.files import is_adapter, load_adapter, on_base, read_adapter, save_adapter
from danlu.adapters.settings import AdapterConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import save_model
from danlu.model.presets import LLAMA, QWEN2, QWEN3
from danlu.model.raters import RaterModel
from danlu.model.weights import ModelFileError


@pytest.fixture
def base(tmp_path: Path) -> Path:
    save_model(base_model(), tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def saved(tmp_path: Path, base: Path) -> Path:
    save_adapter(taught(base_model()), tmp_path / "adapter", LORA, base=base)
    return tmp_path / "adapter"


def edit(path: Path, **changes: object) -> None:
    file = path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def merged_by_the_books(model: torch.nn.Module, adapter: Path) -> None:
    """Add lora_alpha / r · B A to the weight that each pair of tensors names, as PEFT's pages say."""
    config = json.loads((adapter / "adapter_config.json").read_text())
    scale = config["lora_alpha"] / (config["r"] ** 0.5 if config["use_rslora"] else config["r"])
    tensors = load_file(adapter / "adapter_model.safetensors")
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for key, down in tensors.items():
            if found := re.fullmatch(r"base_model\.model\.(.+)\.lora_A\.weight", key):
                up = tensors[f"base_model.model.{found[1]}.lora_B.weight"]
                weights[f"{found[1]}.weight"] += scale * up @ down
            elif "lora_" not in key:
                weights[key.removeprefix("base_model.model.")].copy_(down)


@pytest.mark.parametrize("stabilised", [False, True])
@pytest.mark.parametrize("family", [LLAMA, QWEN2, QWEN3])
def test_the_tensors_are_those_of_the_transformers_model(family: type, stabilised: bool, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    config = AdapterConfig(kind="lora", rank=3, alpha=2.0, rank_stabilised=stabilised)
    base = LanguageModel(family(**SIZES))
    save_model(base, tmp_path / "base")
    model = taught(base, config)
    save_adapter(model, tmp_path / "adapter", config, base=tmp_path / "base")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    merged_by_the_books(theirs, tmp_path / "adapter")
    with torch.no_grad():
        assert_close(model(some_ids()), theirs(some_ids()).logits, atol=1e-4, rtol=0)


def test_a_reward_adapter_is_a_sequence_classifier_to_transformers(base: Path, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    model = taught(ScoreModel.on(base_model().backbone, seed=9))
    model.shift.fill_(0.75)
    save_adapter(model, tmp_path / "adapter", LORA, base=base)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["task_type"] == "SEQ_CLS"
    assert config["modules_to_save"] == ["score"]
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=1, pad_token_id=0, dtype=torch.float32
    )
    merged_by_the_books(theirs, tmp_path / "adapter")
    with torch.no_grad():
        scores, logits = model(some_ids())[:, -1], theirs(some_ids()).logits[:, 0]
        assert_close(scores + 0.75, logits, atol=1e-4, rtol=0)
        back = load_adapter(tmp_path / "adapter")
        assert isinstance(back, ScoreModel)
        assert torch.equal(back(some_ids()), model(some_ids()))


def test_an_adapter_comes_back_bit_for_bit(saved: Path):
    assert is_adapter(saved)
    back = load_adapter(saved)
    assert torch.equal(back(some_ids()), taught(base_model())(some_ids()))
    assert len(adapted_layers(back)) == 2 * 7


def test_it_stands_on_a_base_that_is_loaded_already(saved: Path):
    base = base_model()
    one, two = (on_base(read_adapter(saved), base) for _ in range(2))
    shared = {p.data_ptr() for p in base.parameters()}
    for model in (one, two):
        own = [n for n, p in model.named_parameters() if p.data_ptr() not in shared]
        assert len(own) == 2 * 14
        assert all("lora_" in name for name in own)


def test_the_names_are_those_that_peft_writes(saved: Path):
    config = json.loads((saved / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert config["target_modules"] == [
        "down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj",
    ]  # fmt: skip
    tensors = load_file(saved / "adapter_model.safetensors")
    assert tensors["base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"].shape == (3, 32)
    assert tensors["base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"].shape == (32, 3)
    assert len(tensors) == 2 * 14


def test_layers_that_no_ending_stands_for_are_named_whole(base: Path, tmp_path: Path):
    config = AdapterConfig(kind="lora", rank=3, targets=("blocks.1.mlp.sublayer.out",))
    save_adapter(taught(base_model(), config), tmp_path / "one", config, base=base)
    tree = json.loads((tmp_path / "one" / "adapter_config.json").read_text())
    assert tree["target_modules"] == ["model.layers.1.mlp.down_proj"]
    assert list(adapted_layers(load_adapter(tmp_path / "one"))) == ["backbone.blocks.1.mlp.sublayer.out"]


def test_what_other_programs_write_besides_is_no_obstacle(saved: Path):
    """Keys of configs that PEFT wrote, at their defaults."""
    tree = {
        "alpha_pattern": {},
        "rank_pattern": {},
        "use_dora": False,
        "lora_bias": False,
        "eva_config": None,
    }
    edit(saved, **tree, megatron_core="megatron.core", loftq_config={}, target_modules="all-linear")
    assert torch.equal(load_adapter(saved)(some_ids()), taught(base_model())(some_ids()))


def test_a_moved_base_is_found_from_the_adapters_place(saved: Path):
    edit(saved, base_model_name_or_path="../base")
    assert torch.equal(load_adapter(saved)(some_ids()), taught(base_model())(some_ids()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "OFT"}, "peft_type is 'OFT'; these can be read: LORA, ADALORA, IA3"),
        ({"use_dora": True}, r"missing .*q_proj\.lora_magnitude_vector"),
        ({"rank_pattern": {"q_proj": 8}}, r"q_proj\.lora_A\.weight has shape \(3, 32\); by"),
        ({"bias": "all"}, "bias is 'all'; only 'none'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is"),
        ({"a_thing_of_the_future": 3}, "a_thing_of_the_future is 3"),
        ({"task_type": "SEQ_2_SEQ_LM"}, "task_type is 'SEQ_2_SEQ_LM'"),
        ({"base_model_name_or_path": "org/model"}, "'org/model' is no model directory here"),
        ({"base_model_name_or_path": None}, "base_model_name_or_path is None"),
        ({"r": 4}, r"by adapter_config\.json and the base it is"),
        ({"r": "many"}, "r and lora_alpha must be numbers"),
        ({"lora_alpha": 0}, "r and lora_alpha must be numbers"),
    ],
)
def test_a_config_that_cannot_be_honoured_is_refused(saved: Path, changes: dict[str, object], message: str):
    edit(saved, **changes)
    with pytest.raises(ModelFileError, match=message):
        load_adapter(saved)


def test_an_adapter_of_other_weights_is_refused(saved: Path, base: Path):
    other = base_model()
    with torch.no_grad():
        other.backbone.blocks[0].mlp.sublayer.up.weight[0, 0] += 1
    save_model(other, base)
    with pytest.raises(ModelFileError, match="was trained on other weights"):
        load_adapter(saved)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"n_layers": 1}, "no layer of that name"), ({"d_ff": 64}, "has shape")],
)
def test_an_adapter_of_another_architecture_is_refused(
    saved: Path, base: Path, sizes: dict[str, int], message: str
):
    save_model(base_model(**sizes), base)
    with pytest.raises(ValueError, match=message):
        load_adapter(saved)


def change_tensors(path: Path, **changes: torch.Tensor | None) -> None:
    file = path / "adapter_model.safetensors"
    tensors = load_file(file) | changes
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, file)


def test_half_a_pair_is_refused(saved: Path):
    change_tensors(saved, **{"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": None})
    with pytest.raises(ValueError, match=r"missing .*q_proj\.lora_B"):
        load_adapter(saved)


def test_tensors_of_other_kinds_are_refused(saved: Path):
    change_tensors(saved, **{"base_model.model.lm_head.weight": torch.zeros(48, 32)})
    with pytest.raises(ModelFileError, match=r"adapts base_model\.model\.lm_head\.weight; no layer"):
        load_adapter(saved)


def test_an_update_of_the_head_is_refused(saved: Path):
    head = {"lora_A": torch.zeros(3, 32), "lora_B": torch.zeros(48, 3)}
    change_tensors(saved, **{f"base_model.model.lm_head.{name}.weight": each for name, each in head.items()})
    with pytest.raises(ModelFileError, match="adapts lm_head"):
        load_adapter(saved)


def test_an_adapter_without_tensors_is_refused(saved: Path):
    save_file({}, saved / "adapter_model.safetensors")
    with pytest.raises(ModelFileError, match="must adapt at least one layer"):
        load_adapter(saved)


def test_a_reward_adapter_without_its_head_is_refused(saved: Path):
    edit(saved, task_type="SEQ_CLS")
    with pytest.raises(ValueError, match=r"missing base_model\.model\.score\.weight"):
        load_adapter(saved)


def test_a_model_without_an_adapter_has_none_to_save(tmp_path: Path):
    with pytest.raises(ValueError, match="no adapter 'default' to save"):
        save_adapter(base_model(), tmp_path, LORA, base=tmp_path)


def test_a_score_models_zero_unit_and_raters_come_back(base: Path, tmp_path: Path):
    model = taught(ScoreModel.on(base_model().backbone))
    model.shift.fill_(-1.25)
    model.gain.fill_(0.1)
    model.raters = RaterModel("davidson", log_tie=0.3, n_rankings={"安": 7, "bob": 5})
    model.raters.log_scales.data = torch.tensor([0.5, -0.5])
    save_adapter(model, tmp_path / "adapter", LORA, base=base)
    back = load_adapter(tmp_path / "adapter")
    assert isinstance(back, ScoreModel)
    assert back.raters is not None
    ours, theirs = model.raters.to_tree(), back.raters.to_tree()
    assert theirs["raters"]["安"]["scale"] == pytest.approx(ours["raters"]["安"]["scale"])
    assert theirs["raters"]["bob"]["rankings"] == 5
    assert (theirs["kind"], theirs["log_tie"]) == (ours["kind"], ours["log_tie"])
    assert torch.equal(back(some_ids()), model(some_ids()))


def test_a_score_models_adapter_may_stand_on_another_score_model(tmp_path: Path):
    other = ScoreModel(base_model().config, seed=5)
    other.shift.fill_(3.0)
    save_model(other, tmp_path / "scorer")
    model = taught(ScoreModel.on(other.backbone, seed=9))
    save_adapter(model, tmp_path / "adapter", LORA, base=tmp_path / "scorer")
    assert torch.equal(load_adapter(tmp_path / "adapter")(some_ids()), model(some_ids()))
    edit(tmp_path / "adapter", task_type="CAUSAL_LM")
    with pytest.raises(ModelFileError, match=r"adapts a language model, but .* holds a score model"):
        load_adapter(tmp_path / "adapter")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"reward_shift": "up"}, "its header is damaged"),
        ({"reward_gain": "0"}, r"reward_gain is 0\.0; it must be above 0"),
        ({"reward_shift": "NaN"}, "reward_shift is nan; it must be a number"),
        ({"reward_raters": "[1]"}, r"reward_raters is \[1\]; it must be a table"),
    ],
)
def test_a_damaged_header_is_refused(base: Path, tmp_path: Path, told: dict[str, str], message: str):
    save_adapter(taught(ScoreModel.on(base_model().backbone)), tmp_path / "adapter", LORA, base=base)
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file(load_file(file), file, metadata={"format": "pt", **told})
    with pytest.raises(ModelFileError, match=message):
        load_adapter(tmp_path / "adapter")


def test_the_header_keeps_the_shift_and_the_base(base: Path, tmp_path: Path):
    model = taught(ScoreModel.on(base_model().backbone))
    model.shift.fill_(-1.25)
    save_adapter(model, tmp_path / "adapter", LORA, base=base)
    file = read_adapter(tmp_path / "adapter")
    assert file.scores
    assert float(file.header["reward_shift"]) == -1.25
    assert len(file.header["base_sha256"]) == 64
