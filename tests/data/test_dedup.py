from __future__ import annotations

import numpy as np

from danlu.data.dedup import ExactDuplicates, NearDuplicateConfig, NearDuplicates

SEED_WORDS = [a + b for a in "bdfglmnprst" for b in ("ako", "eli", "inu", "oma", "ury")]


def text_of(seed, n=60):
    return " ".join(np.random.default_rng(seed).choice(SEED_WORDS, n))


def han_of(seed, n=90):
    return "".join(chr(code) for code in np.random.default_rng(seed).integers(0x4E00, 0x5200, n))


def repeats(texts, **config):
    near = NearDuplicates(NearDuplicateConfig(**config))
    for text in texts:
        near.add(text)
    return near.repeats().tolist()


def test_texts_that_differ_in_case_and_blanks_only_are_the_same():
    seen = ExactDuplicates()
    assert [seen.is_new(text) for text in ["One cat.", "one  cat.\n", "One cat!", "One cat."]] == [
        True, False, True, False,
    ]  # fmt: skip


def test_a_small_change_is_found_in_both_languages_and_the_earliest_text_stays():
    english, chinese = text_of(1), han_of(2)
    changed = english.replace(english.split()[30], "changed", 1)
    texts = [english, chinese, text_of(3), changed, chinese[:40] + "改" + chinese[41:], han_of(4), english]
    assert repeats(texts) == [-1, -1, -1, 0, 1, -1, 0]


def test_unrelated_texts_of_the_same_words_are_no_duplicates():
    assert set(repeats([text_of(seed) for seed in range(400)])) == {-1}


def test_similarity_is_a_setting_and_above_one_finds_nothing():
    texts = [text_of(1), text_of(1) + " " + text_of(9, 10)]
    # 58 phrases of three words, then 68 that hold them: Jaccard 0.85.
    assert repeats(texts, similarity=0.6) == [-1, 0]
    assert repeats(texts, similarity=0.9) == [-1, -1]
    assert repeats([text_of(1)] * 2, similarity=1.1) == [-1, -1]


def test_texts_too_short_for_a_phrase_are_left_alone():
    assert repeats(["two words", "two words", "", "。"]) == [-1, -1, -1, -1]


def test_nothing_in_nothing_out():
    assert repeats([]) == []


def test_the_result_does_not_depend_on_how_texts_are_batched():
    texts = [text_of(seed % 500) for seed in range(1200)]
    assert repeats(texts) == [-1] * 500 + [i % 500 for i in range(500, 1200)]
