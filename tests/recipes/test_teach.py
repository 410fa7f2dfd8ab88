"""`danlu teach`: from a store of judgements to a model, a table, and answers side by side."""

from __future__ import annotations

import json

import pytest

from danlu.cli import main
from danlu.feedback.exchange import Reader
from danlu.feedback.store import Store
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.recipes import ppo, reward
from danlu.recipes.stage import publish
from danlu.tokenizer.bpe import Tokenizer

SIZES = {
    "d_model": 16,
    "n_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 1,
    "head_dim": 8,
    "d_ff": 16,
    "max_seq_len": 128,
}
QUICK = [
    "ppo.n_episodes=8",
    "ppo.rollout.n_episodes=8",
    "ppo.rollout.minibatch_size=4",
    "ppo.rollout.max_new_tokens=6",
    "sft.sample_prompts=[]",
]
THINGS = ["sky", "grass", "snow", "coal", "sea", "sun", "milk", "ink", "leaf", "rose", "sand", "fire"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    tokenizer = Tokenizer.train(["What colour is the sky? It is blue. I will not say."] * 3, 300)
    path = tmp_path_factory.mktemp("model") / "base" / "model"
    publish(
        LanguageModel(ModelConfig(vocab_size=tokenizer.vocab_size, **SIZES), seed=1).eval(), tokenizer, path
    )
    return path.parent


def collected(path, *, rankings=True, demonstrations=True, more=()):
    """A store with a task, a ranking and a demonstration for each thing."""
    reader = Reader("2026-05-04T09:00:00+00:00")
    for thing in THINGS:
        prompt = [{"role": "user", "content": f"What colour is {thing}?"}]
        reader.task(prompt, [{"content": "x"}, {"content": "y"}])
        if rankings:
            reader.comparison({"prompt": prompt, "completions": ["It is blue.", "No."], "ranks": [1, 2]})
        if demonstrations:
            reader.chat({"messages": [*prompt, {"role": "assistant", "content": f"It is {thing}."}]})
    for prompt in more:
        reader.task([{"role": "user", "content": prompt}], [{"content": "x"}, {"content": "y"}])
    with Store.open(path) as store:
        store.take_in(list(reader.events.values()))
    return path


def teach(model, db, out, *words):
    return main(["teach", str(model), f"db={db}", f"out={out}", "minutes=1", *QUICK, *words])


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_round_ends_in_a_model_and_a_table(tmp_path, model, capsys):
    db, out = collected(tmp_path / "f.db"), tmp_path / "lesson"
    assert teach(model, db, out) == 0
    assert json.loads((out / "steps.json").read_text()) == ["collect", "sft", "reward", "ppo", "compare"]
    result = json.loads((out / "result.json").read_text())
    assert (result["model"], result["reward_model"]) == ("ppo/model", "reward/model")
    table = {row["what"]: row for row in result["table"]}
    held_out = lines_of(out / "data" / "held_out_prompts.jsonl")
    assert table["loss"]["n"] == table["accuracy"]["n"] == table["score"]["n"] == len(held_out) > 0
    assert table["loss"]["after"] < table["loss"]["before"]
    assert [each["messages"] for each in result["samples"]] == [each["messages"] for each in held_out][:8]
    assert "talk to it: danlu chat" in capsys.readouterr().out
    assert teach(model, db, out) == 0  # again: all is done


def test_what_is_held_out_is_learnt_by_no_stage(tmp_path, model):
    db, stages = collected(tmp_path / "f.db"), ("sft", "reward")
    assert [teach(model, db, tmp_path / stage, f"stage={stage}") for stage in stages] == [0, 0]

    def asked(pattern):
        records = [record for path in tmp_path.glob(f"*/data/{pattern}.jsonl") for record in lines_of(path)]
        return {(each.get("prompt") or each["messages"])[0]["content"] for each in records}

    measured = asked("held_out_*")
    learnt = asked("[dpr]*")
    assert learnt.isdisjoint(measured)
    assert len(learnt | measured) == len(THINGS)
    assert json.loads((tmp_path / "reward" / "result.json").read_text())["model"] == ""


def test_a_stage_collects_what_it_reads_and_no_more(tmp_path, model):
    db = collected(tmp_path / "f.db")
    for stage, names in (("sft", "demonstrations prompts"), ("reward", "demonstrations rankings")):
        assert teach(model, db, tmp_path / stage, f"stage={stage}") == 0
        made = {path.stem.removeprefix("held_out_") for path in (tmp_path / stage / "data").iterdir()}
        assert made == set(names.split())
    (first, *_) = lines_of(tmp_path / "reward" / "data" / "rankings.jsonl")
    assert first.keys() == {"id", "prompt", "completions", "ranks"}  # where it comes from says the id


def test_without_demonstrations_a_round_begins_with_the_reward_model(tmp_path, model):
    db, out = collected(tmp_path / "f.db", demonstrations=False), tmp_path / "lesson"
    assert teach(model, db, out) == 0
    assert json.loads((out / "steps.json").read_text()) == ["collect", "reward", "ppo", "compare"]
    assert not (out / "sft").exists()


def test_one_stage_alone_and_ppo_with_a_reward_model_of_an_earlier_lesson(tmp_path, model):
    db = collected(tmp_path / "f.db")
    assert teach(model, db, tmp_path / "one", "stage=sft") == 0
    assert json.loads((tmp_path / "one" / "result.json").read_text())["model"] == "sft/model"
    assert teach(model, db, tmp_path / "two", "stage=reward") == 0
    judge = f"reward_model={tmp_path / 'two' / 'reward'}"
    assert teach(model, db, tmp_path / "three", "stage=ppo", judge) == 0
    result = json.loads((tmp_path / "three" / "result.json").read_text())
    assert (result["model"], [row["what"] for row in result["table"]]) == ("ppo/model", ["score"])


def test_a_lesson_that_was_stopped_goes_on_where_it_was(tmp_path, model, monkeypatch):
    db, out, ran = collected(tmp_path / "f.db"), tmp_path / "lesson", []

    def stopped(config):
        raise KeyboardInterrupt

    kept = reward.run
    monkeypatch.setattr(ppo, "run", stopped)
    monkeypatch.setattr(reward, "run", lambda config: ran.append("reward") or kept(config))
    assert teach(model, db, out) == 130
    assert not (out / "result.json").exists()
    monkeypatch.undo()
    monkeypatch.setattr(reward, "run", lambda config: ran.append("again"))
    assert teach(model, db, out) == 0
    assert ran == ["reward"]
    assert (out / "result.json").exists()


def test_what_a_model_cannot_read_is_left_out_and_counted(tmp_path, model, capsys):
    long = "What colour is " + "very " * 200 + "long?"
    db, out = collected(tmp_path / "f.db", more=[long, "half a pair: \ud800"]), tmp_path / "lesson"
    assert teach(model, db, out, "stage=sft") == 0
    assert "left out: 2 prompts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "words", "message"),
    [
        ({"demonstrations": False}, ["stage=sft"], "holds no demonstrations or better answers"),
        ({"rankings": False}, [], "holds no rankings to learn from"),
        ({}, ["stage=ppo"], "PPO needs one"),
        ({}, ["reward_model=x"], "PPO needs one"),
        ({}, ["minutes=0"], "minutes is 0"),
        ({}, ["sft.data=x"], "sft.data is x"),
    ],
)
def test_what_is_missing_is_said(tmp_path, model, capsys, given, words, message):
    db = collected(tmp_path / "f.db", **given)
    assert teach(model, db, tmp_path / "lesson", *words) == 2
    assert message in capsys.readouterr().err


def test_a_ranking_of_an_answer_that_never_began_is_left_out_and_told(tmp_path, model, capsys):
    db = collected(tmp_path / "f.db")
    reader = Reader("2026-05-04T09:00:00+00:00")
    prompt = [{"role": "user", "content": "What colour is nothing?"}]
    ranked = {"prompt": prompt, "completions": ["It is blue.", ""], "ranks": [1, 2]}
    reader.comparison({**ranked, "unfinished": [False, True]})
    reader.comparison({**ranked, "completions": ["It is red.", ""], "unfinished": [True, False]})
    with Store.open(db) as store:
        store.take_in(list(reader.events.values()))
    assert teach(model, db, tmp_path / "lesson", "stage=reward") == 0
    assert "left out: 1 rankings that this model cannot read" in capsys.readouterr().out
    learnt = lines_of(tmp_path / "lesson" / "data" / "rankings.jsonl")
    held_out = lines_of(tmp_path / "lesson" / "data" / "held_out_rankings.jsonl")
    assert len(learnt) + len(held_out) == len(THINGS) + 1
