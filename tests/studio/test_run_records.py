"""Runs on the disk: whole, half written, broken and hostile."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from danlu.serve.studio.run_records import find_run, find_runs, lineage, read_curves, samples_in
from danlu.serve.studio.smoothing import above_zero, smoothed, thinned


def write_run(path: Path, config: str, **files: str) -> Path:
    path.mkdir(parents=True)
    (path / "config.toml").write_text(config, encoding="utf-8")
    for name, text in files.items():
        (path / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return path


def test_runs_are_found_at_any_depth_and_told_by_their_settings(tmp_path: Path):
    write_run(tmp_path / "demo" / "sft", 'base = "b"\ndata = "d"\n', summary_json="{}")
    write_run(tmp_path / "lessons" / "0001-round" / "run" / "ppo", 'policy = "p"\nvalue_model = "policy"\n')
    write_run(tmp_path / "demo" / "sft" / "checkpoints" / "x", 'base = "b"\ndata = "d"\n')
    write_run(tmp_path / "broken", "base = ")
    found = {run.name: (run.kind, run.ended) for run in find_runs(tmp_path)}
    assert found == {"demo/sft": ("sft", True), "lessons/0001-round/run/ppo": ("ppo", False)}


@pytest.mark.parametrize("name", ["../outside", "/etc", "demo/../../outside", "", "nothing", "a\0b"])
def test_names_that_lead_elsewhere_are_of_no_run(tmp_path: Path, name: str):
    write_run(tmp_path / "outside", 'base = "b"\n')
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "outside")
    assert find_run(tmp_path / "runs", name) is None
    assert find_run(tmp_path / "runs", "link") is None


def test_curves_are_the_numbers_and_nothing_else(tmp_path: Path):
    lines = [
        '{"step": 1, "loss": 3.0, "name": "x", "rollout": {"score": -0.5}}',
        "not json",
        '{"step": 2, "loss": NaN, "ok": true}',
        '{"loss": 9}',
        "[1, 2]",
        '{"step": 3, "loss": 2}',
        '{"step": 4, "loss": 1.',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    assert read_curves(tmp_path / "metrics.jsonl") == {
        "loss": [(1.0, 3.0), (3.0, 2.0)],
        "rollout.score": [(1.0, -0.5)],
    }
    assert read_curves(tmp_path / "none.jsonl") == {}


def test_lineage_goes_from_the_model_to_its_data_and_does_not_turn_in_circles(tmp_path: Path):
    chats = tmp_path / "chats.jsonl"
    base = write_run(tmp_path / "base", f'tokenizer = "t"\nshards = "s"\nbase = "{tmp_path}/sft/model"\n')
    sft = write_run(tmp_path / "sft", f'base = "{base}/model"\ndata = "{chats}"\nout = "{tmp_path}/sft"\n')
    run = find_run(tmp_path, "sft")
    assert run is not None
    assert run.path == sft
    rows = [(depth, key, path, maker and maker.name) for depth, key, path, maker in lineage(tmp_path, run)]
    assert rows == [
        (0, "base", f"{base}/model", "base"),
        (1, "tokenizer", "t", None),
        (1, "shards", "s", None),
        (1, "base", f"{sft}/model", "sft"),
        (0, "data", str(chats), None),
    ]


def test_samples_of_every_shape_are_text(tmp_path: Path):
    tree = json.loads('{"samples": [["q", "a"], "goes on", [1], {"x": 2}, ["q", ["not", "text"]]]}')
    assert samples_in(tree) == [("q", "a"), ("", "goes on"), ("q", "['not', 'text']")]
    assert samples_in({"samples": "x"}) == []


def test_smoothing_is_the_average_without_the_pull_of_its_beginning():
    # By hand, weight 0.5: 4; (0.25 * 4 + 0.5 * 2) / 0.75; (0.125 * 4 + 0.25 * 2 + 0.5 * 8) / 0.875
    points = [(1.0, 4.0), (2.0, 2.0), (3.0, 8.0)]
    assert [value for _, value in smoothed(points, 0.5)] == pytest.approx([4.0, 2 / 0.75, 5 / 0.875])
    assert smoothed(points, 0.0) == points
    assert smoothed([(float(i), 7.0) for i in range(50)], 0.99)[0] == (0.0, pytest.approx(7.0))


def test_thinning_keeps_every_peak_and_the_order():
    rng = Random(0)
    points = [(float(i), rng.random()) for i in range(9_999)]
    points[4321] = (4321.0, 50.0)
    points[77] = (77.0, -50.0)
    few = thinned(points, 500)
    assert len(few) <= 500
    assert {(4321.0, 50.0), (77.0, -50.0)} <= set(few)
    assert few == sorted(few)
    assert thinned(points[:500], 500) == points[:500]


def test_a_logarithm_has_no_place_for_zero():
    assert above_zero([(1, 0.0), (2, -1.0), (3, 0.5)]) == [(3, 0.5)]
