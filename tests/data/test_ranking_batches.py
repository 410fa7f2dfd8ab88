from __future__ import annotations

from itertools import islice

import pytest
import torch

from danlu.data.chats import Comparison
from danlu.data.rankings import RankingBatches, every_comparison
from danlu.data.records import DataError
from danlu.model.heads import ScoreModel
from danlu.model.presets import QWEN3
from danlu.objectives.ranking import end_scores


def comparison(question="two and two?", completions=("Four.", "Five.", "你好"), **given):
    ranks = given.pop("ranks", list(range(1, len(completions) + 1)))
    return Comparison(
        prompt=[{"role": "user", "content": question}], completions=completions, ranks=ranks, **given
    )


def test_a_prompt_is_read_once_and_every_completion_goes_on_from_it(tokenizer, chat_format):
    (batch,) = every_comparison([comparison(ranks=[1, 3, 2])], chat_format, prompts_per_batch=4, max_len=64)
    prompt = chat_format.prompt([{"role": "user", "content": "two and two?"}])
    answers = [[*tokenizer.encode(text), tokenizer.im_end_id] for text in ("Four.", "Five.", "你好")]
    n = len(prompt) + sum(map(len, answers))
    assert batch.input_ids[0, :n].tolist() == [*prompt, *answers[0], *answers[1], *answers[2]]
    assert set(batch.input_ids[0, n:].tolist()) <= {tokenizer.pad_id}
    own = [i + len(prompt) for answer in answers for i in range(len(answer))]
    assert batch.position_ids[0, :n].tolist() == [*range(len(prompt)), *own]
    assert batch.segment_ids[0].tolist() == [0] * n + [1] * (batch.input_ids.shape[1] - n)
    branches = [number for number, answer in enumerate(answers, 1) for _ in answer]
    assert batch.branch_ids[0, :n].tolist() == [0] * len(prompt) + branches
    assert batch.input_ids.flatten()[batch.end_index].tolist() == [tokenizer.im_end_id] * 3
    assert batch.ranks.tolist() == [1, 3, 2]
    assert batch.group_ids.tolist() == [0, 0, 0]
    assert batch.input_ids.shape[1] % 16 == 0


def test_scores_are_those_that_each_completion_has_alone(tokenizer, chat_format):
    model = ScoreModel(
        QWEN3(
            vocab_size=tokenizer.vocab_size,
            d_model=48,
            n_layers=2,
            n_heads=4,
            n_kv_heads=2,
            head_dim=16,
            d_ff=64,
        )
    )
    given = [
        comparison(question="two " * (1 + i), completions=("Four.", "Five. " * i + "你好", "Hm"))
        for i in range(9)
    ]
    (batch,) = every_comparison(given, chat_format, prompts_per_batch=9, max_len=128)
    assert len(batch.input_ids) > 1  # several rows, each with several comparisons
    found = dict.fromkeys(range(9), ())
    for group, score in zip(batch.group_ids.tolist(), end_scores(model, batch).tolist(), strict=True):
        found[group] += (score,)
    for number, each in enumerate(given):
        for score, text in zip(found[number], each.completions, strict=True):
            ids = [*chat_format.prompt(each.prompt), *tokenizer.encode(text), tokenizer.im_end_id]
            alone = model(torch.tensor([ids]))[0, -1].item()
            assert score == pytest.approx(alone, abs=1e-5)


def test_a_completion_that_was_cut_is_scored_at_its_last_word(tokenizer, chat_format):
    cut_one = comparison(completions=("Four.", "Four. Fo"), unfinished=[False, True])
    (batch,) = every_comparison([cut_one], chat_format, prompts_per_batch=1, max_len=64)
    ends = batch.input_ids.flatten()[batch.end_index].tolist()
    assert ends == [tokenizer.im_end_id, tokenizer.encode("Four. Fo")[-1]]


def test_prompts_of_different_numbers_of_completions_share_a_batch(chat_format):
    pair, triple = comparison(completions=("Four.", "Five.")), comparison()
    (batch,) = every_comparison([pair, triple], chat_format, prompts_per_batch=2, max_len=64)
    assert sorted(zip(batch.group_ids.tolist(), batch.ranks.tolist(), strict=True)) == [
        (0, 1), (0, 2), (1, 1), (1, 2), (1, 3)
    ]  # fmt: skip


def many(n=23):
    return [comparison(question="two " * (1 + i % 7) + str(i)) for i in range(n)]


def test_an_epoch_reads_every_comparison_once(tokenizer, chat_format):
    batches = RankingBatches(many(), chat_format, prompts_per_batch=4, max_len=128, seed=0)
    epoch = list(islice(batches, batches.batches_per_epoch))
    prompts = [text for batch in epoch for text in asked(batch, tokenizer)]
    assert sorted(prompts) == sorted(each.prompt[0]["content"] for each in many())
    assert sorted(len(batch.ranks) for batch in epoch) == [9, 12, 12, 12, 12, 12]


def asked(batch, tokenizer):
    """What the user says in each comparison of a batch."""
    text = tokenizer.decode(batch.input_ids[batch.branch_ids == 0].tolist(), show_control=True)
    return [part.split("<|im_end|>")[0] for part in text.split("<|im_start|>user\n")[1:]]


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


def test_strengths_become_levels_whose_differences_add_up(chat_format):
    graded = comparison(ranks=[5, 1, 2], strengths=[0.5, 2.0])
    assert graded.levels == [-2.5, 0.0, -0.5]  # rank 1 half above rank 2, that 2 above rank 5
    (batch,) = every_comparison([graded, comparison()], chat_format, prompts_per_batch=2, max_len=64)
    found = [batch.levels[batch.group_ids == group].tolist() for group in (0, 1)]
    assert found == [[-2.5, 0.0, -0.5], [0.0, 0.0, 0.0]]


def test_a_batch_without_strengths_or_weights_holds_none(chat_format):
    (batch,) = every_comparison([comparison()], chat_format, prompts_per_batch=1, max_len=64)
    assert batch.levels is None
    assert batch.weights is None


def test_every_completion_knows_its_rater_and_its_rankings_weight(chat_format):
    given = [comparison(annotator="a", weight=2.0), comparison(completions=("Four.", "Five."), annotator="b")]
    (batch,) = every_comparison(given, chat_format, prompts_per_batch=2, max_len=64)
    found = sorted(zip(batch.raters, batch.weights.tolist(), strict=True))
    assert found == [("a", 2.0)] * 3 + [("b", 1.0)] * 2
    assert dict(zip(batch.group_ids.tolist(), batch.raters, strict=True)) == {0: "a", 1: "b"}


@pytest.mark.parametrize("too_long", ["error", "shorten"])
def test_a_prompt_longer_than_the_context_is_an_error_that_names_it(chat_format, too_long):
    endless = comparison(question="two " * 100, id="c9")
    with pytest.raises(DataError, match=r"'c9'.*prompt and completion are \d+ tokens long; at most max_len"):
        RankingBatches([endless], chat_format, 1, 64, 0, too_long=too_long)
