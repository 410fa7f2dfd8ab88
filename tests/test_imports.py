"""Who may import whom, and what nobody may call; read from the source, so that every branch counts."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "danlu"

MAY_IMPORT = {
    "config": set(),
    "tokenizer": {"config"},
    "world": {"config"},
    "tools": {"config"},
    "feedback": {"config"},
    "model": {"config"},
    "adapters": {"config", "model"},
    "data": {"config", "tokenizer"},
    "instruct": {"config", "tokenizer", "data"},
    "objectives": {"config", "data"},
    "train": {"config", "data", "objectives"},
    "generate": {"config", "model"},
    "dialogue": {"config", "tokenizer", "tools"},
    "serve": {"config", "tokenizer", "data", "generate", "tools", "dialogue", "feedback"},
    "inspect": {"config", "tokenizer", "model", "data", "generate"},
    "rl": {"config", "tokenizer", "data", "dialogue", "generate", "objectives", "tools"},
    "evaluate": {"config", "data", "generate", "tokenizer"},
    "recipes": {
        "config",
        "tokenizer",
        "world",
        "tools",
        "feedback",
        "instruct",
        "model",
        "adapters",
        "data",
        "objectives",
        "train",
        "generate",
        "inspect",
        "rl",
        "evaluate",
        "dialogue",
        "serve",
    },
    "cli": {"config", "recipes"},
    "__main__": {"cli"},
    "__init__": set(),
}
# The loop receives data and objectives as values; it knows only their shapes.
TRAIN_MAY_IMPORT = {"danlu.data.records", "danlu.objectives.loss"}

HEAVY = {"torch", "numpy", "rich", "matplotlib", "pyarrow"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "torch.load", "torch.save", "os.system"}
FORBIDDEN_KEYWORDS = {"shell", "trust_remote_code", "allow_pickle"}


def sources(package: str) -> list[Path]:
    folder = ROOT / package
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [ROOT / f"{package}.py"]


def nodes(package: str) -> Iterator[ast.AST]:
    for path in sources(package):
        yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def imported_modules(package: str) -> set[str]:
    """Modules a package imports, wherever the statement stands; `from a import b` is a.b."""
    found: set[str] = set()
    for node in nodes(package):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"danlu.{package} has a relative import; use the full name"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(modules: set[str]) -> set[str]:
    return {
        name.split(".")[1] for name in modules if name.startswith("danlu.") and name != "danlu.__version__"
    }


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_downwards(package: str):
    assert ours(imported_modules(package)) - {package} <= MAY_IMPORT[package]


def test_every_package_has_its_line_in_the_table():
    present = {
        path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert present == set(MAY_IMPORT)


def test_the_loop_knows_records_and_losses_only_by_their_shape():
    modules = {name.rpartition(".")[0] for name in imported_modules("train")}
    assert {name for name in modules if ours({name}) & {"data", "objectives"}} <= TRAIN_MAY_IMPORT


@pytest.mark.parametrize(
    ("package", "heavy"),
    [
        ("config", HEAVY),
        ("cli", HEAVY),
        ("__main__", HEAVY),
        ("__init__", HEAVY),
        ("tokenizer", HEAVY),
        ("world", HEAVY - {"numpy"}),
        ("tools", HEAVY),
        ("feedback", HEAVY),
    ],
)
def test_light_packages_import_nothing_heavy(package: str, heavy: set[str]):
    assert not {name.split(".")[0] for name in imported_modules(package)} & heavy


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_nobody_unpickles_or_runs_text(package: str):
    assert not {name.split(".")[0] for name in imported_modules(package)} & FORBIDDEN_MODULES
    for node in nodes(package):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in FORBIDDEN_CALLS
            given = {keyword.arg for keyword in node.keywords if not is_false(keyword.value)}
            assert not given & FORBIDDEN_KEYWORDS, ast.unparse(node)


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
