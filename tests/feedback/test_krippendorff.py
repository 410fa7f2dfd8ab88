"""Agreement against published worked examples and values computed by hand."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.feedback.agreement import (
    Judged,
    agreement,
    by_pairs_of_people,
    grouped,
    krippendorff_alpha,
    noise,
    ranking_alpha,
    standing,
)

# Krippendorff 2011, Computing Krippendorff's Alpha-Reliability: section A (binary, two observers), B (names,
# two observers), C and D (four observers, twelve units, values missing).
BINARY = ("0100000010", "1110010000")
NAMES = ("aabbdcccedda", "babbbcccedda"[:11] + "d")
FOUR = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)
UNITS = [[value for value in unit if value is not None] for unit in zip(*FOUR, strict=True)]


def of_letters(observers: tuple[str, str]) -> list[list[int]]:
    return [[ord(value) for value in unit] for unit in zip(*observers, strict=True)]


@pytest.mark.parametrize(
    ("units", "metric", "published", "exact"),
    [
        # The published figure, and what its own table of coincidences gives to four decimals.
        (of_letters(BINARY), "nominal", 0.095, 0.0952),  # 1 - 19 * 4 / (14 * 6) = 8 / 84
        (of_letters(BINARY), "ordinal", 0.095, 0.0952),  # two values have one distance
        (of_letters(NAMES), "nominal", 0.692, 0.6920),
        (UNITS, "nominal", 0.743, 0.7434),
        (UNITS, "ordinal", 0.815, 0.8154),
        (UNITS, "interval", 0.849, 0.8491),
    ],
)
def test_alpha_is_that_of_krippendorffs_worked_examples(units, metric, published, exact):
    found = krippendorff_alpha(units, metric)
    assert found is not None
    assert round(found, 3) == published
    assert round(found, 4) == exact


def by_definition(units: list[list[int]]) -> Fraction | None:
    """Ordinal alpha straight from its definition, pair by pair in exact fractions, without coincidences."""
    paired = [unit for unit in units if len(unit) > 1]
    everything = sorted(value for unit in paired for value in unit)
    counts = Counter(everything)

    def distance(c: int, k: int) -> Fraction:
        low, high = sorted((c, k))
        between = sum(counts[g] for g in counts if low <= g <= high)
        return (between - Fraction(counts[c] + counts[k], 2)) ** 2 if c != k else Fraction(0)

    observed = sum(
        (
            sum((distance(a, b) for a, b in permutations(unit, 2)), Fraction(0)) / (len(unit) - 1)
            for unit in paired
        ),
        Fraction(0),
    )
    expected = sum((distance(a, b) for a, b in permutations(everything, 2)), Fraction(0))
    return 1 - (len(everything) - 1) * observed / expected if expected else None


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(1, 5), max_size=4), max_size=8))
def test_ordinal_alpha_is_its_definition_summed_pair_by_pair(units: list[list[int]]):
    expected, found = by_definition(units), krippendorff_alpha(units)
    assert (found is None) == (expected is None)
    assert found is None or found == pytest.approx(float(expected or 0), abs=1e-9)


def test_without_pairs_or_differences_there_is_no_alpha():
    assert krippendorff_alpha([[1], [2], []]) is None
    assert krippendorff_alpha([[3, 3], [3, 3]]) is None


def ranks(**given: int) -> dict[str, int]:
    return given


def test_ties_stand_in_the_middle_of_their_places():
    assert standing(ranks(a=1, b=1, c=2)) == {
        "a": Fraction(1, 3),
        "b": Fraction(1, 3),
        "c": Fraction(5, 6),
    }
    assert standing(ranks(a=2, b=7)) == {"a": Fraction(1, 4), "b": Fraction(3, 4)}


def test_alpha_of_rankings_by_hand():
    # Two of three sets agreed, one reversed. Values 1/4 and 3/4, six of each in twelve: alpha is nominal
    # here, 1 - 11 * (2 * 2) / (2 * 6 * 6) = 1 - 44 / 72.
    same = [Judged("ann", ranks(a=1, b=2)), Judged("bob", ranks(a=1, b=2))]
    reverse = [Judged("ann", ranks(a=1, b=2)), Judged("bob", ranks(a=2, b=1))]
    assert ranking_alpha([same, same, reverse]) == pytest.approx(1 - 44 / 72)
    assert ranking_alpha([same]) == 1.0


def test_a_tie_for_one_of_two_people_is_half_an_agreement():
    ann, bob = Judged("ann", ranks(a=1, b=1, c=2)), Judged("bob", ranks(a=1, b=2, c=3))
    assert agreement(ann, bob) == (2.5, 3)
    assert agreement(ann, ann) == (3.0, 3)
    assert agreement(ann, bob, lambda one, two: {one, two} == {"a", "b"}) == (2.0, 2)


def test_of_each_person_the_last_judgement_counts_and_of_lone_ones_none():
    first, last = Judged("ann", ranks(a=1, b=2)), Judged("ann", ranks(a=2, b=1))
    other = Judged("bob", ranks(a=1, b=2))
    assert grouped([("x", first), ("x", other), ("x", last), ("y", first)]) == [[last, other]]


def test_noise_of_three_people_is_solved_by_hand():
    # Excess agreements .6, .4 and .3: c_a^2 = .6 * .4 / .3, c_b = .6 / c_a, c_c = .4 / c_a.
    n = 100_000
    met = {("a", "b"): (0.8 * n, n), ("a", "c"): (0.7 * n, n), ("b", "c"): (0.65 * n, n)}
    c_a = 0.8**0.5
    expected = {"a": (1 - c_a) / 2, "b": (1 - 0.6 / c_a) / 2, "c": (1 - 0.4 / c_a) / 2}
    assert noise(met) == pytest.approx(expected, abs=1e-4)


def test_noise_of_two_people_is_shared_between_them():
    found = noise({("a", "b"): (82_000.0, 100_000)})
    assert found["a"] == pytest.approx(found["b"], abs=1e-3)
    assert found["a"] == pytest.approx((1 - 0.64**0.5) / 2, abs=1e-3)
    assert noise({}) == {}


def test_noise_finds_who_errs_how_often():
    rng, errs = random.Random(7), {"ann": 0.05, "bob": 0.15, "cat": 0.25, "eve": 0.5}
    sets = []
    for number in range(4000):
        truth = rng.random() < 0.5
        people = rng.sample(sorted(errs), 3)
        said = {person: truth != (rng.random() < errs[person]) for person in people}
        sets.append([Judged(p, {f"{number}a": 1 + said[p], f"{number}b": 2 - said[p]}) for p in people])
    found = noise(by_pairs_of_people(sets))
    # Of 3,000 pairs an agreement is known to about 0.009; solving doubles that.
    assert found == pytest.approx(errs, abs=0.05)


def test_who_met_nobody_has_no_noise():
    met = by_pairs_of_people([[Judged("ann", ranks(a=1, b=2)), Judged("bob", ranks(a=1, b=2))]])
    assert met == {("ann", "bob"): (1.0, 1)}
    assert set(noise(met)) == {"ann", "bob"}
