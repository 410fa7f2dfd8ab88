"""A model's own BPE over characters, as SentencePiece makes it: that of Llama 2 and Mistral.

Blanks are spelled ▁, characters without a token by the tokens of their bytes (Kudo and Richardson 2018), and
a text gets a blank before it. Where that blank is put differs: before every text, or only before one that
begins the conversation. The `tokenizers` library does what the file says; here a twin without control tokens
encodes, and another one without that blank what goes on from other text.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import tokenizers

from danlu.tokenizer.byte_level import N_BYTES, ByteLevelTokenizer, TokenizerError, check_text
from danlu.tokenizer.foreign import FILES, UNUSED, read_tree

Scheme = Literal["always", "first", "never"]  # a blank before: every text, the first of a conversation, none

SCHEMES: tuple[Scheme, ...] = ("always", "first", "never")
BLANK = "▁"
DECODING = ["Replace", "ByteFallback", "Fuse"]
BYTE = re.compile(r"<0x([0-9A-F]{2})>")
PREPENDED = {"type": "Prepend", "prepend": BLANK}
REPLACED = {"type": "Replace", "pattern": {"String": " "}, "content": BLANK}


class SentencePieceTokenizer(ByteLevelTokenizer):
    """Text ⇄ ids. Ordinary text never becomes a control token, whatever it looks like.

    Args:
        directory: holds `tokenizer.json`.
        begin, end, pad: the spellings of those control tokens; without `pad`, `end` pads too.
        vocab_size: rows of the model's embedding, where it has more than the tokenizer tokens; no such id is
            ever drawn.
    """

    def __init__(
        self,
        directory: Path,
        *,
        begin: str = "<s>",
        end: str = "</s>",
        pad: str | None = None,
        vocab_size: int | None = None,
    ) -> None:
        path = directory / "tokenizer.json"
        tree = read_tree(path)
        control, scheme = _check(path, tree), _scheme(path, tree)
        full, plain, inner = (
            _read(path, each) for each in (tree, _without_added(tree), _without_blank(tree))
        )
        spelled = full.get_vocab(with_added_tokens=True)
        n = len(spelled)
        if sorted(spelled.values()) != list(range(n)):
            raise TokenizerError(f"{path}: the ids are not 0 to {n - 1}, each once")
        unused = {UNUSED.format(i): i for i in range(n, vocab_size or n)}
        bytes_of = {i: _bytes(text) for text, i in spelled.items() if text not in control}
        super().__init__(full, plain, bytes_of, control | unused)
        self.vocab_size = n + len(unused)
        self.image_id = None
        self.begin_id, self.eos_id, self.pad_id = (
            self._named(path, text) for text in (begin, end, pad or end)
        )
        self.fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
        self._inner, self._directory = inner, directory
        self._scheme: Scheme = scheme
        self._strips = _strips(path, tree)

    def encode_after_control(self, text: str) -> list[int]:
        """Ids of a text that stands behind a control token; not every file puts a blank before it then."""
        return self.encode(text) if self._scheme == "always" else self.encode_continued(text)

    def encode_continued(self, text: str) -> list[int]:
        """Ids of a text that goes on from other text: no blank is put before it."""
        try:
            return self._inner.encode(text, add_special_tokens=False).ids
        except TypeError:
            check_text(text)
            raise

    def decode(self, ids: Iterable[int], *, show_control: bool = False) -> str:
        """The text that `encode` was given; ids that end inside a character show as �.

        One blank at the start is left out where the file says so: `encode` put it there.
        """
        ids = [i for i in ids if show_control or i not in self.control_ids]
        text = super().decode(ids, show_control=show_control)
        return text.removeprefix(" ") if self._strips and ids and ids[0] not in self.control_ids else text

    def save(self, directory: Path) -> None:
        """Write the files by which it is read again, as they came."""
        directory.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            if (self._directory / name).is_file():
                shutil.copyfile(self._directory / name, directory / name)

    def _named(self, path: Path, text: str) -> int:
        found = self.control_id(text)
        if found is None:
            raise TokenizerError(f"{path}: no control token {text}, which its chat format needs")
        return found


def is_sentencepiece(tree: Mapping[str, Any]) -> bool:
    """Whether a `tokenizer.json` is of this kind."""
    model: Any = tree.get("model")
    return isinstance(model, dict) and bool(model.get("byte_fallback"))


def _check(path: Path, tree: dict[str, Any]) -> dict[str, int]:
    """The control tokens by their spelling; TokenizerError for what cannot be followed."""
    try:
        model: dict[str, Any] = tree["model"]
        vocab: dict[str, int] = model["vocab"]
        merges = [_pair(each) for each in model["merges"]]
        special = [each for each in tree["added_tokens"] if each["special"]]
        added = {each["content"]: int(each["id"]) for each in special}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TokenizerError(f"{path}: not a BPE tokenizer ({error!r})") from error
    _check_model(path, model)
    if eager := [each["content"] for each in special if each.get("lstrip") or each.get("rstrip")]:
        raise TokenizerError(f"{path}: {eager[0]} takes the blanks beside it; that cannot be followed here")
    if absent := [i for i in range(N_BYTES) if f"<0x{i:02X}>" not in vocab]:
        raise TokenizerError(
            f"{path}: {len(absent)} of the 256 bytes have no token, such as <0x{absent[0]:02X}>"
        )
    # What no merge makes, no text becomes: a control token or the token of a byte must come from elsewhere.
    for left, right in merges:
        if left + right in added or BYTE.fullmatch(left + right):
            raise TokenizerError(f"{path}: a merge makes {left + right}, so a text could become that token")
    return added


def _check_model(path: Path, model: dict[str, Any]) -> None:
    """Refuse another kind of model, or one that cuts texts otherwise than by its merges."""
    if model.get("type", "BPE") != "BPE" or not model.get("byte_fallback"):
        raise TokenizerError(f"{path}: not a BPE of SentencePiece; its model must fall back to bytes")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
        if model.get(name):
            raise TokenizerError(f"{path}: its {name} is {model[name]!r}; that cannot be followed here")


def _pair(merge: Any) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _steps(part: Any, inside: str) -> list[dict[str, Any]]:
    """The steps of a normalizer or a pre-tokenizer, one after another."""
    if part is None:
        return []
    return list(part[inside]) if part["type"] == "Sequence" else [part]


def _scheme(path: Path, tree: dict[str, Any]) -> Scheme:
    """Which texts get a blank; TokenizerError if the file does something else to a text."""
    normal = _steps(tree.get("normalizer"), "normalizers")
    cut = _steps(tree.get("pre_tokenizer"), "pretokenizers")
    if not cut and normal == [PREPENDED, REPLACED]:
        return "always"
    if not cut and normal == [REPLACED]:
        return "never"
    spaced = cut[0] if len(cut) == 1 and not normal else {}
    scheme = spaced.get("prepend_scheme")
    found = (spaced.get("type"), spaced.get("replacement"), spaced.get("split"))
    if found == ("Metaspace", BLANK, False) and scheme in SCHEMES:
        return scheme
    raise TokenizerError(
        f"{path}: its normalizer is {normal} and its pre_tokenizer {cut}; known are those of Llama 2 and "
        f"Mistral, which spell a blank {BLANK} and put one before a text"
    )


def _strips(path: Path, tree: dict[str, Any]) -> bool:
    """Whether decoding leaves out a blank at the start; TokenizerError if it does more than that."""
    steps = _steps(tree.get("decoder"), "decoders")
    kinds = [each.get("type") for each in steps]
    if kinds not in (DECODING, [*DECODING, "Strip"]):
        raise TokenizerError(f"{path}: its decoder is {kinds}; expected {DECODING}, and 'Strip' or not")
    return kinds[-1] == "Strip"


def _without_added(tree: dict[str, Any]) -> dict[str, Any]:
    return {**tree, "added_tokens": [], "post_processor": None}


def _without_blank(tree: dict[str, Any]) -> dict[str, Any]:
    """A twin that puts nothing before a text."""
    twin = copy.deepcopy(_without_added(tree))
    if twin.get("normalizer"):
        twin["normalizer"] = REPLACED
    else:
        twin["pre_tokenizer"] |= {"prepend_scheme": "never"}
    return twin


def _read(path: Path, tree: dict[str, Any]) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(json.dumps({**tree, "truncation": None, "padding": None}))
    except Exception as error:  # the library raises nothing narrower
        raise TokenizerError(f"{path}: cannot be read ({error})") from error


def _bytes(spelling: str) -> bytes:
    byte = BYTE.fullmatch(spelling)
    return bytes([int(byte[1], 16)]) if byte else spelling.replace(BLANK, " ").encode()
