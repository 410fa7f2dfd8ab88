"""`danlu instruct` from the command line: with an endpoint, with a model of ours, and on to Demonstrate."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from danlu.cli import main
from danlu.data.chats import read_chats
from danlu.feedback.store import Store
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.recipes.stage import publish
from danlu.tokenizer.bpe import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "instruct"))
from fake_endpoint import Answer, Asked, running, said

SIZES = {
    "d_model": 16,
    "n_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 1,
    "head_dim": 8,
    "d_ff": 16,
    "max_seq_len": 1024,
}
WORDS = [
    "apple",
    "bridge",
    "candle",
    "desert",
    "engine",
    "forest",
    "guitar",
    "harbour",
    "island",
    "jungle",
    "kettle",
    "ladder",
]


def write(path, lines):
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def seeds(tmp_path):
    english = [{"instruction": f"What is a {word} good for?", "output": "Much."} for word in WORDS[:3]]
    given = [
        {"instruction": "Shorten the text.", "input": f"A {word}.", "output": "x."} for word in WORDS[:2]
    ]
    chinese = [{"instruction": f"说说{word}有什么用。", "output": "有用。"} for word in ("桥", "灯")]
    return write(tmp_path / "seeds.jsonl", [*english, *given, *chinese])


def helpful(asked: Asked) -> Answer:
    """Tasks in the language that is asked in, and an answer to anything."""
    if "Write 8 more" in asked.text or "请再写 8 个" in asked.text:
        seed = asked.body["seed"]
        lines = [f"{i}. Compare {seed % (91 + i)} {word}s with {seed} {word}" for i, word in enumerate(WORDS)]
        zh = [f"{i}. 用{seed}个字写写{word}" for i, word in enumerate("山水风云雨雪火土")]
        return said("\n".join(lines if "Write" in asked.text else zh))
    if asked.text.startswith(("Some tasks need", "有的任务")):
        return said("none" if asked.text.startswith("Some") else "无")
    return said(f"That depends: {asked.body['seed']} {asked.text}")


def test_an_endpoint_makes_chats_with_provenance_that_training_and_people_can_read(tmp_path, seeds, capsys):
    out, db = tmp_path / "made", tmp_path / "feedback.db"
    avoid = write(tmp_path / "exam.jsonl", [{"prompt": "Compare apples with apple", "completion": "No."}])
    with running(helpful) as endpoint:
        words = [f"seeds={seeds}", f"out={out}", "n=12", f"avoid={avoid}", "making.n_lists=2"]
        asked = [*words, f"endpoint.url={endpoint.url}", "endpoint.model=big"]
        assert main(["instruct", *asked]) == 0
        n_asked = len(endpoint.asked)
        first = (out / "chats.jsonl").read_bytes()
        assert main(["instruct", *asked]) == 0  # again: everything is known
        assert len(endpoint.asked) == n_asked
    assert (out / "chats.jsonl").read_bytes() == first
    made = lines_of(out / "chats.jsonl")
    assert len(made) == len(read_chats(out / "chats.jsonl")) == 12
    assert {each["made"]["by"] for each in made} == {"big"}
    assert all(each["made"]["similarity"] < 0.7 and each["made"]["shown"] for each in made)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["n"] == 12 == sum(summary["languages"].values())
    assert sum(summary["dropped"].values()) == len(lines_of(out / "dropped.jsonl"))
    assert "kept" in capsys.readouterr().out
    tasks = ["feedback", "tasks", f"prompts={out / 'review.jsonl'}", "do=demonstrate", f"db={db}"]
    assert main([*tasks, "draft=true"]) == 0
    with Store.open(db) as store:
        given = store.next_tasks("ann", 1)[0]
    assert given.completions[0][1] in {each["messages"][1]["content"] for each in made}


def test_more_can_be_asked_of_a_run_that_has_ended(tmp_path, seeds):
    out = tmp_path / "made"
    with running(helpful) as endpoint:
        words = ["instruct", f"seeds={seeds}", f"out={out}", f"endpoint.url={endpoint.url}"]
        assert main([*words, "endpoint.model=big", "n=3", "making.n_lists=1"]) == 0
        before = lines_of(out / "chats.jsonl")
        assert main([*words, "endpoint.model=big", "n=9", "making.n_lists=1"]) == 0
    assert lines_of(out / "chats.jsonl")[:3] == before
    assert len(lines_of(out / "chats.jsonl")) == 9


def test_fewer_than_wanted_is_said_and_why(tmp_path, seeds, capsys):
    with running(lambda asked: said("I would rather not.")) as endpoint:
        words = ["instruct", f"seeds={seeds}", f"out={tmp_path / 'made'}", f"endpoint.url={endpoint.url}"]
        assert main([*words, "endpoint.model=big", "making.patience=2", "making.n_lists=1"]) == 0
    said_so = capsys.readouterr().out
    assert "0 of 1,000: 2 rounds in a row brought nothing" in said_so
    assert "no task in the reply" in said_so


def test_an_endpoint_that_refuses_ends_with_one_line(tmp_path, seeds, capsys):
    with running(lambda asked: Answer(b"no such model", 404)) as endpoint:
        words = ["instruct", f"seeds={seeds}", f"out={tmp_path / 'made'}", f"endpoint.url={endpoint.url}"]
        assert main([*words, "endpoint.model=big"]) == 2
    assert "refuses: 404 no such model" in capsys.readouterr().err


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A language model and a reward model of random weights, each in a run directory."""
    root = tmp_path_factory.mktemp("models")
    tokenizer = Tokenizer.train(["Task: Material: Answer: none 任务 材料 答案"] * 3, 300)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, **SIZES)
    publish(LanguageModel(config, seed=1), tokenizer, root / "base" / "model")
    publish(ScoreModel(config, seed=2), tokenizer, root / "reward" / "model")
    return root


