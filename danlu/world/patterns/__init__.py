"""Every wording of an invented fact, by language, kind of entity and attribute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from danlu.world.names import Lang
from danlu.world.patterns.nature_en import NATURE_EN
from danlu.world.patterns.nature_zh import NATURE_ZH
from danlu.world.patterns.people_en import PEOPLE_EN
from danlu.world.patterns.people_zh import PEOPLE_ZH
from danlu.world.wording import Lines, lines


@dataclass(frozen=True, slots=True)
class FactPatterns:
    """The wordings of one attribute."""

    statements: Lines  # whole sentences about the subject, which may be a name or a pronoun
    asked: Lines  # the same as a question with its answer
    predicates: Lines  # what follows a subject of any shape
    inverses: Lines  # whole sentences that begin from the value
    lists: Lines  # several subjects that share the value


@lru_cache(maxsize=2)
def fact_patterns(lang: Lang) -> Mapping[str, FactPatterns]:
    """The patterns of `lang` under 'kind.attribute'."""
    text = PEOPLE_EN + NATURE_EN if lang == "en" else PEOPLE_ZH + NATURE_ZH
    sections = (section.partition("\n") for section in text.split("\n= ")[1:])
    return {key.strip(): _section(body) for key, _, body in sections}


def _section(body: str) -> FactPatterns:
    marked: dict[str, list[str]] = {"": [], "?": [], ">": [], "<": [], "*": []}
    for line in body.splitlines():
        mark = line[0] if line[:2] in ("> ", "< ", "* ") else ""
        if not mark and ("?" in line or "？" in line):
            mark = "?"
        marked[mark].append(line.removeprefix(f"{mark} "))
    return FactPatterns(*(lines("\n".join(found)) for found in marked.values()))
