"""What was refused, in the visitor's language.

The store, the chat format and the API know no visitor: they refuse in English, which the command line and
other programs read. A page knows those sentences by their form, and says the same in its own language.
"""

from __future__ import annotations

import re
import string
from functools import cache

from danlu.serve.studio.faults_zh import CHINESE, NESTED, WORDS
from danlu.serve.studio.phrases import Language

Form = tuple[re.Pattern[str], str]


def in_language(language: Language, text: str) -> str:
    """The same in another language; a text of no form that is known stays as it is."""
    if language == "en":
        return text
    if text in WORDS:
        return WORDS[text]
    for form, wanted in _forms():
        if found := form.fullmatch(text):
            return wanted.format(
                **{name: _value(language, name, each) for name, each in found.groupdict().items()}
            )
    return text


def _value(language: Language, name: str, value: str) -> str:
    return in_language(language, value) if name in NESTED else value


@cache
def _forms() -> list[Form]:
    """Those that say most in words of their own first, for others may take in what is theirs."""
    said = sorted(CHINESE, key=lambda form: len(_own_words(form)), reverse=True)
    return [(_pattern(form), CHINESE[form]) for form in said]


def _own_words(form: str) -> str:
    return "".join(literal for literal, *_ in string.Formatter().parse(form))


def _pattern(form: str) -> re.Pattern[str]:
    parts = string.Formatter().parse(form)
    made = "".join(re.escape(literal) + (f"(?P<{name}>.+?)" if name else "") for literal, name, *_ in parts)
    return re.compile(made, re.DOTALL)
