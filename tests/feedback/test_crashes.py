"""Kill -9 at every step of a judgement, and at any moment: what was acknowledged is there, once."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from people import derived

from danlu.feedback.exchange import Reader
from danlu.feedback.queue import recount
from danlu.feedback.store import Store

WRITER = Path(__file__).parent / "crashing_writer.py"


def make_tasks(place: Path, n: int) -> None:
    reader = Reader("2026-05-04T09:00:00+00:00")
    for number in range(n):
        prompt = [{"role": "user", "content": str(number)}]
        reader.task(prompt, [{"content": "a"}, {"content": "b"}])
    with Store.open(place) as store:
        store.take_in(list(reader.events.values()))


def check_whole(place: Path, acknowledged: list[str]) -> None:
    """Every acknowledged judgement is there, none twice, and the queue says what the log says."""
    with sqlite3.connect(place) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    raw.close()
    with Store.open(place, create=False) as store:
        rankings = list(store.events("ranking"))
        assert set(acknowledged) <= {each.id for each in rankings}
        assert set(Counter((each.task, each.person) for each in rankings).values()) <= {1}
        before = derived(store)
        with store.database.write() as connection:
            recount(connection, before)
        assert derived(store) == before
        done = {each.task for each in rankings}
        assert {task for task, (n, _) in before.items() if n} == done


@pytest.mark.parametrize("way", ["before", "after"])
def test_killed_at_every_statement_nothing_acknowledged_is_lost(tmp_path: Path, way: str):
    place = tmp_path / "feedback.db"
    make_tasks(place, 6)
    done = subprocess.run(
        [sys.executable, str(WRITER), str(place), way, "0"], capture_output=True, text=True, check=True
    )
    runs = [line.split() for line in done.stdout.splitlines()]
    acknowledged = [event_id for run in runs for event_id in run[2:]]
    # Each child died one step later than the one before, until one came through all that was left.
    assert [int(run[0]) for run in runs] == list(range(1, len(runs) + 1))
    assert runs[-1][1] == "1"
    assert len(runs) > 15
    assert len(set(acknowledged)) == len(acknowledged) <= 6
    check_whole(place, acknowledged)
    with Store.open(place) as store:
        assert set(derived(store).values()) == {(1, "done")}  # nothing was left hanging


def test_killed_at_any_moment_nothing_acknowledged_is_lost(tmp_path: Path):
    place = tmp_path / "feedback.db"
    make_tasks(place, 60)
    acknowledged: list[str] = []
    for number in range(3):
        with subprocess.Popen(
            [sys.executable, str(WRITER), str(place), "working"], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            acknowledged += [writer.stdout.readline().strip() for _ in range(5)]
            time.sleep(0.003 * number)  # wherever that falls in the next one
            writer.send_signal(signal.SIGKILL)
            # What was written and not yet read was acknowledged, too; the last line may be cut.
            acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
        check_whole(place, [each for each in acknowledged if each != "end"])


def test_a_judgement_whose_acknowledgement_was_lost_is_sent_again_and_counts_once(tmp_path: Path):
    place = tmp_path / "feedback.db"
    make_tasks(place, 1)
    with Store.open(place) as store:
        given = store.next_tasks("ann")[0]
        store.add("ann", given.ranking([1, 2]), event_id="ab" * 16)
    with Store.open(place) as store:  # the page, after the server came back
        store.add("ann", given.ranking([1, 2]), event_id="ab" * 16)
        assert len(list(store.events("ranking"))) == 1
