"""What a run directory holds, gathered for the report; a stage that has not run is simply absent."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from danlu.data.records import DataError
from danlu.evaluate.exam import Graded, load_results

STAGES = ("data", "tokenizer", "pretrain", "sft", "comparisons", "reward", "ppo", "evaluate")
MAX_POINTS = 240  # of a curve: more than a chart of this size can show
MAX_SAMPLES = 14

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage's own words about itself."""

    summary: Tree = field(default_factory=dict)
    curves: dict[str, list[list[float]]] = field(default_factory=dict)  # [step, value] of each metric
    config: str = ""  # its settings, as TOML


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Every number of the report; `report.json` is this and nothing else."""

    name: str
    config: str = ""  # the run's own settings, as TOML
    notes: dict[str, str] = field(default_factory=dict)  # what the run says of its result, by language
    plan: Tree = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)
    account: Tree = field(default_factory=dict)  # what went in, what cleaning mended and dropped
    corpus: Tree = field(default_factory=dict)  # the account in sums
    exam: Tree = field(default_factory=dict)
    answers: list[Tree] = field(default_factory=list)  # some questions with every system's answer
    outcome: list[Tree] = field(default_factory=list)  # predicted and actual, side by side
    resources: list[Tree] = field(default_factory=list)  # time and memory by stage
    bits: list[Tree] = field(default_factory=list)  # bits per byte of each system
    ppo: Tree = field(default_factory=dict)  # where PPO began and ended

    def to_tree(self) -> Tree:
        return finite(asdict(self))

    def summary(self, stage: str) -> Tree:
        return self.stages[stage].summary if stage in self.stages else {}

    def curve(self, stage: str, name: str) -> list[list[float]]:
        return self.stages[stage].curves.get(name, []) if stage in self.stages else []


def collect(run_dir: Path) -> ReportData:
    """Read whatever stages have written."""
    if not run_dir.is_dir():
        raise DataError(f"{run_dir}: no such run directory; danlu run makes one")
    stages = {name: read_stage(run_dir / name) for name in STAGES if (run_dir / name).is_dir()}
    plan = read_json(run_dir / "plan.json")
    account = read_json(run_dir / "data" / "account.json")
    exam = read_json(run_dir / "evaluate" / "summary.json")
    systems = {name: run_dir / "evaluate" / f"{name}.jsonl" for name in exam.get("systems", {})}
    graded = {name: load_results(path) for name, path in systems.items() if path.exists()}
    return ReportData(
        name=run_dir.resolve().name,
        config=read_text(run_dir / "config.toml"),
        notes=read_json(run_dir / "notes.json"),
        plan=plan,
        stages=stages,
        account={name: group for name, group in account.items() if name != "read"},  # a line a file: too many
        corpus=corpus_totals(account) if account else {},
        exam=exam,
        answers=side_by_side(graded) or read_lines(run_dir / "evaluate" / "samples.jsonl"),
        outcome=outcome(plan, stages),
        resources=resources(stages),
        bits=bits_of_systems(read_json(run_dir / "evaluate" / "bits.json"), stages),
        ppo=ppo_course(stages["ppo"]) if "ppo" in stages else {},
    )


def read_stage(folder: Path) -> Stage:
    summary = read_json(folder / "summary.json")
    return Stage(
        summary={key: value for key, value in summary.items() if key not in EXAM_KEYS},
        curves=curves(read_lines(folder / "metrics.jsonl")),
        config=read_text(folder / "config.toml"),
    )


EXAM_KEYS = ("systems", "differences", "labels")  # these stand under `exam`


def read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def read_json(path: Path) -> Tree:
    """An object from a file, or an empty one where there is no file."""
    if not path.exists():
        return {}
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(tree, dict):
        raise DataError(f"{path}: holds a {type(tree).__name__}; it must be an object")
    return tree


def read_lines(path: Path) -> list[Tree]:
    """One object a line; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    rows: list[Tree] = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if number == len(lines) and not line.endswith("\n"):
                break
            raise DataError(f"{path}:{number}: not valid JSON: {error}") from error
    return rows


def curves(rows: Iterable[Tree]) -> dict[str, list[list[float]]]:
    """Each number over the updates; nested names are joined with dots, gaps are left out."""
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        for name, value in flat(row):
            if name != "step" and math.isfinite(value):
                found.setdefault(name, []).append([row["step"], value])
    return {name: thinned(points) for name, points in found.items()}


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, float]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + key, float(value)


