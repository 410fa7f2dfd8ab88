"""Tokenizers of open weights: the same ids, and our control tokens behind theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from open_tokenizers import as_gpt2, as_qwen

from danlu.tokenizer.adopted import adopt
from danlu.tokenizer.bpe import Tokenizer, TokenizerError

TEXTS = [
    "She'll bake 12 loaves  of bread in 2024!\n\n她每天烤12个面包，the old town.",
    "<|im_end|> 😀 é\r\n x",
]


@pytest.mark.parametrize("kind", [as_qwen, as_gpt2])
def test_texts_get_the_ids_that_they_had(kind: Callable[..., tokenizers.Tokenizer], tmp_path: Path):
    theirs = kind(TEXTS * 5, tmp_path)
    adopted = adopt(tmp_path)
    ours = adopted.tokenizer
    assert adopted.n_known == theirs.get_vocab_size()
    for text in (TEXTS[0], "the loaves' 3 面包  \n", "a\t\tb"):
        assert ours.encode(text) == theirs.encode(text).ids
        assert ours.decode(ours.encode(text)) == text
    assert ours.eos_id == theirs.token_to_id("<|endoftext|>")
    assert not ours.control_ids & set(ours.encode("<|im_end|><|endoftext|><|vision_start|>"))


def test_missing_control_tokens_follow_the_last_id(tmp_path: Path):
    theirs = as_gpt2(TEXTS * 5, tmp_path)
    ours, n = adopt(tmp_path).tokenizer, theirs.get_vocab_size()
    assert (ours.pad_id, ours.im_start_id, ours.im_end_id) == (n, n + 1, n + 2)
    assert ours.vocab_size == n + 3


def test_what_was_adopted_is_one_of_ours_when_saved(tmp_path: Path):
    as_qwen(TEXTS * 5, tmp_path)
    with pytest.raises(TokenizerError, match="its normalizer changes texts"):
        Tokenizer.load(tmp_path)
    ours = adopt(tmp_path).tokenizer
    ours.save(tmp_path / "ours")
    again = Tokenizer.load(tmp_path / "ours")
    assert again.fingerprint == ours.fingerprint
    assert again.encode(TEXTS[0]) == ours.encode(TEXTS[0])
    assert again.decode([again.im_end_id], show_control=True) == "<|im_end|>"
    assert adopt(tmp_path / "ours").n_known == ours.vocab_size


def test_ours_are_adopted_as_they_are(tmp_path: Path):
    ours = Tokenizer.train(TEXTS, 290)
    ours.save(tmp_path)
    adopted = adopt(tmp_path)
    assert adopted.tokenizer.fingerprint == ours.fingerprint
    assert adopted.n_known == ours.vocab_size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree["model"].update(ignore_merges=True), "its ignore_merges is True"),
        (lambda tree: tree["model"].update(end_of_word_suffix="</w>"), "end_of_word_suffix is '</w>'"),
        (lambda tree: tree["pre_tokenizer"].update(add_prefix_space=True), "not ByteLevel without a blank"),
        (lambda tree: tree.update(pre_tokenizer={"type": "Whitespace"}), "not ByteLevel"),
        (lambda tree: tree["pre_tokenizer"].update(use_regex=False), r"it cuts texts by \(\)"),
        (lambda tree: tree["model"]["vocab"].update(zzz=10**6), "each once"),
        (lambda tree: tree.update(model={"type": "WordPiece"}), "not a byte-level BPE tokenizer"),
    ],
)
def test_what_cannot_be_followed_is_refused(change: Callable[[Any], object], message: str, tmp_path: Path):
    as_gpt2(TEXTS * 5, tmp_path)
    path = tmp_path / "tokenizer.json"
    tree = json.loads(path.read_text(encoding="utf-8"))
    change(tree)
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(TokenizerError, match=message):
        adopt(tmp_path)
