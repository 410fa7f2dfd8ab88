from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pytest
import torch

from danlu.data.chats import Chat
from danlu.data.records import DataError
from danlu.data.sft import SftBatches, best_fit, padding_id, render_chat


def chat(*contents, system=None, **where):
    roles = ["user", "assistant"] * len(contents)
    turns = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    return Chat(messages=([{"role": "system", "content": system}] if system else []) + turns, **where)


def asked(tokenizer, batch):
    """The counted targets of each row, spelled out."""
    rows = zip(batch.target_ids, batch.loss_mask, strict=True)
    return [tokenizer.decode(ids[mask].tolist(), show_control=True) for ids, mask in rows]


@pytest.mark.parametrize(
    ("dialogue", "learnt"),
    [
        (chat("Hello, who are you?", "I am Danlu."), "I am Danlu.<|im_end|>"),
        (chat("你好，你是谁？", "我是丹炉。", system="请简短。"), "我是丹炉。<|im_end|>"),
        (chat("two and two?", "Four.", "你好", "你好！"), "Four.<|im_end|>你好！<|im_end|>"),
    ],
)
def test_what_the_assistant_says_and_its_end_are_learnt_and_nothing_else(
    tokenizer, chat_format, dialogue, learnt
):
    batch = next(SftBatches([dialogue], chat_format, batch_size=1, seq_len=128, seed=0))
    assert asked(tokenizer, batch) == [learnt]


@pytest.mark.parametrize(("question", "answer"), [("Hello", "I am Danlu."), ("你好，你是谁？", "我是丹炉。")])
def test_golden_ids_targets_and_mask(tokenizer, chat_format, question, answer):
    batch = next(SftBatches([chat(question, answer)], chat_format, batch_size=1, seq_len=96, seed=0))
    start, end, newline = tokenizer.im_start_id, tokenizer.im_end_id, tokenizer.encode("\n")
    prompt = [start, *tokenizer.encode("user"), *newline, *tokenizer.encode(question), end, *newline]
    prompt += [start, *tokenizer.encode("assistant"), *newline]
    said = [*tokenizer.encode(answer), end]
    n = len(prompt) + len(said) - 1
    assert batch.input_ids[0, :n].tolist() == [*prompt, *said[:-1]]
    assert batch.target_ids[0, :n].tolist() == [*prompt[1:], *said]
    # The last token of the prompt is where the first of the answer is asked for.
    assert batch.loss_mask[0].tolist() == [False] * (len(prompt) - 1) + [True] * len(said) + [False] * (
        96 - n
    )
    assert batch.input_ids[0, n:].tolist() == [tokenizer.pad_id] * (96 - n)


def test_chats_of_a_row_are_segments_with_positions_of_their_own_and_padding_is_another(chat_format):
    chats = [chat("Hello", "I am Danlu."), chat("你好", "你好！")]
    lengths = [len(render_chat(each, chat_format)[0]) - 1 for each in chats]
    batch = next(SftBatches(chats, chat_format, batch_size=1, seq_len=sum(lengths) + 3, seed=0))
    _, counts = batch.segment_ids[0].unique_consecutive(return_counts=True)
    assert sorted(counts[:2].tolist()) == sorted(lengths)
    assert counts[2] == 3
    assert batch.position_ids[0].tolist() == [t for n in counts.tolist() for t in range(n)]


def test_best_fit_puts_an_item_where_it_leaves_the_least_room():
    # 6 opens a row of 10, 7 opens another (room 3 beside room 4); 3 goes to the fuller one, 4 to the other.
    assert best_fit([6, 7, 3, 4, 9], np.arange(5), 10) == [[0, 3], [1, 2], [4]]


def numbered(n=30):
    return [chat("two and two?", "Four. " * (1 + i % 5) + str(i)) for i in range(n)]


def test_an_epoch_holds_every_chat_once_and_epochs_differ(tokenizer, chat_format):
    batches = SftBatches(numbered(), chat_format, batch_size=1, seq_len=160, seed=1)
    expected = Counter(each.messages[1]["content"] for each in numbered())
    orders = []
    for _ in range(2):
        text = "".join(asked(tokenizer, next(batches))[0] for _ in range(batches.rows_per_epoch))
        assert Counter(text.split("<|im_end|>")[:-1]) == expected
        orders.append(text)
    assert orders[0] != orders[1]


