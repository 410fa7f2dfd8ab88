"""Does a model get better from round to round when people judge it in the studio?

    python bench/studio_rounds.py runs/demo --out runs/studio_rounds [--rounds 3] [--labels 2000] [--pages 40]

Begins with the SFT model of a finished `danlu run` in the embedded world. In each round the model answers
new questions; `danlu feedback tasks` makes tasks of them; the world's annotators, each with an account,
rank them; `danlu feedback export` writes what they said; `danlu rlhf` trains a reward model on it and the
policy by PPO, and examines the model. The first `--pages` tasks of a round are ranked by keys on the page
Rank of `danlu studio` in a browser (Playwright, and Chromium at /usr/bin/chromium or in the variable
CHROMIUM), in several windows at once; the others by the calls that this page makes, everybody in a thread
of their own.

Prints how many judgements there are, and the exam and the true score after every round with its paired
gain. The same command goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf_rounds import show

from danlu.feedback.accounts import Accounts
from danlu.feedback.queue import Assignment
from danlu.feedback.records import Ranking
from danlu.feedback.store import Store
from danlu.recipes import rounds
from danlu.recipes.asking import WorldAsks
from danlu.recipes.jsonl import write_jsonl
from danlu.recipes.ranking_tasks import distinct
from danlu.recipes.round_settings import RankingsConfig, RlhfConfig
from danlu.train.checkpoint import replace_file
from danlu.world.annotators import Annotator, pool
from danlu.world.question import Question

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
PASSWORD = "a password for {}"
IN_HAND = 2  # tasks that the page Rank holds: one to do, and the next


@dataclass(frozen=True, slots=True, kw_only=True)
class School:
    """The whole of it: who is taught by whom, and where the files lie."""

    run: Path
    out: Path
    rounds: int
    labels: int  # tasks a round
    pages: int  # of these, ranked on the page
    episodes: int  # of PPO a round
    per_cell: int
    seed: int

    @property
    def db(self) -> Path:
        return self.out / "feedback.db"

    @property
    def rlhf(self) -> Path:
        return self.out / "rlhf"

    def ranked(self, number: int) -> Path:
        """What people said in a round."""
        return self.out / f"round-{number}-ranked.jsonl"

    def words(self, number: int) -> list[str]:
        """`danlu rlhf` up to a round."""
        files = [str(self.ranked(n)) for n in range(1, number + 1)]
        return [
            *("rlhf", f"sft={self.run / 'sft'}", f"out={self.rlhf}", f"rounds={number}"),
            *("rankings.by=files", f"rankings.files={json.dumps(files)}"),
            *(f"rankings.n_prompts={self.labels}", f"exam_per_cell={self.per_cell}", f"seed={self.seed}"),
            *("judges=0", "best_of=0", f"ppo.n_episodes={self.episodes}"),
        ]

    def asking(self) -> WorldAsks:
        """Who knows the questions of each round, and the truth."""
        rankings = RankingsConfig(n_prompts=self.labels)
        config = RlhfConfig(sft=self.run / "sft", out=self.rlhf, rankings=rankings, seed=self.seed)
        asking = rounds.begin(config).asking
        assert isinstance(asking, WorldAsks)
        return asking


def main() -> None:
    school = parse_arguments()
    asking = school.asking()
    people = pool(asking.teacher.seed)
    make_accounts(school, people)
    for number in range(1, school.rounds + 1):
        if not school.ranked(number).exists():
            collect(school, asking, people, number)
        command(*school.words(number))
    show(f"{school.rounds} rounds judged in the studio", school.rlhf)


def collect(school: School, asking: WorldAsks, people: Sequence[Annotator], number: int) -> None:
    """One round's answers, tasks, judgements, and what is exported of them."""
    model = school.rlhf / f"round-{number - 1}" / "ppo" if number > 1 else school.run / "sft"
    tasks = school.out / f"round-{number}-tasks.jsonl"
    if not tasks.exists():
        write_jsonl(tasks, as_tasks(asking.tasks(model / "model", number)))
    db = f"db={school.db}"
    command("feedback", "tasks", f"prompts={tasks}", "doubled=0.1", db)
    known = {key_of(q.messages): q for q in asking.to_rank(number).values()}
    with Store.open(school.db) as store:
        n_before = sum(1 for _ in store.events(Ranking.kind))
        if school.pages:
            with studio(model, school.out, school.db) as address:
                on_pages(address, store, people, known, n_before + school.pages)
        n_pages = sum(1 for _ in store.events(Ranking.kind)) - n_before
        with ThreadPoolExecutor(len(people)) as threads:
            n_calls = sum(threads.map(lambda person: by_calls(store, person, known), people))
        n_all = sum(1 for _ in store.events(Ranking.kind)) - n_before
    print(f"round {number}: {n_pages:,} rankings on pages, {n_calls:,} by calls, {n_all:,} in the store")
    assert n_all == n_pages + n_calls
    command("feedback", "status", db)
    every = school.out / "every.jsonl"
    command("feedback", "export", f"out={every}", db)
    earlier = {line for n in range(1, number) for line in lines_of(school.ranked(n))}
    fresh = [line for line in lines_of(every) if line not in earlier]
    replace_file(school.ranked(number), "".join(f"{line}\n" for line in fresh))


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def as_tasks(records: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What differs is ranked; a page shows nothing twice."""
    for record in records:
        different = distinct(record["completions"])
        if len(different) > 1:
            yield {**record, "completions": different}


def key_of(messages: Sequence[Mapping[str, object]]) -> str:
    return json.dumps([[each["role"], each["content"]] for each in messages], ensure_ascii=False)


def ranks_of(person: Annotator, task: Assignment, known: Mapping[str, Question]) -> list[int]:
    """What somebody makes of the answers, in the order shown."""
    return person.rank(known[key_of(task.prompt)], [text for _, text in task.completions])


def by_calls(store: Store, person: Annotator, known: Mapping[str, Question]) -> int:
    """Rank as the page does until nothing is left; how many."""
    n = 0
    while given := store.next_tasks(person.id, IN_HAND, "rank"):
        store.add(person.id, given[0].ranking(ranks_of(person, given[0], known)))
        n += 1
    return n


def on_pages(
    address: str, store: Store, people: Sequence[Annotator], known: Mapping[str, Question], until: int
) -> None:
    """Everybody in a window of their own, one ranking each in turn, by keys."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        windows = {person: sign_in(browser, address, person.id) for person in people}
        n_of = dict.fromkeys(people, 0)
        while sum(1 for _ in store.events(Ranking.kind)) < until:
            for person, page in windows.items():
                given = store.next_tasks(person.id, IN_HAND, "rank")  # what the page holds already
                if not given:
                    return
                assert page.locator(".dl-answer").count() == len(given[0].completions)
                for key in keys_of(ranks_of(person, given[0], known)):
                    page.keyboard.press(key)
                n_of[person] += 1
                page.wait_for_selector(f"text=Handed in: {n_of[person]}")
        browser.close()


def keys_of(ranks: Sequence[int]) -> Iterator[str]:
    """The keys that put answers 1, 2, … at these ranks."""
    order = sorted(range(len(ranks)), key=lambda i: ranks[i])
    for place, answer in enumerate(order):
        if place and ranks[answer] == ranks[order[place - 1]]:
            yield "="
        yield str(answer + 1)
    yield "Enter"


def sign_in(browser: Any, address: str, name: str) -> Any:
    page = browser.new_context(locale="en-US").new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{address}/studio/rank")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD.format(name))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector(".dl-answer")
    page.wait_for_function("window.socket && window.socket.connected")
    return page


@contextmanager
def studio(model: Path, runs: Path, db: Path) -> Generator[str]:
    """The real server over a model; its address."""
    words = ["studio", str(model), f"db={db}", f"runs={runs}", "port=0"]
    with subprocess.Popen(
        [sys.executable, "-m", "danlu", *words], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("the studio is at "):
            sys.exit(f"the studio did not start: {line}")
        try:
            yield line.split()[4].removesuffix("/studio")
        finally:
            process.terminate()


def make_accounts(school: School, people: Sequence[Annotator]) -> None:
    school.out.mkdir(parents=True, exist_ok=True)
    with Store.open(school.db) as store:
        accounts = Accounts(store)
        known = {person.name for person in accounts.people()}
        roles = {"boss": "admin"} | {person.id: "annotator" for person in people}
        for name, role in roles.items():
            if name not in known:
                accounts.add(name, "admin" if role == "admin" else "annotator", PASSWORD.format(name))


def command(*words: str) -> None:
    print("danlu", *words, flush=True)
    subprocess.run([sys.executable, "-m", "danlu", *words], check=True)


def parse_arguments() -> School:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("run", type=Path, help="directory of a finished `danlu run` in the embedded world")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--labels", type=int, default=2000, help="prompts that are ranked in a round")
    parser.add_argument("--pages", type=int, default=40, help="of these on the page, in a browser; 0: none")
    parser.add_argument("--episodes", type=int, default=4096, help="of PPO, in a round")
    parser.add_argument("--per-cell", type=int, default=50, help="exam questions a category and language")
    parser.add_argument("--seed", type=int, default=0)
    return School(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
