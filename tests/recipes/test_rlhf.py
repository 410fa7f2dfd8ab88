"""Rounds of RLHF in miniature: the embedded world's annotators, people who send files back, files."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from danlu.config import ConfigError, load
from danlu.data.records import DataError
from danlu.model.heads import LanguageModel
from danlu.model.precision import Precision
from danlu.recipes import rlhf
from danlu.recipes.asking import Amounts, FileAsks
from danlu.recipes.ppo import PpoConfig
from danlu.recipes.pretrain import Shape
from danlu.recipes.ranking_tasks import read_ranked, read_rankings
from danlu.recipes.reward import RewardConfig
from danlu.recipes.round_settings import OPEN_PPO, OPEN_REWARD, RankingsConfig, RlhfConfig
from danlu.recipes.rounds import Rounds, divide
from danlu.recipes.stage import publish
from danlu.rl.batches import PpoBatches
from danlu.rl.collect import RolloutConfig
from danlu.rl.guard import GuardConfig
from danlu.tokenizer.bpe import Tokenizer
from danlu.world.demonstrations import demonstrations
from danlu.world.truth import World, WorldSize

SHAPE = Shape(d_model=32, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=48, max_seq_len=256)
CORPUS_BYTES = 300_000
PPO = replace(
    OPEN_PPO,
    n_episodes=24,
    rollout=RolloutConfig(n_episodes=8, minibatch_size=8, max_new_tokens=4),
    guard=GuardConfig(every=1),
    save_every=1,
)
REWARD = replace(OPEN_REWARD, prompts_per_batch=4, max_len=200, save_every=2)
RANKINGS = RankingsConfig(n_prompts=24, n_completions=3, n_borrowed=1, held_out=0.2)


@pytest.fixture(scope="module", autouse=True)
def _plain():
    """Which kernels are fastest is measured once a stage; here all compute alike."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("danlu.recipes.stage.choose_precision", lambda *_, **__: Precision())
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The directory of a run in the embedded world; its SFT model has learnt nothing, and that is enough."""
    home = tmp_path_factory.mktemp("home")
    (home / "plan.json").write_text(json.dumps({"corpus_bytes": CORPUS_BYTES}))
    chats = list(demonstrations(World.create(0, WorldSize.for_bytes(CORPUS_BYTES)), 60, 0))
    tokenizer = Tokenizer.train([turn["content"] for chat in chats for turn in chat["messages"]], 500)
    model = LanguageModel(SHAPE.model_config(tokenizer.vocab_size), seed=0)
    with torch.no_grad():
        model.backbone.embedding.weight.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    publish(model, tokenizer, home / "sft" / "model")
    write_lines(home / "teaching" / "demonstrations.jsonl", chats)
    return home


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    """A file of questions."""
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    things = [
        f"{colour} {thing}" for colour in ("red", "blue", "old", "new") for thing in map(str, range(40))
    ]
    return write_lines(path, [{"id": each, "messages": question(f"What is {each}?")} for each in things])


def question(text):
    return [{"role": "user", "content": text}]


def settings(home, out, **changed):
    given = {
        "rounds": 3,
        "rankings": RANKINGS,
        "n_prompts": 44,
        "n_watched": 22,
        "best_of": 4,
        "exam_per_cell": 1,
        "reward": REWARD,
        "ppo": PPO,
        **changed,
    }
    return RlhfConfig(sft=home / "sft", out=out, **given)


def write_lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
    return path


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def whole(home, tmp_path_factory):
    """Three rounds in the embedded world, never interrupted."""
    return rlhf.run(settings(home, tmp_path_factory.mktemp("whole") / "run"))


def test_three_rounds_each_from_the_last_ones_policy_and_on_all_rankings(whole, home):
    started = [load(PpoConfig, whole / f"round-{n}" / "ppo" / "config.toml") for n in (1, 2, 3)]
    assert [config.policy for config in started] == [
        home / "sft" / "model",
        whole / "round-1" / "ppo" / "model",
        whole / "round-2" / "ppo" / "model",
    ]
    assert [config.reference for config in started] == [None] * 3
    assert len({config.seed for config in started}) == 3
    assert {config.demonstrations for config in started} == {home / "teaching" / "demonstrations.jsonl"}
    asked, learnt = [], []
    for n in (1, 2, 3):
        tasks = lines(whole / f"round-{n}" / "tasks.jsonl")
        asked.append({task["id"] for task in tasks})
        learnt.append(load(RewardConfig, whole / f"round-{n}" / "reward" / "config.toml"))
        summary = read(whole / f"round-{n}" / "rankings" / "summary.json")
        assert summary["n_rankings"] >= len(tasks)
        teaching = whole / f"round-{n}" / "teaching"
        counted = [len(lines(teaching / f"{name}.jsonl")) for name in ("train", "held_out")]
        assert counted == [summary["n_learnt"], summary["n_held_out"]]
        ranked = [lines(whole / f"round-{m}" / "rankings" / "rankings.jsonl") for m in range(1, n + 1)]
        assert sum(counted) == sum(len(each) for each in ranked)
    assert not asked[0] & asked[1]
    assert not asked[1] & asked[2]
    assert not asked[0] & asked[2]
    assert {config.base for config in learnt} == {home / "sft" / "model"}


def test_the_report_has_every_rounds_gain_with_its_paired_interval(whole):
    report = read(whole / "report.json")
    assert list(report["exam"]["systems"]) == ["start", "round-1", "round-2", "round-3"]
    for kind in ("exam", "true_score"):
        pairs = [(d["from"], d["to"]) for d in report[kind]["differences"]]
        assert pairs == [
            ("start", "round-1"),
            ("round-1", "round-2"),
            ("round-2", "round-3"),
            ("start", "round-3"),
        ]
        means = {name: tree["macro"]["mean"] for name, tree in report[kind]["systems"].items()}
        for d in report[kind]["differences"]:
            assert d["macro"]["mean"] == pytest.approx(means[d["to"]] - means[d["from"]], abs=1e-9)
            assert d["macro"]["low"] <= d["macro"]["mean"] <= d["macro"]["high"]
    for each in report["rounds"]:
        looks = each["frontier"]["looks"]
        assert [look["step"] for look in looks] == [0, 1, 2, 3]
        assert looks[0]["kl"] == pytest.approx(0, abs=1e-3)  # a round is measured from where it begins
        assert looks[0]["judges"] == pytest.approx(0, abs=1e-5)
        assert all(look["worst"] <= look["judges"] for look in looks)
        assert [point["n"] for point in each["best_of_n"]] == [1, 2, 4]
        scores = [point["score"]["mean"] for point in each["best_of_n"]]
        assert scores == sorted(scores)  # more to choose from cannot score less
        assert set(each["best_of_n"][0]) == {"n", "kl", "score", "judges", "worst", "true_score"}
    page = (whole / "report.html").read_text(encoding="utf-8")
    assert page.count('class="chart"') == 3 * 4
    assert "What each round gained" in page
    assert "每一轮的提升" in page


class Killed(Exception):
    """Stands for whatever ended the run."""


def killed_after(patch, stage_name):
    """Let a run end once this stage is written."""
    finish = Rounds.do

    def do(self, name, stage):
        finish(self, name, stage)
        if name == stage_name:
            raise Killed

    patch.setattr(Rounds, "do", do)


def killed_in_third_rollout(patch):
    draw, n_calls = PpoBatches.next_prompts, 0

    def next_prompts(self, n):
        nonlocal n_calls
        n_calls += 1
        if n_calls == 3:
            raise Killed
        return draw(self, n)

    patch.setattr(PpoBatches, "next_prompts", next_prompts)


def test_killed_within_and_between_stages_a_run_goes_on_as_if_it_never_was(whole, home, tmp_path):
    config = settings(home, tmp_path / "cut")
    cut, uncut = config.out / "round-1" / "ppo", whole / "round-1" / "ppo"
    with pytest.MonkeyPatch.context() as patch:
        killed_in_third_rollout(patch)
        with pytest.raises(Killed):
            rlhf.run(config)
    assert "round-1/reward" in read(config.out / "done.json")
    assert (cut / "checkpoints").exists()
    assert not (cut / "model").exists()
    for last in ("round-1/ppo", "round-2/sample", "round-2/rankings"):
        before = {path: path.stat().st_mtime_ns for path in config.out.glob("round-*/*/summary.json")}
        assert len(before) >= 4
        with pytest.MonkeyPatch.context() as patch:
            killed_after(patch, last)
            with pytest.raises(Killed):
                rlhf.run(config)
        assert {path: path.stat().st_mtime_ns for path in before} == before
    same_weights(cut / "model", uncut / "model")
    assert read(cut / "frontier.json")["looks"] == read(uncut / "frontier.json")["looks"]
    for name in ("round-2/tasks.jsonl", "round-2/teaching/train.jsonl"):
        assert (config.out / name).read_text() == (whole / name).read_text()


def same_weights(a, b):
    first, second = (load_file(path / "model.safetensors") for path in (a, b))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert_close(tensor, second[name], rtol=0, atol=0)


def test_a_finished_run_takes_further_rounds_and_no_other_settings(whole, home):
    before = (whole / "round-3" / "ppo" / "summary.json").stat().st_mtime_ns
    rlhf.run(settings(home, whole))
    assert (whole / "round-3" / "ppo" / "summary.json").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match=r"n_prompts was 44, is 50"):
        rlhf.run(settings(home, whole, n_prompts=50))
    with pytest.raises(ConfigError, match=r"seed was 0, is 1"):
        rlhf.run(settings(home, whole, rounds=4, seed=1))


PEOPLE = RankingsConfig(by="people", n_prompts=16, n_completions=3, n_borrowed=0, held_out=0.2)


CHEAP = {"judges": 1, "best_of": 0, "ppo": replace(PPO, n_episodes=8)}


def by_people(home, prompts, out, **changed):
    return settings(home, out, prompts=prompts, rankings=PEOPLE, rounds=2, **{**CHEAP, **changed})


def ranked_by_length(tasks):
    """What a person who likes long answers sends back, with the completions in another order."""
    for task in tasks:
        completions = sorted(task["completions"], key=len, reverse=True)
        ranks = [1 + i for i in range(len(completions))]
        yield {"prompt": task["prompt"], "completions": completions, "ranks": ranks, "annotator": "ann"}


def test_people_are_waited_for_and_the_same_command_goes_on(home, prompts, tmp_path, capsys):
    config = by_people(home, prompts, tmp_path / "run")
    for n in (1, 2):
        folder = rlhf.run(config) / f"round-{n}"
        said = capsys.readouterr().out
        assert f"Round {n} waits for people" in said
        assert str(folder / "tasks.jsonl") in said
        assert str(folder / "ranked.jsonl") in said
        assert not (folder / "reward").exists()
        tasks = lines(folder / "tasks.jsonl")
        assert all(len(set(task["completions"])) == len(task["completions"]) > 1 for task in tasks)
        write_lines(folder / "ranked.jsonl", ranked_by_length(tasks))
    assert "round-1/evaluate" in read(config.out / "done.json")
    report = read(config.out / "report.json")
    assert report["exam"] == {}
    gain = report["rounds"][0]["gain"]
    assert gain["n"] >= 8
    assert gain["judges"] == ["judge-1"]
    assert gain["difference"]["mean"] == pytest.approx(gain["after"]["score"] - gain["before"]["score"])
    assert gain["difference"]["low"] <= gain["difference"]["mean"] <= gain["difference"]["high"]
    assert "Gains by judges" in (config.out / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def waiting(home, prompts, tmp_path_factory):
    """A run that waits for people, with its tasks."""
    out = tmp_path_factory.mktemp("waiting") / "run"
    rlhf.run(by_people(home, prompts, out))
    return out


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda ranked: ranked[3:],
            r"3 of \d+ tasks are not ranked, such as '.*rankings\.least_ranked=0\.\d",
        ),
        (lambda ranked: [{**ranked[0], "completions": ["a", "b"], "ranks": [1, 2]}], "no task that went out"),
        (
            lambda ranked: [{**ranked[0], "prompt": question("Else?")}],
            r"ranked\.jsonl:1: .*no task that went out",
        ),
        (
            lambda ranked: [ranked[0], {**ranked[1], "ranks": [1]}],
            r"ranked\.jsonl:2: has \d completions but 1 ranks",
        ),
        (lambda ranked: [{**ranked[0], "ranks": [1.5, 2, 3]}], r"ranked\.jsonl:1: field 'ranks'"),
        (lambda ranked: [{"id": "1"}], r"ranked\.jsonl:1: .* is no comparison"),
        (lambda ranked: [], "every file is empty"),
    ],
)
def test_wrong_or_partial_rankings_are_refused_and_may_be_mended(home, prompts, waiting, spoil, message):
    config = by_people(home, prompts, waiting)
    expected = waiting / "round-1" / "ranked.jsonl"
    good = list(ranked_by_length(lines(waiting / "round-1" / "tasks.jsonl")))
    write_lines(expected, spoil(good))
    try:
        with pytest.raises(DataError, match=message):
            rlhf.run(config)
        assert "round-1/rankings" not in read(waiting / "done.json")
    finally:
        expected.unlink()


def test_a_share_of_the_tasks_is_enough_where_that_is_said(waiting):
    tasks = lines(waiting / "round-1" / "tasks.jsonl")[:10]
    ranked = write_lines(waiting / "some.jsonl", list(ranked_by_length(tasks))[:7])
    assert len(read_ranked(ranked, tasks, 0.7)) == 7
    with pytest.raises(DataError, match=r"3 of 10 .*least_ranked=0\.7"):
        read_ranked(ranked, tasks, 0.71)


def test_rankings_may_be_files_one_a_round_and_kl_be_measured_from_the_sft_model(home, prompts, tmp_path):
    files = []
    for n in (1, 2):
        tasks = [
            {"prompt": question(f"Say {n} {i}."), "completions": [f"It is {n}{i}.", "No.", "Perhaps so."]}
            for i in range(12)
        ]
        records = [{**task, "ranks": [1, 2, 2], "annotator": "b", "flags": [n]} for task in tasks]
        files.append(write_lines(tmp_path / f"{n}.jsonl", records))
    given = RankingsConfig(by="files", files=tuple(files[:1]), held_out=0.2)
    config = replace(by_people(home, prompts, tmp_path / "run", judges=0), rankings=given, rounds=1)
    config = replace(config, reference="sft")
    rlhf.run(config)
    files[0].unlink()  # the run has its own copy
    rlhf.run(replace(config, rounds=2, rankings=replace(given, files=tuple(files))))
    second = config.out / "round-2" / "teaching"
    seen = [
        record["flags"][0] for name in ("train", "held_out") for record in lines(second / f"{name}.jsonl")
    ]
    assert sorted(seen) == [1] * 12 + [2] * 12
    assert not (config.out / "round-1" / "tasks.jsonl").exists()
    assert not (config.out / "round-1" / "ppo" / "frontier.json").exists()  # nobody to judge
    gain = read(config.out / "report.json")["rounds"][1]["gain"]
    assert gain["judges"] == ["reward"]  # which flatters, and the report says so
    assert "which flatters" in (config.out / "report.html").read_text(encoding="utf-8")
    started = load(PpoConfig, config.out / "round-2" / "ppo" / "config.toml")
    assert started.reference == home / "sft" / "model"
    metrics = lines(config.out / "round-2" / "ppo" / "metrics.jsonl")
    first = next(line["rollout"] for line in metrics if "rollout" in line)
    assert abs(first["kl"]) > 1e-4  # the round begins away from where KL is measured from


def test_judges_learn_from_halves_and_nobody_from_what_is_held_out(whole):
    rankings = read_rankings(whole / "round-3" / "teaching" / "train.jsonl")
    parts = divide(rankings, 0.25, 4)
    asked = {name: {str(each.comparison.prompt) for each in some} for name, some in parts.items()}
    assert not asked["train"] & asked["held_out"]
    assert asked["train"] | asked["held_out"] == {str(each.comparison.prompt) for each in rankings}
    for a, b in (("judge-1", "judge-2"), ("judge-3", "judge-4")):
        assert asked[a] | asked[b] == asked["train"]
        assert not asked[a] & asked[b]
    assert asked["judge-1"] & asked["judge-3"]
    assert asked["judge-1"] & asked["judge-4"]


def test_a_files_prompts_are_divided_and_none_is_ranked_twice(home):
    records = [{"id": str(i), "messages": question(f"Question {i}?")} for i in range(400)]
    asks = FileAsks(records, replace(PEOPLE, n_prompts=100), Amounts(0, 20, 4), seed=0)
    parts = {name: {record["id"] for record in some} for name, some in asks.parts.items()}
    assert sum(map(len, parts.values())) == 400
    assert 20 <= len(parts["watched"]) <= 60
    assert 20 <= len(parts["examined"]) <= 60
    policy = home / "sft" / "model"
    first, second = ({task["id"] for task in asks.tasks(policy, n)} for n in (1, 2))
    assert len(first) == len(second) == 100
    assert not first & second
    assert first | second <= parts["trained"]
    with pytest.raises(ConfigError, match=r"round 4 needs prompts that no earlier round had"):
        list(asks.tasks(policy, 4))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rounds": 0}, "rounds is 0"),
        ({"ppo": replace(PPO, seed=3)}, r"ppo\.seed is 3; the rounds set it"),
        ({"reward": replace(REWARD, held_out="x")}, r"reward\.held_out is x; the rounds set it"),
        ({"ppo": replace(PPO, guard=GuardConfig(prompts="x"))}, r"ppo\.guard\.prompts is x"),
        ({"prompts": "p.jsonl"}, "annotators know the embedded world only"),
        ({"rankings": RankingsConfig(by="files", files=("a",))}, "names 1 files for 3 rounds"),
    ],
)
def test_impossible_settings_are_refused(home, tmp_path, changed, message):
    with pytest.raises(ConfigError, match=message):
        settings(home, tmp_path / "run", **changed)
    with pytest.raises(ConfigError, match="by=files needs files"):
        RankingsConfig(files=("a",))


def test_a_model_outside_any_world_needs_prompts(home, tmp_path):
    alone = tmp_path / "alone"
    (home / "sft" / "model").rename(alone)
    try:
        with pytest.raises(ConfigError, match=r"lies in no run with a plan\.json"):
            rlhf.run(replace(settings(home, tmp_path / "run"), sft=alone))
    finally:
        alone.rename(home / "sft" / "model")
    assert not (tmp_path / "run").exists()
