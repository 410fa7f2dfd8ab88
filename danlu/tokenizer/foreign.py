"""A model's own byte-level BPE, used as it lies in its directory: Llama 3's, Qwen's, Mistral's Tekken.

The `tokenizers` library does with a text what the file says (normalizer, expressions, merges), so that the
ids are those that the model learnt. What is changed is that a text cannot produce an added token.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import tokenizers

from danlu.tokenizer.byte_level import ByteLevelTokenizer, TokenizerError, token_bytes

FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
UNUSED = "<unused {}>"  # how an id is spelled that a model has a row for and its tokenizer no token


class ForeignTokenizer(ByteLevelTokenizer):
    """A byte-level BPE of somebody else.

    Added tokens that are marked special are control tokens. The others, such as Qwen 3's <think>, the model
    may write, and they read as text; a text that is given never becomes one either.

    Args:
        directory: holds `tokenizer.json`.
        begin, end, pad: the spellings of those control tokens.
        vocab_size: rows of the model's embedding, where it has more than the tokenizer tokens; no such id is
            ever drawn.
    """

    def __init__(
        self, directory: Path, *, begin: str, end: str, pad: str | None = None, vocab_size: int | None = None
    ) -> None:
        path = directory / "tokenizer.json"
        tree = read_tree(path)
        control, visible = _added(path, tree)
        own = control.keys() | visible.keys()
        try:
            vocab = {text: i for text, i in tree["model"]["vocab"].items() if text not in own}
            bytes_of = token_bytes(vocab) | {i: text.encode() for text, i in visible.items()}
            full, plain = _read(tree), _read(_without_added(tree, vocab))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise TokenizerError(f"{path}: not a byte-level BPE tokenizer ({error!r})") from error
        _check_parts(path, tree)
        n = full.get_vocab_size()
        if sorted([*bytes_of, *control.values()]) != list(range(n)):
            raise TokenizerError(f"{path}: the ids are not 0 to {n - 1}, each once")
        unused = {UNUSED.format(i): i for i in range(n, vocab_size or n)}
        super().__init__(full, plain, bytes_of, control | unused)
        self.vocab_size = n + len(unused)
        self.image_id = None
        self.begin_id, self.eos_id, self.pad_id = (
            self._named(path, text) for text in (begin, end, pad or end)
        )
        self.fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
        self._directory = directory
        self.split = _split(tree)

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


def read_tree(path: Path) -> dict[str, Any]:
    """A `tokenizer.json`."""
    try:
        tree: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TokenizerError(f"{path.parent}: holds no tokenizer.json; name a model directory") from None
    except ValueError as error:
        raise TokenizerError(f"{path}: is not JSON in UTF-8 ({error})") from None
    if not isinstance(tree, dict):
        raise TokenizerError(f"{path}: holds a {type(tree).__name__}; it must be a JSON object")
    return tree


def _added(path: Path, tree: dict[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    """Ids of the added tokens: control tokens, and those that read as text."""
    try:
        both = [(each["content"], each["id"], bool(each["special"])) for each in tree["added_tokens"]]
    except (KeyError, TypeError) as error:
        raise TokenizerError(f"{path}: its added tokens cannot be read ({error!r})") from error
    control = {text: i for text, i, special in both if special}
    return control, {text: i for text, i, special in both if not special}


def _without_added(tree: dict[str, Any], vocab: dict[str, int]) -> dict[str, Any]:
    model = {**tree["model"], "vocab": vocab}
    return {**tree, "model": model, "added_tokens": [], "post_processor": None}


def _read(tree: dict[str, Any]) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(json.dumps({**tree, "truncation": None, "padding": None}))
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(str(error)) from error


def _split(tree: dict[str, Any]) -> str | None:
    """The one expression by which a text is cut before its bytes are spelled; None if there are others."""
    steps: list[dict[str, Any]] = (tree.get("pre_tokenizer") or {}).get("pretokenizers") or []
    kinds = [step.get("type") for step in steps]
    return steps[0]["pattern"].get("Regex") if kinds == ["Split", "ByteLevel"] else None


def _check_parts(path: Path, tree: dict[str, Any]) -> None:
    """Refuse what would make one text several: encoding at random, or bytes that have no token."""
    model = tree["model"]
    if model.get("type", "BPE") != "BPE" or (tree.get("decoder") or {}).get("type") != "ByteLevel":
        raise TokenizerError(f"{path}: not a byte-level BPE tokenizer; its decoder must be ByteLevel")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(name):
            raise TokenizerError(f"{path}: its {name} is {model[name]!r}; that cannot be followed here")
