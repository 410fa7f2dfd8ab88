"""Runs as they lie on the disk: settings, curves, summaries, and what each was made from.

A run may be half written, broken, or by somebody else: what cannot be read is left out, and nothing is
believed to be more than text and numbers.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard, cast

Curves = Mapping[str, Sequence[tuple[float, float]]]  # metric → (step, value)
CONFIG, METRICS, SUMMARY, REPORT = "config.toml", "metrics.jsonl", "summary.json", "report.html"
ENDS = (SUMMARY, "result.json", "report.json")  # one of them is there when a run has ended
MOST_RUNS, MOST_FOLDERS = 500, 20_000
MOST_BYTES = 64 << 20  # of a file that is read
MOST_METRICS = 60
NO_RUNS = frozenset({"checkpoints", "model", "adapter", "shards", "data", "teaching", "raw", "clean"})
# By which settings a stage is told, the most telling first.
KINDS = (
    ("lesson", {"db", "stage"}),
    ("instruct", {"seeds", "filters"}),
    ("rounds", {"sft", "rounds"}),
    ("ppo", {"policy", "value_model"}),
    ("policy", {"policy", "prompts"}),
    ("preferences", {"policy", "comparisons"}),
    ("reward", {"base", "comparisons"}),
    ("pretrain", {"tokenizer", "shards"}),
    ("sft", {"base", "data"}),
    ("whole", {"minutes", "teaching"}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run."""

    name: str  # its folder below the folder of runs
    path: Path
    kind: str  # one of KINDS, or "other"
    config: Mapping[str, Any]
    changed_at: float  # seconds since 1970
    ended: bool

    @property
    def summary(self) -> Mapping[str, Any]:
        return read_tree(self.path / SUMMARY)

    @property
    def curves(self) -> Curves:
        return read_curves(self.path / METRICS)

    @property
    def has_report(self) -> bool:
        return (self.path / REPORT).is_file()


def find_runs(root: Path) -> list[RunRecord]:
    """Every run below a folder, the one that changed last first."""
    found = [each for folder in folders_of(root) if (each := read_run(root, folder)) is not None]
    return sorted(found, key=lambda run: -run.changed_at)[:MOST_RUNS]


def find_run(root: Path, name: str) -> RunRecord | None:
    """The run of a name that `find_runs` gave; names that lead elsewhere are of none."""
    try:
        folder = (root / name).resolve()
    except (OSError, ValueError, RuntimeError):  # no name of a file, or a circle of links
        return None
    return read_run(root, folder) if folder.is_relative_to(root.resolve()) and folder.is_dir() else None


def folders_of(root: Path) -> Iterator[Path]:
    """The folders below a folder in which runs may lie."""
    for place, names, _ in islice(os.walk(root), MOST_FOLDERS):
        names[:] = sorted(
            name for name in names if name not in NO_RUNS and not name.startswith((".", "step-"))
        )
        yield Path(place)


def read_run(root: Path, folder: Path) -> RunRecord | None:
    """The run in a folder, if there is one."""
    try:
        config = tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
        times = [
            (folder / name).stat().st_mtime for name in (CONFIG, METRICS, *ENDS) if (folder / name).is_file()
        ]
    except (OSError, ValueError, RecursionError):
        return None
    name = str(folder.resolve().relative_to(root.resolve()))
    return RunRecord(
        name=name,
        path=folder,
        kind=next((kind for kind, keys in KINDS if keys <= config.keys()), "other"),
        config=config,
        changed_at=max(times),
        ended=any((folder / each).is_file() for each in ENDS),
    )


def read_tree(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file; an empty one where there is none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return {}
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast(Mapping[str, Any], tree) if isinstance(tree, dict) else {}


def read_curves(path: Path) -> Curves:
    """Every metric of a run that is a number, as it was written; lines that are none are passed over."""
    curves: dict[str, list[tuple[float, float]]] = {}
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES)
    except OSError:
        return {}
    for line in data.splitlines():
        try:
            tree = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(tree, dict):
            _add(curves, cast(dict[str, Any], tree))
    return curves


def _add(curves: dict[str, list[tuple[float, float]]], tree: Mapping[str, Any]) -> None:
    step = tree.get("step")
    if not is_number(step):
        return
    for name, value in _flat(tree):
        if name != "step" and is_number(value) and (name in curves or len(curves) < MOST_METRICS):
            curves.setdefault(name, []).append((float(step), float(value)))


def _flat(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Metrics with those of groups, such as `rollout.score`."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", each) for inner, each in cast(dict[str, Any], value).items())
        else:
            yield name, value


def is_number(value: Any) -> TypeGuard[float]:
    """A number that can be drawn."""
    return type(value) in (int, float) and math.isfinite(value)


def made_from(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings that name files and folders, as (key, path), those inside tables too."""
    found: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, dict):
            found += [(f"{key}.{inner}", path) for inner, path in made_from(cast(dict[str, Any], value))]
        elif isinstance(value, list):
            found += [(key, each) for each in cast(list[Any], value) if _is_path(key, each)]
        elif _is_path(key, value):
            found.append((key, value))
    return found


def _is_path(key: str, value: Any) -> bool:
    named = key in SOURCES and isinstance(value, str) and value not in ("none", "(by round)", "")
    return named and len(value) < 4096


def lineage(root: Path, run: RunRecord, deep: int = 12) -> list[tuple[int, str, str, RunRecord | None]]:
    """What a run was made from, and what that was made from: depth, key, path, and the run that made it."""
    rows: list[tuple[int, str, str, RunRecord | None]] = []
    seen = {run.path.resolve()}

    def walk(config: Mapping[str, Any], depth: int) -> None:
        for key, path in made_from(config):
            maker = run_around(root, Path(path))
            rows.append((depth, key, path, maker))
            if maker is not None and maker.path.resolve() not in seen and depth < deep:
                seen.add(maker.path.resolve())
                walk(maker.config, depth + 1)

    walk(run.config, 0)
    return rows


def run_around(root: Path, path: Path) -> RunRecord | None:
    """The run in whose folder something lies, among those below `root`; the innermost counts."""
    try:
        place = path.resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    for folder in (place, *place.parents):
        if not folder.is_relative_to(root.resolve()):
            return None
        if (found := read_run(root, folder)) is not None:
            return found
    return None


def samples_in(tree: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Questions and answers that a stage has written into its summary; base models go on with a text."""
    found: list[tuple[str, str]] = []
    samples = tree.get("samples")
    for each in cast(list[Any], samples)[:20] if isinstance(samples, list) else []:
        if isinstance(each, list) and len(cast(list[Any], each)) == 2:
            question, answer = cast(list[Any], each)
            found.append((str(question), str(answer)))
        elif isinstance(each, str):
            found.append(("", each))
    return found


SOURCES = frozenset(
    {"base", "model", "policy", "reference", "reward_model", "data", "comparisons", "demonstrations"}
    | {"held_out", "prompts", "tokenizer", "shards", "pretrain_shards", "sft", "db", "seeds", "avoid", "path"}
    | {"files", "pairs", "general"}
)
