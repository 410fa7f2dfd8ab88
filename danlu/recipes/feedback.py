"""`danlu feedback import|export|status|tasks …`: the store of what people said of a model's answers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from danlu.config import ConfigError
from danlu.feedback.store import Store
from danlu.feedback.summary import DISPUTED, Status, status
from danlu.inspect.view import console
from danlu.recipes.feedback_files import Given, Wanted, read_events, write_records
from danlu.recipes.feedback_tasks import TasksConfig, make_tasks

SUMMARY = "collect and hand out what people say of answers: danlu feedback import, export, status, tasks"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportConfig:
    path: tuple[Path, ...]  # .jsonl, .jsonl.gz, .parquet, or folders of them
    db: str = "feedback.db"  # SQLite file, or postgresql://user@host/name
    shape: Given = "auto"  # auto: as each record's fields say


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    out: Path  # .jsonl file to be written
    db: str = "feedback.db"  # SQLite file, or postgresql://user@host/name
    shape: Wanted = "comparison"  # events: the whole log
    final: bool = False  # where a dispute was settled, the verdict in place of the rankings


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusConfig:
    db: str = "feedback.db"  # SQLite file, or postgresql://user@host/name
    disputed: float = DISPUTED  # share of agreed pairs up to which somebody must settle


FeedbackConfig = ImportConfig | ExportConfig | StatusConfig | TasksConfig
FORMS: dict[str, type] = {
    "import": ImportConfig,
    "export": ExportConfig,
    "status": StatusConfig,
    "tasks": TasksConfig,
}


def choose(words: Sequence[str]) -> tuple[type, list[str]]:
    """The settings of the form that the first word names, and the words that set them."""
    first, *rest = words or [""]
    if first in FORMS:
        return FORMS[first], rest
    close = difflib.get_close_matches(first, FORMS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"name one of {', '.join(FORMS)}"
    raise ConfigError(f"{first!r} is nothing that danlu feedback does; {hint}")


def run(config: FeedbackConfig) -> None:
    if isinstance(config, ImportConfig):
        take_in(config)
    elif isinstance(config, ExportConfig):
        export(config)
    elif isinstance(config, TasksConfig):
        make_tasks(config)
    else:
        with Store.open(config.db, create=False) as store:
            show(status(store, disputed=config.disputed))


def take_in(config: ImportConfig) -> None:
    """Read files whole, then accept all of them at once."""
    events = read_events(config.path, config.shape, datetime.now(UTC).isoformat(timespec="microseconds"))
    with Store.open(config.db) as store:
        taken = store.take_in(events)
    print(f"new: {_counted(taken.new) or 'nothing'}")
    if taken.known:
        print(f"here before, left as they were: {_counted(taken.known)}")


def export(config: ExportConfig) -> None:
    """Write one file, whole or not at all."""
    with Store.open(config.db, create=False) as store:
        n, left_out = write_records(store, config.out, config.shape, final=config.final)
    print(f"{n:,} records: {config.out}")
    for why, count in left_out.items():
        print(f"left out: {count:,} {why}")


def show(found: Status) -> None:
    """What there is, how far people agree, what is missing."""
    screen, queue = console(), found.queue
    screen.print(_counted(found.counts) or "nothing has been collected")
    if found.people:
        screen.print(_people(found))
    screen.print(
        f"agreement on {found.n_doubled:,} sets of answers that two or more people ranked: "
        f"{_percent(found.agreement)} of the pairs, Krippendorff's alpha {_number(found.ranking_alpha)}; "
        f"ratings {_number(found.rating_alpha)}"
    )
    screen.print(
        f"tasks: {queue.n_done:,} done, {queue.n_open:,} open ({queue.n_leased:,} in somebody's hands), "
        f"{queue.n_gold:,} gold questions"
    )
    for line in missing(found):
        screen.print(f"missing: {line}")


def missing(found: Status) -> list[str]:
    """What would make the collection complete."""
    lines: list[str] = []
    if found.queue.n_missing:
        lines.append(f"{found.queue.n_missing:,} judgements of {found.queue.n_open:,} open tasks")
    if found.disputes:
        lines.append(f"a verdict on {len(found.disputes):,} sets of answers about which people disagree")
    if not found.n_doubled:
        lines.append("answers that two people ranked: without them nobody knows how far people agree")
    return lines


def _people(found: Status) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for number, name in enumerate(("person", "judged", "skipped", "median s", "agreement", "noise", "gold")):
        table.add_column(name, justify="right" if number else "left")
    for row in found.people:
        table.add_row(
            *(Text(row.person or "(nobody)"), f"{row.n:,}", f"{row.n_skipped:,}"),
            "" if row.seconds is None else f"{row.seconds:.0f}",
            *(_percent(row.agreement), _percent(row.noise), _percent(row.gold)),
        )
    return table


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {kind}{'s' * (n != 1)}" for kind, n in sorted(counts.items()) if n)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
