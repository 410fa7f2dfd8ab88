from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise

import pytest
import torch

from danlu.data.packing import PackedBatches, windows
from danlu.data.records import DataError
from danlu.data.shards import TokenizedDocument, write_shards

EOS = 0


def shards_of(tmp_path, documents, langs=None):
    langs = langs or ["en"] * len(documents)
    tokenized = [TokenizedDocument(ids, lang) for ids, lang in zip(documents, langs, strict=True)]
    return write_shards(
        tokenized, tmp_path / "shards", token_bytes=[0] + [1] * 999, eos_id=EOS, fingerprint="f"
    )


def many_documents(n=40):
    """Documents of 1 to 17 tokens; every id occurs once, so that it names its document."""
    documents, following = [], 1
    for i in range(n):
        length = 1 + (7 * i) % 17
        documents.append(list(range(following, following + length)))
        following += length
    return documents


def questions(batch):
    """Each counted (input, target) pair of a batch."""
    pairs = zip(
        batch.input_ids[batch.loss_mask].tolist(), batch.target_ids[batch.loss_mask].tolist(), strict=True
    )
    return Counter(pairs)


def test_rows_are_aligned_and_a_cut_document_goes_on_as_a_segment_of_its_own(tmp_path):
    shards = shards_of(tmp_path, [[11, 12, 13], [21, 22, 23, 24], [31]])
    (window,) = windows(shards, batch_size=8, seq_len=4)
    batch = window.batch
    assert batch.input_ids.tolist() == [[11, 12, 13, 21], [22, 23, 24, 31]]
    assert batch.target_ids.tolist() == [[12, 13, EOS, 22], [23, 24, EOS, EOS]]
    assert batch.segment_ids.tolist() == [[0, 0, 0, 1], [0, 0, 0, 1]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0], [0, 1, 2, 0]]
    assert batch.loss_mask.all()


def test_padding_stands_at_the_right_uncounted_in_a_segment_of_its_own(tmp_path):
    shards = shards_of(tmp_path, [[11, 12, 13], [21]])
    (window,) = windows(shards, batch_size=8, seq_len=6)
    batch = window.batch
    assert batch.input_ids.tolist() == [[11, 12, 13, 21, EOS, EOS]]
    assert batch.target_ids.tolist() == [[12, 13, EOS, EOS, EOS, EOS]]
    assert batch.loss_mask.tolist() == [[True] * 4 + [False] * 2]
    assert batch.segment_ids.tolist() == [[0, 0, 0, 1, 2, 2]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 0, 1]]


def test_leading_with_eos_asks_for_the_first_token_too(tmp_path):
    shards = shards_of(tmp_path, [[11, 12], [21]])
    (window,) = windows(shards, batch_size=1, seq_len=5, lead_with_eos=True)
    assert window.batch.input_ids.tolist() == [[EOS, 11, 12, EOS, 21]]
    assert window.batch.target_ids.tolist() == [[11, 12, EOS, 21, EOS]]
    assert window.batch.segment_ids.tolist() == [[0, 0, 0, 1, 1]]
    assert window.batch.position_ids.tolist() == [[0, 1, 2, 0, 1]]
    assert window.n_bytes == 3


def test_bytes_belong_to_counted_targets_of_the_language_asked_for(tmp_path):
    shards = shards_of(tmp_path, [[1, 2, 3], [4, 5], [6, 7, 8, 9]], ["en", "zh", "en"])
    english = list(windows(shards, batch_size=1, seq_len=3, lang="en"))
    # Targets 2, 3, eos | 7, 8, 9 | eos: one byte each but for eos.
    assert [window.n_bytes for window in english] == [2, 3, 0]
    assert [window.n_bytes for window in windows(shards, batch_size=1, seq_len=3, lang="zh")] == [1]
    with pytest.raises(DataError, match=r"holds no language 'de'; it holds \['en', 'zh'\]"):
        next(windows(shards, batch_size=1, seq_len=3, lang="de"))


def test_an_epoch_asks_every_question_of_every_document_once_and_none_across_documents(tmp_path):
    documents = many_documents()
    batches = PackedBatches(shards_of(tmp_path, documents), batch_size=1, seq_len=16, seed=3)
    seen = sum((questions(next(batches)) for _ in range(batches.rows_per_epoch)), Counter())
    closed = [[*ids, EOS] for ids in documents]
    assert seen == Counter(pair for ids in closed for pair in pairwise(ids))


