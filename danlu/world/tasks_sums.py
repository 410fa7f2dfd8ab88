"""Arithmetic of one to three steps, bare or as a story; the exam asks for sums that no text works out."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from danlu.world.names import Lang
from danlu.world.question import Draft, Gold
from danlu.world.splits import Split, sum_split
from danlu.world.sums import Step, counted, expression
from danlu.world.truth import World
from danlu.world.wording import Lines, capital, lines, pick, say

LARGEST = 20  # no number in an exam sum is larger
ASCII_SIGN = {"+": "+", "−": "-", "×": "*"}


def arithmetic(world: World, lang: Lang, rng: Random) -> Draft | None:
    """'What is 7 + 5?', 'Mia has 4 eggs and finds 3 more. How many eggs does she have?'"""
    n_steps = pick(rng, (1, 1, 1, 2, 2, 3))
    steps = _chain(rng, n_steps)
    if steps is None:
        return None
    story = n_steps < 3 and rng.random() < 0.4 and all(step.sign != "×" and step.right > 0 for step in steps)
    prompt = _story(lang, rng, steps) if story else _bare(lang, rng, steps)
    return Draft(split_of_steps(steps), prompt, _gold(lang, steps))


def split_of_steps(steps: Sequence[Step]) -> Split:
    """The exam's if any of its sums is, since the texts never work such a sum out."""
    splits = {sum_split(step.left, ASCII_SIGN[step.sign], step.right) for step in steps}
    return "exam" if "exam" in splits else "dev" if "dev" in splits else "train"


def _chain(rng: Random, n_steps: int) -> list[Step] | None:
    """Sums of which each goes on from the result of the one before; None where one would leave the range."""
    value = rng.randint(1, 10 if n_steps > 1 else 15)
    steps: list[Step] = []
    for _ in range(n_steps):
        sign = pick(rng, ("+", "+", "−", "−", "×"))
        right = rng.randint(2, 5) if sign == "×" else rng.randint(1, 10)
        result = {"+": value + right, "−": value - right, "×": value * right}[sign]
        if not 0 <= result <= LARGEST:
            return None
        steps.append(Step(value, sign, right, result))
        value = result
    return steps


def _bare(lang: Lang, rng: Random, steps: list[Step]) -> str:
    """The sum in figures, or for a single one in words."""
    if len(steps) == 1 and rng.random() < 0.35:
        return say(rng, IN_WORDS[lang][steps[0].sign], {"left": steps[0].left, "right": steps[0].right})
    return say(rng, ASK[lang], {"sum": expression(steps)})


def _story(lang: Lang, rng: Random, steps: list[Step]) -> str:
    """Somebody has some, gets more or loses some."""
    things = pick(rng, THINGS[lang])
    slots: dict[str, object] = {"things": things[1], "n": counted(lang, steps[0].left, things)}
    told = [say(rng, HAS[lang], slots)]
    for step, name in zip(steps, rng.sample(PEOPLE[lang], len(steps)), strict=True):
        slots |= {"name": name, "n": counted(lang, step.right, things), "k": step.right}
        told.append(capital(say(rng, (MORE if step.sign == "+" else FEWER)[lang], slots)))
    told.append(say(rng, HOW_MANY[lang], slots))
    return (" " if lang == "en" else "").join(told)


def _gold(lang: Lang, steps: list[Step]) -> Gold:
    """The result; every number of the working may be mentioned."""
    answer = steps[-1].result
    working = [number for step in steps for number in (step.left, step.right, step.result)]
    end, comma = (".", ", ") if lang == "en" else ("。", "，")
    worked = comma.join(str(step) for step in steps) + end
    short = (
        [f"The answer is {answer}.", f"It is {answer}."]
        if lang == "en"
        else [f"答案是{answer}。", f"等于{answer}。"]
    )
    if len(steps) > 1:  # nobody who shows how to do it leaves the working out
        short = [f"{worked}{' ' if lang == 'en' else ''}{short[0]}"]
    replies = [worked, *short]
    return {"rule": "number", "number": answer, "operands": working, "replies": replies}


PEOPLE: dict[Lang, tuple[str, ...]] = {
    "en": ("Tom", "Anna", "Ben", "Mia", "my brother", "the girl", "the boy", "my friend"),
    "zh": ("小明", "小红", "小华", "妹妹", "哥哥", "女孩", "男孩", "我的朋友"),
}
THINGS: dict[Lang, tuple[tuple[str, str], ...]] = {
    "en": (
        ("apple", "apples"),
        ("egg", "eggs"),
        ("book", "books"),
        ("cup", "cups"),
        ("flower", "flowers"),
        ("cake", "cakes"),
    ),
    "zh": (("个", "苹果"), ("个", "鸡蛋"), ("本", "书"), ("个", "杯子"), ("朵", "花"), ("块", "蛋糕")),
}
ASK: dict[Lang, Lines] = {
    "en": lines("""
        What is {sum}?
        How much is {sum}?
        {sum} = ?
        Work out {sum}.
        Please calculate {sum}.
        Can you tell me what {sum} is?
    """),
    "zh": lines("""
        {sum}等于几？
        {sum}是多少？
        {sum} = ?
        算一算{sum}。
        请计算{sum}。
        你能告诉我{sum}等于多少吗？
    """),
}
IN_WORDS: dict[Lang, dict[str, Lines]] = {
    "en": {
        "+": lines("""
            What is {left} plus {right}?
            Add {right} to {left}. What do you get?
        """),
        "−": lines("""
            What is {left} minus {right}?
            Take {right} away from {left}. What is left?
        """),
        "×": lines("""
            What is {left} times {right}?
            Multiply {left} by {right}.
        """),
    },
    "zh": {
        "+": lines("""
            {left}加{right}等于几？
            {left}再加上{right}是多少？
        """),
        "−": lines("""
            {left}减{right}等于几？
            从{left}里减去{right}，还剩多少？
        """),
        "×": lines("""
            {left}乘{right}等于几？
            {left}的{right}倍是多少？
        """),
    },
}
HAS: dict[Lang, Lines] = {
    "en": lines("There are {n} in a basket.\nThere are {n} on the table.\nI have {n} in my bag."),
    "zh": lines("篮子里有{n}。\n桌子上有{n}。\n我的包里有{n}。"),
}
MORE: dict[Lang, Lines] = {
    "en": lines("{name} [brings|adds|puts in] {k} more.\nThen {name} [brings|adds] {n}."),
    "zh": lines("{name}又[拿来|放进]{n}。\n后来{name}再[加上|拿来]{n}。"),
}
FEWER: dict[Lang, Lines] = {
    "en": lines("{name} takes {k} [away|of them].\nThen {name} takes {n} away."),
    "zh": lines("{name}拿走[了]{n}。\n后来{name}拿走{n}。"),
}
HOW_MANY: dict[Lang, Lines] = {
    "en": lines("How many {things} are there now?\nHow many {things} do we have in the end?"),
    "zh": lines("现在有多少{things}？\n最后有多少{things}？"),
}
