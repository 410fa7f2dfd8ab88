"""Sentence pairs in English and Chinese from one small grammar, and the texts that show them side by side.

A few hundred words, freely combined: sentences of the exam split (`splits.split_of("sentence", english)`) are
never written, so a model that translates these has learnt the parts and not the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random

from danlu.world.cast import Cast
from danlu.world.names import with_article
from danlu.world.patterns.pairs import (
    COLOURS,
    COMPARED,
    DEEDS,
    FACTS,
    FIXED,
    FRAMES,
    FUTURE_TIMES,
    HABITS,
    HEADINGS,
    LABELS,
    MOODS,
    NOUNS,
    NUMBERS,
    OWNERS,
    PARAGRAPHS,
    PAST_TIMES,
    QUALITIES,
    SUBJECTS,
    WHERE,
    WORDS,
    Pair,
    Subject,
)
from danlu.world.splits import split_of
from danlu.world.truth import World
from danlu.world.wording import capital, chance, pick, say


def parallel(cast: Cast, rng: Random) -> str:
    """One document of sentence pairs in a frame; its running text is in the language of `cast`."""
    n = 2 + int(rng.random() * 5)
    return pick(rng, LAYOUTS)(cast, rng, n)


def told_pair(cast: Cast, rng: Random) -> Pair:
    """A pair that may be told: never one of the exam."""
    while True:
        pair = sentence_pair(cast, rng)
        if split_of("sentence", pair.en) != "exam":
            return pair


def sentence_pair(cast: Cast, rng: Random) -> Pair:
    """Any pair of the grammar, whatever its split."""
    pair = pick(rng, FORMS)(cast, rng)
    return Pair(capital(pair.en), pair.zh)


def _subject(cast: Cast, rng: Random) -> Subject:
    if chance(rng, 0.2):
        name = pick(rng, cast.people).name
        return Subject(name.en, name.zh, "is")
    return pick(rng, SUBJECTS)


def present(cast: Cast, rng: Random) -> Pair:
    """She eats bread every day."""
    who, deed, (when, when_zh) = _subject(cast, rng), pick(rng, DEEDS), pick(rng, HABITS)
    verb = deed.third if who.be == "is" else deed.base
    return Pair(f"{who.en} {verb}{when}.", f"{who.zh}{when_zh}{deed.zh_verb}{deed.zh_object}。")


def past(cast: Cast, rng: Random) -> Pair:
    """Yesterday the boy bought a hat."""
    who, deed, (when, when_zh) = _subject(cast, rng), pick(rng, DEEDS), pick(rng, PAST_TIMES)
    english = f"{when} {who.en} {deed.past}." if chance(rng, 0.4) else f"{who.en} {deed.past} {when}."
    return Pair(english, f"{who.zh}{when_zh}{deed.zh_verb}了{deed.zh_object}。")


def future(cast: Cast, rng: Random) -> Pair:
    """We will read a book tomorrow."""
    who, deed, (when, when_zh) = _subject(cast, rng), pick(rng, DEEDS), pick(rng, FUTURE_TIMES)
    return Pair(f"{who.en} will {deed.base} {when}.", f"{who.zh}{when_zh}会{deed.zh_verb}{deed.zh_object}。")


def progressive(cast: Cast, rng: Random) -> Pair:
    """They are singing a song."""
    who, deed = _subject(cast, rng), pick(rng, DEEDS)
    return Pair(f"{who.en} {who.be} {deed.progressive}.", f"{who.zh}正在{deed.zh_verb}{deed.zh_object}。")


def negative(cast: Cast, rng: Random) -> Pair:
    """My father does not drink tea."""
    who, deed = _subject(cast, rng), pick(rng, DEEDS)
    do = "does" if who.be == "is" else "do"
    return Pair(f"{who.en} {do} not {deed.base}.", f"{who.zh}不{deed.zh_verb}{deed.zh_object}。")


def wish(cast: Cast, rng: Random) -> Pair:
    """The girl wants to open the window."""
    who, deed = _subject(cast, rng), pick(rng, DEEDS)
    want = "wants" if who.be == "is" else "want"
    return Pair(f"{who.en} {want} to {deed.base}.", f"{who.zh}想{deed.zh_verb}{deed.zh_object}。")


def question(cast: Cast, rng: Random) -> Pair:
    """Does she like fish?"""
    who, deed = _subject(cast, rng), pick(rng, DEEDS)
    do = "does" if who.be == "is" else "do"
    return Pair(f"{do} {who.en} {deed.base}?", f"{who.zh}{deed.zh_verb}{deed.zh_object}吗？")


def mood(cast: Cast, rng: Random) -> Pair:
    """The old man is not tired today."""
    who, (word, word_zh) = _subject(cast, rng), pick(rng, MOODS)
    (when, when_zh) = pick(rng, (("", ""), (" today", "今天"), (" now", "现在")))
    if chance(rng, 0.3):
        return Pair(f"{who.en} {who.be} not {word}{when}.", f"{who.zh}{when_zh}不{word_zh}。")
    return Pair(f"{who.en} {who.be} {word}{when}.", f"{who.zh}{when_zh}很{word_zh}。")


def quality(cast: Cast, rng: Random) -> Pair:
    """The blue cup is small."""
    noun, (word, word_zh) = pick(rng, NOUNS), pick(rng, QUALITIES)
    if chance(rng, 0.4):
        colour, colour_zh = pick(rng, COLOURS)
        return Pair(f"the {colour} {noun[0]} is {word}.", f"{colour_zh}色的{noun[3]}很{word_zh}。")
    if chance(rng, 0.25):
        return Pair(f"the {noun[0]} is not {word}.", f"{noun[3]}不{word_zh}。")
    return Pair(f"the {noun[0]} is very {word}.", f"{noun[3]}非常{word_zh}。")


def colour(cast: Cast, rng: Random) -> Pair:
    """The door is green."""
    noun, (word, word_zh) = pick(rng, NOUNS), pick(rng, COLOURS)
    owner, owner_zh = pick(rng, OWNERS)
    return Pair(f"{owner} {noun[0]} is {word}.", f"{owner_zh}{noun[3]}是{word_zh}色的。")


def location(cast: Cast, rng: Random) -> Pair:
    """The cat is under the table."""
    (where, where_zh) = pick(rng, WHERE)
    if chance(rng, 0.4):
        who = _subject(cast, rng)
        return Pair(f"{who.en} {who.be} {where}.", f"{who.zh}在{where_zh}。")
    noun = pick(rng, NOUNS)
    if chance(rng, 0.2):
        return Pair(f"where is the {noun[0]}?", f"{noun[3]}在哪里？")
    return Pair(f"the {noun[0]} is {where}.", f"{noun[3]}在{where_zh}。")


def existence(cast: Cast, rng: Random) -> Pair:
    """There are three birds in the garden."""
    (where, where_zh), (one_or_many, counted_zh) = pick(rng, WHERE), _counted(rng)
    be = "is" if one_or_many.startswith(("a ", "an ")) else "are"
    return Pair(f"there {be} {one_or_many} {where}.", f"{where_zh}有{counted_zh}。")


def having(cast: Cast, rng: Random) -> Pair:
    """She has two dogs."""
    who, (one_or_many, counted_zh) = _subject(cast, rng), _counted(rng)
    have = "has" if who.be == "is" else "have"
    return Pair(f"{who.en} {have} {one_or_many}.", f"{who.zh}有{counted_zh}。")


def _counted(rng: Random) -> tuple[str, str]:
    noun, (number, number_zh) = pick(rng, NOUNS), pick(rng, NUMBERS)
    if number == "one":
        return f"{'an' if noun[0][0] in 'aeiou' else 'a'} {noun[0]}", f"一{noun[2]}{noun[3]}"
    return f"{number} {noun[1]}", f"{number_zh}{noun[2]}{noun[3]}"


def comparison(cast: Cast, rng: Random) -> Pair:
    """The horse is bigger than the dog."""
    first, second = rng.sample(NOUNS, 2)
    word, word_zh = pick(rng, COMPARED)
    return Pair(f"the {first[0]} is {word} than the {second[0]}.", f"{first[3]}比{second[3]}{word_zh}。")


def fixed(cast: Cast, rng: Random) -> Pair:
    """A phrase that people say: Good morning."""
    return pick(rng, FIXED)


def of_the_world(cast: Cast, rng: Random) -> Pair:
    """A fact about someone or something of the world."""
    return pick(rng, fact_pairs(cast.world))


@lru_cache(maxsize=4)
def fact_pairs(world: World) -> tuple[Pair, ...]:
    """Every fact that has a short sentence, in both languages."""
    found: list[Pair] = []
    for fact in world.facts:
        subject = world.by_id[fact.subject]
        for en, zh in FACTS.get((subject.kind, fact.attribute), ()):
            value = world.value_name(fact.value)
            found.append(
                Pair(
                    en.format(subject.name.en, value.en, with_article(value.en)),
                    zh.format(subject.name.zh, value.zh),
                )
            )
    return tuple(found)


def _frames(cast: Cast, rng: Random, n: int) -> str:
    """Each pair in a sentence of its own about what means what."""
    frame = pick(rng, FRAMES[cast.lang])
    told: list[str] = []
    for _ in range(n):
        pair = told_pair(cast, rng)
        told.append(pick(rng, frame).format(en=pair.en, zh=pair.zh))
        frame = frame if chance(rng, 0.7) else pick(rng, FRAMES[cast.lang])
    return "\n".join(told)


def _labelled(cast: Cast, rng: Random, n: int) -> str:
    """English: ... / 中文：... or the other way round, under a heading or without."""
    english, chinese, between = pick(rng, LABELS)
    first_english = chance(rng, 0.5)
    rows: list[str] = []
    for _ in range(n):
        pair = told_pair(cast, rng)
        sides = [f"{english}{pair.en}", f"{chinese}{pair.zh}"]
        rows.append(between.join(sides if first_english else sides[::-1]))
    heading = say(rng, HEADINGS[cast.lang], {}) + "\n" if chance(rng, 0.4) else ""
    return heading + ("\n\n" if between == "\n" else "\n").join(rows)


def _columns(cast: Cast, rng: Random, n: int) -> str:
    """Two columns, as in a vocabulary book."""
    bar = pick(rng, (" | ", " = ", " — ", " → ", "\t"))
    pairs = [told_pair(cast, rng) for _ in range(n)]
    turned = chance(rng, 0.5)
    heading = say(rng, HEADINGS[cast.lang], {})
    return heading + "\n" + "\n".join(bar.join(reversed(pair) if turned else pair) for pair in pairs)


def _two_paragraphs(cast: Cast, rng: Random, n: int) -> str:
    """A few sentences in one language, then the same in the other."""
    pairs = [told_pair(cast, rng) for _ in range(min(n, 4))]
    english, chinese = " ".join(p.en for p in pairs), "".join(p.zh for p in pairs)
    return say(rng, PARAGRAPHS[cast.lang], {"en": english, "zh": chinese}).replace("/", "\n")


def _word_list(cast: Cast, rng: Random, n: int) -> str:
    """Single words, their translations, and a sentence that uses one."""
    rows: list[str] = []
    for noun in rng.sample(NOUNS, n):
        rows.append(pick(rng, WORDS[cast.lang]).format(en=noun[0], zh=noun[3]))
    pair = told_pair(cast, rng)
    return "\n".join([*rows, pick(rng, pick(rng, FRAMES[cast.lang])).format(en=pair.en, zh=pair.zh)])


FORMS: tuple[Callable[[Cast, Random], Pair], ...] = (
    *(present, present, past, past, future, progressive, negative, wish, question),
    *(mood, quality, colour, location, location, existence, having, comparison, fixed, of_the_world),
)
LAYOUTS: Sequence[Callable[[Cast, Random, int], str]] = (
    *(_frames, _frames, _frames, _labelled, _labelled, _columns, _two_paragraphs, _word_list),
)
