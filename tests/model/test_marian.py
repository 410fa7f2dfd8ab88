"""The 2017 encoder-decoder against transformers' Marian, both ways, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.model.hf import TokenIds, load_language_model, load_translation_model, open_model, save_model
from danlu.model.kv_cache import KvCache
from danlu.model.presets import LLAMA, TRANSFORMER
from danlu.model.translation import TranslationModel
from danlu.model.weights import ModelFileError

transformers = pytest.importorskip("transformers")

VOCAB, PAD = 96, 0
SETTINGS: dict[str, Any] = {
    "vocab_size": VOCAB,
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 56,
    "decoder_ffn_dim": 56,
    "max_position_embeddings": 64,
    "activation_function": "relu",
    "scale_embedding": True,
    "init_std": 0.15,
    "pad_token_id": PAD,
    "eos_token_id": 1,
    "forced_eos_token_id": None,
    "decoder_start_token_id": PAD,
}
KINDS: dict[str, dict[str, Any]] = {
    "as in the paper": {},
    "as OPUS-MT has it": {"activation_function": "swish"},
    "embeddings as they are": {"scale_embedding": False, "activation_function": "gelu"},
}
LENGTHS = [13, 8, 5]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def theirs_of(kind: str, **changes: Any) -> Any:
    """A random model of theirs in which no bias is 0 and no norm is 1."""
    torch.manual_seed(3)
    config = transformers.MarianConfig(**(SETTINGS | KINDS[kind] | changes))
    model = transformers.MarianMTModel(config).eval()
    with torch.no_grad():
        for parameter in [*model.parameters(), model.final_logits_bias]:
            if parameter.ndim == 1 or parameter is model.final_logits_bias:
                parameter.add_(torch.randn(parameter.shape) * 0.2)
    return model


def ids(batch: int, seq: int, seed: int) -> Tensor:
    return torch.randint(2, VOCAB, (batch, seq), generator=torch.Generator().manual_seed(seed))


def is_pad(lengths: list[int], width: int, side: str) -> Tensor:
    """True where a row has no token, (batch, width)."""
    place, n = torch.arange(width).expand(len(lengths), width), torch.tensor(lengths)[:, None]
    return place >= n if side == "right" else place < width - n


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_we_compute_what_transformers_computes_from_its_files(kind: str, side: str, tmp_path: Path):
    theirs = theirs_of(kind)
    theirs.save_pretrained(tmp_path)
    ours = load_translation_model(tmp_path)
    assert sum(p.numel() for p in ours.parameters()) == theirs.num_parameters(only_trainable=True)
    source, target = ids(3, 13, 5), ids(3, 9, 6)
    padding, target_padding = is_pad(LENGTHS, 13, side), is_pad([6, 9, 3], 9, side)
    logits = ours(source, padding.long(), target, target_padding.long())
    expected = theirs(
        source,
        attention_mask=(~padding).long(),
        decoder_input_ids=target,
        decoder_attention_mask=(~target_padding).long(),
    ).logits
    assert_close(logits[~target_padding], expected[~target_padding], atol=1e-4, rtol=0)
    assert_close(
        ours(source, None, target),
        theirs(source, decoder_input_ids=target).logits,
        atol=1e-4,
        rtol=0,
    )


@torch.no_grad()
def test_transformers_computes_what_we_compute_from_our_files(kind: str, tmp_path: Path):
    theirs = theirs_of(kind)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_translation_model(tmp_path / "theirs")
    save_model(ours, tmp_path / "ours", token_ids=TokenIds(pad=PAD, stop=(1,), start=PAD))
    back, report = transformers.MarianMTModel.from_pretrained(
        tmp_path / "ours", dtype=torch.float32, output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    source, target = ids(3, 13, 5), ids(3, 9, 6)
    expected = ours(source, None, target)
    assert_close(back.eval()(source, decoder_input_ids=target).logits, expected, atol=1e-4, rtol=0)
    again = load_translation_model(tmp_path / "ours")
    assert again.config == ours.config
    assert torch.equal(again(source, None, target), expected)


@torch.no_grad()
def test_a_cache_changes_no_logit(kind: str, tmp_path: Path):
    theirs = theirs_of(kind)
    theirs.save_pretrained(tmp_path)
    ours, config = load_translation_model(tmp_path), load_translation_model(tmp_path).config
    padding = is_pad(LENGTHS, 13, "right")
    source, target = ids(3, 13, 5), ids(6, 12, 6)  # two targets for every source
    twice = {
        "input_ids": source.repeat_interleave(2, 0),
        "attention_mask": (~padding).repeat_interleave(2, 0),
    }
    expected = theirs(**twice, decoder_input_ids=target).logits
    memory = ours.backbone.read(ours.backbone.encode(source, padding.long()))
    cache = KvCache(
        n_layers=config.n_layers, n_blocks=12, n_kv_heads=4, block_size=8, head_dim=config.head_dim
    )
    for place in range(12):
        at = torch.full((6, 1), place)
        cache.select(torch.arange(12).view(6, 2), at)
        hidden = ours.backbone.step(target[:, place, None], at, memory, padding.long(), kv_cache=cache)
        assert_close(ours.logits(hidden)[:, 0], expected[:, place], atol=1e-4, rtol=0)


@torch.no_grad()
def test_pairs_packed_into_a_row_read_like_rows_of_their_own(tmp_path: Path):
    theirs_of("as in the paper").save_pretrained(tmp_path)
    model = load_translation_model(tmp_path)
    source, target = ids(1, 13, 5), ids(1, 9, 6)
    together = torch.cat((source, ids(1, 4, 7)), dim=1), torch.cat((target, ids(1, 5, 8)), dim=1)
    segments = torch.tensor([[0] * 13 + [1] * 4]), torch.tensor([[0] * 9 + [1] * 5])
    logits = model(together[0], segments[0], together[1], segments[1])
    assert_close(logits[:, :9], model(source, None, target), atol=1e-4, rtol=0)


def test_the_base_model_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = TranslationModel(TRANSFORMER(**base_shape(), max_seq_len=512))
    assert sum(p.numel() for p in model.parameters()) == 63_082_496  # with the paper's shared 37,000 tokens


def test_the_base_model_has_as_many_as_theirs():
    both = {"encoder_layers": 6, "decoder_layers": 6, "encoder_ffn_dim": 2048, "decoder_ffn_dim": 2048}
    heads = {"encoder_attention_heads": 8, "decoder_attention_heads": 8}
    with torch.device("meta"):
        theirs = transformers.MarianMTModel(
            transformers.MarianConfig(vocab_size=37000, d_model=512, pad_token_id=0, **both, **heads)
        )
    assert theirs.num_parameters(only_trainable=True) == 63_082_496


def base_shape() -> dict[str, int]:
    shape = {"vocab_size": 37000, "d_model": 512, "n_layers": 6, "d_ff": 2048}
    return shape | {"n_heads": 8, "n_kv_heads": 8, "head_dim": 64}


def test_no_target_looks_ahead_and_every_target_sees_the_whole_source():
    model = TranslationModel(TRANSFORMER(**small_shape()), seed=1)
    source, target = ids(1, 7, 1), ids(1, 6, 2)
    before = model(source, None, target)
    later, other = target.clone(), source.clone()
    later[0, 4] = (later[0, 4] + 1) % VOCAB
    other[0, -1] = (other[0, -1] + 1) % VOCAB
    assert torch.equal(model(source, None, later)[:, :4], before[:, :4])
    assert not torch.equal(model(source, None, later)[:, 4], before[:, 4])
    assert not torch.equal(model(other, None, target)[:, 0], before[:, 0])


def small_shape() -> dict[str, int]:
    sizes = {"vocab_size": VOCAB, "d_model": 32, "n_layers": 2, "d_ff": 56}
    return sizes | {"n_heads": 4, "n_kv_heads": 4, "head_dim": 8}


def test_short_formats_are_read_as_they_lie(tmp_path: Path):
    ours = TranslationModel(TRANSFORMER(**small_shape()))
    save_model(ours, tmp_path, dtype="bfloat16")
    assert {str(each.dtype) for each in open_model(tmp_path).tensors.values()} == {"torch.bfloat16"}
    again = load_translation_model(tmp_path)
    for left, right in zip(ours.parameters(), again.parameters(), strict=True):
        assert torch.equal(left.bfloat16().float(), right)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"decoder_layers": 2}, "decoder_layers is 2; only 3 can be read"),
        ({"share_encoder_decoder_embeddings": False}, "share_encoder_decoder_embeddings is False; only True"),
        ({"normalize_before": True}, "normalize_before is True; only False"),
        ({"activation_function": "tanh"}, "activation_function is 'tanh'; it must be 'relu' or"),
    ],
)
def test_what_our_parts_cannot_follow_is_refused(changed: dict[str, Any], message: str, tmp_path: Path):
    import json

    theirs_of("as in the paper").save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    with pytest.raises(ModelFileError, match=message):
        load_translation_model(tmp_path)


def test_a_translation_model_is_no_language_model(tmp_path: Path):
    save_model(TranslationModel(TRANSFORMER(**small_shape())), tmp_path)
    with pytest.raises(ModelFileError, match="holds a TranslationModel; a LanguageModel is needed"):
        load_language_model(tmp_path)


def test_a_decoder_is_no_translation_model():
    with pytest.raises(
        ConfigError, match="topology is 'decoder'; a translation model's is 'encoder-decoder'"
    ):
        TranslationModel(LLAMA(**small_shape()))
