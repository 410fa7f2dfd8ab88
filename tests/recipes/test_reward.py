"""What `danlu reward` makes of ties, raters and other preferences, on a model that learns in seconds."""

from __future__ import annotations

import json
import random
import statistics
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.data.chats import read_chats, read_comparisons
from danlu.data.records import DataError
from danlu.evaluate.judging import most_wrong
from danlu.model.heads import LanguageModel
from danlu.model.hf import load_score_model
from danlu.objectives.ranking import Ranking
from danlu.recipes import reward
from danlu.recipes.embedded import write_jsonl
from danlu.recipes.pretrain import Shape
from danlu.recipes.rater_settings import RatersConfig
from danlu.recipes.reward_ensemble import load_reward_models
from danlu.recipes.reward_report import judge, measure
from danlu.recipes.score_scale import scores_of
from danlu.recipes.stage import chat_format_of, publish
from danlu.rl.scoring import ensemble_scores
from danlu.tokenizer.bpe import Tokenizer
from danlu.train.optim import OptimConfig

SHAPE = Shape(d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=64, max_seq_len=128)
COLOURS = {"sky": "blue", "grass": "green", "snow": "white", "coal": "black"}
RATERS = ("ann", "bob", "cat", "eve")
DULL = "I will not say."


def question(thing):
    return [{"role": "user", "content": f"What colour is {thing}?"}]


def by_raters(n=12):
    """Rankings of the same prompts by four people, of whom Eve takes 1 for the worst."""
    rng = random.Random(0)
    records = []
    for number in range(n):
        thing = rng.choice(list(COLOURS))
        words = [f"It is {COLOURS[thing]}.", DULL, f"green green {number}", DULL[:-1]]
        for name in RATERS:
            ranks = [1, 2, 3, 2] if name != "eve" else [3, 2, 1, 2]
            prompt = question(f"{thing} {number}")
            records.append({"prompt": prompt, "completions": words, "ranks": ranks, "annotator": name})
    return records


