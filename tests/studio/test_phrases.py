"""Both languages say the same things, and nothing is said that nobody wrote."""

from __future__ import annotations

import ast
import string
from pathlib import Path

from danlu.serve.studio import phrases
from danlu.serve.studio.phrases_en import ENGLISH
from danlu.serve.studio.phrases_zh import CHINESE

SOURCES = sorted(Path(phrases.__file__).parent.glob("*.py"))


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_languages_have_the_same_keys_in_the_same_order():
    assert list(ENGLISH) == list(CHINESE)


def test_a_phrase_has_the_same_places_in_both_languages():
    assert {key: places(text) for key, text in ENGLISH.items()} == {
        key: places(text) for key, text in CHINESE.items()
    }


def test_no_phrase_is_empty_or_left_in_the_other_language():
    assert all(text.strip() for text in (*ENGLISH.values(), *CHINESE.values()))
    assert not [key for key, text in ENGLISH.items() if any("\u4e00" <= char <= "\u9fff" for char in text)]


def test_every_phrase_that_is_asked_for_is_there():
    asked = {
        node.args[place].value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for place in (0, 1)
        if ast.unparse(node.func).rpartition(".")[2] in ("say", "phrase")
        and len(node.args) > place
        and isinstance(node.args[place], ast.Constant)
        and isinstance(node.args[place].value, str)
    }
    assert len(asked) > 10
    assert asked <= set(ENGLISH)
