"""Batches of two corpora: the share is exact over time, and every row comes in its turn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from danlu.data.packing import PackedBatches
from danlu.data.records import DataError
from danlu.data.replay import ReplayBatches
from danlu.data.shards import TokenizedDocument, write_shards

EOS = 63


def corpus(folder: Path, first: int, n_documents: int) -> Path:
    """Documents of ids from `first` on, so that a row tells which corpus it is from."""
    documents = [TokenizedDocument(ids=[first + i % 8] * 9) for i in range(n_documents)]
    write_shards(documents, folder, token_bytes=[1] * 64, eos_id=EOS, fingerprint="f")
    return folder


@pytest.fixture
def parts(tmp_path: Path):
    from danlu.data.shards import open_shards

    new = open_shards(corpus(tmp_path / "new", 0, 23))
    general = open_shards(corpus(tmp_path / "general", 16, 40))

    def make(share: float, size: int = 5, **settings: int) -> ReplayBatches:
        packed = [PackedBatches(each, size, 12, 7, lead_with_eos=True, **settings) for each in (new, general)]
        return ReplayBatches(*packed, share)

    return make


def is_general(rows: torch.Tensor) -> list[bool]:
    return [bool((row[row != EOS] >= 16).all()) for row in rows]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.25, 0.3, 0.7])
def test_the_share_is_exact_over_time(parts, share: float):
    batches = parts(share)
    seen: list[bool] = []
    for _ in range(40):
        batch = next(batches)
        assert len(batch) == 5
        seen += is_general(batch.target_ids)
        assert abs(sum(seen) - share * len(seen)) < 1
    assert batches.epochs[0] == (200 - sum(seen)) / batches.new.rows_per_epoch


def test_each_corpus_is_read_in_its_own_order_without_a_gap(parts):
    batches = parts(0.3)
    rows = torch.cat([next(batches).target_ids for _ in range(20)])
    general = torch.tensor(is_general(rows))
    for part, found in ((batches.new, rows[~general]), (batches.general, rows[general])):
        assert torch.equal(found, part.rows(0, len(found)).target_ids)


def test_two_processes_read_what_one_reads(parts):
    alone = parts(0.3, size=6)
    halves = [parts(0.3, size=3, rank=rank, world=2) for rank in range(2)]
    for _ in range(9):
        together = torch.cat([next(half).target_ids for half in halves])
        assert sorted(together.tolist()) == sorted(next(alone).target_ids.tolist())


def test_a_position_is_taken_up_again_and_another_share_refused(parts):
    batches = parts(0.25)
    for _ in range(7):
        next(batches)
    state, wanted = batches.state_dict(), next(batches).target_ids
    again = parts(0.25)
    again.load_state_dict(state)
    assert torch.equal(next(again).target_ids, wanted)
    with pytest.raises(DataError, match=r"share is 0\.5, but was 0\.25"):
        parts(0.5).load_state_dict(state)
