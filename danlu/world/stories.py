"""Stories with a plot: somebody wants something, meets an obstacle, tries, and comes out of it somehow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Literal

from danlu.world.cast import Cast, Role
from danlu.world.patterns import plots_en, plots_zh
from danlu.world.wording import Lang, Lines, capital, chance, join, multiply_out, pick, say

BEATS = ("want", "trouble", "try", "turn", "end")


@dataclass(frozen=True, slots=True)
class Plot:
    """The lines of each beat, and who the second person has to be."""

    name: str
    second: Literal["friend", "other"]
    beats: Mapping[str, Lines]
    questions: tuple[tuple[str, tuple[str, ...]], ...]  # words the story must contain; question and answer


def story(cast: Cast, rng: Random) -> str:
    """One story, now and then with a title or with questions about it at the end."""
    plot = pick(rng, plots(cast.lang))
    slots = setting(cast, plot, rng)
    told = _tell(cast.lang, plot, slots, rng)
    asked = _asked(cast.lang, plot, slots, told, rng) if chance(rng, 0.35) else ""
    if chance(rng, 0.3):
        told = say(rng, TITLES[cast.lang], {**slots, "story": told})
    return told + asked


def passage(cast: Cast, rng: Random) -> tuple[str, str, str]:
    """A short story with a question about it and its answer."""
    while True:
        plot = pick(rng, plots(cast.lang))
        slots = setting(cast, plot, rng)
        told = _tell(cast.lang, plot, slots, rng)
        if questions := answerable(plot, slots, told):
            return told, *pick(rng, questions)


def setting(cast: Cast, plot: Plot, rng: Random) -> dict[str, str]:
    """All slots a plot may use: its people and the things of the world around them."""
    first, second = _people(cast, plot, rng)
    return {
        **first.as_a,
        **second.as_b,
        **pick(rng, cast.animals),
        **pick(rng, cast.things),
        **cast.food_slots[first.as_a["a_food"]],
        **cast.elsewhere(rng, first),
        "time": say(rng, TIMES[cast.lang], {}),
    }


def answerable(plot: Plot, slots: Mapping[str, str], told: str) -> list[tuple[str, str]]:
    """The plot's questions, with their answers, that this telling really answers."""
    found: list[tuple[str, str]] = []
    for needed, wordings in plot.questions:
        used = [slots[slot] for slot in _SLOT.findall(wordings[0]) if not slot.endswith(("he", "him", "his"))]
        if all(word in told for word in (needed, *used)):
            question, mark, answer = re.split("([?？])", wordings[0].format_map(slots), maxsplit=1)
            found.append((question + mark, capital(answer.strip())))
    return found


def _people(cast: Cast, plot: Plot, rng: Random) -> tuple[Role, Role]:
    if plot.second == "other":
        return cast.two(rng)
    first = cast.one(rng)
    return first, cast.friend(first)


def _tell(lang: Lang, plot: Plot, slots: Mapping[str, str], rng: Random) -> str:
    """The opening, the beats in order, sometimes a sentence between and one after."""
    told = [say(rng, OPENINGS[lang], slots)]
    for beat in BEATS:
        told.append(say(rng, plot.beats[beat], slots))
        if beat in ("trouble", "try") and chance(rng, 0.25):
            told.append(say(rng, BETWEEN[lang], slots))
    if chance(rng, 0.4):
        told.append(say(rng, ENDINGS[lang], slots))
    if chance(rng, 0.25):
        cut = 2 + int(rng.random() * 3)
        return "\n\n".join(join(lang, part) for part in (told[:cut], told[cut:]))
    return join(lang, told)


def _asked(lang: Lang, plot: Plot, slots: Mapping[str, str], told: str, rng: Random) -> str:
    """One or two questions under the story, in the manner of a reader."""
    asked = answerable(plot, slots, told)
    asked = rng.sample(asked, min(len(asked), 1 + int(rng.random() * 2)))
    frame = pick(rng, QUESTION_FRAMES[lang])
    return "\n" * bool(asked) + "".join("\n" + frame.format(question=q, answer=a) for q, a in asked)


@lru_cache(maxsize=2)
def plots(lang: Lang) -> tuple[Plot, ...]:
    """The plots of a language, read from their table."""
    found: list[Plot] = []
    for block in (plots_en.PLOTS if lang == "en" else plots_zh.PLOTS).split("@")[1:]:
        header, *rows = (row.strip() for row in block.strip().splitlines())
        name, second = header.split()
        beats: dict[str, list[tuple[str, ...]]] = {}
        for row in rows:
            beat, _, pattern = row.partition(":")
            beats.setdefault(beat, []).append(multiply_out(pattern.strip()))
        asked = tuple(
            (k[4:], wordings) for k, group in beats.items() if k.startswith("ask") for wordings in group
        )
        told = {beat: tuple(beats[beat]) for beat in BEATS}
        found.append(Plot(name, "friend" if second == "friend" else "other", told, asked))
    return tuple(found)


_SLOT = re.compile(r"{(\w+)}")
OPENINGS: dict[Lang, Lines] = {"en": plots_en.OPENINGS, "zh": plots_zh.OPENINGS}
TIMES: dict[Lang, Lines] = {"en": plots_en.TIMES, "zh": plots_zh.TIMES}
BETWEEN: dict[Lang, Lines] = {"en": plots_en.BETWEEN, "zh": plots_zh.BETWEEN}
ENDINGS: dict[Lang, Lines] = {"en": plots_en.ENDINGS, "zh": plots_zh.ENDINGS}
TITLES: dict[Lang, Lines] = {
    "en": tuple(
        (f"{title}\n\n{{story}}",)
        for title in (
            "A story from {a_home}",
            "{a_1} and {b_1}",
            "What happened to {a_1}",
            "The story of {a}",
        )
    ),
    "zh": tuple(
        (f"{title}\n\n{{story}}",)
        for title in ("{a_home}的故事", "{a_1}和{b_1}", "{a_1}遇到的事", "{a}的故事")
    ),
}
QUESTION_FRAMES: dict[Lang, tuple[str, ...]] = {
    "en": ("Question: {question} Answer: {answer}", "{question} {answer}", "Q: {question}\nA: {answer}"),
    "zh": ("问：{question}答：{answer}", "{question}{answer}", "问题：{question}\n回答：{answer}"),
}
