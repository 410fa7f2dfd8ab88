"""Fifty annotators on one feedback store at once: is every judgement there, once, and how long does it take?

    python bench/feedback.py                          fifty people for ten minutes, a kill -9 in the middle
    python bench/feedback.py --minutes 1 --think 0    as fast as they can

The store runs in a process of its own, with a thread for each person, as behind a server. People take tasks,
think, rank, and now and then take something back or skip. What the store has accepted is told to this
process line by line. Halfway the store's process is killed; every line that came before must be true of the
database, what was under way is sent again with the id that it had, and a new process goes on. At the end the
log is held against all that was acknowledged, and against the tables that are derived from it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from uuid import uuid4

from danlu.feedback.exchange import Reader
from danlu.feedback.queue import QueueConfig, recount, shown_order
from danlu.feedback.records import Ranking, Skip, Task, Undo
from danlu.feedback.store import Store

PEOPLE, OVERLAP, ANSWERS = 50, 2, 4
UNDONE, SKIPPED = 0.03, 0.02  # share of judgements taken back, and of tasks skipped
CONFIG = QueueConfig(gold_share=0.0)


@dataclass(slots=True)
class Seen:
    """What the store's process has told."""

    accepted: dict[str, str] = field(default_factory=dict[str, str])  # id → kind
    undone: set[str] = field(default_factory=set[str])
    under_way: dict[str, tuple[str, str, str]] = field(default_factory=dict[str, tuple[str, str, str]])
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def read(self, line: str) -> None:
        """One line: `try ID PERSON TASK RANKS`, `ok KIND ID SECONDS [OF]`, or `next SECONDS`."""
        word, *rest = line.split()
        if word == "try":
            self.under_way[rest[0]] = (rest[1], rest[2], rest[3])
        elif word == "next":
            self.seconds["next task"].append(float(rest[0]))
        else:
            kind, event_id, seconds = rest[:3]
            self.accepted[event_id] = kind
            self.under_way.pop(event_id, None)
            self.seconds[kind].append(float(seconds))
            self.undone |= set(rest[3:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--think", type=float, default=2.0, help="seconds for a ranking, in the mean")
    parser.add_argument("--tasks", type=int, default=0, help="0: as many as will be needed")
    parser.add_argument(
        "--db", default="", help="an empty database; by default a SQLite file that is removed"
    )
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        place, seconds, think = given.work
        return work(place, float(seconds), float(think))
    n_tasks = (
        given.tasks or round(given.minutes * 60 * PEOPLE / max(given.think, 0.25) / OVERLAP * 1.2) + PEOPLE
    )
    with tempfile.TemporaryDirectory() as folder:
        measure(given.db or f"{folder}/feedback.db", n_tasks, given.minutes * 60, given.think)


def measure(place: str, n_tasks: int, seconds: float, think: float) -> None:
    """Two halves with a kill between them, and the account."""
    make_tasks(place, n_tasks)
    seen = Seen()
    run_half(place, seconds / 2, think, seen, kill=True)
    n_before, n_under_way = len(seen.accepted), len(seen.under_way)
    check(place, seen, allowed=n_under_way)
    send_again(place, seen)
    check(place, seen, allowed=0)
    run_half(place, seconds / 2, think, seen, kill=False)
    check(place, seen, allowed=0)
    kinds = Counter(seen.accepted.values())
    print(f"{PEOPLE} people, {seconds / 60:g} minutes, {n_tasks:,} tasks of {ANSWERS} answers; {dict(kinds)}")
    print(f"killed after {n_before:,} events with {n_under_way} under way: all are there, and none twice")
    for name, taken in seen.seconds.items():
        cuts = quantiles(taken, n=100) if len(taken) > 1 else taken * 99
        milliseconds = ", ".join(f"p{p} {cuts[p - 1] * 1000:.1f}" for p in (50, 95, 99))
        print(f"  {name}: {len(taken):,} actions, {milliseconds}, longest {max(taken) * 1000:.1f} ms")


def make_tasks(place: str, n: int) -> None:
    """Prompts with answers that were made beforehand."""
    reader = Reader("2026-01-01T00:00:00+00:00")
    for number in range(n):
        prompt = [{"role": "user", "content": f"Question {number}: what would you do, and why?"}]
        answers = [{"content": f"Answer {i} to {number}. " * 8} for i in range(ANSWERS)]
        reader.task(prompt, answers, overlap=OVERLAP)
    with Store.open(place, CONFIG) as store:
        store.take_in(list(reader.events.values()))


def run_half(place: str, seconds: float, think: float, seen: Seen, *, kill: bool) -> None:
    """Everybody works for a while; at the end the process is killed, or ends by itself."""
    words = [sys.executable, __file__, "--work", place, str(seconds + 60 * kill), str(think)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if kill:
            threading.Timer(seconds, process.send_signal, [signal.SIGKILL]).start()
        for line in process.stdout:
            if line.endswith("\n"):  # of the last one a kill may leave a part, which nobody was told
                seen.read(line)
    if process.returncode != (-signal.SIGKILL if kill else 0):
        sys.exit(f"the store's process ended with {process.returncode}")


def work(place: str, seconds: float, think: float) -> None:
    """The store's process: a thread for each person."""
    until = time.monotonic() + seconds
    with Store.open(place, CONFIG) as store:
        threads = [
            threading.Thread(target=annotate, args=(store, f"person-{i}", until, think))
            for i in range(PEOPLE)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def annotate(store: Store, person: str, until: float, think: float) -> None:
    """Take, think, rank; now and then skip, or take back."""
    rng = random.Random(f"{person}/{until}")
    while time.monotonic() < until:
        began = time.perf_counter()
        given = store.next_tasks(person)
        tell(f"next {time.perf_counter() - began}")
        if not given:
            sys.exit(f"{person} has nothing left to do; there must be more tasks")
        time.sleep(rng.expovariate(1 / think) if think else 0)
        task, event_id = given[0], uuid4().hex
        if rng.random() < SKIPPED:
            accept(store, person, Skip(task=task.task), event_id)
            continue
        ranks = [rng.randint(1, 3) for _ in task.completions]
        tell(f"try {event_id} {person} {task.task} {''.join(map(str, ranks))}")
        accept(store, person, task.ranking(ranks, seconds=think), event_id)
        if rng.random() < UNDONE:
            began = time.perf_counter()
            event = store.undo(person, event_id)
            tell(f"ok undo {event.id} {time.perf_counter() - began} {event_id}")


def accept(store: Store, person: str, body: Ranking | Skip, event_id: str) -> None:
    began = time.perf_counter()
    event = store.add(person, body, event_id=event_id)
    tell(f"ok {event.kind} {event.id} {time.perf_counter() - began}")


def tell(line: str) -> None:
    """One line, in one piece: a pipe takes less than 4 KiB whole."""
    os.write(1, f"{line}\n".encode())


def send_again(place: str, seen: Seen) -> None:
    """What nobody heard of is sent once more with its id, as a page does that lost its connection."""
    with Store.open(place, CONFIG) as store:
        for event_id, (person, task, ranks) in list(seen.under_way.items()):
            completions, shown = shown_to(store, person, task)
            order = sorted(range(len(shown)), key=lambda place: shown[place])
            body = Ranking(
                completions=tuple(completions[place] for place in order),
                ranks=tuple(int(ranks[place]) for place in order),
                shown=shown,
                seconds=0.0,
                task=task,
            )
            known = {event.id: event for event in store.events(Ranking.kind, person=person, stands=False)}
            event = known.get(event_id) or store.add(person, body, event_id=event_id)
            seen.read(f"ok {event.kind} {event.id} 0")
            seen.seconds[event.kind].pop()


def shown_to(store: Store, person: str, task: str) -> tuple[Sequence[str], tuple[int, ...]]:
    """The answers of a task in the order in which somebody saw them."""
    body = store.get(task).body
    assert isinstance(body, Task)
    shown = shown_order(task, person, len(body.completions))
    return [body.completions[i] for i in shown], shown


def check(place: str, seen: Seen, *, allowed: int) -> None:
    """The log and the tables against what was told; `allowed` events more may be there."""
    with Store.open(place, CONFIG, create=False) as store:
        log = {event.id: event for event in store.events(Ranking.kind, Skip.kind, Undo.kind, stands=False)}
        standing = {event.id: event for event in store.events(Ranking.kind)}
        lost = seen.accepted.keys() - log.keys()
        unheard = log.keys() - seen.accepted.keys()
        told = {each for each, kind in seen.accepted.items() if kind == Ranking.kind} - seen.undone
        twice = [pair for pair, n in Counter((e.task, e.person) for e in standing.values()).items() if n > 1]
        before = dict(derived(store))
        with store.database.write() as connection:
            recount(connection, before)
        wrong = sum(before[task] != now for task, now in derived(store))
    problems = {
        "lost": len(lost),
        "taken back but standing": len(seen.undone & standing.keys()),
        "accepted but not standing": len(told - standing.keys()),
        "more than were sent": max(0, len(unheard) - allowed - PEOPLE),
        "doubled": len(twice),
        "tasks counted wrongly": wrong,
    }
    if any(problems.values()):
        sys.exit(f"the store is wrong: {problems}")


def derived(store: Store) -> Iterator[tuple[str, tuple[int, str]]]:
    """The rows that the queue keeps of each task."""
    with store.database.read() as connection:
        for row in connection.exec_driver_sql("SELECT id, n_done, state FROM tasks"):
            yield row[0], (row[1], row[2])


if __name__ == "__main__":
    main()
