"""What the pages say, in each language; a phrase has a key, and may have places for values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from danlu.serve.studio.phrases_en import ENGLISH
from danlu.serve.studio.phrases_zh import CHINESE

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
PHRASES: Mapping[Language, Mapping[str, str]] = {"en": ENGLISH, "zh": CHINESE}
NAMES: Mapping[Language, str] = {"en": "English", "zh": "中文"}
TAGS: Mapping[Language, str] = {"en": "en", "zh": "zh-CN"}  # BCP 47


def phrase(language: Language, key: str, **values: object) -> str:
    """The phrase of a key."""
    return PHRASES[language][key].format(**values) if values else PHRASES[language][key]
