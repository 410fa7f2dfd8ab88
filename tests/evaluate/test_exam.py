from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from danlu.data.records import DataError
from danlu.evaluate.exam import (
    Graded,
    compare,
    load_results,
    macro,
    paired_by_category,
    paired_difference,
    run_exam,
    save_results,
    summarise,
)


@dataclass(frozen=True)
class Sum:
    """The smallest thing that is a question."""

    id: str
    lang: str
    messages: list[dict[str, str]]
    gold: str
    category: str = "arithmetic"


SUMS = [
    Sum("1", "en", [{"role": "user", "content": "2 + 2?"}], "4"),
    Sum("2", "zh", [{"role": "user", "content": "2加3得几？"}], "5"),
]


def grade(question: Sum, answer: str) -> float:
    return float(answer == question.gold)


def result(question_id: str, category: str, language: str, score: float) -> Graded:
    return Graded(question_id, category, language, "answer", score)


BEFORE = [result("1", "fact", "en", 0), result("2", "fact", "zh", 0), result("3", "sum", "en", 1)]
AFTER = [result("3", "sum", "en", 1), result("1", "fact", "en", 1), result("2", "fact", "zh", 0.5)]


def test_answers_are_kept_beside_their_grade_and_their_question():
    graded = run_exam(SUMS, lambda conversations: ["4" for _ in conversations], grade)
    assert [(g.question_id, g.answer, g.score) for g in graded] == [("1", "4", 1.0), ("2", "4", 0.0)]
    assert graded[1].messages == ({"role": "user", "content": "2加3得几？"},)


def test_a_missing_answer_is_an_error():
    with pytest.raises(ValueError, match="2 questions got 1 answers"):
        run_exam(SUMS, lambda _: ["4"], grade)


def test_a_grade_outside_zero_to_one_is_an_error():
    with pytest.raises(ValueError, match=r"graded 2\.0"):
        run_exam(SUMS, lambda _: ["4", "5"], lambda question, answer: 2.0)


def test_macro_counts_each_cell_once():
    # cells: fact-en 1, fact-zh 0 (of three), sum-en 0.5
    graded = [
        result("1", "fact", "en", 1),
        *(result(f"z{i}", "fact", "zh", 0) for i in range(3)),
        result("5", "sum", "en", 0.5),
    ]
    assert macro(graded).mean == pytest.approx(0.5)


def test_paired_difference_pairs_by_question_and_not_by_order():
    # cells: fact-en +1, fact-zh +0.5, sum-en 0
    assert paired_difference(BEFORE, AFTER).mean == pytest.approx(0.5)
    by_category = paired_by_category(BEFORE, AFTER)
    assert by_category["fact"].mean == pytest.approx(0.75)
    assert by_category["sum"].mean == 0.0


def test_a_pairing_is_tighter_than_the_two_intervals():
    before = [result(str(i), "fact", "en", i % 2) for i in range(100)]
    after = [result(str(i), "fact", "en", 1.0 if i < 10 else i % 2) for i in range(100)]
    difference = paired_difference(before, after)
    assert difference.mean == pytest.approx(0.05)
    assert difference.low > 0
    assert macro(after).low < macro(before).high


def test_different_exams_cannot_be_compared():
    with pytest.raises(ValueError, match="1 are only in one, such as '3'"):
        paired_difference(BEFORE, AFTER[1:])


def test_summary_of_a_worked_example():
    summary = summarise(AFTER)
    assert summary["n"] == 3
    assert summary["macro"]["mean"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert summary["categories"]["fact"]["mean"] == pytest.approx(0.75)
    assert summary["languages"]["en"]["mean"] == 1.0
    assert [(c["category"], c["language"], c["mean"]) for c in summary["cells"]] == [
        ("sum", "en", 1.0),
        ("fact", "en", 1.0),
        ("fact", "zh", 0.5),
    ]


def test_systems_are_compared_each_with_the_one_before():
    tree = compare({"base": BEFORE, "sft": AFTER, "ppo": AFTER})
    assert [(d["from"], d["to"]) for d in tree["differences"]] == [("base", "sft"), ("sft", "ppo")]
    assert tree["differences"][0]["macro"]["mean"] == pytest.approx(0.5)
    assert tree["differences"][1]["macro"] == {"mean": 0.0, "low": 0.0, "high": 0.0}


def test_results_come_back_as_they_were_saved(tmp_path):
    graded = run_exam(SUMS, lambda _: ["四\n", "<script>"], grade)
    summary = save_results({"sft": graded}, tmp_path)
    assert load_results(tmp_path / "sft.jsonl") == graded
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8")) == summary


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "sft.jsonl"
    path.write_text('{"question_id": "1"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"sft\.jsonl:1: not a graded answer"):
        load_results(path)
