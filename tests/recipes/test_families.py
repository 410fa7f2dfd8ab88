"""`danlu pretrain model.family=…`: the older decoders from nothing, as other programs know them."""

from __future__ import annotations

import json

import pytest
import torch

from danlu.config import ConfigError
from danlu.model.hf import load_language_model
from danlu.model.presets import GPT1, GPT2, GPT3
from danlu.model.weights import ModelFileError
from danlu.recipes import pretrain
from danlu.recipes.pretrain import Shape

SIZES = {"d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 128, "max_seq_len": 64}
CLASSES = {"gpt1": "OpenAIGPTLMHeadModel", "gpt2": "GPT2LMHeadModel", "gpt3": "GPTNeoForCausalLM"}
PRESETS = {"gpt1": GPT1, "gpt2": GPT2, "gpt3": GPT3}


@pytest.mark.parametrize("family", CLASSES)
def test_an_older_decoder_is_trained_and_loads_elsewhere(family: str, kit, tmp_path):
    transformers = pytest.importorskip("transformers")
    out = tmp_path / family
    pretrain.run(kit.pretrain_config(out, 6, model=Shape(family=family, **SIZES)))
    tree = json.loads((out / "model" / "config.json").read_text())
    assert tree["architectures"] == [CLASSES[family]]
    model = load_language_model(out / "model").eval()
    assert model.config == PRESETS[family](
        vocab_size=model.config.vocab_size, n_kv_heads=2, head_dim=16, **SIZES
    )
    ids = torch.randint(5, 300, (1, 20), generator=torch.Generator().manual_seed(0))
    theirs = getattr(transformers, CLASSES[family]).from_pretrained(out / "model").eval()
    with torch.no_grad():
        torch.testing.assert_close(model(ids), theirs(ids).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"n_kv_heads": 1}, ConfigError, r"model\.n_kv_heads is 1; family 'gpt1' has no such choice"),
        ({"n_experts": 4}, ConfigError, r"model\.n_experts is 4; family 'gpt1' has no such choice"),
        ({"n_heads": 3}, ConfigError, r"d_model is 32; it must be a multiple of n_heads, 3"),
        ({"d_ff": 100}, ModelFileError, "no Hugging Face layout"),
    ],
)
def test_what_it_has_no_choice_of_is_refused(changed, error, message, kit, tmp_path):
    with pytest.raises(error, match=message):
        pretrain.run(kit.pretrain_config(tmp_path / "out", 1, model=Shape(family="gpt1", **SIZES | changed)))
    with pytest.raises(ConfigError, match=r"model\.family is 'gpt1'; objective='mlm' trains BERT"):
        pretrain.run(kit.pretrain_config(tmp_path / "out", 1, model=Shape(family="gpt1"), objective="mlm"))
    assert not (tmp_path / "out").exists()
