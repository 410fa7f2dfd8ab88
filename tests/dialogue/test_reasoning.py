"""Reasoning apart from answers, and votes counted by hand."""

from __future__ import annotations

import pytest

from danlu.dialogue.reasoning import Thought, normalised, think, vote


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("7 + 5 = 12. Answer: 12", "7 + 5 = 12.", "12"),
        ("先算 7 + 5。\n答案：12。", "先算 7 + 5。", "12。"),
        ("12 eggs.\n#### 12", "12 eggs.", "12"),
        ("<think>The answer is 3? No.</think>\n4", "The answer is 3? No.", "4"),
        ("The answer is 3. Wait. The answer is 4.", "The answer is 3. Wait.", "4."),
        ("First this.\nThen 9.", "First this.", "Then 9."),
        ("9", "", "9"),
        ("7 + 5 = 12, 12 − 3 = 9.", "7 + 5 = 12, 12 − 3 = 9.", "9"),
        ("x = 3 or x = −1,200", "x = 3 or x = −1,200", "−1,200"),
        ("7 + 5 = twelve", "", "7 + 5 = twelve"),
        ("", "", ""),
        ("It ends with Answer:", "", "It ends with Answer:"),
        ("<think>for ever and", "<think>for ever and", ""),
    ],
)
def test_the_answer_follows_the_last_lead(text: str, reasoning: str, answer: str):
    assert think(text) == Thought(reasoning, answer)


def test_a_chain_that_was_cut_before_its_answer_has_none():
    assert think("7 + 5 is", cut=True) == Thought("7 + 5 is", "")
    assert think("7 + 5 = 12. Answer: 12", cut=True).answer == "12"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,234.50", "１２３４.5"),
        ("It is 12.", "12"),
        ("2/4", "0.5"),
        ("−3", "-3.0"),
        ("“Mira Tolen”", "mira tolen"),
        ("**12**", "12"),
        ("等于12。", "12"),
        ("$12$", "12"),
        ("+7", "7"),
        ("2 / 4", "2 / 4."),
    ],
)
def test_answers_that_mean_the_same_are_one(one: str, other: str):
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"), [("12", "-12"), ("3 apples", "3 pears"), ("1/3", "0.33"), ("1,2,3", "123"), ("10", "1")]
)
def test_answers_that_differ_are_two(one: str, other: str):
    assert normalised(one) != normalised(other)


def test_a_division_by_zero_is_left_as_it_stands():
    assert normalised("3/0") == "3/0"


def of(*answers: str) -> list[Thought]:
    return [Thought("", answer) for answer in answers]


def test_the_majority_wins_in_the_words_of_its_first():
    found = vote(of("14", "It is 12.", "12", "", "12.0"))
    assert (found.answer, found.n_votes, found.n_chains) == ("It is 12.", 3, 5)
    assert found.share == 0.6
    assert found.tally == [("12", 3), ("14", 1)]


def test_of_equally_many_the_first_wins():
    assert vote(of("a", "b", "b", "a")).answer == "a"


def test_without_any_answer_nobody_wins():
    found = vote(of("", ""))
    assert (found.answer, found.n_votes, found.share) == ("", 0, 0.0)
