"""Answers are put in order by single steps, each of which can be taken back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.serve.studio.ordering import Ordering


def pressed(keys: str, n: int) -> Ordering:
    ordering = Ordering(n)
    for key in keys:
        if key == "=":
            ordering.tie()
        elif key == "u":
            ordering.undo()
        else:
            ordering.place(int(key) - 1)
    return ordering


def test_keys_put_answers_below_each_other():
    assert pressed("312", 3).ranks() == [2, 3, 1]


def test_a_tie_is_announced_between_two_answers():
    assert pressed("2=13", 3).ranks() == [1, 1, 2]
    assert pressed("2=3=1", 3).ranks() == [1, 1, 1]


def test_the_last_answer_left_is_the_worst_or_joins_a_tie_that_was_announced():
    assert pressed("21", 3).ranks() == [2, 1, 3]
    assert pressed("21=", 3).ranks() == [2, 1, 2]
    assert pressed("2", 3).ranks() is None


def test_a_placed_answer_that_is_pressed_again_moves_to_the_end():
    assert pressed("1231", 3).ranks() == [3, 1, 2]


def test_a_key_without_an_answer_does_nothing():
    assert pressed("19", 2).tiers == [[0]]


def test_undo_takes_back_one_step_at_a_time():
    assert pressed("12u", 3).tiers == [[0]]
    assert pressed("1=u2", 3).tiers == [[0], [1]]
    assert not Ordering(3).undo()


def test_dragging_moves_between_tiers():
    ordering = pressed("123", 3)
    ordering.move(2, 0)
    assert ordering.tiers == [[0, 2], [1]]
    ordering.move(0, 2)
    assert ordering.tiers == [[2], [1], [0]]
    ordering.move(1, None)
    assert ordering.unplaced == [1]
    ordering.undo()
    assert ordering.tiers == [[2], [1], [0]]


def test_an_ordering_is_made_again_from_its_ranks():
    assert Ordering.of_ranks([2, 1, 2, 3]).tiers == [[1], [0, 2], [3]]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.integers(-1, 5), st.just(0)),
        st.tuples(st.just("move"), st.integers(0, 4), st.one_of(st.none(), st.integers(0, 6))),
        st.just(("tie", 0, 0)),
    ),
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_whatever_is_done_each_answer_stands_in_one_place_and_all_of_it_can_be_undone(steps: list):
    ordering, before = Ordering(5), []
    for what, answer, tier in steps:
        before.append(([[*each] for each in ordering.tiers], ordering.ties, len(ordering._past)))
        if what == "place":
            ordering.place(answer)
        elif what == "move":
            ordering.move(answer, tier)
        else:
            ordering.tie()
        placed = [each for row in ordering.tiers for each in row]
        assert sorted([*placed, *ordering.unplaced]) == list(range(5))
        assert all(ordering.tiers)
        if (ranks := ordering.ranks()) is not None:
            assert sorted(set(ranks)) == list(range(1, max(ranks) + 1))
    for tiers, ties, n_past in reversed(before):
        while len(ordering._past) > n_past:
            assert ordering.undo()
        assert (ordering.tiers, ordering.ties) == (tiers, ties)
