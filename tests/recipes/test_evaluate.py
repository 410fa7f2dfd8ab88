"""`danlu evaluate` with models of random weights on a real, small world."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from danlu.cli import main
from danlu.config import ConfigError
from danlu.evaluate.exam import load_results
from danlu.generate.sampling import SamplingConfig
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.recipes.answering import answerer, complete, few_shot_answerer
from danlu.recipes.evaluate import CATEGORY_NAMES, EvaluateConfig, which_world
from danlu.recipes.speaker import Speaker, load_speaker
from danlu.recipes.stage import publish
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat
from danlu.world.demonstrations import few_shot_prompt, first_answer
from danlu.world.tasks import CATEGORIES, questions
from danlu.world.truth import World, WorldSize

SIZES = {"d_model": 16, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "head_dim": 8, "d_ff": 16}
SHORT = SamplingConfig(max_new_tokens=4, temperature=0)
CORPUS_BYTES = 1_000_000


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two stages, and the plan that says which world it was."""
    tokenizer = Tokenizer.train(["Who is he? 他是谁？ user assistant\n"] * 3, 300)
    folder = tmp_path_factory.mktemp("run")
    for seed, stage in enumerate(("sft", "ppo")):
        config = ModelConfig(vocab_size=tokenizer.vocab_size, max_seq_len=640, **SIZES)
        publish(LanguageModel(config, seed=seed), tokenizer, folder / stage / "model")
    (folder / "plan.json").write_text(json.dumps({"corpus_bytes": CORPUS_BYTES}), encoding="utf-8")
    (folder / "config.toml").write_text("seed = 3\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def speaker(run_folder: Path) -> Speaker:
    return load_speaker(run_folder / "sft")


@pytest.fixture(scope="module")
def world() -> World:
    return World.create(3, WorldSize.for_bytes(CORPUS_BYTES))


def test_command_examines_two_models_on_the_same_questions(run_folder, capsys):
    assert main(["evaluate", str(run_folder / "ppo"), f"against={run_folder / 'sft'}", "n_per_cell=1"]) == 0
    out = run_folder / "ppo" / "exam"
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert list(summary["systems"]) == ["against", "model"]
    assert summary["systems"]["model"]["n"] == 2 * len(CATEGORIES)
    assert (summary["differences"][0]["from"], summary["differences"][0]["to"]) == ("against", "model")
    asked = [result.question_id for result in load_results(out / "model.jsonl")]
    assert asked == [result.question_id for result in load_results(out / "against.jsonl")]
    shown = capsys.readouterr().out
    assert "macro average" in shown
    assert all(category in shown for category in CATEGORIES)


def test_the_world_is_that_of_the_run_around_the_model(run_folder):
    assert which_world(EvaluateConfig(model=run_folder / "sft" / "model")) == (CORPUS_BYTES, 3)
    assert which_world(EvaluateConfig(model=run_folder / "sft", seed=7)) == (CORPUS_BYTES, 7)


def test_a_model_outside_a_run_needs_to_be_told_its_world(tmp_path):
    with pytest.raises(ConfigError, match="corpus_bytes"):
        which_world(EvaluateConfig(model=tmp_path / "model"))
    assert which_world(EvaluateConfig(model=tmp_path / "model", corpus_bytes=5, seed=1)) == (5, 1)


def test_answers_do_not_depend_on_the_company_they_are_asked_in(speaker, world):
    asked = [question.messages for question in questions(world, "dev", 1, 0)]
    together = answerer(speaker, SHORT)(asked)
    assert together[5] == answerer(speaker, SHORT)(asked[5:6])[0]
    assert len(together) == len(asked)


def test_a_base_model_continues_solved_examples_and_its_first_answer_counts(speaker, world):
    asked = questions(world, "dev", 1, 0)
    answers = few_shot_answerer(speaker, world, asked, SHORT)([question.messages for question in asked])
    tokenizer = speaker.chat.tokenizer
    ids = [tokenizer.eos_id, *tokenizer.encode(few_shot_prompt(world, asked[7]))]
    assert answers[7] == first_answer(complete(speaker, [ids], {tokenizer.eos_id}, SHORT)[0])
    with pytest.raises(ValueError, match="announced"):
        few_shot_answerer(speaker, world, asked, SHORT)([asked[0].messages])


def test_a_prompt_that_fills_the_context_gets_an_empty_answer_and_its_neighbours_theirs():
    tokenizer = Tokenizer.train(["hello there\n"] * 3, 300)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, max_seq_len=16, **SIZES)
    narrow = Speaker(LanguageModel(config, seed=1), ChatFormat(tokenizer))
    alone = complete(narrow, [[70, 71]], {tokenizer.eos_id}, SHORT)
    texts = complete(narrow, [[70] * 16, [70, 71], [70] * 40], {tokenizer.eos_id}, SHORT)
    assert texts == ["", alone[0], ""]
    assert alone[0]


def test_every_category_has_a_name_in_both_languages():
    assert CATEGORY_NAMES.keys() == CATEGORIES.keys()
    assert all(set(names) == {"en", "zh"} for names in CATEGORY_NAMES.values())