def thinned(points: list[list[float]], limit: int = MAX_POINTS) -> list[list[float]]:
    """At most `limit` points, each the mean of its neighbours."""
    size = -(-len(points) // limit)
    groups = [points[i : i + size] for i in range(0, len(points), size)] if size > 1 else []
    means = [[sum(axis) / len(group) for axis in zip(*group, strict=True)] for group in groups]
    return means or points


def corpus_totals(account: Tree) -> Tree:
    """Documents and bytes in all, and how many of the clean ones were lost."""
    totals: Tree = {
        verb: {
            unit: sum(group[unit] for group in account.get(verb, {}).values())
            for unit in ("documents", "bytes")
        }
        for verb in ("read", "dropped", "kept")
    }
    if clean := (account.get("grade") or {}).get("clean"):
        totals["clean_lost_share"] = clean["lost"] / max(1, clean["documents"])
    return totals


def side_by_side(results: Mapping[str, Sequence[Graded]]) -> list[Tree]:
    """The first question of each category, languages in turn, with all answers: nobody picked them."""
    if not results:
        return []
    first = next(iter(results.values()))
    languages = sorted({result.language for result in first})
    chosen: list[Graded] = []
    for category in dict.fromkeys(result.category for result in first):
        wanted = languages[len(chosen) % len(languages)]
        of_category = [result for result in first if result.category == category]
        chosen.append(next((r for r in of_category if r.language == wanted), of_category[0]))
    by_id = {name: {r.question_id: r for r in graded} for name, graded in results.items()}
    return [
        {
            "category": question.category,
            "language": question.language,
            "messages": list(question.messages),
            "answers": {
                name: {"text": found[question.question_id].answer, "score": found[question.question_id].score}
                for name, found in by_id.items()
                if question.question_id in found
            },
        }
        for question in chosen[:MAX_SAMPLES]
    ]


def outcome(plan: Tree, stages: Mapping[str, Stage]) -> list[Tree]:
    """Predicted and actual time, tokens and loss; the loss is predicted for the tokens really trained."""
    predicted = plan.get("predicted", {})
    trained = stages["pretrain"].summary if "pretrain" in stages else {}
    seconds = [stage.summary.get("seconds") for stage in stages.values()]
    total = sum(value for value in seconds if value is not None) or None
    rows = [
        ("seconds", predicted.get("total_seconds"), total),
        ("tokens", predicted.get("tokens"), trained.get("n_tokens")),
        (
            "loss",
            trained.get("predicted_loss", predicted.get("loss")),
            trained.get("held_out", {}).get("bits_per_byte", {}).get("all"),
        ),
    ]
    rows += [
        (f"seconds.{name}", predicted.get("seconds", {}).get(name), stage.summary.get("seconds"))
        for name, stage in stages.items()
    ]
    return [
        {"what": what, "predicted": guess, "actual": actual, "change": actual / guess - 1}
        for what, guess, actual in rows
        if guess and actual
    ]


def resources(stages: Mapping[str, Stage]) -> list[Tree]:
    """Seconds, share of the whole and peak memory of each stage that says so."""
    timed = {name: s.summary for name, s in stages.items() if s.summary.get("seconds") is not None}
    total = sum(summary["seconds"] for summary in timed.values())
    return [
        {
            "stage": name,
            "seconds": summary["seconds"],
            "share": summary["seconds"] / total if total else 0.0,
            "peak_memory_bytes": summary["peak_memory_mb"] * 2**20 if "peak_memory_mb" in summary else None,
        }
        for name, summary in timed.items()
    ]


def bits_of_systems(measured: Tree, stages: Mapping[str, Stage]) -> list[Tree]:
    """Bits per byte of held-out text by language for each system, and the change from the one before.

    What stands under `references`, such as a compressor, is shown below them and not compared.
    """
    trained = stages["pretrain"].summary if "pretrain" in stages else {}
    if not measured and "held_out" in trained:
        measured = {"base": trained["held_out"]["bits_per_byte"]}
    references = measured.get("references", {})
    systems = {name: bits for name, bits in measured.items() if name != "references"}
    rows: list[Tree] = [{"system": name, "bits_per_byte": bits} for name, bits in systems.items()]
    for before, row in pairwise(rows):
        row["change"] = {
            lang: bits / before["bits_per_byte"][lang] - 1
            for lang, bits in row["bits_per_byte"].items()
            if before["bits_per_byte"].get(lang)
        }
    return [*rows, *({"system": name, "bits_per_byte": bits} for name, bits in references.items())]


def ppo_course(stage: Stage) -> Tree:
    """Each rollout statistic over the first and the last third of the run, and the controller's target."""
    course: Tree = {
        name.removeprefix("rollout."): {"first": mean_of_part(points, 0), "last": mean_of_part(points, 2)}
        for name, points in stage.curves.items()
        if name.startswith("rollout.") and len(points) >= 3
    }
    target = tomllib.loads(stage.config).get("kl", {}).get("target")
    if isinstance(target, int | float):
        course["kl_target"] = float(target)
        if "kl" in course:
            course["kl_from_target"] = course["kl"]["last"] / target - 1
    return course


def mean_of_part(points: Sequence[Sequence[float]], third: int) -> float:
    part = points[len(points) * third // 3 : len(points) * (third + 1) // 3]
    return sum(value for _, value in part) / len(part)


def finite(tree: Any) -> Any:
    """The same with None for what JSON cannot say: NaN and infinity."""
    if isinstance(tree, dict):
        return {key: finite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
