"""Each check of a batch accepts what training reads and refuses a copy with one thing wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from danlu.data.chats import Chat, Comparison
from danlu.data.rankings import every_comparison
from danlu.data.records import Batch
from danlu.data.sft import SftBatches
from danlu.inspect import data_checks
from danlu.inspect.finding import Finding
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat


@pytest.fixture(scope="module")
def chat_format() -> ChatFormat:
    return ChatFormat(Tokenizer.train(["Hello, who are you? I am Danlu. 你好，我是丹炉。"] * 8, 300))


def chat(*said: str) -> Chat:
    roles = ("user", "assistant")
    return Chat(messages=[{"role": roles[i % 2], "content": text} for i, text in enumerate(said)])


@pytest.fixture
def batch(chat_format: ChatFormat) -> Batch:
    """One row of two chats, one of them of two turns, and padding."""
    chats = [chat("Hello", "I am Danlu.", "who are you?", "Danlu."), chat("你好", "我是丹炉。")]
    return next(SftBatches(chats, chat_format, batch_size=1, seq_len=128, seed=0))


def pads(batch: Batch, chat_format: ChatFormat) -> torch.Tensor:
    return batch.input_ids == chat_format.tokenizer.pad_id


def ends(chat_format: ChatFormat) -> set[int]:
    return {chat_format.tokenizer.im_end_id}


def test_a_finding_says_what_was_found_what_would_be_right_and_why():
    finding = Finding(check="sums", ok=True, found="2 of 3", wanted="3 of 3", why="One is missing.")
    assert finding.line == "ok     sums: 2 of 3"
    assert replace(finding, ok=False).line == ("WRONG  sums: 2 of 3; right would be 3 of 3. One is missing.")


def test_stretches_are_the_runs_of_equal_values_in_reading_order():
    found = data_checks.stretches(torch.tensor([[0, 0, 1, 1, 1], [2, 2, 2, 2, 2]]))
    assert [(each.row, each.here.start, each.here.stop) for each in found] == [
        (0, 0, 2),
        (0, 2, 5),
        (1, 0, 5),
    ]


def test_a_batch_as_training_reads_it_is_well(batch: Batch, chat_format: ChatFormat):
    is_pad = [pads(batch, chat_format)]
    assert is_pad[0].any()
    assert data_checks.mask_sums([batch], is_pad).ok
    assert data_checks.shifted_once([batch]).ok
    assert data_checks.positions_restart([batch], is_pad, 128).ok
    assert data_checks.answers_end([batch], ends(chat_format)).found == (
        "3 of 3 learnt pieces close with an end token"
    )


def test_a_mask_that_is_all_false_is_wrong(batch: Batch, chat_format: ChatFormat):
    masked = replace(batch, loss_mask=torch.zeros_like(batch.loss_mask))
    finding = data_checks.mask_sums([masked], [pads(batch, chat_format)])
    assert not finding.ok
    assert "in 0 of 2 segments" in finding.found


def test_one_chat_that_teaches_nothing_is_wrong(batch: Batch, chat_format: ChatFormat):
    masked = replace(batch, loss_mask=batch.loss_mask & (batch.segment_ids == 0))
    finding = data_checks.mask_sums([masked], [pads(batch, chat_format)])
    assert not finding.ok
    assert "in 1 of 2 segments" in finding.found


def test_padding_that_is_learnt_is_wrong(batch: Batch, chat_format: ChatFormat):
    is_pad = pads(batch, chat_format)
    finding = data_checks.mask_sums([replace(batch, loss_mask=batch.loss_mask | is_pad)], [is_pad])
    assert not finding.ok
    assert f"{int(is_pad.sum())} of them are PAD" in finding.found


def test_an_answer_that_was_truncated_is_wrong(batch: Batch, chat_format: ChatFormat):
    last = int(batch.loss_mask[0].nonzero().max())
    cut = batch.loss_mask.clone()
    cut[0, last] = False
    finding = data_checks.answers_end([replace(batch, loss_mask=cut)], ends(chat_format))
    assert not finding.ok
    assert finding.found.startswith("2 of 3")


def test_a_document_that_goes_on_in_the_next_row_is_not_truncated():
    row = torch.tensor([[7, 8, 9, 5]])
    batch = Batch(
        input_ids=row,
        target_ids=torch.tensor([[8, 9, 5, 6]]),
        loss_mask=torch.ones_like(row, dtype=torch.bool),
        position_ids=torch.arange(4)[None],
        segment_ids=torch.zeros_like(row),
    )
    assert data_checks.answers_end([batch], {0}, may_go_on=True).ok
    assert not data_checks.answers_end([batch], {0}).ok


def test_targets_that_were_shifted_twice_are_wrong(batch: Batch):
    twice = replace(batch, target_ids=batch.target_ids.roll(-1, dims=1))
    assert not data_checks.shifted_once([twice]).ok


def test_targets_that_were_not_shifted_are_wrong(batch: Batch):
    assert not data_checks.shifted_once([replace(batch, target_ids=batch.input_ids)]).ok


def test_positions_that_run_through_a_row_are_wrong(batch: Batch, chat_format: ChatFormat):
    running = replace(batch, position_ids=torch.arange(128)[None])
    finding = data_checks.positions_restart([running], [pads(batch, chat_format)], 128)
    assert not finding.ok
    assert finding.found.startswith("1 of 2 segments count from 0")


def test_positions_beyond_the_context_are_wrong(batch: Batch, chat_format: ChatFormat):
    assert not data_checks.positions_restart([batch], [pads(batch, chat_format)], 8).ok


@dataclass(frozen=True)
class Ids:
    eos_id: int = 1
    pad_id: int = 2
    im_start_id: int = 3
    im_end_id: int = 4


@pytest.mark.parametrize("ids", [Ids(pad_id=1), Ids(pad_id=4), Ids(im_end_id=1)])
def test_padding_that_also_ends_something_is_wrong(ids: Ids):
    assert data_checks.special_tokens(Ids()).ok
    assert not data_checks.special_tokens(ids).ok


def test_a_prompt_in_another_format_than_training_is_wrong():
    assert data_checks.prompt_is_prefix([[1, 2], [3]], [[1, 2, 9], [3, 9]]).ok
    finding = data_checks.prompt_is_prefix([[1, 2], [4]], [[1, 2, 9], [3, 9]])
    assert not finding.ok
    assert finding.found.startswith("1 of 2")


def test_a_limit_that_most_records_exceed_is_wrong():
    assert data_checks.fitting(10, 4, "seq_len, 8").ok
    assert not data_checks.fitting(10, 5, "seq_len, 8").ok


def comparison(ranks: list[int], *texts: str) -> Comparison:
    return Comparison(prompt=[{"role": "user", "content": "Hello"}], completions=texts, ranks=ranks)


def findings(chat_format: ChatFormat, given: Comparison) -> tuple[bool, str]:
    batches = list(every_comparison([given], chat_format, 1, 128))
    finding = data_checks.ranks_teach(batches)
    return finding.ok, finding.found


def test_rankings_need_a_preference_between_different_texts(chat_format: ChatFormat):
    assert findings(chat_format, comparison([1, 2, 2], "a", "b", "b")) == (
        True,
        "2 of 3 pairs prefer one text, 0 of them to its copy",
    )
    assert not findings(chat_format, comparison([1, 1], "a", "b"))[0]
    assert findings(chat_format, comparison([1, 2], "a", "a")) == (
        False,
        "1 of 1 pairs prefer one text, 1 of them to its copy",
    )


def test_completions_are_read_back_from_their_branches(chat_format: ChatFormat):
    (batch,) = every_comparison([comparison([1, 2], "I am Danlu.", "你好")], chat_format, 1, 128)
    assert [chat_format.tokenizer.decode(ids) for ids in data_checks.completions_of(batch)] == [
        "I am Danlu.",
        "你好",
    ]


def test_a_score_read_before_the_end_is_wrong(chat_format: ChatFormat):
    (batch,) = every_comparison([comparison([1, 2], "a", "b")], chat_format, 1, 128)
    end_id = chat_format.tokenizer.im_end_id
    assert data_checks.scores_at_ends([batch], end_id, 0).ok
    early = replace(batch, end_index=batch.end_index - 1)
    assert not data_checks.scores_at_ends([early], end_id, 0).ok
    assert not data_checks.scores_at_ends([early], end_id, 1).ok
    assert data_checks.scores_at_ends([early], end_id, 2).ok
