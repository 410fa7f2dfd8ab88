"""BERT's pairs: what is hidden, how often and how, where spans part, and that a position can be taken up."""

from __future__ import annotations

import pytest
import torch

from danlu.config import ConfigError
from danlu.data.masked import MaskedBatches, MaskingConfig
from danlu.data.records import DataError
from danlu.data.shards import TokenizedDocument, write_shards
from danlu.tokenizer.reader import Marks

N_WORDS, STOP = 500, 7
MARKS = Marks(start=500, delimiter=501, end=501, mask=502, pad=503)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Document d holds words of its own, d * 50 + 10 to d * 50 + 49, and a full stop after every tenth."""
    documents = [
        TokenizedDocument(ids=[STOP if i % 10 == 9 else 50 * d + 10 + (7 * i) % 40 for i in range(97)])
        for d in range(9)
    ]
    where = tmp_path_factory.mktemp("shards") / "train"
    return write_shards(documents, where, token_bytes=[1] * 504, eos_id=500, fingerprint="x")


def batches(shards, batch_size=8, seed=0, **masking):
    config = MaskingConfig(**masking)
    return MaskedBatches(shards, MARKS, batch_size, 64, seed, config, sentence_ends=[STOP])


def test_pairs_are_put_together_as_berts(shards):
    batch = next(batches(shards))
    for ids, types, padding, strange in zip(
        batch.target_ids, batch.type_ids, batch.segment_ids, batch.strange, strict=True
    ):
        real = ids[padding == 0].tolist()
        first = real.index(MARKS.delimiter)
        assert real[0] == MARKS.start
        assert real[-1] == MARKS.delimiter
        assert real.count(MARKS.delimiter) == 2
        assert types[padding == 0].tolist() == [0] * (first + 1) + [1] * (len(real) - first - 1)
        assert (ids[padding == 1] == MARKS.pad).all()
        documents = {word // 50 for word in real if word < N_WORDS and word != STOP}
        assert len(documents) <= (2 if strange else 1)


def test_spans_part_where_a_sentence_ends(shards):
    for row in next(batches(shards, 32)).target_ids.tolist():
        assert row[row.index(MARKS.delimiter) - 1] == STOP


def test_half_the_second_spans_are_strange_and_strangers_come_from_elsewhere(shards):
    stream = batches(shards, 64)
    strange = torch.cat([next(stream).strange for _ in range(30)]).float()
    assert abs(float(strange.mean()) - 0.5) < 4 * 0.5 / len(strange) ** 0.5


def test_fifteen_in_a_hundred_words_are_asked_for_and_eighty_ten_ten_of_these_shown(shards):
    stream = batches(shards, 64)
    shown = {"mask": 0, "other": 0, "same": 0}
    asked = words = 0
    for batch in (next(stream) for _ in range(20)):
        chosen = batch.loss_mask
        seen, wanted = batch.input_ids[chosen], batch.target_ids[chosen]
        assert (wanted < N_WORDS).all()
        shown["mask"] += int((seen == MARKS.mask).sum())
        shown["same"] += int((seen == wanted).sum())
        shown["other"] += int(((seen != wanted) & (seen < N_WORDS)).sum())
        assert torch.equal(batch.input_ids[~chosen], batch.target_ids[~chosen])
        asked += int(chosen.sum())
        words += int((batch.target_ids < N_WORDS).sum())
    assert sum(shown.values()) == asked
    assert abs(asked / words - 0.15) < 0.005  # rounded in each pair
    for name, share in (("mask", 0.8), ("other", 0.1 * (N_WORDS - 1) / N_WORDS), ("same", 0.1)):
        assert abs(shown[name] / asked - share) < 4.5 * (share * (1 - share) / asked) ** 0.5


def test_every_window_is_read_once_an_epoch(shards):
    stream = batches(shards, 1)
    n = len(stream.windows)
    order = [stream._order(0)[i] for i in range(n)]
    assert sorted(order) == list(range(n))
    assert n == 18  # 61 and 36 words of each of 9 documents
    assert stream._order(1).tolist() != stream._order(0).tolist()


def test_a_position_is_taken_up(shards):
    stream, other = batches(shards), batches(shards)
    for _ in range(5):
        next(stream)
    other.load_state_dict(stream.state_dict())
    assert torch.equal(next(stream).input_ids, next(other).input_ids)
    with pytest.raises(DataError, match="seed is 1, but was 0"):
        batches(shards, seed=1).load_state_dict(stream.state_dict())


def test_what_cannot_be_is_refused(shards, tmp_path):
    with pytest.raises(ConfigError, match="together at most 1"):
        MaskingConfig(masked=0.9, replaced=0.2)
    short = write_shards(
        [TokenizedDocument(ids=[1, 2])], tmp_path / "s", token_bytes=[1] * 504, eos_id=500, fingerprint="x"
    )
    with pytest.raises(DataError, match="holds no document of 8 tokens"):
        batches(short)
