from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.config import ConfigError, build, load, to_toml, to_tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Optim:
    kind: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr is {self.lr}; it must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    path: Path
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    data: Path
    optim: Optim = field(default_factory=lambda: Optim(kind="muon", lr=0.02))
    n_steps: int = 10
    dropout: bool = False
    note: str | None = None
    limit: int | str = 5
    names: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    parts: tuple[Part, ...] = ()
    mix: Mapping[str, float] = field(default_factory=dict)


def run(*overrides: str) -> Run:
    return load(Run, None, ["data=corpus", *overrides])


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        run(*overrides)
    return str(caught.value)


def test_overrides_are_read_as_the_field_wants_them():
    config = run("optim.lr=1", "n_steps=1_000", "names=a,b", "seeds=[3, 4]", "note=42", "dropout=true")
    assert (config.optim.lr, config.n_steps, config.names, config.seeds) == (1.0, 1000, ("a", "b"), (3, 4))
    assert (config.note, config.dropout, config.data) == ("42", True, Path("corpus"))
    assert isinstance(config.optim.lr, float)


def test_a_partly_set_table_keeps_the_rest_of_its_own_default():
    assert run("optim.lr=0.5").optim == Optim(kind="muon", lr=0.5)


def test_none_unsets_only_where_none_is_allowed():
    assert run("note=hello").note == "hello"
    assert run("note=none").note is None
    assert refusal("n_steps=none") == "n_steps: expected integer, got 'none'"


def test_a_quoted_value_loses_its_quotes_and_an_unquoted_one_may_hold_anything():
    assert run('note="a=b"').note == "a=b"
    assert run("note=a = [b # c").note == "a = [b # c"
    assert run("note=3\nn_steps = 4").note == "3\nn_steps = 4"
    assert run("note=").note == ""


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lrr=1", "optim.lrr: unknown key, did you mean 'lr'?"),
        ("lr=1", "lr: unknown key, did you mean optim.lr?"),
        ("optm.lr=1", "optm: unknown key, did you mean 'optim'?"),
        (
            "zzz=1",
            "zzz: unknown key, known here: data, optim, n_steps, dropout, note, limit, names, seeds, parts, "
            "mix",
        ),
        ("optim.kind=sgd", "optim.kind: expected 'adamw' or 'muon', got 'sgd'"),
        ("optim.kind=adam", "optim.kind: expected 'adamw' or 'muon', got 'adam'; did you mean 'adamw'?"),
        ("n_steps=true", "n_steps: expected integer, got true"),
        ("n_steps=1.5", "n_steps: expected integer, got 1.5"),
        ("n_steps=many", "n_steps: expected integer, got 'many'"),
        ("dropout=1", "dropout: expected true or false, got 1"),
        ("optim.lr=false", "optim.lr: expected number, got false"),
        ("optim.lr=nan", "optim.lr: expected number, got nan"),
        ("optim.lr=-1", "optim.lr is -1.0; it must be positive"),
        ("optim=fast", "optim: expected table, got 'fast'"),
        ("optim.betas=[0.9]", "optim.betas: expected 2 values, got 1"),
        ("seeds=1,x", "seeds[1]: expected integer, got 'x'"),
        ("data.path=x", "'data.path=x': data is a single value, not a table"),
        ("parts=[{weight = 2}]", "parts[0].path: required, but not set"),
        ("mix.en=big", "mix.en: expected number, got 'big'"),
        ("n_steps", "'n_steps': expected key=value, for example seed=1 or optim.lr=1e-4"),
        ("=3", "'=3': expected key=value, for example seed=1 or optim.lr=1e-4"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_dotted_key(override: str, message: str):
    assert refusal(override) == message


def test_a_required_setting_is_asked_for():
    with pytest.raises(ConfigError, match=r"^data: required, but not set$"):
        build(Run, {})


def test_a_file_is_read_and_overrides_win_over_it(tmp_path: Path):
    path = tmp_path / "run.toml"
    path.write_text('data = "corpus"\nn_steps = 3\n[optim]\nlr = 0.1\n', encoding="utf-8")
    config = load(Run, path, ["optim.kind=adamw"])
    assert (config.n_steps, config.optim) == (3, Optim(kind="adamw", lr=0.1))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"data = \n", "not valid TOML: Invalid value \\(at line 1"),
        (b"a = '\xff'", "cannot be read as a config file: not UTF-8 at byte 5"),
    ],
)
def test_a_broken_file_is_named_with_the_place(tmp_path: Path, content: bytes, reason: str):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{path}: {reason}"):
        load(Run, path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read as a config file: No such file"):
        load(Run, tmp_path / "none.toml")


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
runs = st.builds(
    Run,
    data=text.map(Path),
    optim=st.builds(Optim, lr=st.floats(1e-30, math.inf), betas=st.tuples(st.floats(0, 1), st.floats(0, 1))),
    n_steps=st.integers(-(2**63), 2**63 - 1),
    dropout=st.booleans(),
    note=st.none() | text.filter(lambda word: word != "none"),
    limit=st.integers(0, 9) | text,
    names=st.lists(text).map(tuple),
    parts=st.lists(st.builds(Part, path=text.map(Path), weight=st.floats(allow_nan=False))).map(tuple),
    mix=st.dictionaries(text, st.floats(allow_nan=False)),
)


@given(config=runs)
def test_what_is_written_is_read_back_equal(config: Run):
    tree = tomllib.loads(to_toml(config))
    assert tree == to_tree(config)
    assert build(Run, tree) == config


def test_the_written_file_shows_every_setting():
    assert to_toml(Optim(lr=0.5)) == 'kind = "adamw"\nlr = 0.5\nbetas = [0.9, 0.95]\n'
    assert to_toml(run()).startswith('data = "corpus"\nn_steps = 10\ndropout = false\nnote = "none"\n')
    assert '\n\n[optim]\nkind = "muon"\n' in to_toml(run())
