"""Translation both ways, and rewriting by checkable rules; sentences of the exam are nowhere written."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from random import Random

from danlu.world import parallel
from danlu.world.cast import Cast
from danlu.world.names import Lang
from danlu.world.patterns.pairs import DEEDS, SUBJECTS, Deed, Subject
from danlu.world.question import Draft, Gold
from danlu.world.splits import split_of
from danlu.world.truth import World
from danlu.world.wording import Lines, capital, lines, pick, say


def translation(world: World, lang: Lang, rng: Random) -> Draft | None:
    """A sentence of the parallel grammar, into Chinese or into English; `lang` is that of the request."""
    pair = pick(rng, TRANSLATED)(_cast(world), rng)
    english, chinese = capital(pair.en), pair.zh
    target: Lang = pick(rng, ("en", "zh"))
    text, reply = (chinese, english) if target == "en" else (english, chinese)
    gold: Gold = {"rule": "translation", "answer_lang": target, "accept": [reply], "replies": [reply]}
    return Draft(split_of("sentence", english), say(rng, ASK_TRANSLATION[lang, target], {"text": text}), gold)


@lru_cache(maxsize=4)
def _cast(world: World) -> Cast:
    return Cast(world, "en")


def rewriting(world: World, lang: Lang, rng: Random) -> Draft | None:
    """One of the transformations in `REWRITES`."""
    who, deed = pick(rng, SUBJECTS), pick(rng, DEEDS)
    name = pick(rng, list(REWRITES))
    prompt, gold = REWRITES[name](lang, rng, who, deed)
    return Draft(split_of("rewriting", name, who.en, deed.base), prompt, gold)


def _plain(lang: Lang, who: Subject, deed: Deed) -> str:
    """My father drinks tea."""
    if lang == "zh":
        return f"{who.zh}{deed.zh_verb}{deed.zh_object}。"
    return capital(f"{who.en} {deed.third if who.be == 'is' else deed.base}.")


def _negate(lang: Lang, rng: Random, who: Subject, deed: Deed) -> tuple[str, Gold]:
    do = "does" if who.be == "is" else "do"
    reply = (
        f"{who.zh}不{deed.zh_verb}{deed.zh_object}。"
        if lang == "zh"
        else capital(f"{who.en} {do} not {deed.base}.")
    )
    return say(rng, ASK_NEGATION[lang], {"text": _plain(lang, who, deed)}), _exact(reply)


def _question(lang: Lang, rng: Random, who: Subject, deed: Deed) -> tuple[str, Gold]:
    do = "does" if who.be == "is" else "do"
    reply = (
        f"{who.zh}{deed.zh_verb}{deed.zh_object}吗？"
        if lang == "zh"
        else capital(f"{do} {who.en} {deed.base}?")
    )
    gold = _exact(reply)
    gold["form"] = "question"
    return say(rng, ASK_QUESTION[lang], {"text": _plain(lang, who, deed)}), gold


def _replace(lang: Lang, rng: Random, who: Subject, deed: Deed) -> tuple[str, Gold]:
    others = [s for s in SUBJECTS if s.be == who.be and s.en != who.en and s.zh[0] != who.zh[0]]
    other = pick(rng, others or [s for s in SUBJECTS if s.en != who.en])
    old, new = (who.zh, other.zh) if lang == "zh" else (who.en, other.en)
    slots = {"text": _plain(lang, who, deed), "old": old, "new": new}
    return say(rng, ASK_REPLACEMENT[lang], slots), _exact(_plain(lang, other, deed))


def _dress(lang: Lang, rng: Random, who: Subject, deed: Deed) -> tuple[str, Gold]:
    """Capital letters in English, quotation marks in Chinese, which has no capitals."""
    text = _plain(lang, who, deed)
    gold = _exact(text.upper() if lang == "en" else f"“{text}”")
    gold["form"] = "capitals" if lang == "en" else "quoted"
    return say(rng, ASK_DRESS[lang], {"text": text}), gold


def _shorten(lang: Lang, rng: Random, who: Subject, deed: Deed) -> tuple[str, Gold]:
    """Three sentences of which one says what happened."""
    zh = lang == "zh"
    gist = f"{who.zh}{deed.zh_verb}了{deed.zh_object}。" if zh else capital(f"{who.en} {deed.past}.")
    told = [pick(rng, BEFORE[lang]), gist, pick(rng, AFTER[lang])]
    source = ("" if zh else " ").join(told)
    key = [who.zh, deed.zh_object] if zh else [who.en.split()[-1], deed.base.split()[-1]]
    limit = 12 if zh else 8
    gold: Gold = {"rule": "summary", "count": limit, "key": key, "source": source, "replies": [gist]}
    return say(rng, ASK_SUMMARY[lang], {"text": source, "n": limit}), gold


def _exact(reply: str) -> Gold:
    return {"rule": "exact", "accept": [reply], "replies": [reply]}


REWRITES: dict[str, Callable[[Lang, Random, Subject, Deed], tuple[str, Gold]]] = {
    "negation": _negate,
    "question": _question,
    "replacement": _replace,
    "dress": _dress,
    "summary": _shorten,
}
TRANSLATED = (
    *(
        parallel.present,
        parallel.past,
        parallel.future,
        parallel.progressive,
        parallel.negative,
        parallel.wish,
    ),
    *(
        parallel.question,
        parallel.mood,
        parallel.quality,
        parallel.colour,
        parallel.location,
        parallel.existence,
    ),
    *(parallel.having, parallel.comparison),
)
ASK_TRANSLATION: dict[tuple[Lang, Lang], Lines] = {
    ("en", "zh"): lines("""
        Translate into Chinese: {text}
        Put this into Chinese: {text}
        How do you say this in Chinese? {text}
        What is this in Chinese? {text}
        Please translate this sentence into Chinese: {text}
    """),
    ("en", "en"): lines("""
        Translate into English: {text}
        Put this into English: {text}
        What does this mean in English? {text}
        How do you say this in English? {text}
        Please translate this sentence into English: {text}
    """),
    ("zh", "zh"): lines("""
        翻译成中文：{text}
        把这句话翻译成中文：{text}
        这句话用中文怎么说？{text}
        请译成中文：{text}
        这句英语是什么意思？请用中文说。{text}
    """),
    ("zh", "en"): lines("""
        翻译成英语：{text}
        把这句话翻译成英文：{text}
        这句话用英语怎么说？{text}
        请译成英语：{text}
        这句话的英文是什么？{text}
    """),
}
ASK_NEGATION: dict[Lang, Lines] = {
    "en": lines("""
        [Make|Turn] this sentence [negative|into its negative]: {text}
        Rewrite this with "not": {text}
        Say the opposite with "not": {text}
    """),
    "zh": lines("""
        把这句话[改成|变成]否定句：{text}
        用“不”字改写这句话：{text}
        改成否定的说法：{text}
    """),
}
ASK_QUESTION: dict[Lang, Lines] = {
    "en": lines("""
        Turn this sentence into a question: {text}
        [Make|Form] a question from this: {text}
        Rewrite this as a yes-or-no question: {text}
    """),
    "zh": lines("""
        把这句话[改成|变成]问句：{text}
        用“吗”字改写成问句：{text}
        改成一个问句：{text}
    """),
}
ASK_REPLACEMENT: dict[Lang, Lines] = {
    "en": lines("""
        Replace "{old}" with "{new}": {text}
        Rewrite this with "{new}" in place of "{old}": {text}
        Say the same about "{new}", not "{old}": {text}
    """),
    "zh": lines("""
        把“{old}”换成“{new}”：{text}
        用“{new}”代替“{old}”，改写这句话：{text}
        把句子里的“{old}”改成“{new}”：{text}
    """),
}
ASK_DRESS: dict[Lang, Lines] = {
    "en": lines("""
        Write this in capital letters: {text}
        [Put|Rewrite] this in capitals: {text}
        Use only capital letters: {text}
    """),
    "zh": lines("""
        给这句话加上引号：{text}
        把这句话放在引号里：{text}
        用引号把这句话引起来：{text}
    """),
}
ASK_SUMMARY: dict[Lang, Lines] = {
    "en": lines("""
        Sum this up in one sentence of at most {n} words: {text}
        In at most {n} words, what happened? {text}
        Shorten this to {n} words or fewer: {text}
    """),
    "zh": lines("""
        用一句话概括，不超过{n}个字：{text}
        用不超过{n}个字说说发生了什么：{text}
        把这段话缩短到{n}个字以内：{text}
    """),
}
BEFORE: dict[Lang, tuple[str, ...]] = {
    "en": (
        "It was a sunny day.",
        "The morning was cold.",
        "It was late.",
        "The town was quiet.",
        "It rained a little.",
    ),
    "zh": ("那天天气很好。", "早上很冷。", "天色不早了。", "城里很安静。", "下了一点雨。"),
}
AFTER: dict[Lang, tuple[str, ...]] = {
    "en": (
        "Then it was time to rest.",
        "Nothing else happened.",
        "Soon the sun went down.",
        "After that all was quiet.",
        "It took an hour.",
    ),
    "zh": (
        "然后就该休息了。",
        "别的什么也没发生。",
        "太阳很快下山了。",
        "之后一切都很安静。",
        "用了一个小时。",
    ),
}
