"""What is told to somebody who writes an answer."""

from __future__ import annotations

from danlu.data.pii import FINDS
from danlu.serve.studio.phrases_en import ENGLISH
from danlu.serve.studio.writing import LONG, changes, remarks


def keys(question: str, answer: str) -> list[str]:
    return [remark.key for remark in remarks(question, answer)]


QUESTION = "Why is the sky blue at noon?"
ANSWER = "It is blue because the air scatters the short waves of the light of the sun."


def test_a_good_answer_is_left_alone():
    assert keys(QUESTION, ANSWER) == []
    assert keys("天空为什么是蓝色的？", "因为空气把阳光里的短波散射得更多。") == []


def test_length_and_language_are_looked_at():
    assert keys(QUESTION, "Yes.") == ["quality.short"]
    assert keys(QUESTION, ANSWER * (LONG // len(ANSWER) + 1)) == ["quality.long"]
    assert keys(QUESTION, "因为空气把阳光里的短波散射得更多。") == ["quality.language_zh"]
    assert keys("天空为什么是蓝色的？", ANSWER) == ["quality.language_en"]


def test_personal_data_is_found_unless_the_question_gave_it():
    told = remarks(QUESTION, f"{ANSWER} Write to ann@example.com or call 13812345678.")
    assert [(each.key, each.values) for each in told] == [
        ("quality.private_email", {"n": "1"}),
        ("quality.private_phone", {"n": "1"}),
    ]
    assert keys("What does ann@example.com want to know?", f"{ANSWER} So wrote ann@example.com.") == []


def test_changes_go_by_words_of_english_and_characters_of_chinese():
    assert list(changes("The sky is red.", "The sky is blue.")) == [
        ("same", "The sky is "),
        ("gone", "red"),
        ("new", "blue"),
        ("same", "."),
    ]
    assert list(changes("天是红的", "天是蓝的")) == [
        ("same", "天是"),
        ("gone", "红"),
        ("new", "蓝"),
        ("same", "的"),
    ]


def test_changes_lose_nothing():
    before, after = "a  b\n\nc 你好", "b a\n c你们好!"
    assert "".join(text for kind, text in changes(before, after) if kind != "new") == before
    assert "".join(text for kind, text in changes(before, after) if kind != "gone") == after


def test_every_kind_of_personal_data_has_words():
    kinds = {kind for _, finds in FINDS for kind, *_ in finds}
    assert "email" in kinds
    assert {f"quality.private_{kind}" for kind in kinds} <= set(ENGLISH)
