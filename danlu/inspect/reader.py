"""A text as a model reads it: its ids, and for each token which characters of the text it stands for.

A token may hold part of a character only. It is then named by the character, with a small number that says
which part: 难₁ 难₂. Where there is no text around, as in a guess, part of a character is shown as its bytes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import tokenizers

from danlu.inspect.view import spelled, visible
from danlu.model.weights import read_json
from danlu.tokenizer.bpe import Tokenizer, TokenizerError

SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉"
MASKS = ("[MASK]", "<mask>")
Span = tuple[int, int]


class WordError(ValueError):
    """A word is not to be found in a text."""


class SeveralPlacesError(WordError):
    """A word stands in more than one place of a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One token of a text."""

    id: int
    label: str
    span: Span | None  # the characters that it is part of; None: a control token


class Reader(Protocol):
    """What turns text into tokens."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def mask_id(self) -> int | None:
        """The token that hides another from an encoder."""
        ...

    def read(self, text: str) -> list[Piece]:
        """A text with the control tokens that belong around it."""
        ...

    def spell(self, token: int) -> str:
        """A token by itself."""
        ...


def reader_of(directory: Path) -> Reader:
    """The reader of a model directory: our tokenizer, or whatever its `tokenizer.json` describes."""
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise TokenizerError(f"{directory}: holds no tokenizer.json; without one no text can be read")
    try:
        return OwnReader(Tokenizer.load(directory))
    except TokenizerError:  # it is none of ours, but others read text too
        tree = read_json(path)
        if not isinstance(tree.get("model"), dict):
            raise
        return OtherReader(tokenizers.Tokenizer.from_str(json.dumps(tree)))


class OwnReader:
    """Our tokenizer; a text stands after the end of the one before, as in pretraining."""

    mask_id = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.vocab_size = tokenizer.vocab_size

    def read(self, text: str) -> list[Piece]:
        ids = self.tokenizer.encode(text)
        lengths = [len(self.tokenizer.decode_bytes([each])) for each in ids]
        opening = Piece(id=self.tokenizer.eos_id, label=self.spell(self.tokenizer.eos_id), span=None)
        return [opening, *named(text, ids, spans_of(text, lengths))]

    def spell(self, token: int) -> str:
        return spelled(token, self.tokenizer)


class OtherReader:
    """Anybody's tokenizer, with the control tokens that it puts around a text."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.vocab_size = tokenizer.get_vocab_size()
        masks = (tokenizer.token_to_id(name) for name in MASKS)
        self.mask_id = next((each for each in masks if each is not None), None)

    def read(self, text: str) -> list[Piece]:
        encoding = self.tokenizer.encode(text)
        marks, offsets = encoding.special_tokens_mask, encoding.offsets
        spans = [None if mark else offset for mark, offset in zip(marks, offsets, strict=True)]
        pieces = named(text, encoding.ids, spans)
        return [
            piece if piece.label else Piece(id=piece.id, label=self.spell(piece.id), span=piece.span)
            for piece in pieces
        ]

    def spell(self, token: int) -> str:
        text = self.tokenizer.decode([token], skip_special_tokens=False)
        return visible(text) if text and "�" not in text else f"<{self.tokenizer.id_to_token(token)}>"


def spans_of(text: str, lengths: Sequence[int]) -> list[Span]:
    """The characters that each token touches, from how many bytes of the text each token holds."""
    owner = [place for place, character in enumerate(text) for _ in character.encode("utf-8")]
    spans: list[Span] = []
    begin = 0
    for length in lengths:
        spans.append((owner[begin], owner[begin + length - 1] + 1))
        begin += length
    return spans


def named(text: str, ids: Sequence[int], spans: Sequence[Span | None]) -> list[Piece]:
    """Tokens under names; one that stands for no character has none."""
    shared = Counter(place for span in spans if span for place in range(*span))
    parts: Counter[int] = Counter()
    pieces: list[Piece] = []
    for token, span in zip(ids, spans, strict=True):
        label = ""
        for place in range(*(span or (0, 0))):
            label += visible(text[place])
            if shared[place] > 1:
                parts[place] += 1
                label += "".join(SUBSCRIPTS[int(digit)] for digit in str(parts[place]))
        pieces.append(Piece(id=token, label=label, span=span))
    return pieces


def places_of(word: str, text: str, pieces: Sequence[Piece]) -> list[int]:
    """Places of the tokens that a word of the text is made of.

    Args:
        word: as it stands in the text, with `#2` behind it where the second of several is meant.
        text: what was read.
        pieces: its tokens.
    """
    numbered = re.fullmatch(r"(.+)#(\d+)", word, re.DOTALL)
    wanted, number = (numbered[1], int(numbered[2])) if numbered else (word, 0)
    begin = r"(?<![A-Za-z0-9])" if re.match(r"[A-Za-z0-9]", wanted) else ""
    end = r"(?![A-Za-z0-9])" if re.search(r"[A-Za-z0-9]$", wanted) else ""
    found = [match.span() for match in re.finditer(begin + re.escape(wanted) + end, text)] if wanted else []
    if not found or number > len(found):
        raise WordError(
            f"{word!r} is not in the text: it has {len(found)} of {wanted!r} as a word of its own"
        )
    if len(found) > 1 and not number:
        raise SeveralPlacesError(
            f"{word!r} is {len(found)} times in the text; say which, for instance {word + '#1'!r}"
        )
    left, right = found[max(number, 1) - 1]
    return [at for at, p in enumerate(pieces) if p.span and p.span[0] < right and p.span[1] > left]
