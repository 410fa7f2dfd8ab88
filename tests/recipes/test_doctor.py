"""`danlu doctor` on real stages in miniature: what it shows, what it finds, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from danlu.cli import main
from danlu.data import sft
from danlu.data.records import Batch
from danlu.generate.sampler import Completion, Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import load_language_model
from danlu.recipes import checkups
from danlu.recipes.pretrain import Shape
from danlu.recipes.stage import publish
from danlu.rl.packing import Packing
from danlu.tokenizer.bpe import Tokenizer

SHAPE = Shape(d_model=32, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=32, max_seq_len=128)
MODEL = "model={d_model = 32, n_layers = 1, n_heads = 2, n_kv_heads = 1, head_dim = 16, d_ff = 32}"


@pytest.fixture(scope="module")
def models(kit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model whose answers soon end, and a reward model over it."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = Tokenizer.load(kit.tokenizer)
    config = SHAPE.model_config(tokenizer.vocab_size)
    model = LanguageModel(replace(config, tie_embeddings=False), seed=0)
    with torch.no_grad():  # logits of every context lean towards the end of the turn
        model.backbone.embedding.weight.add_(0.05)
        model.lm_head.weight[tokenizer.im_end_id] += 0.3
    publish(model, tokenizer, folder / "base")
    publish(ScoreModel(config, seed=0), tokenizer, folder / "reward")
    return folder


@pytest.fixture
def words(kit, models: Path) -> dict[str, list[str]]:
    """The command line of each stage."""
    base, reward = models / "base", models / "reward"
    small = [
        "rollout.n_episodes=16",
        "rollout.minibatch_size=16",
        "n_episodes=16",
        "rollout.max_new_tokens=32",
    ]
    return {
        "pretrain": [
            "pretrain",
            MODEL,
            f"tokenizer={kit.tokenizer}",
            f"shards={kit.shards}",
            "batch_size=4",
            "seq_len=32",
        ],
        "sft": ["sft", f"base={base}", f"data={kit.chats}", "batch_size=2", "seq_len=96"],
        "reward": ["reward", f"base={base}", f"comparisons={kit.comparisons}", "prompts_per_batch=2"],
        "ppo": ["ppo", f"policy={base}", f"reward_model={reward}", f"prompts={kit.prompts}", *small],
        "grpo": ["grpo", f"policy={base}", f"reward_model={reward}", f"prompts={kit.prompts}", *small],
        "rloo": ["rloo", f"policy={base}", f"reward_model={reward}", f"prompts={kit.prompts}", *small],
    }


def told(capsys: pytest.CaptureFixture[str], code: int, words: Sequence[str]) -> str:
    """What the doctor prints, both streams, with the exit code it must have; lines are joined again."""
    capsys.readouterr()
    found = main(["doctor", *words])
    shown = capsys.readouterr()
    text = shown.out + shown.err
    assert found == code, text
    return re.sub(r"\n {7}(?=\S)", " ", text)


CHECKS = {
    "pretrain": [
        "PAD is not EOS",
        "mask sums",
        "ends are learnt",
        "untrained loss",
        "sampler and training agree",
    ],
    "sft": ["tokenizer fits the model", "template", "mask sums", "gradient reaches every parameter"],
    "reward": ["rankings", "scores are read at the end", "packed scores equal scores alone"],
    "ppo": [
        *("one tokenizer", "completions end", "KL at the start", "ratio is one", "gradient reaches"),
        *("mask sums", "shifted once", "positions", "packed rollouts equal rollouts alone"),
    ],
    "grpo": ["one tokenizer", "ratio is one", "gradient reaches", "packed rollouts equal rollouts alone"],
    "rloo": ["one tokenizer", "ratio is one", "gradient reaches", "packed rollouts equal rollouts alone"],
}


@pytest.mark.parametrize("stage", CHECKS)
def test_a_sound_stage_is_shown_and_found_well(
    stage: str, words: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
):
    shown = told(capsys, 0, words[stage])
    assert "example 1, token by token" in shown
    assert "<|im_start|>" in shown
    for check in CHECKS[stage]:
        assert f"\nok     {check}" in shown
    assert "WRONG" not in shown
    assert shown.endswith("Nothing is wrong.\n")


def test_a_base_that_goes_on_is_checked_with_its_new_tokens(models: Path, tmp_path: Path, capsys):
    lines = [f"In the harbour of number {i} the harbour master counts {i * 7} boats." for i in range(60)]
    for name, some in (("train", lines[:50]), ("held_out", lines[50:])):
        records = "".join(json.dumps({"text": line}) + "\n" for line in some)
        (tmp_path / f"{name}.jsonl").write_text(records, encoding="utf-8")
    words = [
        *("pretrain", f"base={models / 'base'}", f"data={tmp_path}", "new_tokens=8", "min_count=2"),
        *("batch_size=4", "seq_len=32", "example=2"),
    ]
    shown = told(capsys, 0, words)
    assert "example 2, token by token" in shown
    assert "harbour" in shown
    assert "\nok     loss before training" in shown
    assert "\nok     sampler and training agree" in shown
    assert sorted(each.name for each in tmp_path.iterdir()) == ["held_out.jsonl", "train.jsonl"]


def test_masked_pretraining_is_refused(words: dict[str, list[str]], capsys):
    assert "the doctor knows causal pretraining only" in told(
        capsys, 2, [*words["pretrain"], "objective=mlm"]
    )


@pytest.mark.parametrize("kind", ["plackett_luce", "davidson", "rao_kupper"])
def test_rankings_are_examined_under_the_likelihood_that_is_set(kind: str, words, models, tmp_path, capsys):
    rankings = tmp_path / "rankings.jsonl"
    record = {
        "prompt": [{"role": "user", "content": "What colour is snow?"}],
        "completions": ["It is white.", "green", "I will not say."],
        "ranks": [1, 3, 1],
        "strengths": [2],
    }
    named = [json.dumps(record | {"annotator": name}) + "\n" for name in ("ann", "bob", "ann")]
    rankings.write_text("".join(named), encoding="utf-8")
    given = [*words["reward"], f"comparisons={rankings}", f"objective.kind={kind}"]
    shown = told(capsys, 0, [*given, "objective.rater_noise=true", "raters.weights={ann = 2.0}", "example=3"])
    assert "ranks of example 3: [1, 3, 1]" in shown
    assert "by ann, weighing 2\n" in shown
    assert "how much better each rank is than the next: [2.0]" in shown
    # A strength of 2 asks equal scores for a difference of 2 in two pairs of three, or in the last choice.
    cost = float(re.search(r"preferring nothing costs ([\d.]+)\)", shown)[1])
    assert cost > (1.3 if kind == "plackett_luce" else 1.5)
    n_learnt = len(LanguageModel(SHAPE.model_config(320)).backbone.state_dict()) + 1
    n_of_raters = 1 if kind == "plackett_luce" else 2
    n_all = n_learnt + n_of_raters
    assert f"gradient reaches every parameter: {n_all} of {n_all}" in shown
    assert "the rankings name 0 raters" in told(capsys, 2, [*words["reward"], "objective.rater_noise=true"])


def test_a_reward_model_that_is_to_learn_further_is_examined_too(words, models, capsys):
    shown = told(capsys, 0, [*words["reward"], f"base={models / 'reward'}"])
    assert "Nothing is wrong." in shown


def test_nothing_is_written(words: dict[str, list[str]], models: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in models.rglob("*")}
    told(capsys, 0, words["sft"])
    assert list(tmp_path.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in models.rglob("*")} == before


def test_the_chosen_example_is_shown(words: dict[str, list[str]], capsys, tmp_path: Path):
    chats = [
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": answer}]}
        for answer in ("blue", "green", "white")
    ]
    data = tmp_path / "chats.jsonl"
    data.write_text("".join(json.dumps(each) + "\n" for each in chats), encoding="utf-8")
    given = [*words["sft"], f"data={data}"]

    def learnt(example: int) -> str:
        rows = [row.split() for row in told(capsys, 0, [*given, f"example={example}"]).splitlines()]
        ids = [row[-1] for row in rows if len(row) == 7 and row[0].isdigit() and row[5] in ("*", "$")]
        return "".join(ids)

    assert [learnt(i) for i in (1, 2, 3)] == [f"{w}<|im_end|>" for w in ("blue", "green", "white")]
    assert "example is 4; there are 3 chats" in told(capsys, 2, [*given, "example=4"])


def test_a_run_directory_brings_its_own_settings(words: dict[str, list[str]], tmp_path: Path, capsys):
    assert main([*words["sft"], f"out={tmp_path}/run", "n_epochs=0.1", "sample_prompts=[]"]) == 0
    for given in ([f"{tmp_path}/run"], ["sft", f"{tmp_path}/run"], [f"{tmp_path}/run/config.toml"]):
        assert "Nothing is wrong." in told(capsys, 0, [*given, "n_shown=8"])
    (tmp_path / "config.toml").write_text("texts = 'a'\n", encoding="utf-8")
    assert "holds the settings of none of pretrain, sft" in told(capsys, 2, [str(tmp_path)])
    assert "neither a stage nor a run directory" in told(capsys, 2, ["nowhere"])


def test_help_shows_the_forms_and_the_settings_of_one(capsys: pytest.CaptureFixture[str]):
    assert "danlu doctor pretrain|sft|reward|ppo" in told(capsys, 0, ["--help"])
    shown = told(capsys, 0, ["sft", "--help"])
    assert "  too_long" in shown
    assert "  example" in shown
    assert "comparisons" not in shown


def patched_batches(monkeypatch: pytest.MonkeyPatch, change) -> None:
    """SFT batches as a faulty collate function would lay them out."""
    sound = sft.lay_out
    monkeypatch.setattr(sft, "lay_out", lambda *given: change(sound(*given)))


def all_masked(batch: Batch) -> Batch:
    return replace(batch, loss_mask=torch.zeros_like(batch.loss_mask))


def without_ends(batch: Batch) -> Batch:
    following = batch.loss_mask.roll(-1, dims=1)
    return replace(batch, loss_mask=batch.loss_mask & following)


def everything_learnt(batch: Batch) -> Batch:
    return replace(batch, loss_mask=torch.ones_like(batch.loss_mask))


def shifted_again(batch: Batch) -> Batch:
    return replace(batch, target_ids=batch.target_ids.roll(-1, dims=1))


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (all_masked, "mask sums"),
        (without_ends, "ends are learnt"),
        (everything_learnt, "mask sums"),
        (shifted_again, "shifted once"),
    ],
)
def test_batches_that_are_silently_wrong_are_refused(
    change, check: str, words: dict[str, list[str]], capsys, monkeypatch
):
    patched_batches(monkeypatch, change)
    shown = told(capsys, 2, words["sft"])
    assert f"WRONG  {check}: " in shown
    assert "danlu: checks that went wrong: " in shown


def test_chats_whose_answers_would_be_truncated_are_refused(words: dict[str, list[str]], capsys):
    assert "its answer would be cut away" in told(capsys, 2, [*words["sft"], "seq_len=16"])
    shown = told(capsys, 2, [*words["sft"], "seq_len=16", "too_long=drop"])
    assert "no chat to learn from" in shown


def test_a_tokenizer_that_pads_with_an_end_is_refused(
    words: dict[str, list[str]], capsys, monkeypatch: pytest.MonkeyPatch
):
    sound = Tokenizer.load

    def padding_is_the_end(directory: Path) -> Tokenizer:
        tokenizer = sound(directory)
        tokenizer.pad_id = tokenizer.eos_id
        return tokenizer

    monkeypatch.setattr(Tokenizer, "load", padding_is_the_end)
    assert "WRONG  PAD is not EOS: " in told(capsys, 2, words["pretrain"])
    assert "which also ends a text" in told(capsys, 2, words["sft"])


def test_a_parameter_without_a_gradient_is_refused(
    words: dict[str, list[str]], capsys, monkeypatch: pytest.MonkeyPatch
):
    sound = checkups.load_language_model

    def with_a_forgotten_part(path: Path) -> LanguageModel:
        model = sound(path)
        model.register_parameter("forgotten", nn.Parameter(torch.ones(2)))
        return model

    monkeypatch.setattr(checkups, "load_language_model", with_a_forgotten_part)
    shown = told(capsys, 2, words["sft"])
    assert "WRONG  gradient reaches every parameter: " in shown
    assert "not forgotten" in shown


def test_another_tokenizer_than_the_models_is_refused(
    words: dict[str, list[str]], capsys, monkeypatch: pytest.MonkeyPatch, models: Path, tmp_path: Path
):
    tokenizer = Tokenizer.train(["other words"] * 3, 280)
    small = LanguageModel(SHAPE.model_config(tokenizer.vocab_size), seed=0)
    publish(small, Tokenizer.load(models / "base"), tmp_path / "base")
    shown = told(capsys, 2, [*words["sft"], f"base={tmp_path}/base"])
    assert "WRONG  tokenizer fits the model: " in shown
    assert "ok     mask sums" not in shown  # what follows would mean nothing


@pytest.mark.parametrize(
    "more",
    [
        ["adapter.kind=lora"],
        ["value_model=policy"],
        ["value_model=shared", "adapter.kind=lora"],
        ["adapter.kind=lora", "value_model=policy"],
        ["ema_decay=0.9"],
    ],
)
def test_weights_that_begin_at_zero_are_no_fault(words: dict[str, list[str]], more: list[str], capsys):
    shown = told(capsys, 0, [*words["ppo"], *more])
    assert "ok     gradient reaches every parameter" in shown
    assert ("are frozen" in shown) == ("adapter.kind=lora" in more)


@pytest.mark.parametrize("stage", ["sft", "reward", "grpo"])
def test_an_adapter_is_checked_as_the_stage_would_train_it(stage: str, words, capsys):
    shown = told(capsys, 0, [*words[stage], "adapter.kind=lora"])
    assert "ok     gradient reaches every parameter" in shown
    assert "are frozen" in shown


def test_a_run_of_grpo_is_recognised(words: dict[str, list[str]], tmp_path: Path, capsys):
    short = ["rollout.n_episodes=8", "rollout.minibatch_size=8", "n_episodes=8", "rollout.max_new_tokens=8"]
    assert main([*words["grpo"], *short, f"out={tmp_path}/run"]) == 0
    shown = told(capsys, 0, [f"{tmp_path}/run", "rollout.max_new_tokens=32"])
    assert "Nothing is wrong." in shown


@pytest.mark.parametrize("stage", ["ppo", "grpo"])
def test_attention_that_crosses_from_one_rollout_to_the_next_is_refused(
    stage: str, words: dict[str, list[str]], models: Path, tmp_path: Path, capsys, monkeypatch
):
    attentive = load_language_model(models / "base")
    with torch.no_grad():  # untrained, what is attended to hardly matters
        for parameter in attentive.backbone.parameters():
            parameter.mul_(3.0 if parameter.ndim == 2 else 1.0)
    publish(attentive, Tokenizer.load(models / "base"), tmp_path / "policy")
    sound = Packing.pack

    def without_boundaries(self: Packing, batch):
        rows = sound(self, batch)
        return replace(rows, segment_ids=torch.zeros_like(rows.segment_ids), branch_ids=None)

    monkeypatch.setattr(Packing, "pack", without_boundaries)
    exact = json.dumps({"dtype": "float32", "kernels": "plain", "threads": 1})
    (tmp_path / "machine.json").write_text(exact, encoding="utf-8")
    loose = "rollout.logprob_tolerance=1"  # or the rollout itself refuses
    shown = told(capsys, 2, [*words[stage], loose, f"policy={tmp_path}/policy", f"out={tmp_path}"])
    assert "WRONG  positions: " in shown
    assert "WRONG  packed rollouts equal rollouts alone: " in shown


@pytest.mark.parametrize("stage", ["sft", "ppo"])
def test_a_sampler_with_another_temperature_is_refused(
    stage: str, words: dict[str, list[str]], capsys, monkeypatch: pytest.MonkeyPatch
):
    sound = Sampler.generate

    def colder(self: Sampler, prompts, sampling: SamplingConfig, *rest) -> list[Completion]:
        return sound(self, prompts, replace(sampling, temperature=0.5 * sampling.temperature), *rest)

    monkeypatch.setattr(Sampler, "generate", colder)
    shown = told(capsys, 2, words[stage])
    assert "WRONG  sampler and training agree: " in shown


def test_a_reward_model_with_another_tokenizer_is_refused(
    words: dict[str, list[str]], models: Path, tmp_path: Path, capsys
):
    n = Tokenizer.load(models / "base").vocab_size
    other_words = " ".join(f"k{letter}l{letter}m" for letter in "abcdefghijklmnopqrstuvwxyz")
    tokenizer = Tokenizer.train([other_words] * 6, n)
    assert tokenizer.vocab_size == n
    publish(ScoreModel(SHAPE.model_config(n), seed=0), tokenizer, tmp_path / "reward")
    shown = told(capsys, 2, [*words["ppo"], f"reward_model={tmp_path}/reward"])
    assert "WRONG  one tokenizer: " in shown


def test_rankings_that_prefer_nothing_are_refused(words: dict[str, list[str]], tmp_path: Path, capsys):
    record = {"prompt": [{"role": "user", "content": "Hi"}], "completions": ["a", "b"], "ranks": [1, 1]}
    data = tmp_path / "rankings.jsonl"
    data.write_text(json.dumps(record) + "\n", encoding="utf-8")
    shown = told(capsys, 2, [*words["reward"], f"comparisons={data}"])
    assert "WRONG  rankings: 0 of 1 pairs prefer one text" in shown
