"""The report of a run of rounds: a page and a JSON file with the same numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from danlu.evaluate.findings import Tree, curves, finite, read_json, read_lines, read_text
from danlu.evaluate.markup import Markup, both, join, number, tag
from danlu.evaluate.page import page
from danlu.evaluate.sections import rounds as sections


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round's stages have written."""

    number: int
    rankings: Tree  # how many, and how far people agree
    reward: Tree  # of the reward model, on held-out rankings and against the truth where it is known
    ppo: Tree
    frontier: Tree  # the guard's looks
    best_of_n: list[Tree]
    gain: Tree  # by judges, where there is no exam
    curves: dict[str, list[list[float]]]  # of PPO, [step, value]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsData:
    """Every number of the report; `report.json` is this and nothing else."""

    name: str
    config: str
    exam: Tree  # share of questions answered right, and paired differences
    true_score: Tree  # the same answers by what they are worth
    rounds: list[Round] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # by stage


def build_report(run_dir: Path) -> Path:
    """Write `report.html` and `report.json` into the run directory, from what is there."""
    data = collect(run_dir)
    tree = json.dumps(finite(asdict(data)), ensure_ascii=False, indent=1, allow_nan=False)
    (run_dir / "report.json").write_text(tree, encoding="utf-8")
    path = run_dir / "report.html"
    path.write_text(render(data), encoding="utf-8")
    return path


def collect(run_dir: Path) -> RoundsData:
    """Read whatever rounds have written."""
    folders = sorted(run_dir.glob("round-*"), key=lambda path: int(path.name.removeprefix("round-")))
    return RoundsData(
        name=run_dir.resolve().name,
        config=read_text(run_dir / "config.toml"),
        exam=read_json(run_dir / "evaluate" / "exam" / "summary.json"),
        true_score=read_json(run_dir / "evaluate" / "true_score" / "summary.json"),
        rounds=[read_round(folder) for folder in folders],
        seconds=read_json(run_dir / "done.json"),
    )


def read_round(folder: Path) -> Round:
    best_of_n = folder / "best_of_n.json"
    return Round(
        number=int(folder.name.removeprefix("round-")),
        rankings=read_json(folder / "rankings" / "summary.json"),
        reward=read_json(folder / "reward" / "summary.json"),
        ppo=read_json(folder / "ppo" / "summary.json"),
        frontier=read_json(folder / "ppo" / "frontier.json"),
        best_of_n=json.loads(best_of_n.read_text(encoding="utf-8")) if best_of_n.exists() else [],
        gain=read_json(folder / "evaluate" / "summary.json"),
        curves=curves(read_lines(folder / "ppo" / "metrics.jsonl")),
    )


def render(data: RoundsData) -> str:
    """The page; sections without data are left out."""
    made = (
        ("gains", both("gains", "提升"), sections.gains(data.exam, data.true_score)),
        ("judged", both("gains by judges", "评审给出的提升"), sections.judged(data.rounds)),
        ("rounds", both("rounds", "各轮"), sections.table_of_rounds(data.rounds)),
        ("frontier", both("frontier", "前沿"), sections.frontiers(data.rounds)),
        ("settings", both("settings", "设置"), sections.settings(data.config)),
    )
    return page(
        data.name, subtitle(data), [(key, name, body) for key, name, body in made if body is not None]
    )


def subtitle(data: RoundsData) -> Markup:
    n, seconds = len(data.rounds), sum(data.seconds.values())
    shown = [join([n, both(" rounds of RLHF", " 轮 RLHF")]), number(seconds, "duration")]
    return join([tag("b", data.name), *shown], " · ")
