"""How something is done, step by step: dishes, pets, tools and journeys of the world, and housework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from danlu.world.cast import Cast
from danlu.world.patterns import advice
from danlu.world.wording import Lang, Lines, capital, chance, join, pick, say


def howto(cast: Cast, rng: Random) -> str:
    """One piece of advice: flowing, with first and then, or as a numbered list."""
    parts, topic = PARTS[cast.lang], pick(rng, TOPICS)
    slots = {
        **cast.one(rng).as_a,
        **pick(rng, cast.foods),
        **pick(rng, cast.animals),
        **pick(rng, cast.things),
        **pick(rng, cast.places),
    }
    steps = [say(rng, parts[f"{topic} {i}"], slots) for i in (1, 2, 3, 4)]
    if chance(rng, 0.2):
        del steps[int(rng.random() * 2) + 1]
    title = say(rng, parts[f"{topic} title"], slots)
    return title + pick(rng, ("\n\n", "\n")) + _laid_out(cast.lang, rng, steps)


def _laid_out(lang: Lang, rng: Random, steps: Sequence[str]) -> str:
    """The steps as a paragraph, with words of order, with numbers or with dashes."""
    style = pick(rng, ("plain", "plain", "ordered", "numbers", "dashes"))
    if style == "plain":
        return join(lang, [capital(step) for step in steps])
    if style == "ordered":
        words = pick(rng, ORDER[lang])
        return join(lang, [word + capital(step) for word, step in zip(words, steps, strict=False)])
    marks = [f"{i}. " for i in range(1, 5)] if style == "numbers" else ["- "] * 4
    return "\n".join(mark + capital(step) for mark, step in zip(marks, steps, strict=False))


TOPICS = ("cook", "cook", "feed", "use", "use", "travel", "house")
ORDER: Mapping[Lang, tuple[tuple[str, str, str, str], ...]] = {
    "en": (
        ("Step one: ", "Step two: ", "Step three: ", "Step four: "),
        ("(1) ", "(2) ", "(3) ", "(4) "),
    ),
    "zh": (
        ("第一步：", "第二步：", "第三步：", "第四步："),
        ("（一）", "（二）", "（三）", "（四）"),
    ),
}
PARTS: Mapping[Lang, Mapping[str, Lines]] = {"en": advice.EN, "zh": advice.ZH}
