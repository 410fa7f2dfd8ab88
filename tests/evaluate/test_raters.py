from __future__ import annotations

import random

import pytest

from danlu.config import ConfigError
from danlu.data.chats import Comparison
from danlu.evaluate.raters import agreement, equal_but_ranked_apart, fold_of, prompt_key


def ranking(question, ranks, annotator="", completions=("a", "b", "c", "d")):
    return Comparison(
        prompt=[{"role": "user", "content": question}],
        completions=completions[: len(ranks)],
        ranks=ranks,
        annotator=annotator,
    )


def test_agreement_worked_by_hand():
    found = agreement(
        [
            ranking("q", [1, 2, 3], "ann"),
            ranking("q", [1, 3, 2], "bob"),  # agrees on ab and ac, not on bc
            ranking("q", [2, 1, 1], "cat"),  # disagrees with both on ab and ac, calls bc level
            ranking("other", [1, 2], "ann"),  # nobody else ranked these
        ]
    )
    assert found["n_pairs"] == 3 + 2 + 2
    assert found["agreement"]["mean"] == pytest.approx(2 / 7)
    means = {name: each["agreement"]["mean"] for name, each in found["raters"].items()}
    assert means == pytest.approx({"ann": 2 / 5, "bob": 2 / 5, "cat": 0})


def test_the_order_of_the_completions_in_a_record_does_not_matter():
    found = agreement(
        [
            ranking("q", [1, 2], "ann", completions=("a", "b")),
            ranking("q", [2, 1], "bob", completions=("b", "a")),
        ]
    )
    assert found["agreement"]["mean"] == 1.0


def test_there_is_no_agreement_where_nobody_ranked_what_another_did():
    assert agreement([ranking("q", [1, 2], "ann"), ranking("p", [1, 2], "bob"), ranking("q", [2, 1])]) == {}


def test_one_rater_does_not_agree_with_himself():
    assert agreement([ranking("q", [1, 2], "ann"), ranking("q", [1, 2], "ann")]) == {}


def test_whoever_contradicts_every_other_is_named():
    rng = random.Random(0)
    comparisons = []
    for number in range(30):
        order = rng.sample([1, 2, 3], 3)
        comparisons += [ranking(str(number), order, name) for name in ("ann", "bob", "cat")]
        comparisons.append(ranking(str(number), [4 - rank for rank in order], "eve"))
    found = agreement(comparisons)
    assert found["contrary"] == ["eve"]
    assert found["raters"]["eve"]["agreement"]["mean"] == 0
    assert found["raters"]["ann"]["agreement"]["mean"] == pytest.approx(2 / 3)
    few = agreement(comparisons[:12])  # three prompts say too little of anybody
    assert few["contrary"] == []


def test_equal_completions_that_are_ranked_apart_are_found():
    apart = ranking("q", [1, 2], completions=("a", "a"))
    fine = [ranking("q", [1, 1, 2], completions=("a", "a", "b")), ranking("q", [1, 2])]
    assert equal_but_ranked_apart([apart, *fine]) == [apart]


def many():
    return [
        ranking(f"question {n}", [1, 2], f"rater {r}") for n in range(60) for r in range(6) if (n + r) % 3
    ]


def test_a_fold_measures_on_prompts_and_raters_that_it_has_not_learnt_from():
    seen = []
    for k in range(3):
        fold = fold_of(many(), 3, k)
        learnt_prompts = {prompt_key(each) for each in fold.train}
        learnt_raters = {each.annotator for each in fold.train}
        for part in (fold.known_raters, fold.new_raters):
            assert not learnt_prompts & {prompt_key(each) for each in part}
        assert {each.annotator for each in fold.known_raters} <= learnt_raters
        left_out = {each.annotator for each in fold.new_raters}
        assert len(left_out) == 2
        assert not left_out & learnt_raters
        seen += [*left_out]
    assert sorted(seen) == [f"rater {r}" for r in range(6)]


def test_more_folds_than_raters_are_refused():
    with pytest.raises(ConfigError, match=r"raters\.folds is 7, but the rankings name 6 raters"):
        fold_of(many(), 7, 0)
    with pytest.raises(ConfigError, match=r"in fold 0 known_raters is empty|in fold 0 new_raters is empty"):
        fold_of([ranking("q", [1, 2], "ann"), ranking("q", [1, 2], "bob")], 2, 0)
