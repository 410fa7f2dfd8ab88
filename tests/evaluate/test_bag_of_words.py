"""Preferences from counts of words: what counts as a pair, what is learnt, what is left out."""

import numpy as np
import pytest

from danlu.evaluate.bag_of_words import N_FEATURES, BagOfWords, descend, features, loss, preferences, rows_of


def test_pairs_of_a_prompt_weigh_one_together_and_ties_nothing():
    pairs = preferences([[1, 1], [2, 1, 3], [1, 2]])
    assert pairs.better.tolist() == [3, 2, 3, 5]
    assert pairs.worse.tolist() == [2, 4, 4, 6]
    assert pairs.weights.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])
    assert pairs.prompts.tolist() == [1, 1, 1, 2]


def test_before_anything_is_learnt_each_pair_costs_log_two():
    rows = rows_of(["good answer", "bad answer"])
    assert loss(rows, preferences([[1, 2]]), np.zeros(N_FEATURES)) == pytest.approx(np.log(2))


def test_features_are_unit_vectors_of_three_kinds_and_the_size():
    columns, values = features("the cat\nthe cat")
    assert len(columns) == len(values)
    assert values[:3] == pytest.approx(np.log([16, 5, 2]))
    assert np.sum(values[3:] ** 2) == pytest.approx(3)  # words, pairs of words, threes of letters


def test_learning_lowers_the_loss_and_a_penalty_keeps_weights_small():
    texts = ["polite words", "rude words", "polite again", "rude again"]
    rows, pairs = rows_of(texts), preferences([[1, 2], [1, 2]])
    free, held = descend(rows, pairs, 1e-4), descend(rows, pairs, 1.0)
    assert loss(rows, pairs, free) < loss(rows, pairs, held) < np.log(2)
    assert np.linalg.norm(held) < np.linalg.norm(free)


def test_a_preferred_word_is_told_on_prompts_that_were_not_learnt():
    rng = np.random.default_rng(0)
    nouns = ["河", "山", "cat", "lamp", "tree", "风", "road", "boat"]
    completions = [[f"请 {noun} {rng.integers(100)}", f"快 {noun} {rng.integers(100)}"] for noun in nouns * 5]
    model = BagOfWords.fit(completions, [[1, 2]] * len(completions))
    better, worse = model.scores(["请 书 7", "快 书 7"])
    assert better > worse + 1


def test_rankings_that_prefer_nothing_teach_nothing():
    with pytest.raises(ValueError, match="every ranking is a tie"):
        BagOfWords.fit([["a", "b"]], [[1, 1]])
