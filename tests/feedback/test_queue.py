"""Tasks: overlap, leases, gold questions, quotas, and two people who ask at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from people import Clock, ask, derived, ranking_task

from danlu.config import ConfigError
from danlu.feedback.accounts import Accounts
from danlu.feedback.errors import FeedbackError
from danlu.feedback.queue import QueueConfig, gold_is_due, shown_order
from danlu.feedback.records import Demonstration, Rating, Skip, Task
from danlu.feedback.store import Store


def held(store: Store, person: str, n: int = 2) -> list[str]:
    return [each.task for each in store.next_tasks(person, n)]


def test_one_task_to_do_and_the_next_beside_it(store: Store):
    tasks = [ranking_task(store, "a", "b", prompt=str(n)).id for n in range(3)]
    assert held(store, "ann") == tasks[:2]
    assert held(store, "ann") == tasks[:2]  # a reload shows the same
    first = store.next_tasks("ann")[0]
    store.add("ann", first.ranking([1, 2]))
    assert held(store, "ann") == tasks[1:]


def test_a_task_is_given_to_as_many_as_its_overlap(store: Store):
    task = ranking_task(store, "a", "b", overlap=2).id
    assert held(store, "ann") == held(store, "bob") == [task]
    assert held(store, "cat") == []
    for person in ("ann", "bob"):
        store.add(person, store.next_tasks(person)[0].ranking([1, 2]))
    assert derived(store)[task] == (2, "done")
    assert held(store, "cat") == []


def test_what_others_have_begun_comes_first(store: Store):
    alone, shared = (ranking_task(store, "a", "b", prompt=p, overlap=n).id for p, n in (("x", 1), ("y", 2)))
    given = {each.task: each for each in store.next_tasks("ann")}
    store.add("ann", given[shared].ranking([1, 2]))
    store.release("ann", alone)
    assert held(store, "bob", 1) == [shared]


def test_a_lease_that_ran_out_frees_the_task(store: Store, clock: Clock):
    task = ranking_task(store, "a", "b").id
    assert held(store, "ann") == [task]
    clock.pass_by(seconds=1799)
    assert held(store, "bob") == []
    clock.pass_by(seconds=2)
    assert held(store, "bob") == [task]
    assert not store.renew("ann", task)


def test_a_renewed_lease_lasts_on(store: Store, clock: Clock):
    task = ranking_task(store, "a", "b").id
    held(store, "ann")
    clock.pass_by(seconds=1700)
    assert store.renew("ann", task)
    clock.pass_by(seconds=1700)
    assert held(store, "bob") == []
    assert store.leases().keys() == {(task, "ann")}


def test_what_comes_after_the_lease_is_accepted_all_the_same(store: Store, clock: Clock):
    task = ranking_task(store, "a", "b").id
    late = store.next_tasks("ann")[0]
    clock.pass_by(hours=1)
    prompt = store.next_tasks("bob")[0]
    store.add("bob", prompt.ranking([1, 2]))
    store.add("ann", late.ranking([1, 2]))
    assert [each.person for each in store.events("ranking")] == ["bob", "ann"]
    assert derived(store)[task] == (2, "done")


def test_nobody_judges_a_task_twice(store: Store):
    ranking_task(store, "a", "b", overlap=3)
    given = store.next_tasks("ann")[0]
    store.add("ann", given.ranking([1, 2]))
    with pytest.raises(FeedbackError, match="'ann' has already done this task"):
        store.add("ann", given.ranking([2, 1]))
    assert held(store, "ann") == []


def test_an_undone_judgement_gives_the_task_back(store: Store):
    task = ranking_task(store, "a", "b").id
    done = store.add("ann", store.next_tasks("ann")[0].ranking([1, 2]))
    store.undo("ann", done.id)
    assert derived(store)[task] == (0, "open")
    assert held(store, "ann") == [task]
    assert held(store, "bob") == []
    store.add("ann", store.next_tasks("ann")[0].ranking([2, 1]))
    assert derived(store)[task] == (1, "done")


def test_a_skipped_task_goes_to_somebody_else(store: Store):
    task = ranking_task(store, "a", "b").id
    held(store, "ann")
    store.add("ann", Skip(task=task, reason="cannot read it"))
    assert held(store, "ann") == []
    assert held(store, "bob") == [task]
    assert derived(store)[task] == (0, "open")


def test_a_withdrawn_task_is_given_to_nobody(store: Store):
    task = ranking_task(store, "a", "b")
    given = store.next_tasks("ann")[0]
    store.undo("boss", task.id)
    assert held(store, "ann") == held(store, "bob") == []
    with pytest.raises(FeedbackError, match="the task was withdrawn meanwhile"):
        store.add("ann", given.ranking([1, 2]))


def test_each_person_sees_the_answers_in_an_order_of_their_own(store: Store):
    task = ranking_task(store, "a", "b", "c", "d", overlap=2)
    assert isinstance(task.body, Task)
    for person in ("ann", "bob"):
        given = store.next_tasks(person)[0]
        assert given.shown == shown_order(task.id, person, 4)
        assert [node for node, _ in given.completions] == [task.body.completions[i] for i in given.shown]
        by_text = {text: rank for (_, text), rank in zip(given.completions, [2, 1, 4, 3], strict=True)}
        said = store.add(person, given.ranking([2, 1, 4, 3], seconds=12.5)).body
        texts = ("a", "b", "c", "d")
        assert getattr(said, "ranks", ()) == tuple(by_text[text] for text in texts)
        assert getattr(said, "seconds", 0) == 12.5
    first = Counter(shown_order(f"{n:032x}", "ann", 4)[0] for n in range(4000))
    assert all(abs(count - 1000) < 5 * (4000 * 3 / 16) ** 0.5 for count in first.values())


def test_gold_questions_come_among_the_others_until_none_is_left(opened: Callable[..., Store]):
    store = opened(QueueConfig(gold_share=0.5))
    gold = {ranking_task(store, "a", "b", prompt=f"g{n}", gold=(1, 2)).id for n in range(2)}
    for n in range(12):
        ranking_task(store, "a", "b", prompt=str(n))
    for person in ("ann", "bob"):
        asked: list[str] = []
        for number in range(5):
            (given,) = store.next_tasks(person, 1)
            assert not hasattr(given, "gold")
            expected = gold_is_due(person, number, 0.5) and len(gold & set(asked)) < 2
            assert (given.task in gold) == expected
            asked.append(given.task)
            store.add(person, given.ranking([1, 2]))
    assert all(derived(store)[task][1] == "open" for task in gold)  # for whoever comes next


def test_gold_is_due_as_often_as_its_share_says():
    n = sum(gold_is_due("ann", number, 0.1) for number in range(10_000))
    assert abs(n - 1000) < 5 * (10_000 * 0.1 * 0.9) ** 0.5
    assert not any(gold_is_due("ann", number, 0.0) for number in range(1000))


def test_a_quota_ends_the_day_and_the_next_begins_anew(opened: Callable[..., Store], clock: Clock):
    store = opened(QueueConfig(quota=3))
    for n in range(9):
        ranking_task(store, "a", "b", prompt=str(n))
    accounts = Accounts(store)
    accounts.add("eve", "annotator", quota=1)
    assert len(held(store, "eve")) == 1  # her own
    for _ in range(3):
        store.add("ann", store.next_tasks("ann")[0].ranking([1, 2]))
    assert held(store, "ann") == []
    clock.pass_by(days=1)
    assert len(held(store, "ann")) == 2


def test_other_kinds_of_tasks_are_done_by_their_own_answers(store: Store):
    question, (made,) = ask(store, "a")
    write = store.add("boss", Task(do="demonstrate", prompt=question.id))
    rate = store.add("boss", Task(do="rate", prompt=question.id, completions=(made.id,)))
    assert [each.do for each in store.next_tasks("ann")] == ["demonstrate", "rate"]
    place = {"conversation": question.body.subject, "parent": question.id}
    store.add("ann", Demonstration(**place, content="Air.", task=write.id))
    store.add("ann", Rating(completion=made.id, value=-1, task=rate.id))
    assert {state for _, state in derived(store).values()} == {"done"}


def test_a_late_preloaded_task_is_not_lost_when_its_neighbour_is_done(store: Store, clock: Clock):
    tasks = [ranking_task(store, "a", "b", prompt=str(n)).id for n in range(2)]
    first, second = store.next_tasks("ann")
    clock.pass_by(hours=2)  # both leases ran out over lunch, and nobody came
    store.add("ann", first.ranking([1, 2]))
    store.add("ann", second.ranking([1, 2]))
    assert {derived(store)[task] for task in tasks} == {(1, "done")}


@pytest.mark.parametrize("overlap", [1, 2])
def test_people_who_ask_at_once_never_share_more_than_the_overlap(opened: Callable[..., Store], overlap: int):
    """Each thread has a store of its own, as each server process has."""
    n_people, n_tasks = 4, 5
    first = opened(QueueConfig(gold_share=0.0))
    tasks = [ranking_task(first, "a", "b", prompt=str(n), overlap=overlap).id for n in range(n_tasks)]
    stores = [opened(QueueConfig(gold_share=0.0)) for _ in range(2)]
    start = Barrier(n_people)

    def work(number: int) -> list[str]:
        person, store, done = f"person {number}", stores[number % 2], list[str]()
        start.wait()
        while given := store.next_tasks(person):
            store.add(person, given[0].ranking([1, 2]))
            done.append(given[0].task)
        return done

    with ThreadPoolExecutor(n_people) as pool:
        done = [task for each in pool.map(work, range(n_people)) for task in each]
    assert Counter(done) == dict.fromkeys(tasks, overlap)
    assert derived(first) == dict.fromkeys(tasks, (overlap, "done"))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"lease_s": 0.0}, "lease_s is 0.0; it must be above 0"),
        ({"gold_share": 1.1}, "gold_share is 1.1"),
        ({"quota": -1}, "quota is -1"),
    ],
)
def test_impossible_queues_are_told(how: dict[str, float], told: str):
    with pytest.raises(ConfigError, match=told):
        QueueConfig(**how)  # type: ignore[arg-type]


def test_a_page_asks_for_its_own_kind_of_task(store: Store):
    ranking = ranking_task(store, "a", "b").id
    question, _ = ask(store, prompt="Who?")
    writing = store.add("boss", Task(do="demonstrate", prompt=question.id)).id
    assert [each.task for each in store.next_tasks("ann", 2, "demonstrate")] == [writing]
    assert [each.task for each in store.next_tasks("ann", 2, "rank")] == [ranking]
    assert [each.task for each in store.next_tasks("bob", 2, "rate")] == []


def test_strengths_and_flags_are_given_in_the_order_shown(store: Store):
    ranking_task(store, "a", "b", "c")
    (given,) = store.next_tasks("ann", 1)
    said = given.ranking([1, 2, 2], strengths=[3], flags=[["helpful"], [], ["wrong"]])
    assert said.strengths == (3,)
    by_node = dict(zip(said.completions, zip(said.ranks, said.flags, strict=True), strict=True))
    first, second, third = [node for node, _ in given.completions]
    assert (by_node[first], by_node[second], by_node[third]) == ((1, ("helpful",)), (2, ()), (2, ("wrong",)))
    assert given.ranking([1, 2, 2]).flags == ()
