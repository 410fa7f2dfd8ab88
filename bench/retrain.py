"""How long from the last judgement to a retrained reward model in use?

    python bench/retrain.py runs/demo [--minutes 0.5]

Takes the rankings of a finished `danlu run` into a feedback store, all but one, and starts `danlu studio`
over its SFT model. Then somebody hands in the last one, and a lesson for the reward model is begun as the
button of the page Teach begins it. The clock runs from handing in until `/v1/score` of the studio answers
with what the new reward model says, both included.

Prints where the time went, and how many held-out pairs the reward model orders as people do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rich.console import Console
from rich.table import Table
from studio_rounds import studio

from danlu.feedback.exchange import Reader
from danlu.feedback.store import Store
from danlu.serve.studio.workshop import Lesson, Workshop

LOOK_S = 0.1  # how often the lesson is looked at
PERSON = "me"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="directory of a finished `danlu run` in the embedded world")
    parser.add_argument("--minutes", type=float, default=0.5, help="for training at most, as on the page")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments.run, Path(folder), arguments.minutes)


def measure(run: Path, folder: Path, minutes: float) -> None:
    db, sft = folder / "feedback.db", run / "sft"
    last = collect(run / "teaching" / "rankings.jsonl", folder, db)
    workshop = Workshop(runs=folder, db=str(db), models={"sft": sft / "model"}, load=refuse)
    with studio(sft, folder, db) as address, Store.open(db) as store:
        model = ask(f"{address}/v1/models")["data"][0]["id"]
        wanted = {"model": model, "prompt": last["prompt"], "completions": last["completions"]}
        assert score(address, wanted) is None, "there is a reward model already"
        began = time.perf_counter()
        judge(store, last)
        lesson = ended(workshop, workshop.begin("reward", "sft", minutes, PERSON))
        at_end = time.perf_counter()
        scores = score(address, wanted)
        in_use = time.perf_counter()
    assert scores is not None
    assert len(set(scores)) > 1
    show(lesson, in_use - began, in_use - at_end)


def collect(rankings: Path, folder: Path, db: Path) -> dict[str, Any]:
    """Take in all rankings but the last, which waits as a task and is returned."""
    *lines, final = rankings.read_text(encoding="utf-8").splitlines()
    most, last = folder / "rankings.jsonl", json.loads(final)
    most.write_text("\n".join(lines) + "\n", encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "danlu", "feedback", "import", f"path={most}", f"db={db}"], check=True
    )
    reader = Reader("2026-01-01T00:00:00+00:00")
    reader.task(last["prompt"], [{"content": text} for text in last["completions"]])
    with Store.open(db) as store:
        store.take_in(list(reader.events.values()))
    return last


def judge(store: Store, last: Mapping[str, Any]) -> None:
    """What the page Rank does when the last task is handed in."""
    (given,) = store.next_tasks(PERSON, 1, "rank")
    rank = dict(zip(last["completions"], last["ranks"], strict=True))
    store.add(PERSON, given.ranking([rank[text] for _, text in given.completions]))


def ended(workshop: Workshop, lesson: Lesson) -> Lesson:
    """The lesson at its end."""
    while lesson.state == "running":
        time.sleep(LOOK_S)
        lesson = workshop.lesson(lesson.name) or lesson
    if lesson.state != "done":
        sys.exit(f"the lesson has {lesson.state}:\n{workshop.log(lesson.name)}")
    return lesson


def show(lesson: Lesson, total_s: float, loading_s: float) -> None:
    steps: dict[str, float] = json.loads((lesson.out / "done.json").read_text(encoding="utf-8"))
    summary = json.loads((lesson.out / "reward" / "summary.json").read_text(encoding="utf-8"))
    starting_s = total_s - loading_s - sum(steps.values())
    table = Table("from the last judgement", "seconds", box=None)
    rows = {"handing in, starting": starting_s, **steps, "first score": loading_s, "in all": total_s}
    for name, seconds in rows.items():
        table.add_row(name, f"{seconds:.1f}")
    console = Console()
    console.print(table)
    accuracy = summary["held_out"]["accuracy"]
    console.print(
        f"{summary['n_comparisons']:,} rankings learnt in {summary['n_steps']:,} updates; held-out pairs"
    )
    console.print(
        f"ordered as ranked: {accuracy['mean']:.1%} ({accuracy['low']:.1%} to {accuracy['high']:.1%})"
    )


def score(address: str, wanted: Mapping[str, Any]) -> list[float] | None:
    """What the newest reward model says; None as long as there is none."""
    try:
        return [each["score"] for each in ask(f"{address}/v1/score", wanted)["data"]]
    except HTTPError as error:
        if error.code != 404:
            raise
        return None


def ask(url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data, {"Content-Type": "application/json"}), timeout=60) as reply:
        return json.load(reply)


def refuse(name: str, path: Path) -> Any:
    raise RuntimeError(f"{name} in {path} was to be loaded here; the studio is who loads models")


if __name__ == "__main__":
    main()
