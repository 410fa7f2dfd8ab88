"""Rows of ids by hand: GPT-1's tokens, BERT's pairs, windows over a passage, tags, and what is cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from danlu.data.examples import Example
from danlu.data.labelled import Arranger, LabelledBatches, collate
from danlu.data.records import DataError
from danlu.tokenizer.reader import Marks

MARKS = Marks(start=1, delimiter=2, end=3, mask=4, pad=0)


class Letters:
    """A tokenizer of one id a letter, from 10."""

    marks, vocab_size = MARKS, 40

    def encode(self, texts: Any) -> list[list[int]]:
        return [[10 + ord(letter) - ord("a") for letter in text.strip()] for text in texts]

    def encode_with_spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        return self.encode([text])[0], [(i, i + 1) for i in range(len(text))]

    def save(self, directory: Any) -> None:
        raise NotImplementedError


def arranger(kind: Any, *, both_ways: bool = False, max_len: int = 12, **more: Any) -> Arranger:
    return Arranger(reader=Letters(), kind=kind, max_len=max_len, both_ways=both_ways, **more)


def example(*texts: str, **more: Any) -> Example:
    return Example(where="here", texts=texts, **more)


def test_a_text_stands_between_start_and_extract():
    made = arranger("class", labels=("n", "y"))
    batch = collate(made.arrange([example("ab", label="y"), example("abc", label="n")]), made)
    assert_close(batch.input_ids, tensor([[1, 10, 11, 3, 0], [1, 10, 11, 12, 3]]))
    assert_close(batch.end_index, tensor([3, 4]))
    assert_close(batch.targets, tensor([1, 0]))
    assert batch.type_ids is None
    assert_close(batch.loss_mask, tensor([[True] * 3 + [False] * 2, [True] * 4 + [False]]))
    assert_close(batch.target_ids[0, :3], tensor([10, 11, 3]))


def test_berts_pair_has_segments_and_no_order_of_its_own():
    made = arranger("similarity", both_ways=True, labels=("n", "y"))
    batch = collate(made.arrange([example("ab", "c", label="y")]), made)
    assert_close(batch.input_ids, tensor([[1, 10, 11, 2, 12, 3]]))
    assert_close(batch.type_ids, tensor([[0, 0, 0, 0, 1, 1]]))


def test_a_decoder_reads_similar_texts_in_both_orders():
    made = arranger("similarity", mean=2.0, deviation=0.5)
    batch = collate(made.arrange([example("ab", "c", label="3")]), made)
    assert_close(batch.input_ids, tensor([[1, 10, 11, 2, 12, 3], [1, 12, 2, 10, 11, 3]]))
    assert_close(batch.item_ids, tensor([0, 0]))
    assert_close(batch.targets, tensor([2.0]))


def test_every_choice_stands_behind_the_same_prompt():
    made = arranger("choice", max_len=8)
    batch = collate(made.arrange([example("abcdef", choices=("g", "hi"), label="1")]), made)
    assert_close(batch.input_ids, tensor([[1, 10, 11, 12, 2, 16, 3, 0], [1, 10, 11, 12, 2, 17, 18, 3]]))
    assert (made.cut.n_examples, made.cut.n_tokens) == (1, 3)


@pytest.mark.parametrize(
    ("keep", "first", "second"), [("start", [10, 11, 12], [20, 21]), ("end", [13, 14, 15], [20, 21])]
)
def test_the_longer_text_gives_way_first_and_it_is_counted(keep: Any, first: list[int], second: list[int]):
    made = arranger("class", max_len=8, keep=keep, labels=("n", "y"))
    (item,) = made.arrange([example("abcdef", "kl", label="n")])
    assert item.rows[0].ids == [1, *first, 2, *second, 3]
    assert (made.cut.n_examples, made.cut.n_tokens) == (1, 3)


@pytest.mark.parametrize("both_ways", [True, False])
def test_a_passage_is_read_in_windows_and_the_answer_found_where_it_is_whole(both_ways: bool):
    made = arranger("span", both_ways=both_ways, max_len=8)  # a question of one leaves room for four, by two
    items = made.arrange([example("z", "abcdefgh", answers=("de",), start=3)])
    assert [item.rows[0].ids[3:-1] for item in items] == [
        [10, 11, 12, 13],
        [12, 13, 14, 15],
        [14, 15, 16, 17],
    ]
    nowhere = 0 if both_ways else 7
    assert [item.target for item in items] == [(nowhere, nowhere), (4, 5), (nowhere, nowhere)]
    assert items[1].places == [nowhere, 3, 4, 5, 6]
    assert items[1].spans[1:] == [(2, 3), (3, 4), (4, 5), (5, 6)]


@pytest.mark.parametrize(("both_ways", "places"), [(True, [1, 3, 4]), (False, [2, 3, 6])])
def test_a_word_is_tagged_at_its_first_token_or_by_a_decoder_at_its_last(both_ways: bool, places: list[int]):
    made = arranger("tag", both_ways=both_ways, labels=("B-A", "O"))
    made_items = made.arrange([example("ab", "c", "def", tags=("B-A", "O", "O"))])
    assert made_items[0].places == places
    batch = collate(made_items, made)
    assert_close(batch.answer_mask.nonzero()[:, 1], tensor(places))
    assert_close(batch.targets[batch.answer_mask], tensor([0, 1, 1]))
    assert int(batch.n_answers) == 3


def test_words_that_do_not_fit_are_counted():
    made = arranger("tag", max_len=8, labels=("O",))
    (item,) = made.arrange([example("abc", "de", "fgh", tags=("O", "O", "O"))])
    assert (item.rows[0].ids, made.cut.n_tokens) == ([1, 10, 11, 12, 13, 14, 3], 3)


def test_similarity_needs_two_texts():
    with pytest.raises(DataError, match="here: holds one text; similarity needs two"):
        arranger("similarity").arrange([example("a", label="1")])


def batches(seed: int = 0) -> LabelledBatches:
    made = arranger("class", labels=("n", "y"))
    rows = [example("abcdefgh"[: 1 + i % 8], label="y") for i in range(37)]
    return LabelledBatches(made.arrange(rows), made, 4, seed)


def test_every_example_comes_once_an_epoch_and_orders_differ():
    stream = batches()
    epochs = [[next(stream).end_index for _ in range(stream.batches_per_epoch)] for _ in range(2)]
    wanted = sorted(2 + i % 8 for i in range(37))
    assert all(sorted(torch.cat(epoch).tolist()) == wanted for epoch in epochs)
    assert torch.cat(epochs[0]).tolist() != torch.cat(epochs[1]).tolist()


def test_a_position_is_taken_up_where_it_was_left():
    stream, other = batches(), batches()
    for _ in range(13):
        next(stream)
    other.load_state_dict(stream.state_dict())
    assert torch.equal(next(stream).input_ids, next(other).input_ids)
    with pytest.raises(DataError, match="labelled batches: seed is 1, but was 0"):
        batches(1).load_state_dict(stream.state_dict())
