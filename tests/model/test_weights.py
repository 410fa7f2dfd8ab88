"""Files of weights: what is refused, what is named, and how little memory it takes."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from danlu.model.heads import LanguageModel
from danlu.model.hf import load_language_model, load_model, open_model, save_model
from danlu.model.presets import GPT2, GPT3, QWEN3
from danlu.model.tensor_file import scan_file
from danlu.model.weights import INDEX, SINGLE, ModelFileError, read_file, write_tensors

SIZE = {
    "vocab_size": 96,
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 4,
    "head_dim": 8,
    "d_ff": 64,
    "max_seq_len": 64,
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(LanguageModel(GPT2(**SIZE)), tmp_path)
    return tmp_path


def write_raw(path: Path, entries: dict[str, Any], n_bytes: int) -> None:
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(n_bytes))


def entry(start: int, end: int, *shape: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_files_are_those_of_the_safetensors_library(dtype: torch.dtype, tmp_path: Path):
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "matrix": torch.randint(0, 2, (5, 7), generator=generator).to(dtype),
        "scalar": torch.ones((), dtype=dtype),
        "empty": torch.zeros((0, 3), dtype=dtype),
    }
    write_tensors(tmp_path / "ours", tensors, note="kept")
    for name, each in load_file(tmp_path / "ours").items():
        assert torch.equal(each, tensors[name])
    save_file(tensors, tmp_path / "theirs", metadata={"note": "kept"})
    found, header = read_file(tmp_path / "theirs")
    assert header["note"] == "kept"
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert all(found[name].dtype == dtype for name in tensors)


@pytest.mark.parametrize(
    ("entries", "n_bytes", "message"),
    [
        ({"a": entry(0, 16, 4), "b": entry(8, 24, 4)}, 24, "a and b overlap"),
        ({"a": entry(0, 16, 4), "b": entry(20, 36, 4)}, 36, "a and b have 4 stray bytes"),
        ({"a": entry(4, 20, 4)}, 20, "the header and a have 4 stray bytes"),
        ({"a": entry(0, 16, 4)}, 12, "tensors end at byte"),
        ({"a": entry(0, 16, 4)}, 20, "tensors end at byte"),
        ({"a": entry(0, 16, 5)}, 16, "what it says of a makes no sense"),
        ({"a": entry(0, 16, -2, -2)}, 16, "what it says of a makes no sense"),
        ({"a": entry(-16, 0, 4)}, 16, "what it says of a makes no sense"),
        ({"a": entry(0, 16, 4, dtype="F31")}, 16, "what it says of a makes no sense"),
        ({"a": {"dtype": "F32"}}, 0, "what it says of a makes no sense"),
        ({"a": [1]}, 0, "what it says of a makes no sense"),
    ],
)
def test_a_file_whose_header_lies_is_refused(
    entries: dict[str, Any], n_bytes: int, message: str, tmp_path: Path
):
    write_raw(tmp_path / "x", entries, n_bytes)
    with pytest.raises(ModelFileError, match=message):
        scan_file(tmp_path / "x")


@pytest.mark.parametrize("header", [b"[1]", b"{", b"\xff\xff", b'{"a": 1, "a": 2}'])
def test_a_header_that_is_no_object_of_distinct_names_is_refused(header: bytes, tmp_path: Path):
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ModelFileError, match="cut short, corrupt or not a safetensors file"):
        scan_file(tmp_path / "x")


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path):
    write_tensors(tmp_path / "x", {"a": torch.ones(1000)})
    stored = scan_file(tmp_path / "x")[0]["a"]
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="ends 100 bytes too early"):
        stored.read()


def test_shards_are_read_by_transformers_and_by_us(tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    model = LanguageModel(GPT3(**SIZE))
    save_model(model, tmp_path, max_shard_bytes=20_000)
    assert not (tmp_path / SINGLE).exists()
    names = set(json.loads((tmp_path / INDEX).read_text())["weight_map"].values())
    assert len(names) > 2
    assert all((tmp_path / name).stat().st_size < 22_000 for name in names)
    ids = torch.arange(1, 30)[None]
    assert torch.equal(load_language_model(tmp_path)(ids), model(ids))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    torch.testing.assert_close(theirs(ids).logits, model(ids), atol=1e-4, rtol=0)


def test_a_model_saved_over_a_larger_one_is_the_one_that_is_read(tmp_path: Path):
    save_model(LanguageModel(GPT3(**SIZE)), tmp_path, max_shard_bytes=20_000)
    small = LanguageModel(GPT3(**SIZE), seed=1)
    save_model(small, tmp_path)
    ids = torch.arange(1, 30)[None]
    assert torch.equal(load_language_model(tmp_path)(ids), small(ids))


def test_every_missing_and_every_unknown_tensor_is_named(saved: Path):
    tensors = load_file(saved / SINGLE)
    missing = [name for name in tensors if ".mlp." in name]
    for name in missing:
        del tensors[name]
    extra = [f"transformer.extra.{i}" for i in range(6)]
    save_file(tensors | {name: torch.ones(2) for name in extra}, saved / SINGLE)
    with pytest.raises(ModelFileError) as raised:
        load_model(saved)
    assert len(missing) == 8
    assert all(name in str(raised.value) for name in [*missing, *extra])


def test_every_wrong_shape_is_named(saved: Path):
    tensors = load_file(saved / SINGLE)
    wrong = ["transformer.wpe.weight", "transformer.h.1.attn.c_attn.weight"]
    for name in wrong:
        tensors[name] = tensors[name][:3].clone()
    save_file(tensors, saved / SINGLE)
    with pytest.raises(ModelFileError) as raised:
        load_model(saved)
    assert all(f"{name} has shape (3, " in str(raised.value) for name in wrong)


def test_quantised_weights_are_refused(saved: Path):
    tensors = load_file(saved / SINGLE)
    tensors["transformer.wte.weight"] = tensors["transformer.wte.weight"].to(torch.int8)
    save_file(tensors, saved / SINGLE)
    with pytest.raises(ModelFileError, match=r"wte\.weight is torch\.int8, and .* no quantisation"):
        load_model(saved)


def test_pickled_weights_are_refused_with_the_way_to_convert_them(saved: Path):
    (saved / SINGLE).rename(saved / "pytorch_model.bin")
    with pytest.raises(ModelFileError, match=r"holds pytorch_model\.bin .*convert it elsewhere"):
        load_model(saved)


def test_a_tensor_in_two_files_is_refused(saved: Path):
    (saved / "other.safetensors").write_bytes((saved / SINGLE).read_bytes())
    index = {"weight_map": {"a": SINGLE, "b": "other.safetensors"}}
    (saved / INDEX).write_text(json.dumps(index))
    with pytest.raises(ModelFileError, match=r"transformer\.wte\.weight.* stand in another file too"):
        load_model(saved)


def test_files_of_a_bare_backbone_and_their_masks_are_understood(saved: Path):
    ids = torch.arange(1, 20)[None]
    before = load_language_model(saved)(ids)
    tensors = load_file(saved / SINGLE)
    bare = {name.removeprefix("transformer."): each for name, each in tensors.items()}
    masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 8, 8).tril() for i in range(2)}
    save_file(bare | masks, saved / SINGLE)
    assert torch.equal(load_language_model(saved)(ids), before)


def test_an_opened_model_has_no_weights_in_memory(saved: Path):
    opened = open_model(saved)
    assert opened.architecture == "GPT2LMHeadModel"
    assert all(parameter.is_meta for parameter in opened.model.parameters())


def test_choices_that_no_layout_has_are_refused_before_anything_is_written(tmp_path: Path):
    model = LanguageModel(QWEN3(**SIZE, norm="layernorm"))
    with pytest.raises(ModelFileError, match="no Hugging Face layout"):
        save_model(model, tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation_function": "mish"}, "activation_function is 'mish'; it must be 'gelu_new' or"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ({"n_embd": "wide"}, "n_embd is 'wide'; it must be a positive whole number"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'; it must be true or false"),
    ],
)
def test_a_config_that_cannot_be_honoured_is_refused(saved: Path, changes: dict[str, Any], message: str):
    file = saved / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(ModelFileError, match=message):
        load_model(saved)
