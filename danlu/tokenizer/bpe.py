"""Byte-level BPE: text to ids and back, exactly, with control tokens that no text can produce.

Training and encoding are done by the `tokenizers` library; the directory that `save` writes is what
transformers, vLLM and llama.cpp's converter read.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from danlu.tokenizer.chatml import (
    CONTROL_TOKENS,
    END_OF_TEXT,
    IM_END,
    IM_START,
    IMAGE,
    PAD,
    SEEING_TEMPLATE,
    TEMPLATE,
)
from danlu.tokenizer.merging import further_merges

Pattern = Literal["qwen2", "deepseek-v3", "gpt-2"]

N_BYTES = 256  # the vocabulary before any merge
SMALLEST_VOCAB = N_BYTES + len(CONTROL_TOKENS)
BATCH = 1024  # texts encoded in one call, which bounds the memory of their encodings


class TokenizerError(ValueError):
    """A tokenizer file cannot be used, or a text or an id is none."""


class Tokenizer:
    """Text ⇄ ids. Ordinary text never becomes a control token, whatever it looks like.

    The ids of the control tokens follow the vocabulary. In one that was extended later they stay where they
    were, and the new tokens follow them; one that was adopted (`adopted.py`) may have more control tokens.
    """

    def __init__(
        self,
        vocab: dict[str, int],
        merges: list[tuple[str, str]],
        pattern: Pattern,
        control: Mapping[str, int] | None = None,
    ) -> None:
        usual = {text: len(vocab) + i for i, text in enumerate(CONTROL_TOKENS)}
        self.pattern: Pattern = pattern
        self._vocab, self._merges, self._control = vocab, merges, dict(control or usual)
        # Tokens that are added take the next free id, unless the vocabulary itself has one for them.
        inside = {} if self._control == usual else self._control
        self._full = _assemble(vocab | inside, merges, pattern)
        # Encoding goes through a twin that has no control tokens and so cannot match one.
        self._plain = _assemble(vocab, merges, pattern)
        self._full.add_special_tokens([AddedToken(text, special=True) for text in self._control])
        self.vocab_size = self._full.get_vocab_size()
        self._bytes = _token_bytes(vocab)
        self.fingerprint = _fingerprint(vocab, merges, pattern, inside)
        self.eos_id, self.pad_id, self.im_start_id, self.im_end_id = (
            self._control[text] for text in (END_OF_TEXT, PAD, IM_START, IM_END)
        )
        self.image_id = self._control.get(IMAGE)  # None: texts only
        self._control_text = {token: text.encode() for text, token in self._control.items()}
        self.control_ids = frozenset(self._control_text)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        pattern: Pattern = "qwen2",
        *,
        max_bytes: int | None = None,
        min_count: int = 2,
    ) -> Self:
        """Learn merges from texts; the same texts in the same order give the same tokenizer.

        The vocabulary comes out smaller than asked when no pair is left that occurs `min_count` times.

        Args:
            vocab_size: control tokens included.
            max_bytes: read no more text than this; memory grows with the distinct words in it.
        """
        if vocab_size < SMALLEST_VOCAB:
            raise TokenizerError(f"vocab_size is {vocab_size}; it must be at least {SMALLEST_VOCAB}")
        learner = _assemble({}, [], pattern)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - len(CONTROL_TOKENS),
            min_frequency=min_count,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        learner.train_from_iterator(_budget(texts, max_bytes), trainer)
        model: dict[str, Any] = json.loads(learner.to_str())["model"]
        return cls(model["vocab"], [(left, right) for left, right in model["merges"]], pattern)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read the `tokenizer.json` that `save` wrote."""
        path = directory / "tokenizer.json"
        try:
            tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            vocab: dict[str, int] = dict(tree["model"]["vocab"])
            merges = [(left, right) for left, right in tree["model"]["merges"]]
            added = {token["content"]: token["id"] for token in tree["added_tokens"]}
            pre_tokenizer: Any = tree["pre_tokenizer"]
            normalizer: Any = tree["normalizer"]
        except (ValueError, KeyError, TypeError) as error:
            raise TokenizerError(f"{path}: not a byte-level BPE tokenizer ({error!r})") from error
        vocab = {text: token for text, token in vocab.items() if added.get(text) != token}
        if normalizer is not None:
            raise TokenizerError(f"{path}: its normalizer changes texts; one of ours has none")
        _check_ids(path, vocab, added)
        check_merges(path, vocab, merges)
        return cls(vocab, merges, _recognise(path, pre_tokenizer), added)

    def extended(
        self, texts: Iterable[str], n_new: int, *, max_bytes: int | None = None, min_count: int = 2
    ) -> Self:
        """This vocabulary and up to `n_new` further tokens, learnt from texts; every id keeps its meaning.

        New merges come after the known ones: a text is first cut as before, and then its tokens are joined.

        Args:
            max_bytes: read no more text than this.
            min_count: how often two tokens must stand side by side to be joined.
        """
        splitter: Any = self._plain.pre_tokenizer
        pieces: Counter[str] = Counter()
        for text in _budget(texts, max_bytes):
            pieces.update(piece for piece, _ in splitter.pre_tokenize_str(text))
        words = {tuple(self._cut(piece)): count for piece, count in pieces.items()}
        merges = further_merges(words, self._vocab, n_new, min_count)
        new = {left + right: self.vocab_size + i for i, (left, right) in enumerate(merges)}
        return type(self)(self._vocab | new, [*self._merges, *merges], self.pattern, self._control)

    def with_images(self) -> Self:
        """This vocabulary and, as its last token, the marker of pictures; every id keeps its meaning."""
        if self.image_id is not None:
            raise TokenizerError(f"the tokenizer has a marker of pictures already, token {self.image_id}")
        return type(self)(self._vocab, self._merges, self.pattern, {**self._control, IMAGE: self.vocab_size})

    def parts(self, extended: Self) -> list[list[int]]:
        """Of each token that an extension of this tokenizer added, by id, the ids here that make it up."""
        new = sorted(extended._vocab.keys() - self._vocab.keys(), key=extended._vocab.__getitem__)
        return [[self._vocab[part] for part in self._cut(spelling)] for spelling in new]

    def _cut(self, spelling: str) -> list[str]:
        """The tokens of a piece of text that is spelled in characters for its bytes."""
        model: Any = self._plain.model
        return [token.value for token in model.tokenize(spelling)]

    def save(self, directory: Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "tokenizer.json").write_text(self.to_json(), encoding="utf-8")
        sees = self.image_id is not None
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END_OF_TEXT,
            "pad_token": PAD,
            "additional_special_tokens": [IM_START, IM_END, *([IMAGE] if sees else [])],
            "clean_up_tokenization_spaces": False,
            "chat_template": SEEING_TEMPLATE if sees else TEMPLATE,
        }
        text = json.dumps(config, ensure_ascii=False, indent=2) + "\n"
        (directory / "tokenizer_config.json").write_text(text, encoding="utf-8")

    def to_json(self) -> str:
        """The content of `tokenizer.json`."""
        return self._full.to_str(pretty=True)

    def encode(self, text: str) -> list[int]:
        """Ids of a text; what looks like a control token in it is spelled out in ordinary tokens."""
        try:
            return self._plain.encode(text, add_special_tokens=False).ids
        except TypeError:
            _check_text(text)
            raise

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """`encode` of each, on all cores unless TOKENIZERS_PARALLELISM is false."""
        rows: list[list[int]] = []
        for batch in _batches(texts):
            try:
                encodings = self._plain.encode_batch_fast(batch, add_special_tokens=False)
            except TypeError:
                for text in batch:
                    _check_text(text)
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


