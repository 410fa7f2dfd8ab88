"""Model directories: what transformers makes of ours, what we make of its, and what must be refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import TokenIds, load_language_model, load_model, load_score_model, save_model
from danlu.model.presets import LLAMA, QWEN2, QWEN3
from danlu.model.raters import RaterModel
from danlu.model.weights import ModelFileError

SIZE = {
    "vocab_size": 96,
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "head_dim": 16,
    "d_ff": 56,
}
FAMILIES = {"llama": LLAMA, "qwen2": QWEN2, "qwen3": QWEN3}


def ids(batch: int = 3, seq: int = 17) -> torch.Tensor:
    return torch.randint(1, 96, (batch, seq), generator=torch.Generator().manual_seed(5))


def with_random_small_tensors(model: LanguageModel | ScoreModel) -> LanguageModel | ScoreModel:
    """Biases and norms start at 0 and 1, where mixing them up would go unseen."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(LanguageModel(QWEN3(**SIZE)), tmp_path)
    return tmp_path


def edit_config(path: Path, **changes: object) -> None:
    file = path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_gives_the_same_logits_and_counts_the_same_weights(
    family: str, tied: bool, tmp_path: Path
):
    transformers = pytest.importorskip("transformers")
    ours = with_random_small_tensors(LanguageModel(FAMILIES[family](**SIZE, tie_embeddings=tied)))
    save_model(ours, tmp_path, token_ids=TokenIds(pad=0, stop=(1, 2)))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert type(theirs).__name__.lower() == f"{family}forcausallm"
    assert theirs.num_parameters() == sum(p.numel() for p in ours.parameters())
    assert theirs.generation_config.eos_token_id == [1, 2]
    with torch.no_grad():
        assert_close(ours(ids()), theirs(ids()).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_we_read_what_transformers_writes(family: str, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    save_model(with_random_small_tensors(LanguageModel(FAMILIES[family](**SIZE))), tmp_path / "ours")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", dtype=torch.float32)
    theirs.save_pretrained(tmp_path / "theirs")
    with torch.no_grad():
        assert_close(load_language_model(tmp_path / "theirs")(ids()), theirs(ids()).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_gives_the_score_of_the_last_token_before_the_shift(family: str, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    ours = with_random_small_tensors(ScoreModel(FAMILIES[family](**SIZE)))
    ours.shift.fill_(0.75)
    save_model(ours, tmp_path, token_ids=TokenIds(pad=0))
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float32)
    input_ids = ids()
    input_ids[1, 9:] = 0  # padding: the last token of this row stands at 8
    with torch.no_grad():
        scores, logits = ours(input_ids), theirs(input_ids).logits
    assert_close(scores[torch.arange(3), torch.tensor([16, 8, 16])] + 0.75, logits[:, 0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_language_model_comes_back_bit_for_bit(family: str, tmp_path: Path):
    model = with_random_small_tensors(LanguageModel(FAMILIES[family](**SIZE, rope_theta=5e5, norm_eps=1e-5)))
    save_model(model, tmp_path)
    back = load_language_model(tmp_path)
    assert back.config == model.config
    assert back.lm_head.weight is back.backbone.embedding.weight
    assert torch.equal(back(ids()), model(ids()))
    assert all(p.requires_grad for p in back.parameters())


def test_a_score_model_comes_back_with_its_shift(tmp_path: Path):
    model = ScoreModel(QWEN3(**SIZE, tie_embeddings=False))
    model.shift.fill_(-1.25)
    save_model(model, tmp_path)
    back = load_score_model(tmp_path)
    assert float(back.shift) == -1.25
    assert torch.equal(back(ids()), model(ids()))


def test_a_score_model_comes_back_with_its_gain_and_what_it_learnt_of_raters(tmp_path: Path):
    model = ScoreModel(QWEN3(**SIZE))
    model.shift.fill_(0.5)
    model.gain.fill_(0.25)
    model.raters = RaterModel("davidson", log_tie=-0.7, n_rankings={"甲": 40, "b": 2})
    model.raters.log_scales.data = torch.tensor([0.3, -0.1])
    save_model(model, tmp_path)
    back = load_score_model(tmp_path)
    assert torch.equal(back(ids()), model(ids()))
    bare = ScoreModel(QWEN3(**SIZE))
    assert_close(back(ids()), (bare(ids()) - 0.5) * 0.25)
    assert back.raters is not None
    assert back.raters.kind == "davidson"
    assert back.raters.log_tie.item() == pytest.approx(-0.7)
    assert back.raters.scales() == pytest.approx(model.raters.scales())
    assert back.raters.n_rankings.tolist() == [40, 2]
    assert not any(p.requires_grad for p in back.raters.parameters())
    assert "raters" not in "".join(load_file(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("broken", [{"kind": "davidson"}, {"kind": "d", "log_tie": "x", "raters": {}}, [1]])
def test_raters_that_are_not_described_are_refused(broken: object, tmp_path: Path):
    save_model(ScoreModel(QWEN3(**SIZE)), tmp_path)
    tree = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(tree | {"reward_raters": broken}))
    with pytest.raises(ConfigError, match=r"describes no raters|must be a table"):
        load_score_model(tmp_path)


def test_bfloat16_is_written_rounded_and_read_as_float32(tmp_path: Path):
    model = LanguageModel(LLAMA(**SIZE))
    save_model(model, tmp_path, dtype="bfloat16")
    back = load_model(tmp_path)
    for ours, theirs in zip(model.parameters(), back.parameters(), strict=True):
        assert torch.equal(ours.bfloat16().float(), theirs)


def test_a_model_in_several_files_is_read_by_its_index(saved: Path):
    from safetensors.torch import load_file, save_file

    tensors = load_file(saved / "model.safetensors")
    names = sorted(tensors)
    before = load_language_model(saved)(ids())
    halves = {"a.safetensors": names[:7], "b.safetensors": names[7:]}
    for file, part in halves.items():
        save_file({name: tensors[name] for name in part}, saved / file)
    (saved / "model.safetensors").unlink()
    index = {name: file for file, part in halves.items() for name in part}
    (saved / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert torch.equal(load_language_model(saved)(ids()), before)
    (saved / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "../a.safetensors"}}))
    with pytest.raises(ModelFileError, match="beside the index"):
        load_model(saved)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_file_cut_short_is_named(saved: Path, kept: int):
    file = saved / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ModelFileError, match=r"model\.safetensors is cut short, corrupt"):
        load_model(saved)


def test_a_pickled_checkpoint_is_never_opened(saved: Path):
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")
    with pytest.raises(ModelFileError, match="safetensors files only"):
        load_model(saved)


def test_missing_and_unknown_tensors_are_listed(saved: Path):
    from safetensors.torch import load_file, save_file

    tensors = load_file(saved / "model.safetensors")
    tensors["model.extra.weight"] = tensors.pop("model.norm.weight")
    save_file(tensors, saved / "model.safetensors")
    with pytest.raises(ModelFileError, match=r"missing model\.norm\.weight, unknown model\.extra\.weight"):
        load_model(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "MambaForCausalLM.*these are: LlamaForCausalLM"),
        ({"architectures": None}, "None.*not supported"),
        ({"hidden_size": 40}, r"has shape .* by config\.json"),
        ({"hidden_size": "32"}, "hidden_size is '32'"),
        ({"num_key_value_heads": 3}, "must be a multiple"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "yarn"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"use_sliding_window": True}, "use_sliding_window"),
    ],
)
def test_a_config_that_cannot_be_honoured_is_refused(saved: Path, changes: dict[str, object], message: str):
    edit_config(saved, **changes)
    with pytest.raises(ModelFileError, match=message):
        load_model(saved)


def test_code_named_in_a_config_is_never_imported(saved: Path):
    canary = saved / "canary"
    (saved / "evil.py").write_text(f"open({str(canary)!r}, 'w')")
    edit_config(saved, auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"})
    load_model(saved)
    edit_config(saved, architectures=["EvilModel"])
    with pytest.raises(
        ModelFileError, match="'EvilModel' is not supported; its auto_map names code of its own"
    ):
        load_model(saved)
    assert not canary.exists()


def test_heads_and_vocabularies_that_do_not_match_are_named(saved: Path):
    with pytest.raises(ModelFileError, match="holds a LanguageModel; a ScoreModel"):
        load_score_model(saved)
    with pytest.raises(ModelFileError, match="knows 96 tokens and the tokenizer 97"):
        load_language_model(saved, vocab_size=97)


@pytest.mark.parametrize("content", ["{", "[]", "\udcff"])
def test_a_config_that_is_no_json_object_is_named(saved: Path, content: str):
    (saved / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelFileError, match=r"config\.json"):
        load_model(saved)
