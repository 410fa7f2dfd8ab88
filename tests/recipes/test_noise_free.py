"""The reward model against the truth, with a model of random weights and answers of known worth."""

from __future__ import annotations

from danlu.model.config import ModelConfig
from danlu.model.heads import ScoreModel
from danlu.recipes.noise_free import answered, noise_free_agreement, pairs_by_truth
from danlu.recipes.stage import publish
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat
from danlu.world.annotators import SAME
from danlu.world.judging import true_score
from danlu.world.tasks import questions
from danlu.world.truth import World, WorldSize

SIZES = {"d_model": 16, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "head_dim": 8, "d_ff": 16}
WORLD = World.create(0, WorldSize.for_bytes(1_000_000))
ASKED = {(question.category, question.lang): question for question in questions(WORLD, "dev", 1, 0)}


def test_a_scorer_that_likes_the_right_answer_is_right_and_one_that_hates_it_is_wrong():
    question = ASKED["facts", "en"]
    texts = [question.gold["replies"][0], "Nobody can say.", ""]
    liked = pairs_by_truth(question, texts, [1.0, 0.5, 0.0], SAME)
    hated = pairs_by_truth(question, texts, [0.0, 0.5, 1.0], SAME)
    strict = [pair for pair in liked if not pair.tie]
    assert strict
    assert all(pair.credit == 1.0 for pair in strict)
    assert all(pair.credit == 0.0 for pair in hated if not pair.tie)
    assert {pair.language for pair in liked} == {"en"}


def test_an_answer_in_the_wrong_language_differs_in_language():
    question = ASKED["facts", "en"]
    pairs = pairs_by_truth(question, [question.gold["replies"][0], "我不知道这件事。"], [1.0, 0.0], SAME)
    assert [pair.kind for pair in pairs] == ["language"]


def test_the_same_answer_twice_is_a_tie():
    question = ASKED["facts", "zh"]
    assert pairs_by_truth(question, ["是的。", "是的。"], [0.3, 0.3], 0.0)[0].tie


def test_answers_of_nearly_the_same_worth_are_a_tie_unless_every_gap_counts():
    question = ASKED["facts", "en"]
    texts = ["I do not know.", "我不知道。"]
    gap = true_score(question, texts[0]) - true_score(question, texts[1])
    assert 0 < gap < SAME
    assert pairs_by_truth(question, texts, [0.0, 1.0], SAME)[0].tie
    assert [pair.credit for pair in pairs_by_truth(question, texts, [0.0, 1.0], 0.0)] == [0.0]
    assert [pair.tie for pair in pairs_by_truth(question, texts, [0.0, 1.0], gap)] == [False]


def test_an_answer_is_scored_where_training_scores_it():
    chat_format = ChatFormat(Tokenizer.train(["Who is he? user assistant\n"] * 3, 300))
    question = ASKED["reference", "en"]
    ids = answered(chat_format, question, "It swims.")
    rendered = chat_format.render([*question.messages, {"role": "assistant", "content": "It swims."}])
    end = max(i for i, learnt in enumerate(rendered.loss_mask) if learnt)
    assert ids == rendered.ids[: end + 1]


def test_a_reward_model_directory_is_measured_by_kind_and_language(tmp_path):
    tokenizer = Tokenizer.train(["Who is he? 他是谁？ user assistant\n"] * 3, 300)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, max_seq_len=320, **SIZES)
    publish(ScoreModel(config, seed=1), tokenizer, tmp_path / "model")
    asked = list(ASKED.values())
    texts = [[question.gold["replies"][0], "我不知道。", "I do not know."] for question in asked]
    summary = noise_free_agreement(tmp_path / "model", asked, texts)
    assert summary["n_prompts"] == len(asked) == 22
    assert summary["n_pairs"] + summary["n_ties"] == 3 * 22
    assert sum(group["n_pairs"] for group in summary["kinds"].values()) == summary["n_pairs"]
    facts = summary["kinds"].get("fact", {"n_pairs": 0})["n_pairs"]
    assert summary["conduct"]["n_pairs"] == summary["n_pairs"] - facts
    assert summary["n_pairs"] < summary["at_any_gap"]["n_pairs"] <= 3 * 22
    assert summary["languages"].keys() == {"en", "zh"}
    assert 0.0 <= summary["accuracy"]["low"] <= summary["accuracy"]["high"] <= 1.0