def _assemble(vocab: dict[str, int], merges: list[tuple[str, str]], pattern: Pattern) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges))
    splits = [pre_tokenizers.Split(Regex(regex), behavior="isolated") for regex in PATTERNS[pattern]]
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, to_bytes])  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return tokenizer


def _budget(texts: Iterable[str], max_bytes: int | None) -> Iterator[str]:
    n_bytes = 0
    for text in texts:
        n_bytes += len(_check_text(text))
        if max_bytes is not None and n_bytes > max_bytes:
            return
        yield text


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    stream = iter(texts)
    while batch := list(islice(stream, BATCH)):
        yield batch


def _check_text(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"character {error.start} of a text is {text[error.start]!r}, half a surrogate pair; it is no "
            "Unicode text and has to be repaired or dropped"
        ) from error


def _check_ids(path: Path, vocab: dict[str, int], added: dict[str, int]) -> None:
    """The rest counts on ids without a gap, each with one meaning."""
    missing = [text for text in CONTROL_TOKENS if text not in added]
    if missing:
        raise TokenizerError(f"{path}: no token {missing[0]}; this is not a tokenizer of ours")
    if len({*added.values()} - {*vocab.values()}) < len(added):
        raise TokenizerError(f"{path}: control tokens are {added}; each must have an id of its own")
    taken = sorted([*vocab.values(), *added.values()])
    if taken != list(range(len(taken))):
        gap = next(i for i, token in enumerate(taken) if i != token)
        raise TokenizerError(f"{path}: the ids are not 0 to {len(taken) - 1}, each once; id {gap} is wrong")


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


def _recognise(path: Path, pre_tokenizer: Any) -> Pattern:
    """The name of the pattern a file was trained with: another one would give other ids."""
    for pattern in PATTERNS:
        if json.loads(_assemble({}, [], pattern).to_str())["pre_tokenizer"] == pre_tokenizer:
            return pattern
    raise TokenizerError(f"{path}: its pre_tokenizer is none of {', '.join(PATTERNS)}")


def _token_bytes(vocab: dict[str, int]) -> dict[int, bytes]:
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


def _fingerprint(
    vocab: dict[str, int], merges: Sequence[tuple[str, str]], pattern: Pattern, control: dict[str, int]
) -> str:
    """A digest of all that decides about ids; `control` only where its ids are not the usual ones."""
    content = json.dumps(
        [sorted(vocab.items()), merges, PATTERNS[pattern], sorted(control.items()) or CONTROL_TOKENS]
    )
    return hashlib.sha256(content.encode()).hexdigest()


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
