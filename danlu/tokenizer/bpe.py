"""Byte-level BPE: text to ids and back, exactly, with control tokens that no text can produce.

Training and encoding are done by the `tokenizers` library; the directory that `save` writes is what
transformers, vLLM and llama.cpp's converter read.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tokenizers import AddedToken, pre_tokenizers, trainers

from danlu.tokenizer.byte_level import (
    N_BYTES,
    PATTERNS,
    ByteLevelTokenizer,
    Pattern,
    TokenizerError,
    assemble,
    check_merges,
    check_text,
    token_bytes,
)
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

SMALLEST_VOCAB = N_BYTES + len(CONTROL_TOKENS)


class Tokenizer(ByteLevelTokenizer):
    """One of ours: byte-level BPE with the control tokens of ChatML.

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
        self._vocab, self._merges = vocab, merges
        control = dict(control or usual)
        # Tokens that are added take the next free id, unless the vocabulary itself has one for them.
        inside = {} if control == usual else control
        full, plain = assemble(vocab | inside, merges, pattern), assemble(vocab, merges, pattern)
        full.add_special_tokens([AddedToken(text, special=True) for text in control])
        super().__init__(full, plain, token_bytes(vocab), control)
        self.fingerprint = _fingerprint(vocab, merges, pattern, inside)
        self.eos_id, self.pad_id, self.im_start_id, self.im_end_id = (
            control[text] for text in (END_OF_TEXT, PAD, IM_START, IM_END)
        )
        self.begin_id = self.eos_id  # a text starts where another has ended
        self.image_id = control.get(IMAGE)  # None: texts only

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
        learner = assemble({}, [], pattern)
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


def _budget(texts: Iterable[str], max_bytes: int | None) -> Iterator[str]:
    n_bytes = 0
    for text in texts:
        n_bytes += len(check_text(text))
        if max_bytes is not None and n_bytes > max_bytes:
            return
        yield text


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


def _recognise(path: Path, pre_tokenizer: Any) -> Pattern:
    """The name of the pattern a file was trained with: another one would give other ids."""
    for pattern in PATTERNS:
        if json.loads(assemble({}, [], pattern).to_str())["pre_tokenizer"] == pre_tokenizer:
            return pattern
    raise TokenizerError(f"{path}: its pre_tokenizer is none of {', '.join(PATTERNS)}")


def _fingerprint(
    vocab: dict[str, int], merges: Sequence[tuple[str, str]], pattern: Pattern, control: dict[str, int]
) -> str:
    """A digest of all that decides about ids; `control` only where its ids are not the usual ones."""
    content = json.dumps(
        [sorted(vocab.items()), merges, PATTERNS[pattern], sorted(control.items()) or CONTROL_TOKENS]
    )
    return hashlib.sha256(content.encode()).hexdigest()
