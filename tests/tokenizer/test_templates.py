from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from danlu.tokenizer.bpe import Tokenizer, TokenizerError
from danlu.tokenizer.templates import check_template

LLAMA_3 = "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>' }}"
LLAMA_2 = "{{ '[INST] <<SYS>>' + system + '<</SYS>>' + content + ' [/INST]' }}"
MISTRAL = "{{ '[INST] ' + message['content'] + ' [/INST]' }}"


def write(directory: Path, template: Any) -> Path:
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": template}), encoding="utf-8"
    )
    return directory


def test_what_our_tokenizer_writes_is_spoken(tmp_path: Path):
    Tokenizer.train(["some words"] * 3, 280).save(tmp_path)
    check_template(tmp_path)


@pytest.mark.parametrize("template", [None, "{{ '<|im_start|>' + message['role'] }}"])
def test_chatml_and_no_template_at_all_are_accepted(tmp_path: Path, template: str | None):
    check_template(write(tmp_path, template))


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (LLAMA_3, "that of Llama 3"),
        (LLAMA_2, "that of Llama 2"),
        (MISTRAL, "that of Mistral"),
        ("{{ messages }}", "of an unknown format"),
        ([{"name": "default", "template": LLAMA_3}], "that of Llama 3"),
    ],
)
def test_another_format_is_refused_with_those_that_are_spoken(tmp_path: Path, template: Any, name: str):
    with pytest.raises(TokenizerError, match=rf"its chat template is {name}; .*spoken here: ChatML"):
        check_template(write(tmp_path, template))


def test_a_template_in_a_file_of_its_own_counts_before(tmp_path: Path):
    write(tmp_path, "{{ '<|im_start|>' }}")
    (tmp_path / "chat_template.jinja").write_text(MISTRAL, encoding="utf-8")
    with pytest.raises(TokenizerError, match="Mistral"):
        check_template(tmp_path)
