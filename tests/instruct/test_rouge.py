"""ROUGE-L against the published example, against the textbook's table, and the closest of many."""

from __future__ import annotations

from random import Random

import pytest

from danlu.instruct.rouge import Known, lcs_length, places_of, rouge_l, words_of


def by_table(a: list[str], b: list[str]) -> int:
    """The longest common subsequence by the recurrence that every textbook has."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a, start=1):
        for j, y in enumerate(b, start=1):
            table[i][j] = table[i - 1][j - 1] + 1 if x == y else max(table[i - 1][j], table[i][j - 1])
    return table[-1][-1]


@pytest.mark.parametrize(
    ("candidate", "expected"), [("police kill the gunman", 0.75), ("the gunman kill police", 0.5)]
)
def test_rouge_l_of_the_example_of_lin_2004(candidate: str, expected: float):
    assert rouge_l(words_of("police killed the gunman"), words_of(candidate)) == expected


def test_a_han_character_is_a_word():
    assert rouge_l(words_of("写一首诗"), words_of("写一首歌。")) == 0.75


def test_the_bits_say_what_the_table_says():
    rng = Random(0)
    for _ in range(300):
        a, b = ([rng.choice("abcde") for _ in range(rng.randrange(90))] for _ in range(2))
        assert lcs_length(places_of(a), len(a), b) == by_table(a, b)


def test_the_closest_is_the_closest_of_all():
    rng, known = Random(1), Known()
    texts = [" ".join(rng.choice("abcdefghijkl") for _ in range(rng.randrange(1, 12))) for _ in range(200)]
    for text in texts[:150]:
        known.add(text)
    for text in texts[150:]:
        _, similarity = known.closest(text)
        assert similarity == max(rouge_l(words_of(text), words_of(each)) for each in texts[:150])


def test_nothing_is_close_to_what_shares_no_word():
    known = Known()
    known.add("one two three")
    assert known.closest("四五六") == (-1, 0.0)
