"""Short texts with questions about them: the answer stands in the text and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from danlu.world.cast import Cast
from danlu.world.names import Kind, Name
from danlu.world.newcomers import TELLABLE, Newcomer, newcomer
from danlu.world.statements import by_name, statements
from danlu.world.stories import passage as story_passage
from danlu.world.wording import Lang, Lines, chance, join, lines, pick, say


def passage(cast: Cast, rng: Random) -> str:
    """A text and one to three questions with their answers."""
    if chance(rng, 0.3):
        text, question, answer = story_passage(cast, rng)
        return _framed(cast.lang, rng, text, [(question, answer)])
    kind, n = pick(rng, KINDS), 1 + int(rng.random() * 3)
    told = rng.sample(TELLABLE[kind], 2 if n > 1 else 3)
    new = _different(cast, rng, kind, n, told)
    text = _tell(cast.lang, rng, new, told)
    asked = [_question(cast.lang, rng, new, told) for _ in range(1 + int(rng.random() * 3))]
    return _framed(cast.lang, rng, text, list(dict(asked).items()))


def _different(cast: Cast, rng: Random, kind: Kind, n: int, told: Sequence[str]) -> list[Newcomer]:
    """Newcomers of whom no two have the same name or the same value for anything that is told."""
    people: list[Newcomer] = []
    while len(people) < n:
        person = newcomer(cast, rng, kind, told)
        if all(person.name != p.name and all(person.values[a] != p.values[a] for a in told) for p in people):
            people.append(person)
    return people


def _tell(lang: Lang, rng: Random, people: Sequence[Newcomer], told: Sequence[str]) -> str:
    """The same facts of each in turn: the first by name, the others mostly with a pronoun."""
    sentences: list[str] = []
    for person in people:
        for i, attribute in enumerate(told):
            mention = person.named(lang) if i == 0 or chance(rng, 0.15) else person.pronoun(lang)
            sentences.append(person.statement(attribute, mention, lang, rng))
    return join(lang, sentences)


def _question(lang: Lang, rng: Random, people: Sequence[Newcomer], told: Sequence[str]) -> tuple[str, str]:
    """What somebody is or has, or who it is that does."""
    person, attribute = pick(rng, people), pick(rng, told)
    if person.kind == "person" and attribute in WHO and chance(rng, 0.3):
        who = by_name("person", WHO_NAME, lang)
        clause = statements("person", attribute, person.values[attribute], who, lang)[0]
        question = clause[:-1] + ("?" if lang == "en" else "？")
        return question, person.name.get(lang) + ("." if lang == "en" else "。")
    question = person.question(attribute, person.named(lang), lang, rng)
    return question, person.reply(attribute, lang, rng)


def _framed(lang: Lang, rng: Random, text: str, asked: Sequence[tuple[str, str]]) -> str:
    """The text, then its questions, in one of many layouts."""
    layout = pick(rng, LAYOUTS[lang])
    told = "".join(pick(rng, layout[1]).format(question=q, answer=a) for q, a in asked)
    return say(rng, layout[0], {"text": text}) + told


KINDS: Sequence[Kind] = ("person", "person", "person", "animal", "thing")
WHO_NAME = Name("who", "谁")
WHO = frozenset({"job", "home", "instrument", "pet"})
# How the text is led in, and how each question with its answer goes on from it.
LAYOUTS: Mapping[Lang, tuple[tuple[Lines, tuple[str, ...]], ...]] = {
    "en": (
        (
            lines("""
                [Read this|Read the text|A short text]: {text}
                Text: {text}
                {text}
            """),
            ("\nQuestion: {question} Answer: {answer}", "\nQuestion: {question}\nAnswer: {answer}"),
        ),
        (lines("{text}"), ("\n{question} {answer}", "\n{question}\n{answer}")),
        (
            lines("""
                Reading exercise: {text}
                Read and answer. {text}
                Here is a short text. {text}
            """),
            ("\nQ: {question}\nA: {answer}", "\n- {question} - {answer}", "\n{question} {answer}"),
        ),
        (
            lines("""
                The teacher read aloud: "{text}"
                In the newspaper stood: "{text}"
            """),
            (
                '\nThen the question was: "{question}" The right answer is: "{answer}"',
                '\n"{question}" "{answer}"',
            ),
        ),
    ),
    "zh": (
        (
            lines("""
                [读一读|阅读下面的话|一段短文]：{text}
                短文：{text}
                {text}
            """),
            ("\n问题：{question}答案：{answer}", "\n问题：{question}\n答案：{answer}"),
        ),
        (lines("{text}"), ("\n{question}{answer}", "\n{question}\n{answer}")),
        (
            lines("""
                阅读练习：{text}
                读完以后回答。{text}
                这里有一段话。{text}
            """),
            ("\n问：{question}\n答：{answer}", "\n- {question}——{answer}", "\n{question}{answer}"),
        ),
        (
            lines("""
                老师念道：“{text}”
                报纸上写着：“{text}”
            """),
            ("\n然后问：“{question}”正确的回答是：“{answer}”", "\n“{question}”“{answer}”"),
        ),
    ),
}
