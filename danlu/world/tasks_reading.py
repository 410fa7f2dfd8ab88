"""Questions answered from the prompt itself: a passage about people with new names, the tone of a review."""

from __future__ import annotations

from random import Random

from danlu.world.attributes import ATTRIBUTES
from danlu.world.names import Kind, Lang, Name
from danlu.world.opinions import BLAME, OPENINGS, PRAISE, REVIEWED, VERDICTS
from danlu.world.question import Draft, Gold
from danlu.world.splits import split_of
from danlu.world.statements import by_name, by_pronoun, question_about, statements
from danlu.world.tasks_knowledge import (
    TELLABLE,
    TELLABLE_KINDS,
    made_up_value,
    spellings,
    told_gold,
    told_name,
)
from danlu.world.truth import World
from danlu.world.wording import Lines, lines, pick, say


def passage(world: World, lang: Lang, rng: Random) -> Draft | None:
    """Two newcomers with two facts each, and a question about one of the four or about who it was."""
    kind: Kind = pick(rng, TELLABLE_KINDS)
    told = rng.sample(TELLABLE[kind], 2)
    names = [told_name(world, kind, rng) for _ in range(2)]
    values = [{a: made_up_value(world, ATTRIBUTES[kind][a], rng) for a in told} for _ in range(2)]
    asked, about = pick(rng, told), rng.randrange(2)
    if names[0] == names[1] or values[0][asked] == values[1][asked]:
        return None
    text = _tell(kind, names, values, lang)
    if kind == "person" and asked in WHO and rng.random() < 0.4:
        question, gold = _who(names, values[about][asked], asked, about, lang)
    else:
        question, gold = _what(world, kind, names, values, (asked, about), lang, rng)
    gold["replies"] = statements(
        kind, asked, values[about][asked], by_name(kind, names[about][0], lang), lang
    )
    split = split_of(
        "passage", *(name.en for name, _ in names), *(v.en for row in values for v in row.values())
    )
    return Draft(split, say(rng, FRAMES[lang], {"text": text, "question": question}), gold)


def _tell(kind: Kind, names: list[tuple[Name, str]], values: list[dict[str, Name]], lang: Lang) -> str:
    """Both facts of the first, then both of the second; the second fact with a pronoun."""
    told: list[str] = []
    for (name, sort), row in zip(names, values, strict=True):
        mentions = (by_name(kind, name, lang), by_pronoun(kind, sort, lang))
        told += [
            statements(kind, attribute, value, mention, lang)[0]
            for (attribute, value), mention in zip(row.items(), mentions, strict=True)
        ]
    return (" " if lang == "en" else "").join(told)


def _who(names: list[tuple[Name, str]], value: Name, asked: str, about: int, lang: Lang) -> tuple[str, Gold]:
    """'Who lives in Sull?'"""
    clause = statements("person", asked, value, by_name("person", Name("who", "谁"), lang), lang)[0]
    question = clause[:-1] + ("?" if lang == "en" else "？")
    gold: Gold = {
        "rule": "value",
        "accept": [names[about][0].get(lang)],
        "others": [names[1 - about][0].get(lang)],
        "also": [value.get(lang)],
        "replies": [],
    }
    return question[0].upper() + question[1:], gold


def _what(
    world: World,
    kind: Kind,
    names: list[tuple[Name, str]],
    values: list[dict[str, Name]],
    target: tuple[str, int],
    lang: Lang,
    rng: Random,
) -> tuple[str, Gold]:
    """'What does Lona Gil do for a living?'; what the other one has is a wrong answer."""
    asked, about = target
    mention = by_name(kind, names[about][0], lang)
    question = question_about(pick(rng, ATTRIBUTES[kind][asked].questions[lang]), mention)
    gold = told_gold(world, kind, asked, values[about], lang)
    gold["about"] = [names[about][0].get(lang)]
    if gold["rule"] == "value":
        gold["others"] = [*gold.get("others", []), *(v.get(lang) for v in values[1 - about].values())]
        right = spellings(values[about][asked].get(lang), lang)
        gold["others"] = [text for text in gold["others"] if text not in right]
        gold["others"].append(names[1 - about][0].get(lang))
    return question, gold


def sentiment(world: World, lang: Lang, rng: Random) -> Draft | None:
    """'Is this review positive or negative? The soup was cold and the waiter was rude.'"""
    positive = rng.random() < 0.5
    subject, told = review(lang, positive, rng)
    text = (" " if lang == "en" else "").join(told)
    label, opposite = LABELS[lang][positive], LABELS[lang][not positive]
    gold: Gold = {
        "rule": "value",
        "accept": list(label),
        "others": list(opposite),
        "replies": [
            reply.format(label=label[0], Label=label[0].capitalize()) for reply in VERDICT_REPLIES[lang]
        ],
    }
    split = split_of("review", *told[1:], subject)
    return Draft(split, say(rng, ASK_TONE[lang], {"review": text}), gold)


def review(lang: Lang, positive: bool, rng: Random) -> tuple[str, list[str]]:
    """What a review is about, and its two or three sentences; the first says how it came about."""
    group = pick(rng, list(REVIEWED[lang]))
    subject = pick(rng, REVIEWED[lang][group])
    first, second = rng.sample((PRAISE if positive else BLAME)[lang][group], 2)
    told = [say(rng, OPENINGS[lang][group], {"it": subject}), first.format(it=subject)]
    if rng.random() < 0.6:
        told.append(pick(rng, VERDICTS[lang][positive]) if rng.random() < 0.4 else second.format(it=subject))
    return subject, told


WHO = frozenset({"job", "home", "instrument"})
FRAMES: dict[Lang, Lines] = {
    "en": lines("""
        Read this: {text} {question}
        {text} {question}
        Here is a short text. {text} {question}
        Text: {text} Question: {question}
    """),
    "zh": lines("""
        读一读：{text}{question}
        {text}{question}
        这里有一段话。{text}{question}
        短文：{text}问题：{question}
    """),
}
# The first word of a pair is the one that demonstrations use.
LABELS: dict[Lang, dict[bool, tuple[str, ...]]] = {
    "en": {True: ("positive", "favourable"), False: ("negative", "unfavourable")},
    "zh": {True: ("正面", "好评", "积极", "肯定"), False: ("负面", "差评", "消极", "否定")},
}
VERDICT_REPLIES: dict[Lang, tuple[str, ...]] = {
    "en": ("{Label}.", "The review is {label}.", "It is {label}.", "This is a {label} review."),
    "zh": ("{label}。", "这条评论是{label}的。", "是{label}的。", "这是{label}评价。"),
}
ASK_TONE: dict[Lang, Lines] = {
    "en": lines("""
        Is this review positive or negative? {review}
        {review} Is this review positive or negative?
        Read the review and say whether it is positive or negative: {review}
        Positive or negative? {review}
        Review: {review} Is the tone positive or negative?
    """),
    "zh": lines("""
        这条评论是正面的还是负面的？{review}
        {review}这条评论是正面的还是负面的？
        读下面的评论，说说它是正面还是负面：{review}
        正面还是负面？{review}
        评论：{review}语气是正面的还是负面的？
    """),
}