@pytest.fixture(scope="module")
def base(kit, tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "model"
    tokenizer = Tokenizer.load(kit.tokenizer)
    publish(LanguageModel(SHAPE.model_config(tokenizer.vocab_size), seed=0), tokenizer, path)
    return path


@pytest.fixture(scope="module")
def settings(kit, base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rankings")
    write_jsonl(folder / "rankings.jsonl", by_raters())
    return reward.RewardConfig(
        base=base,
        comparisons=folder / "rankings.jsonl",
        held_out=folder / "rankings.jsonl",
        out=folder / "out",
        prompts_per_batch=4,
        max_len=96,
        eval_every=5,
        optim=OptimConfig(kind="adamw", lr=3e-3),
    )


def trained(config):
    """The run directory of a model that computes in float32 whatever is fastest here."""
    config.out.mkdir(parents=True)
    machine = {"dtype": "float32", "kernels": "plain", "threads": torch.get_num_threads()}
    (config.out / "machine.json").write_text(json.dumps(machine))
    return reward.run(config)


def summary_of(out):
    return json.loads((out / "summary.json").read_text())


@pytest.fixture(scope="module")
def with_ties(settings, tmp_path_factory):
    out = tmp_path_factory.mktemp("ties") / "out"
    return trained(replace(settings, out=out, objective=Ranking(kind="davidson", rater_noise=True)))


def test_the_tie_parameter_and_the_raters_scales_are_learnt_saved_and_read_again(with_ties, settings):
    back = load_score_model(with_ties / "model")
    assert back.raters is not None
    start = reward.rater_model(Ranking(kind="davidson"), read_comparisons(settings.comparisons))
    assert abs(back.raters.log_tie.item() - start.log_tie.item()) > 1e-3  # trained
    stored = load_file(next((with_ties / "checkpoints").glob("step-*")) / "model.safetensors")
    assert_close(back.raters.log_tie.data, stored["raters.log_tie"])
    scales = back.raters.scales()
    assert set(scales) == set(RATERS)
    assert statistics.fmean(torch.tensor(list(scales.values())).log().tolist()) == pytest.approx(0, abs=1e-6)
    assert scales["eve"] == min(scales.values())
    assert summary_of(with_ties)["raters"]["reliability"] == pytest.approx(scales)
    assert back.raters.n_rankings.tolist() == [12.0] * 4


def test_whoever_contradicts_every_other_is_reported_and_still_learnt_from(with_ties, settings, capsys):
    out = trained(replace(settings, out=with_ties.parent / "plain"))
    found = summary_of(out)
    assert found["n_comparisons"] == 48  # nobody was dropped
    assert found["raters"]["contrary"] == ["eve"]
    assert found["raters"]["agreement"]["raters"]["eve"]["agreement"]["mean"] == 0
    assert found["held_out"]["raters"]["eve"]["accuracy"]["mean"] < 0.5
    assert found["held_out"]["raters"]["ann"]["accuracy"]["mean"] > 0.5
    assert "warning: contradict the other raters" in capsys.readouterr().out


def test_the_report_tells_of_ties_and_of_what_is_most_wrong(with_ties):
    ties = summary_of(with_ties)["held_out"]["ties"]
    assert ties["n_pairs"] == 48  # one tie in each ranking
    assert 0 <= ties["accuracy"]["level"]["low"] <= ties["accuracy"]["level"]["high"] <= 1
    assert sum(point["n"] for point in ties["calibration"]["points"]) == 48 * 6
    worst = [json.loads(line) for line in (with_ties / "most_wrong.jsonl").read_text().splitlines()]
    assert {each["annotator"] for each in worst} == {"eve"}
    margins = [each["margin"] for each in worst]
    assert margins == sorted(margins)
    assert margins[0] < 0
    assert worst[0]["better"].startswith("green green")


def test_a_reward_model_is_where_another_may_start(with_ties, settings, tmp_path):
    still = OptimConfig(kind="adamw", lr=1e-12, weight_decay=0.0)
    out = trained(replace(settings, base=with_ties / "model", out=tmp_path / "next", optim=still))
    before, after = load_score_model(with_ties / "model"), load_score_model(out / "model")
    assert_close(after.score.weight, before.score.weight, atol=1e-6, rtol=0)  # no fresh head
    assert after.raters is None
    accuracies = [summary_of(path)["held_out"]["accuracy"]["mean"] for path in (with_ties, out)]
    assert accuracies[0] == accuracies[1]


def test_scores_have_mean_zero_and_deviation_one_on_reference_answers(settings, kit, tmp_path):
    out = trained(replace(settings, reference=kit.chats, out=tmp_path / "out"))
    model, chat_format = load_score_model(out / "model"), chat_format_of(out / "model")
    scores = scores_of(model, read_chats(kit.chats), chat_format)
    assert statistics.fmean(scores) == pytest.approx(0, abs=1e-4)
    assert statistics.pstdev(scores) == pytest.approx(1, abs=1e-4)
    assert summary_of(out)["gain"] == pytest.approx(float(model.gain))
    # Probabilities go by the scale that rankings were fitted on, so the unit changes no calibration.
    raw = trained(replace(settings, out=tmp_path / "raw"))
    found = [summary_of(path)["held_out"]["calibration"]["expected_error"] for path in (out, raw)]
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_reference_answers_that_all_score_alike_give_no_unit(settings, kit, tmp_path):
    same = tmp_path / "same.jsonl"
    write_jsonl(same, [{"messages": [*question("sky"), {"role": "assistant", "content": "Blue."}]}])
    with pytest.raises(DataError, match=r"same\.jsonl: every answer scores"):
        trained(replace(settings, reference=same, out=tmp_path / "out"))


def test_cross_validation_leaves_out_raters_and_prompts(settings, tmp_path):
    config = replace(settings, raters=RatersConfig(folds=2), held_out=None, out=tmp_path / "out")
    found = summary_of(trained(config))["raters"]
    for name in ("known_raters", "new_raters"):
        accuracies = found["cross_validation"][name]["folds"]
        assert len(accuracies) == 2
        assert found["cross_validation"][name]["accuracy"] == pytest.approx(sum(accuracies) / 2)
    parts = [summary_of(tmp_path / "out" / "folds" / str(k)) for k in range(2)]
    assert sorted(name for part in parts for name in part["new_raters"]["raters"]) == sorted(RATERS)
    assert all(part["n_comparisons"] < 24 for part in parts)


def test_two_zeros_are_refused(settings, kit):
    with pytest.raises(ConfigError, match="demonstrations and reference are both set"):
        replace(settings, demonstrations=kit.chats, reference=kit.chats)


def test_raters_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match=r"weights\.ann is 0"):
        RatersConfig(weights={"ann": 0.0})
    with pytest.raises(ConfigError, match="folds is 1"):
        RatersConfig(folds=1)
    with pytest.raises(ConfigError, match="left_out is 3; it must be below folds, 3"):
        RatersConfig(folds=3, left_out=3)


def test_what_the_rankings_cannot_teach_is_refused_before_training(settings, tmp_path):
    out = tmp_path / "out"
    strict = tmp_path / "strict.jsonl"
    write_jsonl(strict, [{"prompt": question("sky"), "completions": ["a", "b"], "ranks": [1, 2]}])
    for changed, told in (
        ({"objective": Ranking(kind="rao_kupper")}, "no ranking has a tie to learn from"),
        ({"objective": Ranking(rater_noise=True)}, "the rankings name 0 raters"),
        (
            {"raters": RatersConfig(weights={"ann": 2.0})},
            r"raters\.weights names \['ann'\]",
        ),
        ({"raters": RatersConfig(folds=2)}, "but the rankings name 0 raters"),
    ):
        with pytest.raises(ConfigError, match=told):
            reward.run(replace(settings, comparisons=strict, held_out=None, out=out, **changed))
    assert not out.exists()


def test_a_raters_weight_is_given_to_that_raters_rankings(settings):
    config = replace(settings, raters=RatersConfig(weights={"eve": 0.25}))
    train, _ = reward.read_rankings(config)
    assert {(each.annotator, each.weight) for each in train} == {
        ("ann", 1.0), ("bob", 1.0), ("cat", 1.0), ("eve", 0.25)
    }  # fmt: skip


def test_a_comparison_beyond_the_models_context_is_refused(settings, tmp_path):
    far = tmp_path / "far.jsonl"
    prompt = [{"role": "user", "content": "sky " * SHAPE.max_seq_len}]
    write_jsonl(far, [{"prompt": prompt, "completions": ["a", "b"], "ranks": [1, 2]}])
    with pytest.raises(DataError, match=rf"far\.jsonl:1.* at most max_len, {SHAPE.max_seq_len}, fit"):
        trained(replace(settings, comparisons=far, held_out=None, max_len=4096, out=tmp_path / "out"))


def test_equal_completions_ranked_apart_are_told_of(settings, tmp_path, capsys):
    odd = tmp_path / "odd.jsonl"
    write_jsonl(odd, [{"prompt": question("sky"), "completions": ["a", "a"], "ranks": [1, 2]}])
    out = trained(replace(settings, comparisons=odd, held_out=None, out=tmp_path / "out"))
    assert summary_of(out)["raters"]["n_equal_ranked_apart"] == 1
    assert "1 rankings put one of two equal completions before the other" in capsys.readouterr().out


def test_an_ensemble_is_read_from_directories_that_share_tokenizer_and_zero(settings, kit, tmp_path):
    outs = [
        trained(replace(settings, seed=seed, demonstrations=kit.chats, out=tmp_path / str(seed)))
        for seed in (1, 2)
    ]
    models = load_reward_models([out / "model" for out in outs])
    found = ensemble_scores(models, [[5, 6, 7], [8, 9]], pad_id=0)
    assert all(std > 0 for std in found.std)
    assert not any(p.requires_grad for model in models for p in model.parameters())
    bare = trained(replace(settings, out=tmp_path / "bare"))
    with pytest.raises(ConfigError, match="its scores have no zero that others share"):
        load_reward_models([outs[0] / "model", bare / "model"])
    other = tmp_path / "other"
    tokenizer = Tokenizer.train(["other words"] * 3, 280)
    config = SHAPE.model_config(tokenizer.vocab_size)
    publish(LanguageModel(config, seed=0), tokenizer, other)
    with pytest.raises(ConfigError, match="another tokenizer"):
        load_reward_models([outs[0] / "model", other])


def test_judging_goes_by_what_the_model_was_fitted_on_whatever_its_unit(with_ties, settings):
    model, chat_format = load_score_model(with_ties / "model"), chat_format_of(with_ties / "model")
    comparisons = read_comparisons(settings.comparisons)
    before = judge(model, comparisons, chat_format, 96)
    model.shift += 3.0
    model.gain *= 7.0
    after = judge(model, comparisons, chat_format, 96)
    for (_, some), (_, others) in zip(before, after, strict=True):
        assert_close(torch.tensor(some).diff(), torch.tensor(others).diff(), atol=1e-4, rtol=1e-4)
    assert measure(model, before)["n_pairs"] == 48 * 5
    assert most_wrong([(comparisons[0], [4.0, 3.0, 2.0, 3.0])]) == []
