"""Whose chat format a model directory was made for, by the template that lies in it.

A template is a program; none is run here. Formats are coded: ours, and those of Qwen, Llama and Mistral as
their models learnt them. A model that learnt another would not understand any of these.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.byte_level import TokenizerError
from danlu.tokenizer.chat import ChatError, ChatFormat, Sight
from danlu.tokenizer.chatml import CONTROL_TOKENS, END_OF_TEXT, IM_START
from danlu.tokenizer.foreign import ForeignTokenizer, read_tree
from danlu.tokenizer.instructions import BEGIN as SEQUENCE_BEGINS
from danlu.tokenizer.instructions import END as SEQUENCE_ENDS
from danlu.tokenizer.instructions import Llama2Format, MistralFormat
from danlu.tokenizer.interface import AnyChatFormat, TextTokenizer
from danlu.tokenizer.llama3 import BEGIN, END, Llama3Format
from danlu.tokenizer.qwen import QwenFormat
from danlu.tokenizer.sentencepiece_bpe import SentencePieceTokenizer, is_sentencepiece

SPOKEN = "ChatML (Danlu; Qwen 2 to 3), Llama 2, Llama 3 to 3.3, Mistral with [INST]"
IM_SEP = "<|im_sep|>"  # Phi 4 parts a role from its words with it
FOREIGN = {  # by what only their templates hold; the first that fits counts
    IM_SEP: "Phi 4",
    IM_START: "Qwen",
    "<|start_header_id|>": "Llama 3",
    "<<SYS>>": "Llama 2",
    "[SYSTEM_PROMPT]": "Mistral Small 3 or later",
    "[INST]": "Mistral",
    "<start_of_turn>": "Gemma",
}


_ADVICE = (
    "begin with a model that a stage wrote, or have `danlu pretrain base=DIR` adopt one with Qwen's tokenizer"
)


def open_chat_format(directory: Path, sight: Sight | None = None) -> AnyChatFormat:
    """The format in which the model of a directory is spoken to, with its tokenizer.

    Args:
        directory: holds `tokenizer.json`, and the template if the model is somebody else's.
        sight: how the model sees pictures; only models of ours do.
    """
    template = template_of(directory)
    if template is None or is_ours(directory):
        check_template(directory)
        return ChatFormat(Tokenizer.load(directory), sight)
    name = _name(template)
    if name not in OPENERS:
        raise _refused(directory, name, "Hand the directory to a server that renders templates")
    try:
        return OPENERS[name](directory, template)
    except ChatError as error:
        raise TokenizerError(f"{directory / 'tokenizer.json'}: {error}") from error


def check_template(directory: Path) -> None:
    """Refuse a directory whose chat template is not ChatML; none at all is a base model's.

    Training writes ChatML, with the control tokens of `chatml.py`.
    """
    template = template_of(directory)
    if template is None:
        return
    name = _name(template)
    if name != "Qwen":
        raise _refused(directory, name, f"Stages train in ChatML only: {_ADVICE}")
    if (directory / "tokenizer.json").is_file() and not is_ours(directory):
        raise TokenizerError(
            f"{directory}: its tokenizer lacks control tokens of ours. Stages train in ChatML only: {_ADVICE}"
        )


def is_ours(directory: Path) -> bool:
    """Whether the tokenizer has the control tokens of ours."""
    added: Any = read_tree(directory / "tokenizer.json").get("added_tokens") or []
    names = {str(each.get("content")) for each in added if isinstance(each, dict)}
    return set(CONTROL_TOKENS) <= names


def template_of(directory: Path) -> str | None:
    """The chat template that lies in a model directory; None if there is none."""
    file, config = directory / "chat_template.jinja", directory / "tokenizer_config.json"
    try:
        if file.is_file():
            return file.read_text(encoding="utf-8")
        tree = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    except ValueError as error:
        raise TokenizerError(f"{config}: is not JSON in UTF-8: {error}") from error
    found = tree.get("chat_template") if isinstance(tree, dict) else None
    if isinstance(found, list):  # several, by name
        found = "".join(str(each.get("template")) for each in found if isinstance(each, dict))
    return found if isinstance(found, str) else None


def _name(template: str) -> str:
    return next((name for marker, name in FOREIGN.items() if marker in template), "")


def _refused(directory: Path, name: str, advice: str) -> TokenizerError:
    found = f"that of {name}" if name else "of an unknown format"
    return TokenizerError(
        f"{directory}: its chat template is {found}; formats that are spoken here: {SPOKEN}. {advice}"
    )


def _qwen(directory: Path, template: str) -> AnyChatFormat:
    return QwenFormat(_tokenizer(directory, END_OF_TEXT, END_OF_TEXT), template)


def _llama3(directory: Path, template: str) -> AnyChatFormat:
    return Llama3Format(_tokenizer(directory, BEGIN, END), template)


def _mistral(directory: Path, template: str) -> AnyChatFormat:
    return MistralFormat(_tokenizer(directory, SEQUENCE_BEGINS, SEQUENCE_ENDS), template)


def _llama2(directory: Path, template: str) -> AnyChatFormat:
    return Llama2Format(_tokenizer(directory, SEQUENCE_BEGINS, SEQUENCE_ENDS), template)


def _tokenizer(directory: Path, begin: str, end: str) -> TextTokenizer:
    config: Any = read_tree(directory / "config.json") if (directory / "config.json").is_file() else {}
    rows = config.get("vocab_size")
    found = is_sentencepiece(read_tree(directory / "tokenizer.json"))
    kind = SentencePieceTokenizer if found else ForeignTokenizer
    return kind(directory, begin=begin, end=end, vocab_size=rows if isinstance(rows, int) else None)


OPENERS: dict[str, Callable[[Path, str], AnyChatFormat]] = {
    "Qwen": _qwen,
    "Llama 3": _llama3,
    "Llama 2": _llama2,
    "Mistral": _mistral,
}
