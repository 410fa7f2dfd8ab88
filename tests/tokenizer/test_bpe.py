from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from danlu.tokenizer.bpe import PATTERNS, SMALLEST_VOCAB, Tokenizer, TokenizerError
from danlu.tokenizer.chatml import CONTROL_TOKENS

CORPUS = [
    "Mira Tolen lives in Oldbridge. She's a baker, and she'll bake 12 loaves of bread in 2024!",
    "米拉·托伦住在旧桥，她是一位面包师。她每天烤12个面包。",
    "The baker lives in the old town; the old town is by the river.\n\nThe river is cold.",
    "旧桥在河边。河水很冷，河边有一位面包师。",
] * 5

PATTERN_NAMES = sorted(PATTERNS)


@pytest.fixture(scope="module", params=PATTERN_NAMES)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.train(CORPUS, 400, request.param)


pieces = st.sampled_from(
    [*CONTROL_TOKENS, "<|", "|>", "im_start", "endoftext", "\n", "\r", " ", "米拉", "she's", "12"]
)
texts = st.lists(st.text(st.characters(exclude_categories=["Cs"])) | pieces).map("".join)


@given(text=texts)
def test_any_text_comes_back_exactly_and_never_becomes_control(tokenizer: Tokenizer, text: str):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not tokenizer.control_ids & set(ids)
    assert tokenizer.encode_batch([text]) == [ids]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\x00\x01\x7f\x80\x9f",
        "\ufeff\u200b\u2028\u2029\ufffe\uffff\U0010ffff",
        "ĠĊÿŃ",  # the characters that stand for bytes inside tokenizer.json
        "e\u0301 é ﬁ １２３ ㍿ 𠮷 🧑‍🍳",  # nothing is normalised
        "\r\n\r \t\v\f\x85\xa0\u3000",
        "a" * 5000 + "河" * 5000,
    ],
)
def test_odd_characters_come_back_exactly(tokenizer: Tokenizer, text: str):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_half_a_surrogate_pair_is_refused_with_its_place(tokenizer: Tokenizer):
    with pytest.raises(TokenizerError, match=r"character 2 of a text is '.ud83d', half a surrogate pair"):
        tokenizer.encode("ab\ud83d")
    with pytest.raises(TokenizerError, match="half a surrogate pair"):
        tokenizer.encode_batch(["fine", "ab\ud83d"])
    with pytest.raises(TokenizerError, match="half a surrogate pair"):
        Tokenizer.train(["ab\ud83d"], 300)


def test_control_ids_follow_the_vocabulary_and_show_only_when_asked(tokenizer: Tokenizer):
    n = tokenizer.vocab_size
    controls = [tokenizer.eos_id, tokenizer.pad_id, tokenizer.im_start_id, tokenizer.im_end_id]
    assert controls == [n - 4, n - 3, n - 2, n - 1]
    ids = [tokenizer.im_start_id, *tokenizer.encode("河"), tokenizer.eos_id]
    assert tokenizer.decode(ids) == "河"
    assert tokenizer.decode(ids, show_control=True) == "<|im_start|>河<|endoftext|>"


def test_ids_outside_the_vocabulary_are_refused(tokenizer: Tokenizer):
    for token in (-1, tokenizer.vocab_size):
        with pytest.raises(TokenizerError, match=f"^{token} is not a token id"):
            tokenizer.decode([token])


def test_half_a_character_shows_as_the_replacement_character():
    tokenizer = Tokenizer.train(["ab"], SMALLEST_VOCAB)
    assert tokenizer.decode(tokenizer.encode("河")[:2]) == "�"
    assert tokenizer.decode_bytes(tokenizer.encode("河")[:2]) == "河".encode()[:2]


def test_bytes_per_token_weighs_all_text_together():
    tokenizer = Tokenizer.train(["aaaa"] * 2, SMALLEST_VOCAB + 2)  # learns aa, then aaaa
    assert len(tokenizer.encode("aaaa")) == 1
    assert tokenizer.bytes_per_token(["aaaa", "bbb"]) == 7 / 4  # aaaa is one token, each b is one


