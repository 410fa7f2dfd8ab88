"""Scores by hand: confusion, correlation, exact match and F1, entities; and guesses without a model."""

from __future__ import annotations

import math

import numpy as np
import pytest

from danlu.evaluate.classification import (
    average_ranks,
    class_scores,
    entities,
    number_scores,
    overlap_f1,
    span_scores,
    tag_scores,
)
from danlu.evaluate.word_classifier import (
    WordClassifier,
    WordTags,
    likeliest_sentence,
    word_overlap,
)


def test_classes_by_hand():
    found = class_scores(["a", "a", "a", "b", "b", "c"], ["a", "a", "b", "b", "a", "b"], ["a", "b", "c"])
    assert found["confusion"] == [[2, 1, 0], [1, 1, 0], [0, 1, 0]]
    assert found["accuracy"]["mean"] == pytest.approx(3 / 6)
    a, b, c = (found["classes"][label] for label in "abc")
    assert (a["precision"], a["recall"], a["f1"]) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (b["precision"], b["recall"], b["f1"]) == pytest.approx((1 / 3, 1 / 2, 2 / 5))
    assert (c["precision"], c["recall"], c["f1"]) == (0, 0, 0)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 5) / 3)
    # Gorodkin's sums: 3 * 6 - (3*3 + 2*3 + 1*0) = 3; 36 - (9 + 4 + 1) = 22; 36 - (9 + 9) = 18
    assert found["matthews"] == pytest.approx(3 / math.sqrt(22 * 18))


def test_matthews_of_two_classes_is_the_phi_coefficient():
    wanted, said = [1, 1, 1, 0, 0, 1, 0, 1], [1, 0, 1, 0, 1, 1, 0, 1]
    found = class_scores([*map(str, wanted)], [*map(str, said)], ["0", "1"])
    assert found["matthews"] == pytest.approx(np.corrcoef(wanted, said)[0, 1])


def test_numbers_by_hand():
    found = number_scores([1, 2, 3, 4], [1, 4, 9, 16])
    assert found["spearman"]["mean"] == pytest.approx(1)
    assert found["pearson"]["mean"] == pytest.approx(np.corrcoef([1, 2, 3, 4], [1, 4, 9, 16])[0, 1])
    assert found["rmse"] == pytest.approx(math.sqrt((4 + 36 + 144) / 4))
    assert average_ranks(np.array([3.0, 1.0, 3.0])).tolist() == [2.5, 1, 2.5]
    assert number_scores([1, 2], [5, 5])["pearson"]["mean"] == 0


@pytest.mark.parametrize(
    ("wanted", "said", "f1"),
    [
        ("the Cat.", "cat", 1),
        ("big red cat", "red dog", 2 * 1 / (3 + 2)),
        ("锣鼓点", "锣鼓", 2 * 2 / (3 + 2)),
        ("136 次", "136", 2 * 1 / (2 + 1)),
        ("19世紀晚期", "19世紀", 2 * 3 / (5 + 3)),
        ("cat", "", 0),
    ],
)
def test_overlap_counts_words_and_han(wanted: str, said: str, f1: float):
    assert overlap_f1(wanted, said) == pytest.approx(f1)


def test_the_nearest_accepted_answer_counts():
    found = span_scores([["a cat", "dog"], ["北京"]], ["dog", "南京"])
    assert found["exact_match"]["mean"] == 0.5
    assert found["f1"]["mean"] == pytest.approx((1 + 0.5) / 2)


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-A I-A O B-B", [("A", 0, 1), ("B", 3, 3)]),
        ("B-A B-A", [("A", 0, 0), ("A", 1, 1)]),
        ("I-A I-A", [("A", 0, 1)]),
        ("B-A I-B", [("A", 0, 0), ("B", 1, 1)]),
        ("O I-A O", [("A", 1, 1)]),
    ],
)
def test_entities_begin_as_conlleval_reads_them(tags: str, found: list[tuple[str, int, int]]):
    assert list(entities(tags.split())) == found


def test_an_entity_counts_only_whole():
    wanted = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-LOC"]]
    said = [["B-PER", "O", "O", "B-LOC"], ["B-LOC", "B-LOC"]]
    found = tag_scores(wanted, said)
    # found: PER 0-0 (wrong), LOC 3-3 (right), LOC 0-0 (wrong), LOC 1-1 (right); wanted 3
    assert found["entities"]["precision"] == pytest.approx(2 / 4)
    assert found["entities"]["recall"] == pytest.approx(2 / 3)
    assert found["entity_f1"]["mean"] == pytest.approx(4 / 7)
    assert found["classes"]["LOC"]["f1"] == pytest.approx(4 / 5)
    assert found["classes"]["PER"]["f1"] == 0
    assert found["word_accuracy"]["mean"] == pytest.approx(4 / 6)


def test_a_bag_of_words_learns_which_word_tells():
    texts = [
        f"{word} {filler}"
        for filler in ("film", "plot", "cast", "end", "day")
        for word in ("good", "bad", "so so")
    ]
    wanted = ["p", "n", "o"] * 5
    model = WordClassifier.fit(texts, wanted, ["n", "o", "p"])
    assert model.predict(["a good story", "a bad story", "a so so story"]) == ["p", "n", "o"]


def test_each_word_has_its_commonest_tag():
    model = WordTags.fit(
        [["Paris", "is"], ["Paris", "x"], ["Paris"]], [["B-LOC", "O"], ["B-LOC", "O"], ["B-PER"]]
    )
    assert model.predict(["Paris", "new"]) == ["B-LOC", "O"]


def test_guesses_without_a_model():
    assert word_overlap("a big dog", "a dog") == pytest.approx(2 / 3)
    assert word_overlap("大狗", "大猫") == pytest.approx(1 / 3)
    passage = "It rained. The old tower fell in 1902! Nobody came."
    assert likeliest_sentence("When fell the tower?", passage) == "The old tower fell in 1902!"
    assert likeliest_sentence("谁写了这本书？", "天气很好。这本书是鲁迅写的。") == "这本书是鲁迅写的。"