def test_segments_and_positions_follow_the_documents(tmp_path):
    documents = many_documents()
    home = {token: i for i, ids in enumerate(documents) for token in ids}
    batch = next(PackedBatches(shards_of(tmp_path, documents), batch_size=4, seq_len=32, seed=0))
    for row in range(4):
        inputs, segments = batch.input_ids[row].tolist(), batch.segment_ids[row].tolist()
        for t in range(1, 32):
            same = home[inputs[t]] == home[inputs[t - 1]]
            assert (segments[t] == segments[t - 1]) == same
            assert batch.position_ids[row, t] == (batch.position_ids[row, t - 1] + 1 if same else 0)


def test_epochs_differ_in_order_and_the_seed_decides_it(tmp_path):
    shards = shards_of(tmp_path, many_documents())

    def epoch(seed, skip):
        batches = PackedBatches(shards, batch_size=1, seq_len=16, seed=seed)
        n = batches.rows_per_epoch
        return torch.cat([batch.input_ids for batch in islice(batches, n * skip, n * (skip + 1))])

    assert torch.equal(epoch(1, 0), epoch(1, 0))
    assert not torch.equal(epoch(1, 0), epoch(1, 1))
    assert not torch.equal(epoch(1, 0), epoch(2, 0))


def test_the_rows_of_a_long_document_are_spread_over_the_epoch(tmp_path):
    shards = shards_of(tmp_path, [[1 + i] * 400 for i in range(4)])
    batches = PackedBatches(shards, batch_size=8, seq_len=16, seed=0)
    per_batch = [len(set(batch.input_ids.flatten().tolist())) for batch in islice(batches, 12)]
    assert sum(n >= 3 for n in per_batch) >= 10  # one after the other they would hold one or two each


def test_resuming_gives_the_batches_that_would_have_come(tmp_path):
    shards = shards_of(tmp_path, many_documents())
    whole = PackedBatches(shards, batch_size=3, seq_len=16, seed=5)
    for _ in range(7):
        next(whole)
    state = whole.state_dict()
    resumed = PackedBatches(shards, batch_size=3, seq_len=16, seed=5)
    resumed.load_state_dict(state)
    for expected, found in zip(islice(whole, 20), resumed, strict=False):
        assert torch.equal(expected.input_ids, found.input_ids)
        assert torch.equal(expected.loss_mask, found.loss_mask)


def test_resuming_over_other_settings_is_refused(tmp_path):
    shards = shards_of(tmp_path, many_documents())
    state = PackedBatches(shards, batch_size=3, seq_len=16, seed=5).state_dict()
    with pytest.raises(DataError, match="seq_len is 8, but was 16"):
        PackedBatches(shards, batch_size=3, seq_len=8, seed=5).load_state_dict(state)


def test_two_processes_together_read_what_one_reads(tmp_path):
    shards = shards_of(tmp_path, many_documents())
    alone = PackedBatches(shards, batch_size=4, seq_len=16, seed=5)
    ranks = [PackedBatches(shards, batch_size=2, seq_len=16, seed=5, rank=r, world=2) for r in (0, 1)]
    for _ in range(9):
        expected = next(alone).input_ids
        assert torch.equal(torch.cat([next(rank).input_ids for rank in ranks]), expected)


def test_a_corpus_in_which_nothing_can_be_predicted_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no document of two tokens or more"):
        PackedBatches(shards_of(tmp_path, [[EOS]]), batch_size=1, seq_len=4, seed=0)


@pytest.mark.parametrize("document", [0, 3, 39])
def test_the_row_with_a_document_is_one_of_the_epoch_and_the_document_begins_in_its_segment(
    tmp_path, document
):
    documents = many_documents()
    batches = PackedBatches(shards_of(tmp_path, documents), 1, 16, seed=3, lead_with_eos=True)
    row, segment = batches.row_with(document)
    inside = (row.segment_ids[0] == segment) & row.loss_mask[0]
    learnt = row.target_ids[0][inside].tolist()
    assert learnt == [*documents[document], EOS][: len(learnt)]
    epoch = [next(batches).target_ids.tolist() for _ in range(batches.rows_per_epoch)]
    assert row.target_ids.tolist() in epoch
