"""What a model expects and what each layer would say, by a slow second way."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from danlu.inspect.predictions import logit_lens, masked_tokens, next_tokens
from danlu.model.encoder_heads import MaskedLanguageModel
from danlu.model.heads import LanguageModel
from danlu.model.presets import BERT, GPT1, LLAMA

IDS = [5, 11, 3, 7, 2]
SIZES = {"vocab_size": 30, "d_model": 16, "n_layers": 3, "n_heads": 2, "n_kv_heads": 2, "head_dim": 8}


def decoder() -> LanguageModel:
    model = LanguageModel(LLAMA(**SIZES, d_ff=24))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():  # an untrained model finds all tokens all but alike
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


@torch.no_grad()
def test_each_token_has_the_probability_that_the_text_before_it_gives():
    model = decoder()
    found = next_tokens(model, IDS, n_best=3)
    assert [each.at for each in found] == [1, 2, 3, 4, 5]
    for each in found:
        given = model(torch.tensor([IDS[: each.at]]))[0, -1].softmax(-1)
        assert [guess.id for guess in each.best] == given.argsort(descending=True)[:3].tolist()
        assert each.best[0].probability == pytest.approx(float(given.max()), abs=1e-6)
        if each.at < len(IDS):
            assert each.probability == pytest.approx(float(given[IDS[each.at]]), abs=1e-6)
            assert each.rank == 1 + sorted(given.tolist(), reverse=True).index(float(given[IDS[each.at]]))
    assert found[-1].probability is None
    assert found[-1].rank is None


@torch.no_grad()
def test_an_encoder_is_asked_for_each_token_with_that_one_hidden():
    model = MaskedLanguageModel(BERT(**SIZES, d_ff=24)).eval()
    (found,) = masked_tokens(model, IDS, mask_id=29, places=[2], n_best=1)
    given = model(torch.tensor([[5, 11, 29, 7, 2]]))[0, 2].softmax(-1)
    assert found.probability == pytest.approx(float(given[3]), abs=1e-6)
    assert found.best[0].id == int(given.argmax())


@torch.no_grad()
@pytest.mark.parametrize("family", [LLAMA, GPT1])
def test_the_last_layer_of_the_lens_is_the_model_and_an_earlier_one_a_shorter_model(family):
    model = LanguageModel(family(**SIZES, d_ff=24)).eval()
    layers = logit_lens(model, IDS)
    assert [each.n_layers for each in layers] == [0, 1, 2, 3]
    whole = model(torch.tensor([IDS]))[0].softmax(-1)
    assert_close(torch.tensor(layers[-1].final), whole.max(-1).values)
    model.backbone.blocks = model.backbone.blocks[:2]
    model.backbone.config = family(**SIZES | {"n_layers": 2}, d_ff=24)
    shorter = model(torch.tensor([IDS]))[0].softmax(-1)
    assert [guess.id for guess in layers[2].guesses] == shorter.argmax(-1).tolist()
    assert_close(torch.tensor(layers[2].final), shorter.gather(-1, whole.argmax(-1, keepdim=True))[:, 0])


@torch.no_grad()
def test_the_lens_of_an_encoder_ends_in_what_it_says():
    model = MaskedLanguageModel(BERT(**SIZES, d_ff=24)).eval()
    said = model(torch.tensor([IDS]))[0].softmax(-1)
    assert_close(torch.tensor(logit_lens(model, IDS)[-1].final), said.max(-1).values)
