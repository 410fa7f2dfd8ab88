from __future__ import annotations

from itertools import islice

import pytest
import torch
from torch.testing import assert_close

from danlu.data.chats import Comparison, Rating
from danlu.data.preferences import (
    PreferenceBatches,
    RatingBatches,
    Reference,
    lay_out_completions,
    mismatched,
    single,
)
from danlu.data.rankings import Group, RankingBatches, tokenize_comparisons
from danlu.data.records import DataError
from danlu.data.sft import padding_id


def comparison(question="two and two?", completions=("Four.", "Five.", "你好"), **given):
    ranks = given.pop("ranks", list(range(1, len(completions) + 1)))
    return Comparison(
        prompt=[{"role": "user", "content": question}], completions=completions, ranks=ranks, **given
    )


def rating(question, completion, liked):
    grade = 1 if liked else -1
    return Rating(prompt=[{"role": "user", "content": question}], completion=completion, grade=grade)


def one_batch(comparisons, chat_format, max_len):
    groups = tokenize_comparisons(comparisons, chat_format, max_len)
    return lay_out_completions(groups, padding_id(chat_format))


def asking(number):
    return f"two and {number}?"


def rankings(chat_format, comparisons, per_batch=2, seed=0):
    return RankingBatches(comparisons, chat_format, per_batch, max_len=128, seed=seed)


def thumbs(n=5):
    return [single(rating(asking(i), "Four." * (1 + i * i), liked=bool(i % 2))) for i in range(n)]


def test_every_position_of_a_branch_asks_for_the_next_token_of_its_completion(tokenizer, chat_format):
    batch = one_batch([comparison(ranks=[1, 3, 2])], chat_format, max_len=64)
    prompt = chat_format.prompt([{"role": "user", "content": "two and two?"}])
    answers = [[*tokenizer.encode(text), tokenizer.im_end_id] for text in ("Four.", "Five.", "你好")]
    read = [*prompt[:-1]]
    for answer in answers:
        read += [prompt[-1], *answer[:-1]]
    n, stem = len(read), len(prompt) - 1
    assert batch.input_ids[0, :n].tolist() == read
    assert batch.target_ids[batch.loss_mask].tolist() == [token for answer in answers for token in answer]
    owners = [number for number, answer in enumerate(answers) for _ in answer]
    assert batch.completion_ids[0].tolist() == [-1] * stem + owners + [-1] * (batch.input_ids.shape[1] - n)
    assert batch.loss_mask[0].tolist() == [owner >= 0 for owner in batch.completion_ids[0].tolist()]
    positions = [stem + i for answer in answers for i in range(len(answer))]
    assert batch.position_ids[0, :n].tolist() == [*range(stem), *positions]
    assert batch.branch_ids[0, :n].tolist() == [0] * stem + [1 + owner for owner in owners]
    assert batch.lengths.tolist() == [len(answer) for answer in answers]
    assert batch.ranks.tolist() == [1, 3, 2]


def test_completions_keep_their_comparison_whatever_row_they_stand_in(tokenizer, chat_format):
    given = [
        comparison(question="two " * (1 + 5 * i), completions=("Four. " * (9 - i), "Hm")) for i in range(9)
    ]
    batch = one_batch(given, chat_format, max_len=256)
    assert len(batch.input_ids) > 1
    said = [tokenizer.decode(batch.target_ids[batch.completion_ids == i].tolist()) for i in range(18)]
    left = {group: iter(each.completions) for group, each in enumerate(given)}
    assert said == [next(left[group]) for group in batch.group_ids.tolist()]


def test_a_completion_that_was_cut_has_no_end_to_learn(tokenizer, chat_format):
    cut_one = comparison(completions=("Four.", "Four. Fo"), unfinished=[False, True])
    batch = one_batch([cut_one], chat_format, max_len=64)
    last = [batch.target_ids[batch.completion_ids == i][-1].item() for i in range(2)]
    assert last == [tokenizer.im_end_id, tokenizer.encode("Four. Fo")[-1]]


def test_a_completion_without_any_token_is_refused(chat_format):
    empty = comparison(completions=("Four.", ""), unfinished=[False, True], source="r.jsonl", line=3)
    with pytest.raises(DataError, match=r"r\.jsonl:3: a completion has no token"):
        rankings(chat_format, [empty])


class Counting:
    """Stands for a reference: a completion's log-probability is minus the sum of its ids."""

    def __init__(self):
        self.calls = 0

    def __call__(self, batch):
        self.calls += 1
        sums = [-float(batch.target_ids[batch.completion_ids == i].sum()) for i in range(len(batch.ranks))]
        return torch.tensor(sums)


