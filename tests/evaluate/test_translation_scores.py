"""BLEU and chrF: worked by hand where that can be, with sacrebleu's signatures."""

from __future__ import annotations

import math

import pytest

from danlu.evaluate.translation import score

CAT = "the cat sat on the mat"


def test_bleu_of_one_wrong_word_worked_by_hand():
    # 5 of 6 words, 3 of 5 pairs, 2 of 4 triples and 1 of 3 fours are in the reference; no brevity penalty.
    bleu, _ = score(["the cat sat on a mat"], [CAT], "en", n_resamples=1)
    assert bleu.value == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25, abs=1e-3)


def test_a_translation_that_is_too_short_pays():
    bleu, _ = score(["the cat sat on"], [CAT], "en", n_resamples=1)
    assert bleu.value == pytest.approx(100 * math.exp(1 - 6 / 4), abs=1e-3)


def test_chinese_is_cut_into_characters():
    bleu, chrf = score(["我们明天去北京吧"], ["我们明天去北京。"], "zh", n_resamples=1)
    # 7 of 8 characters, 6 of 7 pairs, 5 of 6 triples, 4 of 5 fours.
    assert bleu.value == pytest.approx(100 * (7 / 8 * 6 / 7 * 5 / 6 * 4 / 5) ** 0.25, abs=1e-3)
    assert "tok:zh" in bleu.signature
    assert "version:" in chrf.signature


def test_the_interval_lies_around_the_score_and_the_signature_says_how_it_was_drawn():
    references = [f"the number {i} is said here again and again" for i in range(60)]
    translations = [each if i % 3 else each.replace("again", "once") for i, each in enumerate(references)]
    for each in score(translations, references, "en", n_resamples=200):
        assert 0 < each.low < each.value < each.high < 100
        assert "bs:200" in each.signature
        assert "seed:12345" in each.signature
    assert score(translations, references, "en", n_resamples=200) == score(
        translations, references, "en", n_resamples=200
    )


def test_the_right_translation_has_100_and_nonsense_0():
    assert [each.value for each in score([CAT], [CAT], "en", n_resamples=1)] == pytest.approx([100, 100])
    assert score(["zzz"], [CAT], "en", n_resamples=20)[0].value == 0


@pytest.mark.parametrize("translations", [[], ["a", "b"]])
def test_as_many_translations_as_references_are_needed(translations: list[str]):
    with pytest.raises(ValueError, match="translations for 1 references; each needs one"):
        score(translations, ["a"], "en")
