from __future__ import annotations

from random import Random

import pytest
from specimens import right, sampled, wrong

from danlu.world.annotators import SAME, Annotator, agreement, collect, pool
from danlu.world.judging import true_score
from danlu.world.tasks import questions
from danlu.world.truth import World

WORLD = World.create(0)
TASKS = questions(WORLD, "train", 12, seed=21)


def completions(seed: int) -> list[list[str]]:
    rng = Random(seed)
    return [[sampled(question, rng) for _ in range(rng.randint(4, 9))] for question in TASKS]


# Answers made up for tests differ plainly. On what a small model writes people agree on three pairs in four,
# which each run measures (docs/world.md).
def test_two_people_agree_on_most_pairs_and_not_on_all():
    records = [
        r for seed in range(3) for r in collect(TASKS, completions(seed), pool(seed), seed, doubled=1.0)
    ]
    assert 0.8 <= agreement(records) <= 0.9


def test_agreement_also_holds_where_most_answers_are_wrong():
    rng = Random(5)
    texts = [[(right if rng.random() < 0.25 else wrong)(q, rng) for _ in range(6)] for q in TASKS]
    assert 0.8 <= agreement(collect(TASKS, texts, pool(0), 0, doubled=1.0)) <= 0.9


def test_people_mostly_see_the_truth():
    right_order = differing = 0
    for question, texts in zip(TASKS, completions(3), strict=True):
        truth, ranks = [true_score(question, text) for text in texts], pool(0)[0].rank(question, texts)
        for i in range(len(texts)):
            for j in range(i):
                if truth[i] != truth[j] and ranks[i] != ranks[j]:
                    differing += 1
                    right_order += (truth[i] > truth[j]) == (ranks[i] < ranks[j])
    assert 0.8 < right_order / differing < 0.97


def test_the_same_answer_twice_is_a_tie():
    for question in TASKS[::5]:
        reply = question.gold["replies"][0]
        for person in pool(0):
            ranks = person.rank(question, [reply, "…", reply, f" {reply}\n"])
            assert ranks[0] == ranks[2] == ranks[3]


def test_a_person_without_noise_or_bias_ranks_by_the_truth():
    ideal = Annotator(id="ideal", noise=0.0, whim=0.0, lapse=0.0, tie=0.0)
    for question, texts in zip(TASKS, completions(6), strict=True):
        ranks, scores = ideal.rank(question, texts), [true_score(question, text) for text in texts]
        for i in range(len(texts)):
            for j in range(len(texts)):
                assert (ranks[i] < ranks[j]) == (scores[i] > scores[j])
        assert min(ranks) == 1


def test_a_person_without_noise_never_parts_answers_of_nearly_the_same_worth_that_lead():
    ideal = Annotator(id="ideal", noise=0.0, whim=0.0, lapse=0.0)
    for question, texts in zip(TASKS, completions(6), strict=True):
        ranks, scores = ideal.rank(question, texts), [true_score(question, text) for text in texts]
        best = max(scores)
        for rank, score in zip(ranks, scores, strict=True):
            assert (rank == 1) == (best - score <= SAME)


def test_bias_moves_the_ranking_its_way():
    long = Annotator(id="long", noise=0.0, whim=0.0, lapse=0.0, tie=0.0, length=0.5)
    question = next(q for q in TASKS if q.category == "sentiment" and q.lang == "en")
    label = question.gold["accept"][0]
    assert long.rank(question, [f"{label}.", f"The review is {label}."]) == [2, 1]


def test_rankings_are_the_same_every_time_and_for_any_company():
    texts = completions(7)
    first = collect(TASKS, texts, pool(1), 0)
    assert collect(TASKS, texts, pool(1), 0) == first
    assert collect(TASKS[::-1], texts[::-1], pool(1), 0)[-1]["prompt"] == first[0]["prompt"]


def test_a_record_has_the_shape_on_disk():
    record = collect(TASKS[:1], [["a", "b"]], pool(0), 0)[0]
    assert set(record) == {"prompt", "completions", "ranks", "annotator", "lang", "category"}
    assert len(record["ranks"]) == len(record["completions"]) == 2


def test_a_share_of_the_prompts_is_ranked_by_two_people():
    records = collect(TASKS, completions(8), pool(0), 0, doubled=0.25)
    assert 1.15 * len(TASKS) < len(records) < 1.35 * len(TASKS)


def test_agreement_needs_somebody_to_agree_with():
    with pytest.raises(ValueError, match="doubled"):
        agreement(collect(TASKS[:3], [["a", "b"]] * 3, pool(0), 0, doubled=0.0))


def test_agreement_counts_half_for_a_tie_of_one():
    def record(annotator: str, ranks: list[int]) -> dict:
        texts = ["a", "b", "c"]
        return {"prompt": [], "completions": texts, "ranks": ranks, "annotator": annotator, "lang": "en"}

    # ab: same order; ac: same; bc: a tie for one of them.
    assert agreement([record("x", [1, 2, 3]), record("y", [1, 2, 2])]) == pytest.approx(2.5 / 3)


def test_too_few_completions_are_refused():
    with pytest.raises(ValueError, match="2 to 16"):
        collect(TASKS[:1], [["only one"]], pool(0), 0)
