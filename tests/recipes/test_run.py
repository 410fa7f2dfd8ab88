"""The whole recipe in miniature: the embedded world, a user's folder beside it, and everything from files."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danlu.recipes import run as recipe
from danlu.recipes.embedded import TeachingConfig
from danlu.recipes.own_text import SourcesConfig
from danlu.recipes.plan import Plan, Size
from danlu.recipes.pretrain import Shape
from danlu.world.corpus import preview
from danlu.world.demonstrations import demonstrations
from danlu.world.truth import World, WorldSize

SHAPE = Shape(d_model=64, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=32, d_ff=128, max_seq_len=512)
SECONDS = {"pretrain": 2.0, "sft": 1.0, "reward": 1.0, "ppo": 1.0}
TEACHING = TeachingConfig(
    n_demonstrations=100, n_rankings=40, n_held_out=24, n_completions=4, n_prompts=200, max_new_tokens=12
)
OTHER_WORLD = World.create(5, WorldSize.for_bytes(300_000))


def planned(out, corpus_bytes, loss):
    """A run directory whose plan is made: a tiny model, and a second or two for each stage."""
    out.mkdir(parents=True)
    plan = Plan(
        minutes=2.0,
        size=Size(shape=SHAPE, vocab_size=800),
        corpus_bytes=corpus_bytes,
        tokens_per_s=20_000,
        seconds=dict.fromkeys(recipe.STAGES, 1.0),
        tokens=60_000,
        loss=loss,
    )
    (out / "plan.json").write_text(json.dumps(plan.to_tree()))
    (out / "budgets.json").write_text(json.dumps(SECONDS))
    return out


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's texts in four kinds of files."""
    folder = tmp_path_factory.mktemp("texts")
    texts = {lang: [r["text"] for r in preview(OTHER_WORLD, lang, 160)] for lang in ("en", "zh")}
    (folder / "notes.txt").write_text("\n\n".join(texts["en"][:40]), encoding="utf-8")
    (folder / "日记.md").write_text("\n\n".join(texts["zh"][:40]), encoding="utf-8")
    write_lines(folder / "more" / "letters.jsonl", [{"text": text} for text in texts["en"][40:]])
    pq.write_table(pa.table({"text": texts["zh"][40:]}), folder / "more" / "pages.parquet")
    return folder


def test_the_embedded_world_becomes_an_assistant_and_a_second_call_does_nothing(tmp_path, capsys):
    out = planned(tmp_path / "run", 300_000, loss=1.0)
    config = recipe.RunConfig(out=out, teaching=TEACHING, exam_per_cell=1)
    recipe.run(config)
    report = read(out / "report.json")
    assert set(report["stages"]) == set(recipe.STAGES)
    assert set(report["exam"]["systems"]) == {"base", "sft", "ppo"}
    assert {row["system"] for row in report["bits"]} == {"base", "sft", "ppo"}
    assert "noise_free" in report["stages"]["reward"]["summary"]
    assert report["stages"]["pretrain"]["summary"]["predicted_loss"] > 0
    before = (out / "ppo" / "summary.json").stat().st_mtime_ns
    recipe.run(config)
    assert (out / "ppo" / "summary.json").stat().st_mtime_ns == before
    assert "talk to it" in capsys.readouterr().out


def test_a_users_folder_is_read_beside_the_world_and_measured_by_itself(tmp_path, folder):
    out = planned(tmp_path / "run", 100_000, loss=None)
    data = SourcesConfig(path=(folder,))
    recipe.run(recipe.RunConfig(out=out, teaching=TEACHING, exam_per_cell=1, data=data))
    held_out = [record["text"] for record in lines(out / "data" / "held_out.jsonl")]
    own = "".join(path.read_text(encoding="utf-8") for path in (out / "raw" / "own").iterdir())
    assert held_out
    assert all(json.dumps(text)[1:60] in own for text in held_out)
    report = read(out / "report.json")
    assert set(report["exam"]["systems"]) == {"base", "sft", "ppo"}
    assert {"xz -9", "byte 5-gram", "ppo"} <= {row["system"] for row in report["bits"]}
    assert all({"en", "zh", "all"} <= set(row["bits_per_byte"]) for row in report["bits"])
    assert "predicted_loss" not in report["stages"]["pretrain"]["summary"]


def test_chats_and_rankings_from_files_replace_the_world(tmp_path, folder):
    chats = [r["messages"] for r in demonstrations(OTHER_WORLD, 240, 0)]
    asked = [chat for chat in chats if len(chat) == 2]
    write_lines(tmp_path / "chats" / "open.jsonl", [{"messages": chat} for chat in chats])
    rankings = [
        {
            "prompt": chat[:1],
            "completions": [chat[1]["content"], *("no " * n for n in range(1, 12 if number % 4 else 3))],
            "ranks": [1, *range(2, 13 if number % 4 else 4)],
        }
        for number, chat in enumerate(asked)
    ]
    data = SourcesConfig(
        path=(folder,),
        demonstrations=(tmp_path / "chats",),
        comparisons=(write_lines(tmp_path / "people" / "open.jsonl", rankings),),
        machine_comparisons=(write_lines(tmp_path / "programs" / "open.jsonl", rankings[:40]),),
        max_new_tokens=12,
    )
    out = planned(tmp_path / "run", 60_000, loss=None)
    recipe.run(recipe.RunConfig(out=out, data=data))
    report = read(out / "report.json")
    reward = report["stages"]["reward"]["summary"]
    for name in ("held_out", "held_out_many", "bag_of_words", "bag_of_words_many"):
        assert set(reward[name]["kinds"]) == {"people"}
        assert reward[name]["accuracy"]["low"] <= reward[name]["accuracy"]["mean"]
    assert reward["bag_of_words"]["accuracy"]["mean"] > 0.9  # nobody prefers "no no"
    assert set(report["exam"]["rewards"]) == {"n", "sft", "ppo", "difference"}
    assert {"base", "sft", "ppo"} == set(report["answers"][0]["answers"])
    assert "million parameters" in report["notes"]["en"]
    assert "百万参数" in report["notes"]["zh"]
    train, held_out = (
        {json.dumps(record["prompt"]) for record in lines(out / "teaching" / name)}
        for name in ("rankings.jsonl", "held_out_rankings.jsonl")
    )
    assert train
    assert not train & held_out