def test_the_vocabulary_is_no_larger_than_asked_and_smaller_where_the_text_is_used_up():
    assert Tokenizer.train(CORPUS, 300).vocab_size == 300
    assert Tokenizer.train(["abab"] * 2, 1000).vocab_size == SMALLEST_VOCAB + 2  # ab, abab
    assert Tokenizer.train([], 1000).vocab_size == SMALLEST_VOCAB
    with pytest.raises(TokenizerError, match="vocab_size is 259; it must be at least 260"):
        Tokenizer.train(CORPUS, 259)


def test_training_reads_no_more_than_its_budget():
    def endless():
        while True:
            yield "河边" * 10

    assert Tokenizer.train(endless(), 270, max_bytes=1000).vocab_size > SMALLEST_VOCAB


def test_training_twice_gives_the_same_tokenizer_and_other_text_another():
    first, second = (Tokenizer.train(CORPUS, 400) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint != Tokenizer.train(CORPUS[:3], 400).fingerprint
    assert first.fingerprint != Tokenizer.train(CORPUS, 400, "deepseek-v3").fingerprint


def test_a_saved_tokenizer_is_the_same_when_loaded(tokenizer: Tokenizer, tmp_path: Path):
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert (loaded.fingerprint, loaded.pattern) == (tokenizer.fingerprint, tokenizer.pattern)
    assert loaded.encode_batch(CORPUS) == tokenizer.encode_batch(CORPUS)


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="|")))
def test_the_written_file_gives_other_programs_equal_ids(tokenizer: Tokenizer, text: str):
    assert written(tokenizer).encode(text).ids == tokenizer.encode(text)


def test_other_programs_see_the_control_tokens(tokenizer: Tokenizer):
    other = written(tokenizer)
    expected = [tokenizer.im_start_id, *tokenizer.encode("user"), tokenizer.im_end_id]
    assert other.encode("<|im_start|>user<|im_end|>").ids == expected
    assert other.decode(expected) == "user"
    assert other.get_vocab_size() == tokenizer.vocab_size


def written(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """What another program reads from the directory."""
    return tokenizers.Tokenizer.from_str(tokenizer.to_json())


def test_digits_stand_alone_under_qwen2_and_han_apart_from_punctuation_under_deepseek():
    assert pieces_of("qwen2", "她有123，不，she's") == ["她有", "1", "2", "3", "，不", "，she", "'s"]
    assert pieces_of("deepseek-v3", "她有1234，不") == ["她有", "123", "4", "，", "不"]


def pieces_of(pattern: str, text: str) -> list[str]:
    splits = [pre_tokenizers.Split(tokenizers.Regex(regex), "isolated") for regex in PATTERNS[pattern]]
    return [piece for piece, _ in pre_tokenizers.Sequence(splits).pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree["added_tokens"].pop(1), "no token <|pad|>"),
        (lambda tree: tree["added_tokens"][1].update(id=tree["added_tokens"][0]["id"]), "control tokens are"),
        (lambda tree: tree["model"]["vocab"].update(zzz=10**6), "each once"),
        (lambda tree: tree["model"]["vocab"].update(a=0), "each once"),
        (lambda tree: tree.update(pre_tokenizer={"type": "Whitespace"}), "none of qwen2, deepseek-v3"),
        (lambda tree: tree.pop("model"), "not a byte-level BPE tokenizer"),
        (lambda tree: tree["model"].update(vocab=[0]), "not a byte-level BPE tokenizer"),
        (lambda tree: tree["model"]["merges"].append(["河", "边"]), "merge of '河' and '边' is not in"),
        (lambda tree: tree["model"]["merges"].pop(), "no merge makes the token"),
    ],
)
def test_a_file_that_is_no_tokenizer_of_ours_is_refused(tmp_path: Path, change, message: str):
    Tokenizer.train(CORPUS, 300).save(tmp_path)
    path = tmp_path / "tokenizer.json"
    tree = json.loads(path.read_text(encoding="utf-8"))
    change(tree)
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(TokenizerError, match=re.escape(message)) as caught:
        Tokenizer.load(tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(TokenizerError, match="not a byte-level BPE tokenizer"):
        Tokenizer.load(tmp_path)
