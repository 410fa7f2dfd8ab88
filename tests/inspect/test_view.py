"""What the doctor shows: complete without colour, and within 80 columns."""

from __future__ import annotations

import re
from io import StringIO

import pytest
import torch
from rich.cells import cell_len
from rich.console import Console

from danlu.data.chats import Chat, Comparison
from danlu.data.rankings import every_comparison
from danlu.data.records import Batch
from danlu.data.sft import SftBatches
from danlu.inspect import view
from danlu.inspect.finding import Finding
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat


@pytest.fixture(scope="module")
def chat_format() -> ChatFormat:
    return ChatFormat(Tokenizer.train(["Hello, who are you? I am Danlu. 你好，我是丹炉。"] * 8, 300))


@pytest.fixture
def batch(chat_format: ChatFormat) -> Batch:
    messages = [{"role": "user", "content": "你好 Hello\n"}, {"role": "assistant", "content": "I am Danlu."}]
    return next(SftBatches([Chat(messages=messages)], chat_format, batch_size=1, seq_len=64, seed=0))


def printed(*shown: object, colour: bool = False) -> list[str]:
    out = StringIO()
    console = Console(
        file=out, width=view.WIDTH, force_terminal=colour, color_system="truecolor" if colour else None
    )
    for each in shown:
        console.print(each)
    return out.getvalue().splitlines()


def shown_of(batch: Batch, chat_format: ChatFormat, **numbers: torch.Tensor) -> view.Shown:
    tokenizer = chat_format.tokenizer
    is_pad = batch.input_ids == tokenizer.pad_id
    return view.lines_of_batch(batch, 0, is_pad, {tokenizer.im_end_id}, numbers)


def test_marks_alone_say_what_is_learnt(batch: Batch, chat_format: ChatFormat):
    lines = shown_of(batch, chat_format).lines
    answer = [*chat_format.tokenizer.encode("I am Danlu."), chat_format.tokenizer.im_end_id]
    assert [line.target for line in lines if line.mark in ("*", "$")] == answer
    assert [line.target for line in lines if line.mark == "$"] == answer[-1:]
    assert sum(line.mark == "P" for line in lines) == 64 - int((batch.segment_ids == 0).sum())


def test_the_table_names_position_id_text_mark_and_target_of_each_token(
    batch: Batch, chat_format: ChatFormat
):
    rows = printed(view.token_table(shown_of(batch, chat_format), chat_format.tokenizer))
    assert rows[0].split() == ["at", "pos", "seg", "id", "token", "mark", "target"]
    im_start, im_end = chat_format.tokenizer.im_start_id, chat_format.tokenizer.im_end_id
    assert rows[1].split()[:5] == ["0", "0", "0", str(im_start), "<|im_start|>"]
    assert any(str(im_end) in row and "<|im_end|>" in row for row in rows)
    assert "PAD x" in rows[-1]


@pytest.mark.parametrize("colour", [False, True])
def test_nothing_is_wider_than_80_columns(batch: Batch, chat_format: ChatFormat, colour: bool):
    tokenizer, is_pad = chat_format.tokenizer, batch.input_ids == chat_format.tokenizer.pad_id
    wide = torch.full(batch.input_ids.shape, -123.456)
    rows = printed(
        view.token_table(shown_of(batch, chat_format, logprob=wide, advantage=wide), tokenizer),
        view.packing_table(batch, 0, is_pad, tokenizer, 0),
        view.specials_table(tokenizer),
        view.check_line(Finding(check="c", ok=False, found="f " * 60, wanted="w " * 20, why="Why.")),
    )
    assert max(cell_len(re.sub(r"\x1b\[[0-9;]*m", "", row)) for row in rows) <= 80


def test_colours_are_added_to_the_same_text(batch: Batch, chat_format: ChatFormat):
    table = view.token_table(shown_of(batch, chat_format), chat_format.tokenizer)
    assert any("\x1b[" in row for row in printed(table, colour=True))
    assert not any("\x1b[" in row for row in printed(table))


def test_of_many_tokens_the_middle_is_left_out_and_counted(batch: Batch, chat_format: ChatFormat):
    shown = shown_of(batch, chat_format)
    n_text = sum(line.mark != "P" for line in shown.lines)
    rows = printed(view.token_table(shown, chat_format.tokenizer, n_shown=10))
    assert len(rows) == 1 + 10 + 2  # heading, tokens, the gap and the padding
    assert f"… {n_text - 10} tokens, from 5 to {n_text - 6}" in rows[6]


def test_packing_shows_where_segments_and_padding_begin_and_end(chat_format: ChatFormat):
    messages = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "I am Danlu."}]
    batch = next(SftBatches([Chat(messages=messages)] * 2, chat_format, batch_size=1, seq_len=96, seed=0))
    n = int((batch.segment_ids == 0).sum())
    is_pad = batch.input_ids == chat_format.tokenizer.pad_id
    rows = [row.split() for row in printed(view.packing_table(batch, 0, is_pad, chat_format.tokenizer, 1))]
    learnt = str(len(chat_format.tokenizer.encode("I am Danlu.")) + 1)
    assert rows[1][:5] == ["0", "0", str(n - 1), str(n), learnt]
    assert rows[2][:6] == [">", "1", str(n), str(2 * n - 1), str(n), learnt]
    assert rows[3] == ["PAD", str(2 * n), "95", str(96 - 2 * n), "0"]


def test_a_ranking_marks_where_each_score_is_read(chat_format: ChatFormat):
    comparison = Comparison(
        prompt=[{"role": "user", "content": "Hello"}], completions=["I am Danlu.", "你好"], ranks=[1, 2]
    )
    (batch,) = every_comparison([comparison], chat_format, 1, 96)
    lines = view.lines_of_ranking(batch, 0, chat_format.tokenizer.pad_id).lines
    ends = [line for line in lines if line.mark == "S"]
    assert [line.id for line in ends] == [chat_format.tokenizer.im_end_id] * 2
    assert [line.segment for line in ends] == [1, 2]


def test_blanks_and_parts_of_characters_can_be_seen(chat_format: ChatFormat):
    tokenizer = chat_format.tokenizer
    (blank,) = tokenizer.encode(" ")
    (newline,) = tokenizer.encode("\n")
    half = next(i for i in range(256) if tokenizer.decode_bytes([i]) == b"\xe4")
    assert [view.spelled(i, tokenizer) for i in (blank, newline, half)] == ["·", "\\n", "<E4>"]
    assert view.spelled(tokenizer.im_end_id, tokenizer, width=6) == "<|im_…"
