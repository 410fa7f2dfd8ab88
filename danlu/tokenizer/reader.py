"""Texts as a classifier reads them: tokens that open, part and close an input, and where each lies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import tokenizers

from danlu.tokenizer.bpe import Tokenizer, TokenizerError
from danlu.tokenizer.chatml import CONTROL_TOKENS

Span = tuple[int, int]  # of characters, the end not included
BERT_TOKENS = {"start": "[CLS]", "delimiter": "[SEP]", "end": "[SEP]", "mask": "[MASK]", "pad": "[PAD]"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Control tokens of an input: GPT-1's start, delimiter and extract, or BERT's [CLS], [SEP] and [SEP]."""

    start: int
    delimiter: int
    end: int  # where a decoder's answer is read
    mask: int
    pad: int


class TextReader(Protocol):
    """A tokenizer, whoever made it."""

    marks: Marks
    vocab_size: int

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text; nothing in a text becomes a control token."""
        ...

    def encode_with_spans(self, text: str) -> tuple[list[int], list[Span]]:
        """Ids, and the characters that each stands for, whole characters only."""
        ...

    def save(self, directory: Path) -> None:
        """Write the files by which it is read again."""
        ...


class BpeReader:
    """Our own tokenizer. Its control tokens serve: a text starts after <|endoftext|>, as in pretraining.

    A decoder's delimiter is <|im_start|> and its extract token <|im_end|>, which pretraining never meets, as
    GPT-1's were new. An encoder's [SEP] is <|im_end|> and its [MASK] <|im_start|>.
    """

    def __init__(self, tokenizer: Tokenizer, *, both_ways: bool) -> None:
        self.tokenizer, self.vocab_size = tokenizer, tokenizer.vocab_size
        self.marks = Marks(
            start=tokenizer.eos_id,
            delimiter=tokenizer.im_end_id if both_ways else tokenizer.im_start_id,
            end=tokenizer.im_end_id,
            mask=tokenizer.im_start_id,
            pad=tokenizer.pad_id,
        )

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer.encode_batch(texts)

    def encode_with_spans(self, text: str) -> tuple[list[int], list[Span]]:
        ids = self.tokenizer.encode(text)
        character = [i for i, each in enumerate(text) for _ in each.encode()]  # of each byte
        spans: list[Span] = []
        at = 0
        for token in ids:
            size = len(self.tokenizer.decode_bytes([token]))
            spans.append((character[at], character[at + size - 1] + 1))
            at += size
        return ids, spans

    def save(self, directory: Path) -> None:
        self.tokenizer.save(directory)


class BertReader:
    """The tokenizer that lies beside BERT's weights, of whatever kind `tokenizers` knows."""

    FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        tree = read_tokenizer(directory)
        full = tokenizers.Tokenizer.from_str(json.dumps(tree))
        known = full.get_vocab(with_added_tokens=True)
        if missing := sorted(set(BERT_TOKENS.values()) - known.keys()):
            raise TokenizerError(f"{directory}: its tokenizer has no {', '.join(missing)}, which BERT needs")
        self.marks = Marks(**{name: known[token] for name, token in BERT_TOKENS.items()})
        self.vocab_size = full.get_vocab_size()
        # Encoding goes through a twin that has no control tokens and so cannot match one.
        plain = {**tree, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        self._plain = tokenizers.Tokenizer.from_str(json.dumps(plain))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [found.ids for found in self._plain.encode_batch([*texts], add_special_tokens=False)]

    def encode_with_spans(self, text: str) -> tuple[list[int], list[Span]]:
        found = self._plain.encode(text, add_special_tokens=False)
        return found.ids, found.offsets

    def save(self, directory: Path) -> None:
        for name in self.FILES:
            if (self.directory / name).is_file():
                shutil.copyfile(self.directory / name, directory / name)


def open_reader(directory: Path, *, both_ways: bool) -> TextReader:
    """The tokenizer of a model directory; `both_ways` says that the model is an encoder."""
    tree = read_tokenizer(directory)
    names = {str(token.get("content")) for token in tree.get("added_tokens") or []}
    if set(CONTROL_TOKENS) <= names:
        return BpeReader(Tokenizer.load(directory), both_ways=both_ways)
    if not both_ways:
        raise TokenizerError(
            f"{directory / 'tokenizer.json'}: lacks our control tokens {', '.join(CONTROL_TOKENS)}; "
            "a decoder is fine-tuned with a tokenizer of `danlu tokenizer`, only BERT with its own"
        )
    return BertReader(directory)


def read_tokenizer(directory: Path) -> dict[str, Any]:
    """The tree of `tokenizer.json`, or of the one that BERT's `vocab.txt` amounts to."""
    path, vocab = directory / "tokenizer.json", directory / "vocab.txt"
    if not path.is_file() and vocab.is_file():
        config = directory / "tokenizer_config.json"
        told: dict[str, Any] = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        lower = bool(told.get("do_lower_case", True))
        made = tokenizers.BertWordPieceTokenizer(str(vocab), lowercase=lower)
        return json.loads(made.to_str())
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TokenizerError(f"{directory}: holds no tokenizer.json; name a model directory") from None
    except ValueError as error:
        raise TokenizerError(f"{path}: is not JSON ({error})") from None
    if not isinstance(tree, dict):
        raise TokenizerError(f"{path}: holds a {type(tree).__name__}; it must be a JSON object")
    return tree
