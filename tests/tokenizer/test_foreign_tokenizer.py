"""Where tokens lie in a text, ours and BERT's; control tokens that no text can produce."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.tokenizer.bpe import Tokenizer, TokenizerError
from danlu.tokenizer.reader import BertReader, BpeReader, open_reader

TEXTS = ["北京是首都。Beijing is the capital.", "naïve café 🙂 end", "[SEP] <|im_end|>"]


@pytest.fixture(scope="module")
def ours() -> Tokenizer:
    return Tokenizer.train(["北京是首都。Beijing is the capital of China."] * 5, 300)


@pytest.fixture
def berts(tmp_path: Path) -> Path:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "北", "京", "bei", "##jing", "is", "[", "]", "sep"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("text", TEXTS)
def test_every_token_of_ours_lies_where_its_bytes_do(ours: Tokenizer, text: str):
    ids, spans = BpeReader(ours, both_ways=False).encode_with_spans(text)
    assert ids == ours.encode(text)
    raw, at = text.encode(), 0
    for token, (first, last) in zip(ids, spans, strict=True):
        piece = ours.decode_bytes([token])
        whole = text[first:last].encode()
        start = len(text[:first].encode())
        assert start <= at
        assert at + len(piece) <= start + len(whole)  # whole characters around the bytes, and no more
        assert len(whole) - len(piece) < 6
        assert raw[at : at + len(piece)] == piece
        at += len(piece)
    assert at == len(raw)


def test_our_control_tokens_serve_gpt_and_bert(ours: Tokenizer, tmp_path: Path):
    ours.save(tmp_path)
    gpt, bert = open_reader(tmp_path, both_ways=False), open_reader(tmp_path, both_ways=True)
    assert len({gpt.marks.start, gpt.marks.delimiter, gpt.marks.end, gpt.marks.pad}) == 4
    assert bert.marks.delimiter == bert.marks.end
    assert len({bert.marks.start, bert.marks.end, bert.marks.mask, bert.marks.pad}) == 4


def test_berts_own_vocabulary_is_read_and_its_marks_are_no_text(berts: Path, tmp_path: Path):
    reader = open_reader(berts, both_ways=True)
    assert isinstance(reader, BertReader)
    assert reader.encode_with_spans("北京 Beijing is") == (
        [5, 6, 7, 8, 9],
        [(0, 1), (1, 2), (3, 6), (6, 10), (11, 13)],
    )
    assert reader.encode(["[SEP]"]) == [[10, 12, 11]]
    assert (reader.marks.start, reader.marks.delimiter, reader.marks.pad, reader.marks.mask) == (2, 3, 0, 4)
    out = tmp_path / "copy"
    out.mkdir()
    reader.save(out)
    assert open_reader(out, both_ways=True).encode(["北京"]) == [[5, 6]]


def test_a_decoder_takes_no_strange_tokenizer(berts: Path, tmp_path: Path):
    from tokenizers import BertWordPieceTokenizer

    BertWordPieceTokenizer(str(berts / "vocab.txt")).save(str(berts / "tokenizer.json"))
    with pytest.raises(TokenizerError, match="lacks our control tokens"):
        open_reader(berts, both_ways=False)
    with pytest.raises(TokenizerError, match=r"holds no tokenizer\.json"):
        open_reader(tmp_path / "nothing", both_ways=True)
