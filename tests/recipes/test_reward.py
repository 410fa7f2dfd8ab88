"""What `danlu reward` makes of ties, raters and other preferences, on a model that learns in seconds."""

from __future__ import annotations

import json
import math
import random
import statistics
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import logsigmoid
from torch.testing import assert_close

from danlu.adapters.settings import AdapterConfig
from danlu.config import ConfigError
from danlu.data.chats import read_chats, read_comparisons
from danlu.data.rankings import RankingBatches
from danlu.data.records import DataError
from danlu.evaluate.judging import most_wrong
from danlu.evaluate.ranking import Pair
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import load_language_model, load_score_model
from danlu.objectives.loss import Loss, Term
from danlu.objectives.ranking import Ranking
from danlu.recipes import reward
from danlu.recipes.jsonl import write_jsonl
from danlu.recipes.pretrain import Shape
from danlu.recipes.rater_settings import RatersConfig
from danlu.recipes.reward_ensemble import joined, load_member, load_reward_models
from danlu.recipes.reward_report import judge, measure, rater_report
from danlu.recipes.score_scale import scores_of
from danlu.recipes.stage import chat_format_of, publish
from danlu.rl.scoring import ensemble_scores
from danlu.tokenizer.bpe import Tokenizer
from danlu.train.loop import LoopConfig, train
from danlu.train.optim import OptimConfig, build_optimizer
from danlu.train.pace import Pace
from danlu.train.schedule import ScheduleConfig, build_schedule

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


def metrics_of(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


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


class Published:
    """Ouyang et al. 2022, eq. 1, as a loop: the mean over a ranking's pairs, a tie half of either order."""

    def __call__(self, model, batch):
        scores = model(*batch.inputs).flatten()[batch.end_index]
        total = torch.zeros(())
        for group in batch.group_ids.unique():
            here = torch.nonzero(batch.group_ids == group).flatten().tolist()
            losses = []
            for i, j in combinations(here, 2):
                share = 0.5 if batch.ranks[i] == batch.ranks[j] else float(batch.ranks[i] < batch.ranks[j])
                margin = scores[i] - scores[j]
                losses.append(-share * logsigmoid(margin) - (1 - share) * logsigmoid(-margin))
            total = total + sum(losses) / len(losses)
        return Loss({"ranking": Term(total)})

    def weights(self, batch):
        return {"ranking": torch.tensor(len(batch.group_ids.unique()))}


def test_the_defaults_are_the_published_loss_at_the_rate_that_the_demo_was_measured_with(
    settings, base, tmp_path
):
    # No likelihood, weight or rater that may be asked for must touch who asks for none of them.
    config = reward.RewardConfig(
        base=base, comparisons=settings.comparisons, out=tmp_path / "out", max_len=96
    )
    out = trained(config)
    model = ScoreModel.on(load_language_model(base).backbone, seed=0)
    rankings = read_comparisons(settings.comparisons)
    batches = RankingBatches(rankings, chat_format_of(base), 8, 96, seed=0)
    optimizer = build_optimizer(model, OptimConfig(kind="muon", lr=8e-4, weight_decay=0.01))
    schedule = ScheduleConfig(kind="cosine", final_lr_ratio=0.1, warmup_steps=10)
    lr_at = build_schedule(schedule, 8e-4, Pace(6, decay_fraction=0.8, most=6))
    losses = [
        report.loss for report in train(model, batches, Published(), optimizer, lr_at, LoopConfig(n_steps=6))
    ]
    assert [line["loss"] for line in metrics_of(out)] == pytest.approx(losses, rel=1e-5)
    for ours, after in zip(load_score_model(out / "model").parameters(), model.parameters(), strict=True):
        assert_close(ours, after, atol=2e-5, rtol=1e-4)


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


def test_rankings_that_are_all_ties_are_refused(settings, tmp_path):
    ties = tmp_path / "ties.jsonl"
    write_jsonl(ties, [{"prompt": question("sky"), "completions": ["a", "b"], "ranks": [1, 1]}] * 3)
    with pytest.raises(DataError, match="each of the 3 comparisons is a tie"):
        trained(replace(settings, comparisons=ties, held_out=None, out=tmp_path / "out"))


def test_folds_that_could_not_learn_what_is_asked_for_are_refused_before_training(settings, tmp_path):
    two = tmp_path / "two.jsonl"
    write_jsonl(two, [each for each in by_raters() if each["annotator"] in ("ann", "bob")])
    noisy = replace(settings, comparisons=two, objective=Ranking(rater_noise=True), out=tmp_path / "out")
    reward.read_rankings(noisy)
    with pytest.raises(ConfigError, match="the rankings name 1 raters"):
        reward.run(replace(noisy, raters=RatersConfig(folds=2)))
    assert not (tmp_path / "out").exists()


def test_one_mistake_of_the_model_makes_nobody_contrary(with_ties):
    model = load_score_model(with_ties / "model")
    wrong = {"low": 0.0, "mean": 0.0, "high": 0.0}

    def contrary(n_prompts):
        by_rater = {"dan": {"n_pairs": n_prompts, "n_prompts": n_prompts, "accuracy": wrong}}
        return rater_report(model, [], {"raters": by_rater})["contrary"]

    assert contrary(9) == []
    assert contrary(10) == ["dan"]


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


def test_members_are_models_of_other_seeds_that_are_measured_together(settings, kit, tmp_path):
    out = trained(replace(settings, members=3, demonstrations=kit.chats, out=tmp_path / "out"))
    found = summary_of(out)["ensemble"]
    outs = [out, out / "members" / "1", out / "members" / "2"]
    weights = [load_score_model(path / "model").score.weight for path in outs]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])
    each = [summary_of(path)["held_out"]["accuracy"]["mean"] for path in outs]
    assert [one["mean"] for one in found["accuracy_of_each"]] == pytest.approx(each)
    assert found["n_pairs"] == 48 * 5  # ties have no order to be right about
    parts = found["by_disagreement"]
    assert [part["n_pairs"] for part in parts] == [80, 80, 80]
    assert parts[0]["disagreement"] < parts[1]["disagreement"] < parts[2]["disagreement"]
    assert "ensemble" not in summary_of(outs[1])
    assert load_reward_models([path / "model" for path in outs])


