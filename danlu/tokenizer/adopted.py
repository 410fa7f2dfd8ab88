"""Somebody else's byte-level BPE as a tokenizer of ours: the same ids for a text, our control tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.tokenizer.bpe import PATTERNS, Pattern, Tokenizer, TokenizerError, check_merges
from danlu.tokenizer.chatml import CONTROL_TOKENS


@dataclass(frozen=True, slots=True)
class Adopted:
    """A tokenizer and how many of its ids the model that came with it has learnt."""

    tokenizer: Tokenizer
    n_known: int  # ids from here on are control tokens of ours that it did not have


def adopt(directory: Path) -> Adopted:
    """Read a `tokenizer.json` of ours, or one of GPT-2's or Qwen 2's kind.

    Every id keeps its meaning. Control tokens of ours that are missing follow the last id; any others stay
    control tokens, which no text can produce. What a normalizer would do to a text is left out.
    """
    path = directory / "tokenizer.json"
    try:
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        model: dict[str, Any] = tree["model"]
        added: dict[str, int] = {token["content"]: token["id"] for token in tree["added_tokens"]}
        vocab: dict[str, int] = {text: i for text, i in model["vocab"].items() if text not in added}
        merges = [_pair(each) for each in model["merges"]]
        splits = _splits(tree["pre_tokenizer"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TokenizerError(f"{path}: not a byte-level BPE tokenizer ({error!r})") from error
    _check_model(path, model)
    taken = sorted([*vocab.values(), *added.values()])
    if taken != list(range(len(taken))):
        raise TokenizerError(f"{path}: the ids are not 0 to {len(taken) - 1}, each once")
    check_merges(path, vocab, merges)
    missing = [text for text in CONTROL_TOKENS if text not in added]
    control = added | {text: len(taken) + i for i, text in enumerate(missing)}
    return Adopted(Tokenizer(vocab, merges, _recognise(path, splits), control), len(taken))


def _pair(merge: Any) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _splits(pre_tokenizer: dict[str, Any]) -> tuple[str, ...]:
    """The expressions by which a text is cut before its bytes are spelled."""
    steps: list[dict[str, Any]] = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    *cuts, last = steps
    if last["type"] != "ByteLevel" or last["add_prefix_space"]:
        raise ValueError("its last step is not ByteLevel without a blank put before the text")
    if any(cut["type"] != "Split" or cut["behavior"] != "Isolated" or cut["invert"] for cut in cuts):
        raise ValueError("it cuts texts otherwise than by expressions")
    own = PATTERNS["gpt-2"] if last.get("use_regex", True) else ()
    return (*(cut["pattern"]["Regex"] for cut in cuts), *own)


def _check_model(path: Path, model: dict[str, Any]) -> None:
    """What our encoding would do otherwise must be off."""
    for name in (
        *("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"),
        *("byte_fallback", "ignore_merges"),
    ):
        if model.get(name):
            raise TokenizerError(f"{path}: its {name} is {model[name]!r}; that cannot be followed here")


def _recognise(path: Path, splits: tuple[str, ...]) -> Pattern:
    for pattern, expressions in PATTERNS.items():
        if splits == expressions:
            return pattern
    raise TokenizerError(f"{path}: it cuts texts by {splits}; known are those of {', '.join(PATTERNS)}")
