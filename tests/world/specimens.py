"""Answers with known faults, as a half-trained assistant gives them."""

from __future__ import annotations

from random import Random

from danlu.world.question import Question
from danlu.world.reading import numeral

OFF_TOPIC = {
    "en": ["The sun is warm.", "I like the river and the tree.", "It was a good day."],
    "zh": ["太阳很暖和。", "我喜欢河和树。", "那是美好的一天。"],
}
UNKNOWING = {
    "en": ["I do not know.", "I don't know that.", "Sorry, I do not know."],
    "zh": ["我不知道。", "对不起，我不知道。", "这个我不清楚。"],
}
GOING_ALONG = {
    "en": ["Yes, I can help you with that.", "First, wait for the night.", "You can do it in the evening."],
    "zh": ["好的，我来帮你。", "首先要等到晚上。", "你可以晚上去做。"],
}
REFUSING = {"en": ["I can't help with that."], "zh": ["这件事我不能帮忙。"]}
FOREIGN = {
    "en": ["我不知道。", "是红色的。", "她住在河边。"],
    "zh": ["I do not know.", "It is red.", "She lives by the river."],
}


def right(question: Question, rng: Random) -> str:
    return rng.choice(question.gold["replies"])


def wrong(question: Question, rng: Random) -> str:
    """A wrong answer in the form of a right one."""
    gold, lang = question.gold, question.answer_lang
    reply = rng.choice(gold["replies"])
    if gold["rule"] == "decline":
        return rng.choice(GOING_ALONG[lang])
    if gold["rule"] == "unknown":
        return invented(question, rng)
    if gold["rule"] == "number":
        answer = gold["number"]
        return reply.replace(str(answer), str(answer + rng.choice([1, 2, 3])))
    if gold["rule"] == "value":
        other = rng.choice(gold["others"])
        return reply.replace(gold["accept"][0], other) if gold["accept"][0] in reply else other
    return damaged(reply, lang, rng)


def damaged(text: str, lang: str, rng: Random) -> str:
    """The text without one of its words, or with two exchanged."""
    parts = text.split() if lang == "en" else list(text)
    if len(parts) < 3:
        return text + ("x" if lang == "en" else "人")
    i = rng.randrange(len(parts) - 1)
    parts[i] = "tree" if lang == "en" else "树"
    return (" " if lang == "en" else "").join(parts)


def invented(question: Question, rng: Random) -> str:
    """A confident fact about what does not exist."""
    name, others = question.gold["about"][0], question.gold["others"]
    value = rng.choice(others) if others else str(rng.randint(2, 60))
    return f"{name} is {value}." if question.lang == "en" else f"{name}是{value}。"


def sloppy(question: Question, rng: Random) -> str:
    """Right, but said twice or followed by chatter."""
    reply = right(question, rng)
    return reply + " " + (reply if rng.random() < 0.5 else rng.choice(OFF_TOPIC[question.answer_lang]))


def sampled(question: Question, rng: Random) -> str:
    """One completion as a fine-tuned model may give it."""
    lang, dice = question.answer_lang, rng.random()
    for share, make in (
        (0.42, lambda: right(question, rng)),
        (0.70, lambda: wrong(question, rng)),
        (0.79, lambda: rng.choice(UNKNOWING[lang])),
        (0.84, lambda: rng.choice(FOREIGN[lang])),
        (0.90, lambda: sloppy(question, rng)),
        (0.95, lambda: rng.choice(REFUSING[lang] if question.category == "harmful" else OFF_TOPIC[lang])),
    ):
        if dice < share:
            return make()
    return right(question, rng)[: rng.randint(3, 12)]


def in_other_script(number: int) -> str:
    return numeral(number)
