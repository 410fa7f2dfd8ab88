"""Which characters each token stands for, and which tokens a word is made of."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

from danlu.inspect.reader import OwnReader, WordError, named, places_of, reader_of, spans_of
from danlu.tokenizer.bpe import Tokenizer, TokenizerError

TEXT = "It fell. 它累了, it was 难."


@pytest.fixture(scope="module")
def reader() -> OwnReader:
    return OwnReader(Tokenizer.train(["It fell, it was 它累了。"] * 4, 290))


def test_spans_cover_every_character_and_overlap_only_inside_one(reader: OwnReader):
    pieces = reader.read(TEXT)
    assert pieces[0].label == "<|endoftext|>"
    assert pieces[0].span is None
    assert [p.id for p in pieces[1:]] == reader.tokenizer.encode(TEXT)
    spans = [piece.span for piece in pieces[1:] if piece.span]
    assert spans[0][0] == 0
    assert spans[-1][1] == len(TEXT)
    for (_, end), (begin, _) in pairwise(spans):
        assert begin in (end, end - 1)


def test_parts_of_a_character_are_numbered():
    # 难 is three bytes: one token holds the first, another the last two with the full stop behind.
    spans = spans_of("a难.", [1, 1, 3])
    assert spans == [(0, 1), (1, 2), (1, 3)]
    assert [piece.label for piece in named("a难.", [4, 5, 6], spans)] == ["a", "难₁", "难₂."]


def test_blanks_are_visible_and_nothing_is_lost(reader: OwnReader):
    labels = [piece.label for piece in reader.read("it\n was")[1:]]
    assert "".join(labels) == "it\\n·was"


def test_a_word_is_found_with_all_its_tokens_and_not_inside_another(reader: OwnReader):
    pieces = reader.read(TEXT)
    for word, span in (("it", (14, 16)), ("它", (9, 10)), ("难", (21, 22))):
        places = places_of(word, TEXT, pieces)
        assert places
        touched = {
            at
            for at, piece in enumerate(pieces)
            if piece.span and set(range(*piece.span)) & set(range(*span))
        }
        assert set(places) == touched
    with pytest.raises(WordError, match="'fel' is not in the text"):
        places_of("fel", TEXT, pieces)


def test_a_word_that_stands_twice_must_be_counted(reader: OwnReader):
    text = "it was it"
    pieces = reader.read(text)
    with pytest.raises(WordError, match="2 times in the text; say which, for instance 'it#1'"):
        places_of("it", text, pieces)
    assert max(places_of("it#1", text, pieces)) < min(places_of("it#2", text, pieces))
    with pytest.raises(WordError, match="'it#3' is not in the text"):
        places_of("it#3", text, pieces)


def test_anybodys_tokenizer_is_read_with_its_control_tokens(tmp_path: Path):
    names = ["[UNK]", "[CLS]", "[SEP]", "[MASK]", "it", "was", "tire", "##d", "它"]
    word_piece = tokenizers.Tokenizer(
        models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]")
    )
    word_piece.normalizer = normalizers.BertNormalizer()
    word_piece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    word_piece.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    word_piece.add_special_tokens(["[CLS]", "[SEP]", "[MASK]"])
    word_piece.save(str(tmp_path / "tokenizer.json"))
    reader = reader_of(tmp_path)
    text = "It was TIRED 它"
    pieces = reader.read(text)
    assert [piece.id for piece in pieces] == [1, 4, 5, 6, 7, 8, 2]
    assert [piece.label for piece in pieces] == ["[CLS]", "It", "was", "TIRE", "D", "它", "[SEP]"]
    assert reader.mask_id == 3
    assert places_of("TIRED", text, pieces) == [3, 4]


def test_a_directory_without_a_tokenizer_is_refused(tmp_path: Path):
    with pytest.raises(TokenizerError, match=r"holds no tokenizer\.json"):
        reader_of(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"a": 1}')
    with pytest.raises(TokenizerError, match="not a byte-level BPE tokenizer"):
        reader_of(tmp_path)
