"""Tokenizers in the form in which open weights are published, in miniature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers

from danlu.tokenizer.bpe import PATTERNS

QWEN_CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>"]


def trained(texts: list[str], pre_tokenizer: Any, control: list[str]) -> tokenizers.Tokenizer:
    theirs = tokenizers.Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizer
    theirs.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    theirs.train_from_iterator(texts, trainer)
    theirs.add_special_tokens([AddedToken(text, special=True) for text in control])
    return theirs


def as_qwen(texts: list[str], folder: Path) -> tokenizers.Tokenizer:
    """As Qwen 2 to 3 are published: NFC, a Split, ByteLevel without an expression of its own."""
    split = pre_tokenizers.Split(Regex(PATTERNS["qwen2"][0]), behavior="isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    theirs = trained(texts, pre_tokenizers.Sequence([split, to_bytes]), QWEN_CONTROL)
    theirs.normalizer = normalizers.NFC()
    theirs.save(str(folder / "tokenizer.json"))
    return theirs


def as_gpt2(texts: list[str], folder: Path) -> tokenizers.Tokenizer:
    """As GPT-2 is published: ByteLevel cuts by itself, and merges may be written as one string."""
    theirs = trained(texts, pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"])
    tree = json.loads(theirs.to_str())
    tree["model"]["merges"] = [" ".join(pair) for pair in tree["model"]["merges"]]
    (folder / "tokenizer.json").write_text(json.dumps(tree), encoding="utf-8")
    return theirs
