"""Which of what a model made is kept: every rule with its name, under which what it drops is written down."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import get_args

from danlu.config import ConfigError
from danlu.data.dedup import NearDuplicateConfig
from danlu.data.language import Lang, identify, profile
from danlu.data.quality import QualityConfig, Text, monotony, repetition
from danlu.instruct.records import check_share
from danlu.instruct.rouge import words_of
from danlu.instruct.wording import WORDINGS

# Of the published list, with its Chinese counterpart: what words alone cannot do.
UNWANTED = (
    *("image", "images", "picture", "pictures", "photo", "photos", "graph", "graphs", "plot", "draw"),
    *("diagram", "diagrams", "flowchart", "map", "maps", "file", "files", "video", "audio", "music"),
    *("图片", "图像", "照片", "图表", "绘制", "画一", "流程图", "地图", "文件", "附件", "视频", "音频"),
)
LEAST_LETTERS = 20  # fewer do not tell a language: a name, a number, a formula


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterConfig:
    similarity: float = 0.7  # ROUGE-L from which a task counts as one that is known
    min_task: int = 4  # words of a task, a Han character being one
    max_task: int = 150
    max_material: int = 1000
    min_answer: int = 1
    max_answer: int = 1000
    languages: tuple[str, ...] = ("en", "zh")
    unwanted: tuple[str, ...] = UNWANTED  # words of tasks that words alone cannot do
    near_duplicates: NearDuplicateConfig = field(default_factory=NearDuplicateConfig)

    def __post_init__(self) -> None:
        check_share("similarity", self.similarity)
        if not 0 < self.min_task <= self.max_task or not 0 < self.min_answer <= self.max_answer:
            raise ConfigError("min_task and min_answer must be at least 1, and no more than the max_ of each")
        unknown = [lang for lang in self.languages if lang not in WORDINGS]
        if unknown or not self.languages:
            known = ", ".join(lang for lang in get_args(Lang) if lang in WORDINGS)
            raise ConfigError(f"languages are {list(self.languages)}; they must be some of: {known}")


def fault_of_task(text: str, config: FilterConfig) -> str:
    """The first rule that a task breaks; empty if it breaks none."""
    return _first(TASK_RULES, text, config)


def fault_of_material(text: str, config: FilterConfig) -> str:
    """The same for the material of a task, which may be none."""
    return _first(MATERIAL_RULES, text, config) if text else ""


def fault_of_answer(text: str, question: str, config: FilterConfig) -> str:
    """The same for an answer."""
    if words_of(text) == words_of(question):
        return "answer repeats the question"
    return _first(ANSWER_RULES, text, config)


Rule = Callable[[str, FilterConfig], bool]


def _first(rules: Mapping[str, Rule], text: str, config: FilterConfig) -> str:
    return next((name for name, breaks in rules.items() if breaks(text, config)), "")


def is_broken(text: str, config: FilterConfig) -> bool:
    """Control or replacement characters, or half of a surrogate pair, which no file can hold."""
    return BROKEN.search(text) is not None


def has_markers(text: str, config: FilterConfig) -> bool:
    """Marks of a chat format that ended up in the text."""
    return MARKERS.search(text) is not None


def is_foreign(text: str, config: FilterConfig) -> bool:
    """Another language; a text of few letters is in any."""
    counts = profile(text)
    return counts.letters >= LEAST_LETTERS and identify(text, counts) not in config.languages


def is_repetitive(text: str, config: FilterConfig) -> bool:
    """The same words or phrases again and again, as a model that has lost its thread writes."""
    counts = profile(text)
    judged = Text(text, counts, identify(text, counts))
    return monotony(judged, QUALITY) or repetition(judged, QUALITY) or _tail_repeats(text)


def _tail_repeats(text: str) -> bool:
    """The last words over and over, at least `LOOP` times."""
    words = words_of(text)
    return any(words[-LOOP * n :] == words[-n:] * LOOP for n in range(1, len(words) // LOOP + 1))


def is_unwanted(text: str, config: FilterConfig) -> bool:
    """It names something that words alone cannot read or make."""
    words = set(LATIN_WORD.findall(text.lower()))
    return any(each in words if each.isascii() else each in text for each in config.unwanted)


MARKERS = re.compile(r"<\|[^<>|\s]{1,40}\|>|\[/?INST\]|<</?SYS>>|</?(?:s|think|tool_call)>")
LATIN_WORD = re.compile(r"[a-z]+")
BROKEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd\ud800-\udfff]")
LOOP = 6
QUALITY = QualityConfig()
COMMON: Mapping[str, Rule] = {
    "broken characters": is_broken,
    "chat markers": has_markers,
    "other language": is_foreign,
}
TASK_RULES: Mapping[str, Rule] = {
    **COMMON,
    "task too short": lambda text, config: len(words_of(text)) < config.min_task,
    "task too long": lambda text, config: len(words_of(text)) > config.max_task,
    "task needs more than words": is_unwanted,
}
MATERIAL_RULES: Mapping[str, Rule] = {
    **COMMON,
    "material too long": lambda text, config: len(words_of(text)) > config.max_material,
    "material repeats itself": is_repetitive,
}
ANSWER_RULES: Mapping[str, Rule] = {
    **COMMON,
    "answer too short": lambda text, config: len(words_of(text)) < config.min_answer,
    "answer too long": lambda text, config: len(words_of(text)) > config.max_answer,
    "answer repeats itself": is_repetitive,
}
