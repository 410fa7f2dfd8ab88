"""Beam search against enumeration of every translation, and against the model without a cache."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from danlu.config import ConfigError
from danlu.generate.beam import BeamConfig, penalty, translate
from danlu.model.presets import TRANSFORMER
from danlu.model.translation import TranslationModel

VOCAB, START, END, PAD = 6, 0, 1, 2
SOURCES = [[3, 4, 5, 1], [5, 1], [4, 4, 3, 5, 3, 1], [3, 1]]


@pytest.fixture(scope="module")
def model() -> TranslationModel:
    """Random, and sure enough of itself that translations differ much in likelihood."""
    sizes = {"vocab_size": VOCAB, "d_model": 16, "n_layers": 2, "d_ff": 32}
    made = TranslationModel(TRANSFORMER(**sizes, n_heads=2, n_kv_heads=2, head_dim=8, max_seq_len=32), seed=5)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.25)
    return made.eval()


@torch.no_grad()
def logprob(model: TranslationModel, source: list[int], ids: tuple[int, ...]) -> float:
    """Of a translation and its end, by one forward pass over all of it."""
    targets = torch.tensor([*ids, END])
    logits = model(torch.tensor([source]), None, torch.tensor([[START, *ids]]))
    return float(logits[0].log_softmax(-1)[range(len(targets)), targets].sum())


def every_translation(longest: int) -> list[tuple[int, ...]]:
    """All that end within so many tokens, their end included; the start and the padding may not occur."""
    tokens = [token for token in range(VOCAB) if token not in (START, END, PAD)]
    return [ids for n in range(longest) for ids in product(tokens, repeat=n)]


@torch.no_grad()
def scores_of_all(model: TranslationModel, source: list[int], longest: int, alpha: float):
    """Every translation with its score, best first; forbidden tokens take no probability."""
    found = []
    for ids in every_translation(longest):
        logits = model(torch.tensor([source]), None, torch.tensor([[START, *ids]]))[0].clone()
        logits[:, [START, PAD]] = -torch.inf
        targets = torch.tensor([*ids, END])
        total = float(logits.log_softmax(-1)[range(len(targets)), targets].sum())
        found.append((total / penalty(len(targets), alpha), ids))
    return sorted(found, reverse=True)


def settings(beam_size: int, alpha: float = 0.6, extra: int = 2) -> BeamConfig:
    return BeamConfig(beam_size=beam_size, length_penalty=alpha, max_extra_tokens=extra)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.5])
def test_a_beam_that_holds_everything_finds_the_best_of_all(model: TranslationModel, alpha: float):
    source = [5, 1]  # translations of up to four tokens: 1 + 3 + 9 + 27
    expected = scores_of_all(model, source, 4, alpha)
    (found,) = translate(
        model, [source], settings(81, alpha), start_id=START, end_id=END, forbidden_ids=[START, PAD]
    )
    assert found[0].ids == expected[0][1]
    assert found[0].score == pytest.approx(expected[0][0], abs=1e-5)
    known = {ids: score for score, ids in expected}
    for hypothesis in found:
        if hypothesis.ended:
            assert hypothesis.score == pytest.approx(known[hypothesis.ids], abs=1e-5)


def test_a_wider_beam_never_finds_worse_here_than_what_it_kept(model: TranslationModel):
    for source in SOURCES:
        (found,) = translate(model, [source], settings(5), start_id=START, end_id=END)
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
        assert len({h.ids for h in found}) == len(found)


def test_scores_are_those_of_the_model_without_a_cache(model: TranslationModel):
    found = translate(model, SOURCES, settings(3, extra=8), start_id=START, end_id=END)
    n_checked = 0
    for source, hypotheses in zip(SOURCES, found, strict=True):
        for hypothesis in hypotheses:
            if hypothesis.ended:
                n_checked += 1
                assert hypothesis.logprob == pytest.approx(logprob(model, source, hypothesis.ids), abs=1e-4)
                length = len(hypothesis.ids) + 1
                assert hypothesis.score == pytest.approx(hypothesis.logprob / ((5 + length) / 6) ** 0.6)
    assert n_checked >= len(SOURCES)


@torch.no_grad()
def test_one_beam_is_greedy(model: TranslationModel):
    for source in SOURCES:
        ids: list[int] = []
        while len(ids) < len(source) + 5:
            token = int(model(torch.tensor([source]), None, torch.tensor([[START, *ids]]))[0, -1].argmax())
            if token == END:
                break
            ids.append(token)
        (found,) = translate(model, [source], settings(1, extra=5), start_id=START, end_id=END)
        assert list(found[0].ids) == ids


@pytest.mark.parametrize("batch_tokens", [1, 20, 10_000])
def test_who_is_searched_for_together_changes_nothing(model: TranslationModel, batch_tokens: int):
    alone = [translate(model, [s], settings(3), start_id=START, end_id=END)[0] for s in SOURCES]
    together = translate(
        model,
        SOURCES,
        BeamConfig(beam_size=3, max_extra_tokens=2, batch_tokens=batch_tokens),
        start_id=START,
        end_id=END,
    )
    for left, right in zip(alone, together, strict=True):
        assert left[0].ids == right[0].ids
        assert left[0].score == pytest.approx(right[0].score, abs=1e-5)


def test_a_higher_penalty_never_makes_the_best_shorter(model: TranslationModel):
    for source in SOURCES[:2]:
        lengths = [len(scores_of_all(model, source, 4, alpha)[0][1]) for alpha in (0.0, 0.6, 2.0)]
        assert lengths == sorted(lengths)


def test_the_penalty_is_that_of_wu_et_al():
    assert penalty(1, 0.6) == 1.0
    assert penalty(13, 0.6) == pytest.approx(3**0.6)
    assert penalty(40, 0.0) == 1.0


def test_what_does_not_end_is_cut_and_says_so(model: TranslationModel):
    endless = TranslationModel(model.config)
    endless.load_state_dict(model.state_dict())
    endless.logits_bias[0, END] = -1e9
    (found,) = translate(endless.eval(), [[5, 1]], settings(2), start_id=START, end_id=END)
    assert len(found) == 1
    assert not found[0].ended
    assert len(found[0].ids) == 4  # two more than the source


@pytest.mark.parametrize(
    ("source", "message"),
    [([], "source 2 is empty"), ([3, 6, 1], "source 2 holds id 6; the model knows 0 to 5")],
)
def test_what_cannot_be_translated_is_refused(model: TranslationModel, source: list[int], message: str):
    with pytest.raises(ValueError, match=message):
        translate(model, [[3, 1], source], BeamConfig(), start_id=START, end_id=END)


def test_a_beam_of_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"beam\.beam_size is 0; it must be at least 1"):
        BeamConfig(beam_size=0)
