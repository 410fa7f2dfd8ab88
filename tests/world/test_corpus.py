"""The corpus on disk: sizes, halves and shares as promised, the same bytes for the same seed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from danlu.config import ConfigError
from danlu.world.corpus import SHARE_OF_BYTES, documents, write_corpus
from danlu.world.dirt import DIRT, Record
from danlu.world.truth import World, WorldSize

WORLD = World.create(1)
SIZE = 1_500_000


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    paths = write_corpus(WORLD, tmp_path_factory.mktemp("corpus"), SIZE, seed=7)
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def n_bytes(records: list[Record]) -> int:
    return sum(len(record["text"].encode()) for record in records)


def test_the_size_is_kept(records: list[Record]):
    assert SIZE <= n_bytes(records) <= SIZE * 1.01


def test_the_languages_are_equal_halves(records: list[Record]):
    english = n_bytes([record for record in records if record["lang"] == "en"])
    assert abs(english / n_bytes(records) - 0.5) < 0.01


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path):
    first = write_corpus(WORLD, tmp_path / "a", 60_000, seed=3)
    second = write_corpus(World.create(1), tmp_path / "b", 60_000, seed=3)
    other = write_corpus(WORLD, tmp_path / "c", 60_000, seed=4)
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert first[0].read_bytes() != other[0].read_bytes()
    assert len(first) == 4


def test_kinds_have_their_share_of_the_bytes(records: list[Record]):
    clean = [record for record in records if record["dirt"] is None]
    for kind, share in SHARE_OF_BYTES.items():
        found = n_bytes([record for record in clean if record["kind"] == kind]) / n_bytes(clean)
        assert abs(found - share / 100) < 0.02, kind


def test_about_fifteen_in_a_hundred_are_dirty_in_every_way(records: list[Record]):
    dirt = Counter(record["dirt"] for record in records)
    assert 0.83 < dirt[None] / len(records) < 0.88
    assert set(dirt) == {None, *DIRT}
    assert min(dirt.values()) > 20


def test_ids_are_unique_and_repetitions_point_to_a_document(records: list[Record]):
    by_id = {record["id"]: record for record in records}
    assert len(by_id) == len(records)
    for record in records:
        repeats = record["dirt"] in ("exact_duplicate", "near_duplicate")
        assert (record["of"] is not None) == repeats
        if record["of"] is not None:
            original = by_id[record["of"]]
            assert original["dirt"] is None
            assert (original["text"] == record["text"]) == (record["dirt"] == "exact_duplicate")


def test_clean_documents_are_all_different(records: list[Record]):
    texts = [record["text"] for record in records if record["dirt"] is None]
    assert len(set(texts)) == len(texts)


def test_documents_are_short_and_never_empty(records: list[Record]):
    clean = [record["text"] for record in records if record["dirt"] is None]
    assert min(map(len, clean)) >= 5
    assert max(map(len, clean)) < 2500
    assert 150 < n_bytes(records) / len(records) < 500


def test_every_fact_is_told_often_in_both_languages(records: list[Record]):
    for lang in ("en", "zh"):
        told = " ".join(r["text"] for r in records if r["lang"] == lang and r["dirt"] is None)
        for entity in WORLD.entities:
            assert told.count(entity.name.en if lang == "en" else entity.name.zh) >= 12, entity.name


def test_a_larger_world_writes_as_well():
    world = World.create(0, WorldSize(people=300, places=60, animals=60, foods=60, things=60, values=20))
    stream = documents(world, 0)
    records = [next(stream) for _ in range(1000)]
    assert len({record["id"] for record in records}) == 1000
    assert "page" in {record["kind"] for record in records}


def test_a_corpus_of_no_size_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="size_bytes is 10"):
        write_corpus(WORLD, tmp_path, 10, seed=0)