def test_a_mean_margin_and_how_far_members_disagree_worked_by_hand():
    of_one, of_other = ([Pair(prompt="p", margin=margin)] for margin in (math.log(3), -math.log(3)))
    (pair,), (disagreement,) = joined([of_one, of_other])
    assert pair.margin == pytest.approx(0)
    assert disagreement == pytest.approx(math.sqrt(2 * 0.25**2))  # probabilities 3/4 and 1/4


def test_an_ensemble_without_a_common_zero_is_refused(settings):
    with pytest.raises(ConfigError, match="members is 2, and their scores have no zero in common"):
        replace(settings, members=2)


def test_a_reward_model_of_other_preferences_may_be_adapted(with_ties, settings, kit, tmp_path):
    adapter = AdapterConfig(kind="lora", rank=2, dropout=0.5)
    config = replace(
        settings,
        base=with_ties / "model",
        adapter=adapter,
        reference=kit.chats,
        objective=Ranking(kind="davidson", rater_noise=True),
        out=tmp_path / "out",
    )
    out = trained(config)
    merged = load_score_model(out / "model")
    adapted = load_member(out / "adapter", merged.config.vocab_size)
    chat_format, chats = chat_format_of(out / "model"), read_chats(kit.chats)
    scores = [scores_of(model.eval(), chats, chat_format) for model in (merged, adapted)]
    assert_close(torch.tensor(scores[0]), torch.tensor(scores[1]), atol=1e-4, rtol=1e-4)
    # The zero and the unit were measured without dropout.
    assert statistics.fmean(scores[0]) == pytest.approx(0, abs=1e-4)
    assert statistics.pstdev(scores[0]) == pytest.approx(1, abs=1e-4)
    assert adapted.raters.scales() == pytest.approx(merged.raters.scales())
    assert adapted.raters.log_tie.item() == pytest.approx(merged.raters.log_tie.item())
    before = load_score_model(with_ties / "model").raters.log_tie.item()
    assert adapted.raters.log_tie.item() != before  # trained, though the base is frozen


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
