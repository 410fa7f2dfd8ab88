from __future__ import annotations

import pytest

from danlu.world.reading import chinese_number, found, is_in, names, numbers, numeral, repeats, words


@pytest.mark.parametrize("value", [0, 7, 10, 12, 20, 45, 99, 100, 105, 110, 117, 230, 999])
def test_numerals_are_read_as_they_are_written(value):
    assert chinese_number(numeral(value)) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("twenty-one apples and 3 pears", [21, 3]),
        ("二十三加五等于二十八", [23, 5, 28]),
        ("一共有12个，一起算", [12]),
        ("10 - 4 = 6", [10, 4, 6]),
        ("It is -3.", [-3]),
        ("１２", [12]),
        ("founded in 1,234", [1234]),
        ("建于一八四五年", [1845]),
    ],
)
def test_numbers_are_found_in_every_script(text, expected):
    assert numbers(text) == expected


def test_a_phrase_is_found_whole_and_the_longest_first():
    assert found(["ink", "pink"], "a pink hat") == ["pink"]
    assert found(["north", "far north"], "in the far north") == ["far north"]
    assert found(["草", "草根"], "它吃草根。") == ["草根"]


def test_language_is_told_by_its_script():
    assert is_in("en", "It is red.")
    assert not is_in("en", "It is 红色.")
    assert is_in("zh", "是红色的。")
    assert is_in("en", "12")
    assert is_in("zh", "12")


def test_going_round_in_circles_is_noticed_but_sums_are_not():
    assert repeats("the red hat is the red hat is")
    assert repeats("很好很好很好很好")
    assert not repeats("8 + 2 = 10, 10 − 10 = 0")
    assert not repeats("Mira Tolen lives in Sull.")


def test_names_are_capitals_within_a_sentence_or_dotted():
    assert names("He met Tom Hale. Then he left.") == ["Tom", "Hale"]
    assert names("米拉·托伦来了") == ["米拉·托伦来了"]


def test_words_are_whole_in_english_and_single_characters_in_chinese():
    assert words("Don't stop, 3 cats!") == ["don't", "stop", "3", "cats"]
    assert words("住在苏尔") == ["住", "在", "苏", "尔"]
