"""What the page Inspect is told, against the model itself and sums by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("nicegui", reason="the studio needs NiceGUI: pip install 'danlu[studio]'")

from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.recipes.stage import publish
from danlu.recipes.studio_inspect import ModelMicroscope, labels_of
from danlu.serve.studio.microscope import Example, InspectError, MaskLine
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat

SIZES: dict[str, Any] = {
    "d_model": 16,
    "n_layers": 2,
    "n_heads": 2,
    "n_kv_heads": 1,
    "head_dim": 8,
    "d_ff": 16,
}
CHAT: list[dict[str, Any]] = [{"role": "user", "content": "hello?"}, {"role": "assistant", "content": "hi"}]
SEEN = ModelMicroscope()


@pytest.fixture(scope="module")
def chat() -> ChatFormat:
    return ChatFormat(Tokenizer.train(["user assistant hello there hi 猫睡了\n"] * 3, 300))


@pytest.fixture(scope="module")
def model(chat: ChatFormat) -> LanguageModel:
    config = ModelConfig(vocab_size=chat.tokenizer.vocab_size, max_seq_len=96, **SIZES)
    return LanguageModel(config, seed=1).eval()


@pytest.fixture(scope="module")
def path(chat: ChatFormat, model: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speaks")
    publish(model, chat.tokenizer, folder / "model")
    return folder


@pytest.fixture(scope="module")
def judge(chat: ChatFormat, model: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scores")
    publish(ScoreModel.from_language_model(model, seed=2), chat.tokenizer, folder / "model")
    return folder


def test_each_token_has_the_numbers_of_one_forward_pass(path: Path, model: LanguageModel, chat: ChatFormat):
    ids = SEEN.read(path, "hello there")
    assert ids == [chat.tokenizer.eos_id, *chat.tokenizer.encode("hello there")]
    found = SEEN.tokens(path, ids, 3)
    with torch.no_grad():
        logprobs = model(torch.tensor([ids]))[0].log_softmax(-1)
    assert [each.id for each in found.tokens] == [*ids, -1]
    assert (found.tokens[0].logprob, found.tokens[-1].logprob) == (None, None)
    for each in found.tokens[1:]:
        row = logprobs[each.at - 1]
        assert each.entropy == pytest.approx(float(-(row.exp() * row).sum()), abs=1e-4)
        assert [guess.id for guess in each.best] == row.topk(3).indices.tolist()
        if each.id >= 0:
            assert each.logprob == pytest.approx(float(row[each.id]), abs=1e-4)


def test_a_branch_goes_on_as_the_model_would_greedily(path: Path, model: LanguageModel, chat: ChatFormat):
    ids = [*SEEN.read(path, "hello"), 20]
    found = SEEN.branch(path, ids, 5)
    by_hand = list(ids)
    with torch.no_grad():
        for _ in range(5):
            by_hand.append(int(model(torch.tensor([by_hand]))[0, -1].argmax()))
    assert found.ids == by_hand
    assert found.after == chat.tokenizer.decode(by_hand[-5:], show_control=True)
    ended = SEEN.branch(path, [*ids, chat.tokenizer.im_end_id], 5)
    assert (ended.ended, ended.after, ended.ids[-1]) == (True, "", chat.tokenizer.im_end_id)


def test_a_text_is_read_as_far_as_the_model_reads(path: Path):
    ids = SEEN.read(path, "猫 " * 200)
    found = SEEN.tokens(path, ids, 1)
    assert (len(found.tokens), found.n_left_out) == (97, len(ids) - 96)
    assert SEEN.branch(path, ids[:96], 5).after == ""  # no room


def test_heads_and_lens_are_those_of_the_model(path: Path, model: LanguageModel):
    ids = SEEN.read(path, "hello there")
    assert SEEN.heads(path, ids) == [2, 2]
    head = SEEN.head(path, ids, 1, 1)
    assert head.n_tokens == len(ids)
    assert head.strongest[0][2] == pytest.approx(1.0)  # the first token can look at itself only
    assert head.drawing.count("<image") == 1
    lens = SEEN.lens(path, ids)
    with torch.no_grad():
        last = model(torch.tensor([ids]))[0].argmax(-1).tolist()
    assert [guess.id for guess in lens.layers[-1][1]] == last
    assert [n for n, _ in lens.layers] == [0, 1, 2]


def learnt(lines: Any) -> list[int]:
    return [line.at for line in lines if line.mark in ("*", "$")]


def test_fine_tuning_learns_what_the_assistant_says_and_its_end(path: Path, chat: ChatFormat):
    found = SEEN.masks(path, "sft", Example(fields={"messages": CHAT}, source="x.jsonl", line=1))
    rendered = chat.render(CHAT)  # the target of a position is the next token
    assert learnt(found.lines) == [i - 1 for i, each in enumerate(rendered.loss_mask) if each]
    assert (found.lines[-1].mark, found.lines[-1].target) == ("$", "<|im_end|>")


def test_pretraining_learns_every_token_and_the_end(path: Path, chat: ChatFormat):
    n = len(chat.tokenizer.encode("hello there"))
    example = Example(fields={"text": "hello there"}, source="x", line=1)
    found = SEEN.masks(path, "pretrain", example)
    assert learnt(found.lines) == list(range(n + 1))
    ids = [*chat.tokenizer.encode("hello there"), chat.tokenizer.eos_id]
    shard = Example(ids=ids, fingerprint=chat.tokenizer.fingerprint)
    assert SEEN.masks(path, "pretrain", shard).lines == found.lines
    with pytest.raises(InspectError, match="another tokenizer"):
        SEEN.masks(path, "pretrain", Example(ids=ids, fingerprint="other"))


def test_a_reward_model_reads_a_score_at_each_answers_end(path: Path):
    fields = {"prompt": "hello?", "completions": ["hi", "there", "hello"], "ranks": [1, 2, 3]}
    found = SEEN.masks(path, "reward", Example(fields=fields, source="x", line=1))
    marked = [line.label for line in found.lines if line.mark == "S"]
    assert marked == ["<|im_end|>"] * 3


def test_of_a_rating_the_answer_alone_is_learnt(path: Path, chat: ChatFormat):
    found = SEEN.masks(path, "kto", Example(fields={"messages": CHAT, "thumb": "up"}, source="x", line=1))
    targets = [line.target for line in found.lines if line.mark in ("*", "$")]
    assert targets == [*labels_of(chat.tokenizer, chat.tokenizer.encode("hi")), "<|im_end|>"]


def test_a_policy_learns_from_what_it_drew(path: Path, model: LanguageModel, chat: ChatFormat):
    found = SEEN.masks(path, "ppo", Example(fields={"prompt": "hello?"}, source="x", line=1))
    prompt = chat.prompt(CHAT[:1])
    drawn = [line for line in found.lines if line.numbers]
    assert [line.at for line in drawn] == learnt(found.lines)
    assert (drawn[0].at, found.columns) == (len(prompt) - 1, ("logprob",))
    line: MaskLine = drawn[0]
    with torch.no_grad():
        logprobs = model(torch.tensor([prompt]))[0, -1].log_softmax(-1)
    second = next(each for each in found.lines if each.at == line.at + 1)
    assert line.numbers[0] == pytest.approx(float(logprobs[second.id]), abs=1e-3)


def test_scores_along_a_text_are_those_of_its_beginnings(judge: Path, chat: ChatFormat):
    found = SEEN.scores(judge, CHAT)
    ids = chat.render(CHAT).ids
    assert len(found.scores) == len(ids) == len(found.labels)
    shorter = SEEN.scores(judge, CHAT[:1])
    assert found.scores[: len(shorter.scores)] == pytest.approx(shorter.scores, abs=1e-5)


@pytest.mark.parametrize(
    ("stage", "fields", "fault"),
    [
        ("pretrain", {"messages": CHAT}, "no field 'text'"),
        ("sft", {"source": "t"}, "is no chat"),
        ("sft", {"messages": CHAT[:1]}, "no token of this chat is learnt"),
        ("reward", {"messages": CHAT}, "is no comparison"),
        ("kto", {"messages": CHAT}, "is no rating"),
        ("ppo", {"text": "t"}, "is no prompt"),
        ("ppo", {"prompt": "hello " * 200}, "no room for an answer"),
    ],
)
def test_what_a_stage_cannot_read_is_told(path: Path, stage: Any, fields: dict[str, Any], fault: str):
    with pytest.raises(InspectError, match=fault):
        SEEN.masks(path, stage, Example(fields=fields, source="x.jsonl", line=3))


def test_a_model_that_is_not_there_or_is_another_is_told(path: Path, judge: Path, tmp_path: Path):
    with pytest.raises(InspectError, match="is no directory here"):
        SEEN.read(tmp_path / "none", "hello")
    with pytest.raises(InspectError):
        SEEN.read(tmp_path, "hello")
    with pytest.raises(InspectError, match="gives no scores"):
        SEEN.scores(path, "hello")
    with pytest.raises(InspectError, match="writes no text"):
        SEEN.tokens(judge, [1, 2], 1)
    with pytest.raises(InspectError, match="nothing to read"):
        SEEN.lens(path, [])


def test_parts_of_a_character_have_numbers(chat: ChatFormat):
    tokenizer = chat.tokenizer
    ids = tokenizer.encode("难")
    assert len(ids) > 1
    assert labels_of(tokenizer, ids) == [f"难{'₁₂₃'[i]}" for i in range(len(ids))]
    assert labels_of(tokenizer, ids[:1])[0].startswith("<")  # by itself it is a byte