def test_resuming_gives_the_chat_batches_that_would_have_come(chat_format):
    whole = SftBatches(numbered(), chat_format, batch_size=2, seq_len=160, seed=1)
    for _ in range(5):
        next(whole)
    resumed = SftBatches(numbered(), chat_format, batch_size=2, seq_len=160, seed=1)
    resumed.load_state_dict(whole.state_dict())
    for expected, found in zip(islice(whole, 20), resumed, strict=False):
        assert torch.equal(expected.target_ids, found.target_ids)
        assert torch.equal(expected.segment_ids, found.segment_ids)


def test_resuming_with_other_chats_is_refused(chat_format):
    state = SftBatches(numbered(), chat_format, batch_size=2, seq_len=160, seed=1).state_dict()
    with pytest.raises(DataError, match="n_chats is 29, but was 30"):
        SftBatches(numbered(29), chat_format, batch_size=2, seq_len=160, seed=1).load_state_dict(state)


def test_two_processes_share_the_rows(chat_format):
    alone = SftBatches(numbered(), chat_format, batch_size=4, seq_len=160, seed=1)
    ranks = [SftBatches(numbered(), chat_format, 2, 160, 1, share=(rank, 2)) for rank in (0, 1)]
    for _ in range(5):
        assert torch.equal(torch.cat([next(each).input_ids for each in ranks]), next(alone).input_ids)


def test_an_answer_cut_away_by_the_context_is_an_error_that_names_the_record(chat_format):
    chats = [
        chat("Hello", "I am Danlu."),
        chat("你好", "我是丹炉。" * 40, id="q7", source="chats.jsonl", line=12),
    ]
    with pytest.raises(
        DataError, match=r"chats\.jsonl:12 \(record 'q7'\): is \d+ tokens long, .* by seq_len 64; shorten it"
    ):
        SftBatches(chats, chat_format, batch_size=1, seq_len=64, seed=0)
    assert SftBatches(chats, chat_format, batch_size=1, seq_len=64, seed=0, too_long="drop").n_dropped == 1


def test_a_chat_in_which_nothing_is_learnt_is_an_error_that_names_the_record(chat_format):
    with pytest.raises(
        DataError, match=r"chats\.jsonl:3: no token of this chat is learnt, its turns are \['user'\]"
    ):
        SftBatches(
            [chat("Hello", source="chats.jsonl", line=3)], chat_format, batch_size=1, seq_len=64, seed=0
        )


def test_no_chats_at_all_is_an_error(chat_format):
    with pytest.raises(DataError, match="no chat to learn from: 0 given"):
        SftBatches([], chat_format, batch_size=1, seq_len=64, seed=0)


@dataclass(frozen=True)
class Ids:
    """The control ids of a tokenizer from elsewhere."""

    eos_id: int = 1
    pad_id: int = 2
    im_end_id: int = 3


@dataclass(frozen=True)
class ForeignFormat:
    tokenizer: Ids


def test_padding_that_also_ends_a_text_is_refused():
    assert padding_id(ForeignFormat(Ids())) == 2
    with pytest.raises(DataError, match="pads with 1, which also ends a text"):
        padding_id(ForeignFormat(replace(Ids(), pad_id=1)))


def test_the_row_with_a_chat_is_one_of_the_epoch_and_numbers_count_those_left_out(tokenizer, chat_format):
    chats = [chat("Hello", "I am Danlu." * 20), chat("a", "b"), chat("你好", "我是丹炉。")]
    batches = SftBatches(chats, chat_format, batch_size=1, seq_len=64, seed=0, too_long="drop")
    row, segment = batches.row_with(2)
    learnt = row.target_ids[0][(row.segment_ids[0] == segment) & row.loss_mask[0]]
    assert tokenizer.decode(learnt.tolist()) == "我是丹炉。"
    epoch = [next(batches).input_ids.tolist() for _ in range(batches.rows_per_epoch)]
    assert row.input_ids.tolist() in epoch
    with pytest.raises(DataError, match="chat 1 is longer than 64 tokens and left out"):
        batches.row_with(0)
