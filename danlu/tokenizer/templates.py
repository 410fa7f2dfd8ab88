"""Whose chat format a model directory was made for, by the template that lies in it.

A template is a program; none is run here. Formats are coded, and ChatML is the one that is spoken, with the
control tokens of `chatml.py`. A model that learnt another would not understand it.
"""

from __future__ import annotations

import json
from pathlib import Path

from danlu.tokenizer.bpe import TokenizerError
from danlu.tokenizer.chatml import IM_START

SPOKEN = "ChatML (Danlu, Qwen)"
FOREIGN = {  # by what only their templates hold
    "<|start_header_id|>": "Llama 3",
    "<<SYS>>": "Llama 2",
    "[INST]": "Mistral or Llama 2",
    "<start_of_turn>": "Gemma",
}


def check_template(directory: Path) -> None:
    """Refuse a directory whose chat template is of another format; none at all is a base model's."""
    template = _template(directory)
    if template is None or IM_START in template:
        return
    found = (f"that of {name}" for marker, name in FOREIGN.items() if marker in template)
    raise TokenizerError(
        f"{directory}: its chat template is {next(found, 'of an unknown format')}; formats that are spoken "
        f"here: {SPOKEN}. Hand the directory to a server that renders templates, or fine-tune the model "
        "with `danlu sft` first"
    )


def _template(directory: Path) -> str | None:
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
