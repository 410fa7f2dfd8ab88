"""Pairs and their batches: what is read, what is held out, and that every pair is learnt once an epoch."""

from __future__ import annotations

import json
import random
from itertools import islice
from pathlib import Path

import pytest
import torch

from danlu.config import ConfigError
from danlu.data.pairs import Languages, Pair, divide, read_pairs
from danlu.data.records import DataError
from danlu.data.translation import Markers, TranslationBatches, each_once, lay_out

MARKERS = Markers(start=1, pad=0)


def write(path: Path, *lines: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


def some_pairs(n: int = 100) -> list[tuple[list[int], list[int]]]:
    """Sources 10, 11, … and targets 1000, 1001, …, so that each pair can be told from its first ids."""
    rng = random.Random(0)
    return [([10 + i] * rng.randint(1, 9), [1000 + i] * rng.randint(1, 9)) for i in range(n)]


def batches(**changed: object) -> TranslationBatches:
    settings = {"batch_tokens": 40, "seed": 3, "markers": MARKERS, "max_len": 9} | changed
    return TranslationBatches(some_pairs(), **settings)  # type: ignore[arg-type]


def firsts(batch) -> list[int]:
    return batch.source_ids[:, 0].tolist()


def test_a_pair_is_shifted_padded_and_masked():
    batch = lay_out([([5, 6, 2], [7, 2]), ([5, 2], [8, 9, 2])], MARKERS)
    assert batch.source_ids.tolist() == [[5, 6, 2], [5, 2, 0]]
    assert batch.source_segment_ids.tolist() == [[0, 0, 0], [0, 0, 1]]
    assert batch.input_ids.tolist() == [[1, 7, 0], [1, 8, 9]]
    assert batch.target_ids.tolist() == [[7, 2, 0], [8, 9, 2]]
    assert batch.loss_mask.tolist() == [[True, True, False], [True, True, True]]


def test_an_epoch_holds_every_pair_once_with_its_own_target():
    stream = batches()
    seen: list[int] = []
    for batch in islice(stream, stream.batches_per_epoch):
        assert batch.target_ids[:, 0].tolist() == [i + 990 for i in firsts(batch)]
        seen += firsts(batch)
    assert sorted(seen) == list(range(10, 110))


def test_no_batch_is_larger_than_asked_and_little_of_it_is_padding():
    stream = batches()
    cells = filled = 0
    for batch in islice(stream, stream.batches_per_epoch):
        assert max(batch.source_ids.numel(), batch.target_ids.numel()) <= 40
        cells += batch.target_ids.numel()
        filled += int(batch.loss_mask.sum())
    assert filled / cells > 0.9


def test_epochs_differ_in_their_order():
    stream = batches()
    first = [firsts(b) for b in islice(stream, stream.batches_per_epoch)]
    second = [firsts(b) for b in islice(stream, stream.batches_per_epoch)]
    assert first != second


def test_a_saved_position_goes_on_with_the_next_batch():
    whole, cut = batches(), batches()
    n = whole.batches_per_epoch + 3  # into the second epoch
    for _ in range(n):
        next(whole)
    cut.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    for _ in range(5):
        assert torch.equal(next(whole).source_ids, next(cut).source_ids)


def test_a_position_of_other_batches_is_refused():
    with pytest.raises(DataError, match="batch_tokens is 50, but was 40"):
        batches(batch_tokens=50).load_state_dict(batches().state_dict())


def test_processes_share_the_batches():
    alone = batches()
    together = [batches(share=(rank, 2)) for rank in range(2)]
    for _ in range(4):
        for each in together:
            assert torch.equal(next(alone).source_ids, next(each).source_ids)


def test_pairs_that_are_too_long_are_left_out_and_counted():
    stream = batches(max_len=5)
    assert 0 < stream.n_dropped < 100
    longest = max(max(b.source_ids.shape[1], b.target_ids.shape[1]) for b in islice(stream, 100))
    assert longest == 5


def test_batches_too_small_for_a_pair_are_refused():
    with pytest.raises(ConfigError, match="batch_tokens is 8; it must be at least max_len, 9"):
        batches(batch_tokens=8)


def test_where_every_pair_is_too_long_that_is_an_error():
    with pytest.raises(DataError, match="no pair to learn from: 100 given, none of at most 0 tokens"):
        batches(max_len=0)


def test_to_measure_every_pair_comes_once():
    found = [i for batch in each_once(some_pairs(), 40, MARKERS) for i in firsts(batch)]
    assert sorted(found) == list(range(10, 110))


def test_pairs_are_read_under_either_name(tmp_path: Path):
    write(
        tmp_path / "a.jsonl", {"source": " Hi. ", "target": "你好。"}, {"en": "Run!", "zh": "跑！", "id": 7}
    )
    pairs = read_pairs(tmp_path, Languages())
    assert [(p.source, p.target) for p in pairs] == [("Hi.", "你好。"), ("Run!", "跑！")]
    back = read_pairs(tmp_path / "a.jsonl", Languages(source="zh", target="en"))[1]
    assert (back.source, back.target) == ("跑！", "Run!")


@pytest.mark.parametrize(
    "line",
    [
        {"source": "Hi."},
        {"source": "Hi.", "target": "  "},
        {"en": "Hi.", "de": "Hallo"},
        {"en": 3, "zh": "三"},
    ],
)
def test_what_is_no_pair_is_an_error_that_shows_it(line: dict[str, object], tmp_path: Path):
    path = write(tmp_path / "a.jsonl", {"en": "Run!", "zh": "跑！"}, line)
    with pytest.raises(DataError, match=r"a\.jsonl:2: is no pair of texts; .*The record: \{"):
        read_pairs(path, Languages())


def test_what_is_held_out_shares_no_text_with_what_is_learnt():
    rng = random.Random(1)
    pairs = [Pair(f"s{rng.randint(0, 300)}", f"t{rng.randint(0, 300)}", "") for _ in range(1000)]
    learnt, held_out = divide(pairs, 0.2)
    assert 0.7 < len(learnt) / 1000 < 0.9
    assert held_out
    assert not {p.source for p in learnt} & {p.source for p in held_out}
    assert not {p.target for p in learnt} & {p.target for p in held_out}
    assert divide([*pairs, Pair("new", "neu", "")], 0.2)[1][: len(held_out)] == held_out


def test_with_two_directions_the_text_says_which_is_wanted():
    assert Languages().marked("Hi.", "zh") == "Hi."
    both = Languages(both_ways=True)
    assert both.marked("Hi.", "zh") == ">>zh<< Hi."
    assert both.directions == (("en", "zh"), ("zh", "en"))


def test_a_language_into_itself_is_refused():
    with pytest.raises(ConfigError, match="are both 'zh'"):
        Languages(source="zh")
