"""Longer documents for larger worlds: a page of a local newspaper, a chapter of a schoolbook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from danlu.world.cast import Cast
from danlu.world.dialogues import dialogue
from danlu.world.encyclopaedia import entry
from danlu.world.exercises import exercise
from danlu.world.howto import howto
from danlu.world.letters import letter
from danlu.world.parallel import parallel
from danlu.world.passages import passage
from danlu.world.reviews import review
from danlu.world.stories import story
from danlu.world.sums import sums
from danlu.world.wording import Lang, Lines, pick, say, sections


def page(cast: Cast, rng: Random) -> str:
    """A title and three to six pieces under headings."""
    parts, kind = PARTS[cast.lang], pick(rng, tuple(PIECES))
    slots = {**cast.one(rng).as_a, **pick(rng, cast.places), "n": 1 + int(rng.random() * 30)}
    told = [say(rng, parts[f"{kind} title"], slots)]
    pieces = list(PIECES[kind])
    for heading in rng.sample(pieces, min(len(pieces), 3 + int(rng.random() * 4))):
        told.append(say(rng, parts[heading], slots) + "\n" + WRITERS[heading](cast, rng))
    return "\n\n".join(told)


def _portrait(cast: Cast, rng: Random) -> str:
    """Everything about somebody or something."""
    return entry(cast.world, pick(rng, cast.world.entities), cast.lang, rng)


WRITERS: Mapping[str, Callable[[Cast, Random], str]] = {
    "story": story,
    "letter": letter,
    "review": review,
    "advice": howto,
    "portrait": _portrait,
    "talk": dialogue,
    "sums": sums,
    "reading": passage,
    "languages": parallel,
    "exercise": exercise,
}
PIECES: Mapping[str, tuple[str, ...]] = {
    "newspaper": ("story", "letter", "review", "advice", "portrait", "talk"),
    "schoolbook": ("story", "sums", "reading", "languages", "exercise", "portrait"),
}
PARTS: Mapping[Lang, Mapping[str, Lines]] = {
    "en": sections("""
        = newspaper title
        The {place} [Post|News|Times|Weekly], no. {n}
        News from {place}, page {n}
        [What is new in|The week in|A quiet week in] {place}
        = schoolbook title
        Chapter {n}
        [Reading and counting|Words and numbers|A schoolbook], part {n}
        Lessons for [the winter|every day|the week], number {n}
        = story
        [A true story|What people tell|A story for the evening]
        = letter
        [From our letter box|A letter found in an old coat|Post of the week]
        = review
        [What our readers think|Opinions|Praise and blame]
        = advice
        [Good advice|The corner for house and garden|How to do it]
        = portrait
        [A portrait|Did you know?|From the encyclopaedia]
        = talk
        [Heard in the street|A conversation|At the market]
        = sums
        [Sums|Let us count|Arithmetic]
        = reading
        [Read and answer|Reading|Did you understand?]
        = languages
        [Two languages|English and Chinese|Let us translate]
        = exercise
        [Exercises|Now it is your turn|Practice]
    """),
    "zh": sections("""
        = newspaper title
        《{place}[日报|周报|晚报|新闻]》第{n}期
        {place}新闻，第{n}版
        {place}[这一周|新鲜事|平静的一周]
        = schoolbook title
        第{n}章
        [读书和算数|词语和数字|课本]，第{n}部分
        [冬天的|每天的|一周的]功课，第{n}课
        = story
        [真实的故事|人们讲的故事|晚上的故事]
        = letter
        [读者来信|旧外衣里的一封信|本周来信]
        = review
        [读者怎么看|大家的意见|好评和差评]
        = advice
        [好建议|家和园子|怎样做]
        = portrait
        [人和物|你知道吗？|摘自百科]
        = talk
        [街上听来的|一段对话|市场上]
        = sums
        [算术|我们来数数|算一算]
        = reading
        [读一读，答一答|阅读|你看懂了吗？]
        = languages
        [两种语言|英语和汉语|我们来翻译]
        = exercise
        [练习|现在轮到你了|做一做]
    """),
}