def test_the_reference_is_asked_once_a_comparison_and_what_it_said_stays_with_its_completion(chat_format):
    given = [comparison(question=asking(i), completions=("Four." * (1 + i), "你好")) for i in range(5)]
    reference = Counting()
    batches = PreferenceBatches(rankings(chat_format, given), Reference(reference))
    for batch in islice(batches, 9):  # three epochs of three batches
        assert_close(batch.ref_logprobs, Counting()(batch))
    assert reference.calls == 3


def test_what_the_reference_said_survives_an_interruption(chat_format):
    given = [comparison(question=asking(i)) for i in range(5)]
    whole = Reference(Counting())
    order = rankings(chat_format, given)
    batches = PreferenceBatches(order, whole)
    for _ in range(4):
        next(batches)
    silent = Counting()
    resumed_order, resumed = rankings(chat_format, given), Reference(silent)
    resumed_order.load_state_dict(order.state_dict())
    resumed.load_state_dict(whole.state_dict())
    for expected, found in zip(islice(batches, 5), PreferenceBatches(resumed_order, resumed), strict=False):
        assert torch.equal(expected.input_ids, found.input_ids)
        assert torch.equal(expected.ref_logprobs, found.ref_logprobs)
    assert silent.calls == 0


def test_comparisons_that_are_all_ties_are_refused(chat_format):
    ties = [comparison(ranks=[1, 1, 1]), comparison(question="hm", ranks=[2, 2, 2])]
    with pytest.raises(DataError, match=r"each of the 2 comparisons is a tie"):
        PreferenceBatches(rankings(chat_format, ties), None)


def test_a_thumb_is_a_ranking_of_one(tokenizer, chat_format):
    batch = one_batch([single(rating("Hi", "Four.", liked=False))], chat_format, max_len=64)
    assert batch.ranks.tolist() == [2]
    assert batch.target_ids[batch.loss_mask].tolist() == [*tokenizer.encode("Four."), tokenizer.im_end_id]


def test_the_reference_point_is_the_mean_log_ratio_of_foreign_completions_over_the_update(chat_format):
    order = rankings(chat_format, thumbs(6), per_batch=2)  # an update is the epoch, and its mean that of all

    def policy(batch):  # one nat above the reference for each token
        return Counting()(batch) + batch.lengths

    batches = RatingBatches(order, policy, Counting(), per_update=3)
    points = [float(batch.reference_point) for batch in islice(batches, 3)]
    lengths = [len(group.completions[0]) for group in batches.foreign]
    assert points == pytest.approx([sum(lengths) / 6] * 3)
    batches.policy = lambda batch: Counting()(batch) - 1  # less likely than under the reference
    assert float(next(iter(batches)).reference_point) == 0


def test_a_foreign_completion_answers_another_prompt_and_fits():
    # Three ratings of one prompt and two of others: whoever follows in the order must have another prompt.
    thumb = single(rating("Hi", "Four.", liked=True))
    same = [Group([1, 2], [[10 + i] * 3], thumb) for i in range(3)]
    others = [Group([3] * 6, [[20] * 3], thumb), Group([4] * 7, [[21] * 3], thumb)]
    for seed in range(5):
        foreign = mismatched([*same, *others], max_len=9, seed=seed)
        assert [group.prompt for group in foreign] == [group.prompt for group in [*same, *others]]
        assert all(group.completions[0][0] in (20, 21) for group in foreign[:3])
        assert foreign[3].completions[0][0] != 20
        assert foreign[4].completions[0][0] != 21
        assert len(foreign[4].completions[0]) == 2  # 7 + 3 tokens would be 10


@pytest.mark.parametrize(("liked", "told"), [(True, "all 3 thumbs are up; .*danlu sft"), (False, "are down")])
def test_thumbs_of_one_kind_are_refused(chat_format, liked, told):
    given = [single(rating(asking(i), "Four.", liked=liked)) for i in range(3)]
    with pytest.raises(DataError, match=told):
        RatingBatches(rankings(chat_format, given), Counting(), Counting())


def test_thumbs_of_one_prompt_are_refused(chat_format):
    given = [single(rating("Hi", text, liked=text == "Four.")) for text in ("Four.", "Five.")]
    with pytest.raises(DataError, match="all 2 ratings are of one prompt"):
        RatingBatches(rankings(chat_format, given), Counting(), Counting())
