from __future__ import annotations

from itertools import islice

import pytest
import torch

from danlu.data.chats import Comparison
from danlu.data.rankings import RankingBatches, every_comparison
from danlu.data.records import DataError


def comparison(question="two and two?", completions=("Four.", "Five.", "你好"), **given):
    ranks = given.pop("ranks", list(range(1, len(completions) + 1)))
    return Comparison(
        prompt=[{"role": "user", "content": question}], completions=completions, ranks=ranks, **given
    )


def test_end_index_holds_the_last_token_of_each_completion(tokenizer, chat_format):
    (batch,) = every_comparison([comparison(ranks=[1, 3, 2])], chat_format, prompts_per_batch=4, max_len=64)
    prompt = chat_format.prompt([{"role": "user", "content": "two and two?"}])
    for row, completion in enumerate(["Four.", "Five.", "你好"]):
        end = int(batch.end_index[row])
        whole = [*prompt, *tokenizer.encode(completion), tokenizer.im_end_id]
        assert batch.input_ids[row, : end + 1].tolist() == whole
        assert set(batch.input_ids[row, end + 1 :].tolist()) == {tokenizer.pad_id}
        assert batch.segment_ids[row].tolist() == [0] * len(whole) + [1] * (
            batch.input_ids.shape[1] - len(whole)
        )
    assert batch.ranks.tolist() == [1, 3, 2]
    assert batch.group_ids.tolist() == [0, 0, 0]
    assert batch.input_ids.shape[1] % 16 == 0


def test_the_language_modelling_targets_are_the_completion_and_its_end(tokenizer, chat_format):
    (batch,) = every_comparison([comparison()], chat_format, prompts_per_batch=1, max_len=64)
    learnt = [ids[mask].tolist() for ids, mask in zip(batch.target_ids, batch.loss_mask, strict=True)]
    assert learnt[2] == [*tokenizer.encode("你好"), tokenizer.im_end_id]


def test_a_completion_that_was_cut_is_scored_at_its_last_word(tokenizer, chat_format):
    cut_one = comparison(completions=("Four.", "Four. Fo"), unfinished=[False, True])
    (batch,) = every_comparison([cut_one], chat_format, prompts_per_batch=1, max_len=64)
    ends = batch.input_ids[torch.arange(2), batch.end_index].tolist()
    assert ends == [tokenizer.im_end_id, tokenizer.encode("Four. Fo")[-1]]


def test_prompts_of_different_numbers_of_completions_share_a_batch(chat_format):
    pair, triple = comparison(completions=("Four.", "Five.")), comparison()
    (batch,) = every_comparison([pair, triple], chat_format, prompts_per_batch=2, max_len=64)
    assert batch.group_ids.tolist() == [0, 0, 1, 1, 1]
    assert batch.ranks.tolist() == [1, 2, 1, 2, 3]


def many(n=23):
    return [comparison(question="two " * (1 + i % 7) + str(i)) for i in range(n)]


def test_an_epoch_reads_every_comparison_once(tokenizer, chat_format):
    batches = RankingBatches(many(), chat_format, prompts_per_batch=4, max_len=128, seed=0)
    epoch = list(islice(batches, batches.batches_per_epoch))
    first_rows = [row for batch in epoch for row in batch.input_ids[::3].tolist()]
    prompts = [tokenizer.decode(row).split("\n")[1] for row in first_rows]
    assert sorted(prompts) == sorted(each.prompt[0]["content"] for each in many())
    assert sorted(len(batch) for batch in epoch) == [9, 12, 12, 12, 12, 12]


def test_resuming_gives_the_comparisons_that_would_have_come(chat_format):
    whole = RankingBatches(many(), chat_format, prompts_per_batch=4, max_len=128, seed=0)
    for _ in range(4):
        next(whole)
    resumed = RankingBatches(many(), chat_format, prompts_per_batch=4, max_len=128, seed=0)
    resumed.load_state_dict(whole.state_dict())
    for expected, found in zip(islice(whole, 10), resumed, strict=False):
        assert torch.equal(expected.input_ids, found.input_ids)
        assert torch.equal(expected.ranks, found.ranks)


def test_a_comparison_that_does_not_fit_is_an_error_that_names_it(chat_format):
    long = comparison(question="two " * 60, id="c1", source="rankings.jsonl", line=5)
    with pytest.raises(
        DataError, match=r"rankings\.jsonl:5 \(record 'c1'\): prompt and completion are \d+ tokens"
    ):
        RankingBatches([comparison(), long], chat_format, prompts_per_batch=1, max_len=64, seed=0)
    kept = RankingBatches([comparison(), long], chat_format, 1, 64, 0, too_long="drop")
    assert kept.n_dropped == 1


def test_shortening_leaves_out_the_oldest_exchange_and_keeps_the_system_message(tokenizer, chat_format):
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "two " * 60},
        {"role": "assistant", "content": "Four."},
        {"role": "user", "content": "Hello"},
    ]
    long = Comparison(prompt=turns, completions=["I am Danlu.", "Four."], ranks=[1, 2])
    (batch,) = every_comparison([long], chat_format, 1, 80, too_long="shorten")
    prompt = chat_format.prompt([turns[0], turns[3]])
    assert batch.input_ids[0, : len(prompt)].tolist() == prompt
