"""Byte-level BPE as such: text to ids and back, with control tokens that no text can produce.

Whose tokenizer it is, ours (`bpe.py`) or somebody else's as it lies in a directory (`foreign.py`), decides
what the two twins are that it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Literal

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers

Pattern = Literal["qwen2", "deepseek-v3", "gpt-2"]

N_BYTES = 256  # the vocabulary before any merge
BATCH = 1024  # texts encoded in one call, which bounds the memory of their encodings


class TokenizerError(ValueError):
    """A tokenizer file cannot be used, or a text or an id is none."""


class ByteLevelTokenizer:
    """Text ⇄ ids. Ordinary text never becomes a control token, whatever it looks like."""

    def __init__(
        self,
        full: tokenizers.Tokenizer,
        plain: tokenizers.Tokenizer,
        bytes_of: Mapping[int, bytes],
        control: Mapping[str, int],
    ) -> None:
        """Encoding goes through `plain`, which has no control tokens and so cannot match one."""
        self._full, self._plain, self._bytes = full, plain, bytes_of
        self._control = dict(control)
        self._control_text = {token: text.encode() for text, token in self._control.items()}
        self.control_ids = frozenset(self._control_text)
        self.vocab_size = full.get_vocab_size()

    def control_id(self, text: str) -> int | None:
        """The id of the control token that is spelled so; None if there is none."""
        return self._control.get(text)

    def to_json(self) -> str:
        """The content of `tokenizer.json`."""
        return self._full.to_str(pretty=True)

    def encode(self, text: str) -> list[int]:
        """Ids of a text; what looks like a control token in it is spelled out in ordinary tokens."""
        try:
            return self._plain.encode(text, add_special_tokens=False).ids
        except TypeError:
            check_text(text)
            raise

    # Pieces of text are alike here wherever they stand; those of SentencePiece are not.
    encode_after_control = encode
    encode_continued = encode

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """`encode` of each, on all cores unless TOKENIZERS_PARALLELISM is false."""
        rows: list[list[int]] = []
        for batch in _batches(texts):
            try:
                encodings = self._plain.encode_batch_fast(batch, add_special_tokens=False)
            except TypeError:
                for text in batch:
                    check_text(text)
                raise
            rows += [encoding.ids for encoding in encodings]
        return rows

    def decode(self, ids: Iterable[int], *, show_control: bool = False) -> str:
        """The text that `encode` was given; ids that end inside a character show as �.

        Args:
            show_control: spell control tokens out rather than leave them out.
        """
        return self.decode_bytes(ids, show_control=show_control).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int], *, show_control: bool = False) -> bytes:
        """UTF-8 of the ids. A token may hold half a character, so a stream is joined here first."""
        return b"".join(self._spell(each, show_control) for each in ids)

    def bytes_per_token(self, texts: Iterable[str]) -> float:
        """How much text a token holds, over all texts together."""
        n_bytes = n_tokens = 0
        for batch in _batches(texts):
            n_bytes += sum(len(text.encode()) for text in batch)
            n_tokens += sum(len(row) for row in self.encode_batch(batch))
        return n_bytes / max(1, n_tokens)

    def _spell(self, token: int, show_control: bool) -> bytes:
        spelled = self._bytes.get(token)
        if spelled is not None:
            return spelled
        if token not in self._control_text:
            raise TokenizerError(f"{token} is not a token id; this tokenizer has {self.vocab_size} tokens")
        return self._control_text[token] if show_control else b""


def assemble(vocab: dict[str, int], merges: list[tuple[str, str]], pattern: Pattern) -> tokenizers.Tokenizer:
    """A tokenizer of the library, without control tokens."""
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges))
    splits = [pre_tokenizers.Split(Regex(regex), behavior="isolated") for regex in PATTERNS[pattern]]
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, to_bytes])  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return tokenizer


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    stream = iter(texts)
    while batch := list(islice(stream, BATCH)):
        yield batch


def check_text(text: str) -> bytes:
    """UTF-8 of a text; TokenizerError if it is none."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"character {error.start} of a text is {text[error.start]!r}, half a surrogate pair; it is no "
            "Unicode text and has to be repaired or dropped"
        ) from error


def check_merges(path: Path, vocab: dict[str, int], merges: list[tuple[str, str]]) -> None:
    """Every byte has a token, and every other token is made of two that are there."""
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    if absent := alphabet - vocab.keys():
        raise TokenizerError(f"{path}: {len(absent)} of the 256 bytes have no token, such as {min(absent)!r}")
    for left, right in merges:
        if not {left, right, left + right} <= vocab.keys():
            raise TokenizerError(f"{path}: the merge of {left!r} and {right!r} is not in the vocabulary")
    made = alphabet | {left + right for left, right in merges}
    if strange := vocab.keys() - made:
        raise TokenizerError(f"{path}: no merge makes the token {min(strange)!r}")


def token_bytes(vocab: dict[str, int]) -> dict[int, bytes]:
    """The bytes of each id: the inverse of GPT-2's table, which spells each byte as a printable character."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    byte_of = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(N_BYTES) if byte not in printable]
    byte_of |= {chr(N_BYTES + i): byte for i, byte in enumerate(others)}
    return {token: bytes(byte_of[each] for each in spelling) for spelling, token in vocab.items()}


# How text is cut before merging; the names are those by which llama.cpp knows the rules.
PATTERNS: dict[Pattern, tuple[str, ...]] = {
    # Digits one by one; a run of letters, Han included, is one piece.
    "qwen2": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    # Digits by threes; Han and kana apart, so that no token joins punctuation to a word of Chinese.
    "deepseek-v3": (
        r"\p{N}{1,3}",
        "[一-龥\u3040-ゟ゠-ヿ]+",
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
        r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
    ),
    # Radford et al. 2019; here for weights that were trained with it.
    "gpt-2": (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",),
}
