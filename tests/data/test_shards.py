from __future__ import annotations

import json

import numpy as np
import pytest

from danlu.data.records import DataError
from danlu.data.shards import TokenizedDocument, open_shards, write_shards

EOS = 9
# Ids 0 to 8 stand for 1 to 9 bytes.
TOKEN_BYTES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


@pytest.fixture
def directory(tmp_path):
    documents = [
        TokenizedDocument([1, 2, 3], "en"),
        TokenizedDocument([], "en"),
        TokenizedDocument([4, 5, EOS], "zh"),
        TokenizedDocument([6], "en"),
    ]
    write_shards(documents, tmp_path / "train", token_bytes=TOKEN_BYTES, eos_id=EOS, fingerprint="f" * 64)
    return tmp_path / "train"


def test_each_document_comes_back_closed_by_one_eos_and_empty_ones_are_left_out(directory):
    shards = open_shards(directory, fingerprint="f" * 64)
    assert [shards.document(i) for i in range(len(shards))] == [[1, 2, 3, EOS], [4, 5, EOS], [6, EOS]]
    assert shards.n_tokens == 9


def test_bytes_are_counted_by_language(directory):
    # en: 2 + 3 + 4 and 7; zh: 5 + 6.
    assert open_shards(directory).n_bytes == {"en": 16, "zh": 11}


def test_small_vocabularies_take_two_bytes_a_token_and_large_ones_four(tmp_path, directory):
    assert (directory / "tokens.bin").stat().st_size == 9 * 2
    large = write_shards(
        [TokenizedDocument([70000])],
        tmp_path / "large",
        token_bytes=[1] * 70001,
        eos_id=0,
        fingerprint="x",
    )
    assert large.tokens.dtype == np.uint32
    assert large.document(0) == [70000, 0]


def test_another_tokenizer_is_refused(directory):
    with pytest.raises(
        DataError, match="written with tokenizer ffffffffffff, but the tokenizer in use is 0000"
    ):
        open_shards(directory, fingerprint="0" * 64)


def test_a_truncated_file_is_refused(directory):
    data = (directory / "tokens.bin").read_bytes()
    (directory / "tokens.bin").write_bytes(data[:-2])
    with pytest.raises(DataError, match="has 16 bytes where its index says 18"):
        open_shards(directory, verify=False)


def test_a_changed_file_is_refused(directory):
    data = bytearray((directory / "tokens.bin").read_bytes())
    data[4] ^= 1
    (directory / "tokens.bin").write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"tokens\.bin: is missing or differs from its checksum"):
        open_shards(directory)


def test_a_folder_that_is_no_shard_directory_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has no index\.json"):
        open_shards(tmp_path)


def test_an_index_of_another_format_is_refused(directory):
    index = json.loads((directory / "index.json").read_text())
    (directory / "index.json").write_text(json.dumps(index | {"format": 7}))
    with pytest.raises(DataError, match="has format 7; this version reads format 1"):
        open_shards(directory)


def test_an_id_outside_the_vocabulary_is_refused_and_the_old_shards_stay(directory):
    with pytest.raises(DataError, match=r"token id 12 is outside the vocabulary; ids must be in \[0, 10\)"):
        write_shards(
            [TokenizedDocument([12])], directory, token_bytes=TOKEN_BYTES, eos_id=EOS, fingerprint="f" * 64
        )
    assert open_shards(directory).n_tokens == 9
