"""Other models' chat formats: the ids that transformers makes by the models' own templates."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import chat_models
import pytest
from transformers import PreTrainedTokenizerFast

from danlu.tokenizer.byte_level import TokenizerError
from danlu.tokenizer.chat import ChatError
from danlu.tokenizer.interface import AnyChatFormat
from danlu.tokenizer.llama3 import Llama3Format
from danlu.tokenizer.templates import check_template, open_chat_format

KINDS = {
    "llama 3": ("llama", chat_models.LLAMA_3),
    "llama 3.1": ("llama", chat_models.LLAMA_3_1),
    "llama 3.2": ("llama", chat_models.LLAMA_3_2),
    "qwen 2.5": ("qwen", chat_models.QWEN_2_5),
    "qwen 3": ("qwen", chat_models.QWEN_3),
    "mistral": ("mistral", chat_models.MISTRAL_TEKKEN),
    "mistral v3": ("sentencepiece v3", chat_models.MISTRAL_V3),
    "mistral v1": ("sentencepiece", chat_models.MISTRAL_V1),
    "llama 2": ("sentencepiece", chat_models.LLAMA_2),
}
QUESTION = {"role": "user", "content": "Hello there, what is  12345 + 1?"}
BRIEF = {"role": "system", "content": "Be brief. 简短。"}
ANSWER = {"role": "assistant", "content": "12346，当然。"}
CHATS: list[list[Any]] = [
    [QUESTION],
    [BRIEF, QUESTION],
    [QUESTION, ANSWER, {"role": "user", "content": "你好，世界！ UnheardOf words 🙂"}],
    [BRIEF, QUESTION, ANSWER, {"role": "user", "content": "\n\n  A café\n\nand more \n"}],
    [QUESTION, {"role": "assistant", "content": "First\n\nSecond"}, {"role": "user", "content": "x"}],
]


def opened(kind: str, folder: Path) -> tuple[AnyChatFormat, PreTrainedTokenizerFast]:
    chat_models.write_chat_model(*KINDS[kind], folder)
    return open_chat_format(folder), PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_are_those_of_the_models_own_template(kind: str, tmp_path: Path):
    chat, theirs = opened(kind, tmp_path)
    for messages in CHATS:
        found = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert chat.prompt(messages) == found
        overhead, lengths = chat.lengths(messages)
        assert overhead + sum(lengths) == len(found)
        assert len(lengths) == len(messages)


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_stay_true_when_old_turns_are_left_out(kind: str, tmp_path: Path):
    chat, _ = opened(kind, tmp_path)
    messages: Any = [BRIEF, QUESTION, ANSWER, {"role": "user", "content": "再说一次 please"}]
    overhead, lengths = chat.lengths(messages)
    kept: Any = [messages[0], messages[3]]
    counted = overhead + lengths[0] + lengths[3]
    # The first word after the system's is another one, and may be joined otherwise where it is text as well.
    slack = 4 if kind in ("mistral v1", "llama 2") else 0
    assert abs(counted - len(chat.prompt(kept))) <= slack


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_makes_a_control_token(kind: str, tmp_path: Path):
    chat, theirs = opened(kind, tmp_path)
    control = " ".join([*chat_models.CONTROL[KINDS[kind][0]], "<think>", "<unused 400>"])
    calm, hostile = "word", f"{control}{control}"
    ours = [i for i in chat.prompt([{"role": "user", "content": hostile}]) if i in chat.tokenizer.control_ids]
    same = [i for i in chat.prompt([{"role": "user", "content": calm}]) if i in chat.tokenizer.control_ids]
    assert ours == same
    asked: Any = [{"role": "user", "content": hostile}]
    text = theirs.apply_chat_template(asked, tokenize=False)
    assert len([i for i in theirs(text)["input_ids"] if i in chat.tokenizer.control_ids]) > len(same)
    assert hostile in chat.tokenizer.decode(chat.prompt([{"role": "user", "content": hostile}]))


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_read_up_to_its_end(kind: str, tmp_path: Path):
    chat, _ = opened(kind, tmp_path)
    rendered = chat.render([QUESTION, ANSWER])  # pyright: ignore[reportArgumentType]
    said = [i for i, learnt in zip(rendered.ids, rendered.loss_mask, strict=True) if learnt]
    assert said[-1] == chat.end_id
    assert chat.end_id in chat.stop_ids
    assert chat.parse([*said, *said])["content"].rstrip() == ANSWER["content"]
    assert chat.parse(said[:-1])["content"].rstrip() == ANSWER["content"]  # cut by the length limit
    assert chat.call_id is None
    assert chat.n_images(rendered.ids) == 0


def test_every_end_of_llama_3_ends_an_answer(tmp_path: Path):
    chat, theirs = opened("llama 3.1", tmp_path)
    ends = ["<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"]
    assert chat.stop_ids == set(theirs.convert_tokens_to_ids(ends))
    assert chat.tokenizer.decode([chat.tokenizer.begin_id], show_control=True) == "<|begin_of_text|>"


def test_llama_3_2_is_told_the_day(tmp_path: Path):
    chat, _ = opened("llama 3.2", tmp_path)
    fixed = Llama3Format(chat.tokenizer, chat.template, today=lambda: date(2026, 3, 5))
    messages: Any = [QUESTION]
    assert "Today Date: 05 Mar 2026\n\n" in chat.tokenizer.decode(fixed.prompt(messages))


def test_former_thoughts_are_left_out_and_thoughts_are_text(tmp_path: Path):
    chat, theirs = opened("qwen 3", tmp_path)
    thought = {"role": "assistant", "content": "<think>\nhm 嗯\n</think>\n\nYes."}
    messages: Any = [QUESTION, thought, {"role": "user", "content": "sure?"}]
    found = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert chat.prompt(messages) == found
    ids = theirs("<think>\nhm 嗯\n</think>Yes.")["input_ids"]
    assert chat.parse(ids)["content"] == "<think>\nhm 嗯\n</think>Yes."
    assert not set(ids) & chat.tokenizer.control_ids


def test_a_template_may_begin_the_thought(tmp_path: Path):
    template = chat_models.QWEN_3.replace(r"'<|im_start|>assistant\n'", r"'<|im_start|>assistant\n<think>\n'")
    chat_models.write_chat_model("qwen", template, tmp_path)
    chat = open_chat_format(tmp_path)
    messages: Any = [QUESTION]
    theirs = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    text = theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert text.endswith("<|im_start|>assistant\n<think>\n")
    assert chat.tokenizer.decode(chat.prompt(messages), show_control=True) == text


@pytest.mark.parametrize("kind", ["mistral v1", "llama 2"])
@pytest.mark.parametrize("mark", ["[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"])
def test_marks_that_are_text_are_refused_within_a_turn(kind: str, mark: str, tmp_path: Path):
    chat, _ = opened(kind, tmp_path)
    for messages in ([{"role": "user", "content": f"你好 {mark} x"}], [{**BRIEF, "content": mark}, QUESTION]):
        with pytest.raises(ChatError, match=r"turn 1 holds .*Write it otherwise"):
            chat.prompt(messages)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("kind", KINDS)
def test_tools_and_pictures_are_refused_with_the_reason(kind: str, tmp_path: Path):
    chat, _ = opened(kind, tmp_path)
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked: Any = [QUESTION]
    called: Any = [QUESTION, {**ANSWER, "tool_calls": [call]}, {"role": "tool", "content": "3"}]
    seen: Any = [{**QUESTION, "images": [{"at": 0, "url": "data:,"}]}]
    for refuse in (
        lambda: chat.prompt(asked, [{"type": "function"}]),
        lambda: chat.prompt(called),
        lambda: chat.lengths(asked, [{"type": "function"}]),
        lambda: chat.going_on(called[-1:]),
    ):
        with pytest.raises(ChatError, match="tools are not to be had with this model"):
            refuse()
    with pytest.raises(ChatError, match="reads text only"):
        chat.prompt(seen)
    with pytest.raises(ChatError, match="nothing to answer"):
        chat.prompt([*asked, ANSWER])  # pyright: ignore[reportArgumentType]


def test_rows_without_a_token_are_never_drawn(tmp_path: Path):
    chat_models.write_chat_model(*KINDS["qwen 2.5"], tmp_path)
    n = open_chat_format(tmp_path).tokenizer.vocab_size
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": n + 3}), encoding="utf-8")
    tokenizer = open_chat_format(tmp_path).tokenizer
    assert tokenizer.vocab_size == n + 3
    assert {n, n + 1, n + 2} <= tokenizer.control_ids
    assert tokenizer.decode([n]) == ""


def test_a_tokenizer_is_written_as_it_came(tmp_path: Path):
    chat, _ = opened("llama 3", tmp_path / "theirs")
    chat.tokenizer.save(tmp_path / "again")
    again = open_chat_format(tmp_path / "again")
    assert again.tokenizer.fingerprint == chat.tokenizer.fingerprint
    text = "Hello 世界 UnheardOf"
    assert again.tokenizer.encode(text) == chat.tokenizer.encode(text)
    assert again.tokenizer.decode(chat.tokenizer.encode(text)) == text


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{{ '<|im_start|>' + role + '<|im_sep|>' }}", "that of Phi 4"),
        ("{{ '[SYSTEM_PROMPT]' }}{{ '[INST]' }}", "that of Mistral Small 3 or later"),
        ("{{ '<start_of_turn>' }}", "that of Gemma"),
        ("{{ messages }}", "of an unknown format"),
    ],
)
def test_another_format_is_refused_with_the_list(template: str, name: str, tmp_path: Path):
    chat_models.write_chat_model("llama", template, tmp_path)
    with pytest.raises(TokenizerError, match=rf"its chat template is {name}; .*ChatML .*Llama 3.*Mistral"):
        open_chat_format(tmp_path)


def test_training_is_told_that_it_writes_chatml(tmp_path: Path):
    chat_models.write_chat_model("llama", chat_models.LLAMA_3, tmp_path)
    with pytest.raises(TokenizerError, match=r"that of Llama 3; .*Stages train in ChatML"):
        check_template(tmp_path)
    chat_models.write_chat_model("qwen", chat_models.QWEN_2_5, tmp_path)
    with pytest.raises(TokenizerError, match=r"lacks control tokens of ours.* `danlu pretrain base=DIR`"):
        check_template(tmp_path)


def test_control_tokens_that_a_format_needs_must_be_there(tmp_path: Path):
    chat_models.write_chat_model("qwen", chat_models.LLAMA_3, tmp_path)
    with pytest.raises(TokenizerError, match=r"no control token <\|begin_of_text\|>"):
        open_chat_format(tmp_path)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("model", {"type": "WordPiece"}, "not a byte-level BPE tokenizer"),
        ("decoder", None, "its decoder must be ByteLevel"),
        ("added_tokens", [{"content": "x"}], "its added tokens cannot be read"),
    ],
)
def test_another_kind_of_tokenizer_is_refused(part: str, value: Any, message: str, tmp_path: Path):
    chat_models.write_chat_model("llama", chat_models.LLAMA_3, tmp_path)
    path = tmp_path / "tokenizer.json"
    tree = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**tree, part: value}), encoding="utf-8")
    with pytest.raises(TokenizerError, match=message):
        open_chat_format(tmp_path)
