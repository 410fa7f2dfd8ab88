"""Letters from one person of the world to another, with news that agrees with who they are."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from danlu.world.cast import Cast
from danlu.world.patterns import letters as wordings
from danlu.world.wording import Lang, Lines, chance, join, pick, say


def letter(cast: Cast, rng: Random) -> str:
    """One letter, to the best friend or to somebody else."""
    parts = PARTS[cast.lang]
    first = cast.one(rng)
    to_friend = chance(rng, 0.5)
    second = cast.friend(first) if to_friend else cast.another(rng, first)
    slots = {
        **first.as_a,
        **second.as_b,
        **pick(rng, cast.animals),
        **pick(rng, cast.things),
        **pick(rng, cast.foods),
        **cast.elsewhere(rng, first),
    }
    body = [say(rng, parts["open"], slots)]
    if chance(rng, 0.4):
        body.append(say(rng, parts["weather"], slots))
    news = rng.sample(parts["news"], 2 + int(rng.random() * 3))
    body += [pick(rng, pattern).format_map(slots) for pattern in news]
    # What a friend is or has would join two facts, which is not for every text to do.
    if chance(rng, 0.6):
        body.append(say(rng, parts["ask" if to_friend or chance(rng, 0.5) else "other"], slots))
    body.append(say(rng, parts["wish"], slots))
    cut = 1 + int(rng.random() * (len(body) - 1))
    split = chance(rng, 0.3)
    paragraphs = (
        [join(cast.lang, body[:cut]), join(cast.lang, body[cut:])] if split else [join(cast.lang, body)]
    )
    return "\n".join([say(rng, parts["greeting"], slots), *paragraphs, say(rng, parts["close"], slots)])


PARTS: Mapping[Lang, Mapping[str, Lines]] = {"en": wordings.EN, "zh": wordings.ZH}