def test_a_base_model_of_ours_is_asked_in_plain_text(tmp_path, models):
    chats = [{"prompt": f"Is {word} blue?", "completion": "Yes."} for word in ("the sky", "a plum")]
    seeds = write(tmp_path / "seeds.jsonl", chats)
    out = tmp_path / "made"
    words = ["instruct", f"seeds={seeds}", f"out={out}", f"model={models / 'base'}", "plain=true"]
    few = ["making.patience=1", "making.n_lists=2", "n=2", "sampling.max_new_tokens=24"]
    assert main([*words, *few]) == 0
    replies = lines_of(out / "replies.jsonl")
    assert replies
    assert {each["fault"] for each in replies} <= {"", "question too long for the model"}
    assert json.loads((out / "summary.json").read_text())["n_questions"] == len(replies)


def test_answers_are_scored_by_a_reward_model(tmp_path, models, seeds):
    out = tmp_path / "made"
    with running(helpful) as endpoint:
        words = ["instruct", f"seeds={seeds}", f"out={out}", f"endpoint.url={endpoint.url}", "n=4"]
        more = ["endpoint.model=big", f"reward_model={models / 'reward'}", "keep_best=0.5"]
        assert main([*words, *more, "making.patience=3", "making.n_answers=2"]) == 0
    made = lines_of(out / "chats.jsonl")
    dropped = json.loads((out / "summary.json").read_text())["dropped"]
    assert all(isinstance(each["made"]["score"], float) for each in made)
    assert dropped["low score"] >= len(made) - 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=m", "endpoint.url=http://localhost:1/v1", "endpoint.model=x"], "both are set"),
        ([], "neither is set"),
        (["model=m", "keep_best=0.5"], "name reward_model"),
        (["model=m", "n=0"], "n is 0"),
        (["endpoint.url=http://example.org/v1", "endpoint.model=x"], "endpoint.remote=true"),
        (["model=m", "making.n_made_shown=8"], "n_made_shown is 8"),
    ],
)
def test_settings_that_contradict_each_other(tmp_path, seeds, capsys, words, message):
    assert main(["instruct", f"seeds={seeds}", f"out={tmp_path / 'made'}", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "made").exists()
