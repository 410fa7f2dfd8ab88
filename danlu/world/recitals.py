"""Lists that are said again: roll calls, orders read back, messages repeated, words copied out.

What stands in a list is drawn at random: the only way to foretell the second half is to look at the first.
A model learns from such text to look back and copy (Olsson et al. 2022, induction heads), which passages,
translations and conversations then need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from danlu.world.cast import Cast
from danlu.world.newcomers import stranger
from danlu.world.patterns.pairs import NOUNS
from danlu.world.values import VALUES
from danlu.world.wording import Lang, Lines, lines, pick, say


def recital(cast: Cast, rng: Random) -> str:
    """A list and the same list again, in the order of the first or turned round."""
    items = [*dict.fromkeys(pick(rng, ITEMS)(cast, rng) for _ in range(3 + int(rng.random() * 6)))]
    layout, reverses = pick(rng, LAYOUTS[cast.lang]), pick(rng, BACKWARDS[cast.lang])
    comma = pick(rng, COMMAS[cast.lang])
    told = comma.join(items)
    if rng.random() < 0.2:
        return say(rng, reverses, {"told": told, "again": comma.join(reversed(items))})
    return say(rng, layout, {"told": told, "again": pick(rng, COMMAS[cast.lang]).join(items)})


def _person(cast: Cast, rng: Random) -> str:
    return stranger(cast, rng).name.get(cast.lang)


def _noun(cast: Cast, rng: Random) -> str:
    row = pick(rng, NOUNS)
    return row[3] if cast.lang == "zh" else row[0]


def _value(cast: Cast, rng: Random) -> str:
    return pick(rng, VALUES[pick(rng, POOLS)]).get(cast.lang)


def _number(cast: Cast, rng: Random) -> str:
    return str(int(rng.random() * 100))


def _made_up(cast: Cast, rng: Random) -> str:
    """A word without meaning."""
    if cast.lang == "zh":
        return "".join(pick(rng, SIGNS) for _ in range(2 + int(rng.random() * 2)))
    return "".join(pick(rng, ONSETS) + pick(rng, VOWELS) for _ in range(2 + int(rng.random() * 2)))


ITEMS: Sequence[Callable[[Cast, Random], str]] = (_person, _person, _noun, _value, _number, _made_up)
POOLS = ("colour", "job", "instrument")
ONSETS = ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "ch", "sh", "br", "tr"]
VOWELS = ["a", "e", "i", "o", "u", "ai", "or", "en"]
SIGNS = "天地山水风云火木金石田禾竹米衣车船门窗桌灯书笔花草鱼鸟马牛羊东西南北春夏秋冬"
COMMAS: Mapping[Lang, tuple[str, ...]] = {"en": (", ", " ", "; "), "zh": ("、", "，", " ")}
LAYOUTS: Mapping[Lang, tuple[Lines, ...]] = {
    "en": (
        lines("""
            [Say it again|Repeat|Repeat after me]: {told}. {again}.
            The teacher [read|read out] {told}, and the class [repeated|wrote]: {again}.
        """),
        lines("""
            "I need {told}." "{again}, is that right?" "[Yes|That is right], {told}."
            "[Write this down|Please note]: {told}." "I have written: {again}."
        """),
        lines("""
            On the first [list|page] stands {told}. On the second [list|page] stands {again}.
            [Copy these words|Copy]: {told} = {again}
            {told} -> {again}
        """),
    ),
    "zh": (
        lines("""
            [再说一遍|重复一遍|跟我读]：{told}。{again}。
            老师念{told}，同学们[跟着念|写下]：{again}。
        """),
        lines("""
            “我要{told}。”“{again}，对吗？”“[对|没错]，{told}。”
            “[请记下来|请写下]：{told}。”“我写的是：{again}。”
        """),
        lines("""
            第一[张单子|页]上写着{told}。第二[张单子|页]上写着{again}。
            [抄写|照着抄]：{told} = {again}
            {told} → {again}
        """),
    ),
}
BACKWARDS: Mapping[Lang, tuple[Lines, ...]] = {
    "en": (lines("[Backwards|The other way round|From the last to the first]: {told}. {again}."),),
    "zh": (lines("[倒过来|反过来说|从后往前]：{told}。{again}。"),),
}
