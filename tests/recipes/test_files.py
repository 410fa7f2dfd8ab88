"""Chats and rankings from files: what fits, what is held out, what the stages are told."""

import json
import os
from pathlib import Path

import pytest

from danlu.config import load
from danlu.data.records import DataError
from danlu.recipes import data
from danlu.recipes.files import Files, distinct, first_of_each, spread
from danlu.recipes.own_text import OwnText, SourcesConfig
from danlu.recipes.plan import SIZES, Plan
from danlu.recipes.run import RunConfig
from danlu.tokenizer.bpe import Tokenizer

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("DANLU_DATA", ROOT.parent / "shared" / "data"))
QUESTIONS = [f"What is the number {n}?" for n in range(60)]


def write(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
    return path


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def make(tmp_path):
    """A source of chats and rankings, its tokenizer in place."""

    def make(chats, people, programs=(), **settings):
        config = SourcesConfig(
            path=(tmp_path,),
            demonstrations=(write(tmp_path / "dolly" / "open.jsonl", chats),),
            comparisons=(write(tmp_path / "hh" / "open.jsonl", people),),
            machine_comparisons=(write(tmp_path / "ai" / "open.jsonl", programs),) if programs else (),
            **settings,
        )
        out = tmp_path / "run"
        Tokenizer.train([*QUESTIONS, "yes no one"] * 3, 300).save(out / "tokenizer")
        plan = Plan(
            minutes=2,
            size=SIZES[0],
            corpus_bytes=10,
            tokens_per_s=1000,
            seconds={},
            tokens=1,
            loss=None,
        )
        return Files(OwnText(config), plan, out), out / "teaching"

    return make


def chat(question, answer="yes"):
    return {"prompt": question, "response": answer}


def pair(question, n=2):
    return {"prompt": question, "completions": ["yes", *["no"] * (n - 1)], "ranks": list(range(1, n + 1))}


def test_a_question_is_held_out_everywhere_or_nowhere(make):
    source, teaching = make(map(chat, QUESTIONS), map(pair, QUESTIONS), [*map(pair, QUESTIONS)], held_out=0.3)
    source.write_demonstrations(teaching / "demonstrations.jsonl")
    counts = source.write_rankings(Path(), teaching / "rankings.jsonl", teaching / "held_out_rankings.jsonl")
    source.write_prompts(teaching / "prompts.jsonl")
    asked = {
        name: {(r.get("prompt") or r["messages"])[0]["content"] for r in read(teaching / f"{name}.jsonl")}
        for name in ("demonstrations", "rankings", "prompts")
    }
    apart = {
        name: {(r.get("prompt") or r["messages"])[0]["content"] for r in read(teaching / f"{name}.jsonl")}
        for name in ("held_out_demonstrations", "held_out_rankings", "held_out_prompts")
    }
    assert asked["demonstrations"] == asked["rankings"] == asked["prompts"]
    assert apart["held_out_demonstrations"] == apart["held_out_rankings"] == apart["held_out_prompts"]
    assert asked["prompts"] | apart["held_out_prompts"] == set(QUESTIONS)
    assert not asked["prompts"] & apart["held_out_prompts"]
    assert 6 <= len(apart["held_out_prompts"]) <= 30
    # What programs ranked is learnt from and never measured on.
    sources = [record["id"].split("/")[0] for record in read(teaching / "held_out_rankings.jsonl")]
    assert set(sources) == {"hh"}
    assert counts["n_rankings"] == 2 * len(asked["rankings"])


def test_rankings_of_ten_and_more_are_measured_apart(make):
    source, teaching = make(map(chat, QUESTIONS), [pair(q, 2 + 9 * (i % 2)) for i, q in enumerate(QUESTIONS)])
    source.write_rankings(Path(), teaching / "rankings.jsonl", teaching / "held_out_rankings.jsonl")
    assert {len(r["ranks"]) for r in read(teaching / "held_out_rankings.jsonl")} == {2}
    assert {len(r["ranks"]) for r in read(teaching / "many_rankings.jsonl")} == {11}
    assert {len(r["ranks"]) for r in read(teaching / "rankings.jsonl")} == {2, 11}


def test_a_long_dialogue_loses_its_oldest_exchange_and_what_then_is_too_long_is_left_out(make):
    question, answer = "one " * 20, "yes " * 20
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    last = {"role": "user", "content": "What is one?"}
    long = {**pair(""), "prompt": [*turns, last]}
    hopeless = pair("one " * 90)
    source, teaching = make(
        map(chat, QUESTIONS),
        [long, hopeless, *map(pair, QUESTIONS)],
        held_out=1e-9,
        max_len=64,
        max_new_tokens=16,
    )
    counts = source.write_rankings(Path(), teaching / "rankings.jsonl", teaching / "held_out_rankings.jsonl")
    assert counts["n_too_long"] == 1
    assert read(teaching / "rankings.jsonl")[0]["prompt"] == [last]
    assert not (teaching / "held_out_rankings.jsonl").exists()


def test_epochs_are_as_many_as_the_time_admits(make):
    source, teaching = make(map(chat, QUESTIONS), map(pair, QUESTIONS))
    source.write_demonstrations(teaching / "demonstrations.jsonl")
    account = json.loads((teaching / "account.json").read_text())["demonstrations"]
    half = source.settings("sft", seconds=0.5 * account["tokens"] / 1000 / 0.7)
    assert half["n_epochs"] == pytest.approx(0.5, abs=0.01)
    assert half["seq_len"] == 256
    assert source.settings("sft", seconds=1000)["n_epochs"] == 3.0
    assert source.settings("ppo", seconds=1)["rollout"].max_new_tokens == 64


def test_chats_that_are_all_too_long_are_an_error(make):
    source, teaching = make([chat("one " * 300)], [pair("one")])
    with pytest.raises(
        DataError, match=r"data\.demonstrations: 1 chats were read.*data\.max_len, 256, tokens"
    ):
        source.write_demonstrations(teaching / "demonstrations.jsonl")


def test_samples_are_the_first_of_each_source_and_language():
    records = [
        {"id": f"{source}/{n}", "messages": [{"role": "user", "content": text}]}
        for n, (source, text) in enumerate(
            [("a", "one"), ("a", "one"), ("a", "two"), ("a", "three"), ("a", "天地山水"), ("b", "four")]
        )
    ]
    assert [record["id"] for record in first_of_each(records)] == ["a/0", "a/2", "a/4", "b/5"]


def test_records_are_spread_and_each_prompt_comes_once():
    records = [{"id": str(n), "messages": [n // 2]} for n in range(10)]
    assert [record["id"] for record in spread(records, 5)] == ["0", "2", "4", "6", "8"]
    assert spread(records, 20) == records
    assert [record["id"] for record in distinct(records)] == ["0", "2", "4", "6", "8"]


@pytest.mark.skipif(not (DATA / "pref_mt_mqm").is_dir(), reason="the real data sets are not here")
def test_the_real_configuration_names_what_is_there_and_can_be_read(monkeypatch):
    monkeypatch.setenv("DANLU_DATA", str(DATA))
    config = load(RunConfig, ROOT / "configs" / "real.toml").data
    assert config.kind == "files"
    own = OwnText(config)
    for path in config.path:
        assert next(own.read(path)).text.strip()
    for path in (*config.demonstrations, *config.comparisons, *config.machine_comparisons):
        assert data.located(path).exists()
        assert "data-nc" not in str(path)
