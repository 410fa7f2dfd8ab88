"""Worked arithmetic: tables, sums in one to three steps and small word problems, each step written out.

A single sum such as 7 + 5 belongs to one split (`splits.sum_split`); what this file writes never contains a
sum of the exam, so the exam asks for sums that no text worked out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from danlu.world.cast import Cast
from danlu.world.patterns.arithmetic import (
    ANSWER,
    ASK,
    BETWEEN,
    CHANGE,
    COMPARE,
    COUNTED,
    COUNTING,
    EVEN,
    HAVE,
    HOW_MANY,
    LEADS,
    LEFT,
    NOW_HAS,
    ODD,
    SHORT,
    SIGN_NAMES,
    SIGN_WORDS,
    SPELL,
    SPELT,
    TABLE,
)
from danlu.world.splits import sum_split
from danlu.world.wording import Lang, capital, chance, join, pick, say


@dataclass(frozen=True, slots=True)
class Step:
    """One written sum; `sign` is the sign as printed."""

    left: int
    sign: str
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right} = {self.result}"


@lru_cache(maxsize=8)
def steps_from(largest: int) -> tuple[tuple[Step, ...], ...]:
    """For every number up to `largest`, the sums that may follow it in print; no exam sum among them."""
    return tuple(tuple(_steps(left, largest)) for left in range(largest + 1))


def _steps(left: int, largest: int) -> list[Step]:
    """Small steps weigh more: those are what must be known by heart."""
    found: list[Step] = []
    for right in range(largest + 1):
        weight = 4 if 0 < right <= 10 else 1
        for sign, operator, result in (("+", "+", left + right), ("−", "-", left - right)):
            if 0 <= result <= largest and sum_split(left, operator, right) != "exam":
                found += [Step(left, sign, right, result)] * weight
        product = left * right
        if left > 1 and right > 1 and product <= largest and sum_split(left, "*", right) != "exam":
            found += [Step(left, "×", right, product)] * 3
    return found


def largest_number(cast: Cast) -> int:
    """Up to 20 in small worlds; up to 100 where there is text enough to learn it."""
    return 20 if len(cast.people) < 100 else 100


def chain(rng: Random, n_steps: int, largest: int) -> list[Step]:
    """Sums of which each goes on from the result of the one before."""
    follow = steps_from(largest)
    value = int(rng.random() * (min(largest, 12) + 1))
    found: list[Step] = []
    for _ in range(n_steps):
        found.append(pick(rng, follow[value]))
        value = found[-1].result
    return found


def expression(steps: list[Step]) -> str:
    """The whole sum in one line, such as (3 + 4) × 2; brackets where × follows + or −."""
    text = str(steps[0].left)
    for before, step in zip([None, *steps], steps, strict=False):
        if before is not None and step.sign == "×" and before.sign != "×":
            text = f"({text})"
        text += f" {step.sign} {step.right}"
    return text


def sums(cast: Cast, rng: Random) -> str:
    """One document of arithmetic."""
    return pick(rng, FORMS)(cast, rng)


def table(cast: Cast, rng: Random) -> str:
    """Part of a table by heart: 3 + 0, 3 + 1 and so on, in order or shuffled."""
    largest = largest_number(cast)
    sign = pick(rng, ("+", "+", "−", "×"))
    left = 1 + int(rng.random() * (9 if sign != "−" else min(largest, 20)))
    rows = sorted({step for step in steps_from(largest)[left] if step.sign == sign}, key=lambda s: s.right)
    rows = [step for step in rows if step.right <= max(10, left)]
    if len(rows) < 3:
        return worked(cast, rng)
    if chance(rng, 0.6):
        rng.shuffle(rows)
    slots = {"left": left, "name": SIGN_NAMES[cast.lang][sign]}
    between = pick(rng, (". ", "\n", "; ") if cast.lang == "en" else ("。", "\n", "；"))
    end = "" if between == "\n" else "." if cast.lang == "en" else "。"
    return capital(say(rng, TABLE[cast.lang], slots)) + "\n" + between.join(map(str, rows[:12])) + end


def worked(cast: Cast, rng: Random) -> str:
    """One to four sums, each with its steps and its answer."""
    n = 1 + int(rng.random() * 4)
    return pick(rng, ("\n", "\n\n")).join(_worked(cast, rng) for _ in range(n))


def _worked(cast: Cast, rng: Random) -> str:
    steps = chain(rng, 1 + int(rng.random() * 3), largest_number(cast))
    slots = {"sum": expression(steps), "answer": steps[-1].result}
    return join(
        cast.lang,
        [
            say(rng, ASK[cast.lang], slots),
            _in_order(cast.lang, rng, steps),
            say(rng, ANSWER[cast.lang], slots) if len(steps) > 1 or chance(rng, 0.5) else "",
        ],
    )


def _in_order(lang: Lang, rng: Random, steps: list[Step]) -> str:
    """The steps one after another, bare or led in by first, then, last."""
    leads = pick(rng, LEADS[lang]) if len(steps) > 1 else LEADS[lang][0]
    return join(lang, [leads[min(i, 2)].format(step=step) for i, step in enumerate(steps)])


def problems(cast: Cast, rng: Random) -> str:
    """One or two word problems with people of the world."""
    return "\n\n".join(_problem(cast, rng) for _ in range(1 + int(rng.random() * 2)))


def _problem(cast: Cast, rng: Random) -> str:
    lang, things = cast.lang, pick(rng, COUNTED[cast.lang])
    steps = [step for step in chain(rng, 1 + int(rng.random() * 3), largest_number(cast)) if step.right > 0]
    if not steps or steps[0].left == 0 or steps[0].sign == "×":
        steps = [Step(2, "+", 1, 3)] if sum_split(2, "+", 1) != "exam" else [pick(rng, steps_from(20)[5])]
    person, other = cast.two(rng)
    slots: dict[str, object] = {**person.as_a, **other.as_b, "things": things[1]}
    slots["n"] = counted(lang, steps[0].left, things)
    told = [say(rng, HAVE[lang], slots)]
    for step in steps:
        slots["n"], slots["k"] = counted(lang, step.right, things), step.right
        told.append(say(rng, CHANGE[lang][step.sign], slots))
    slots |= {"answer": steps[-1].result, "n": counted(lang, steps[-1].result, things)}
    told.append(say(rng, (HOW_MANY if steps[-1].sign != "−" else LEFT)[lang], slots))
    told.append(_in_order(lang, rng, steps))
    told.append(say(rng, (ANSWER if chance(rng, 0.5) else NOW_HAS)[lang], slots))
    return join(lang, told)


def counted(lang: Lang, number: int, things: tuple[str, str]) -> str:
    """A number with its noun: 1 apple, 3 apples, 3个苹果."""
    if lang == "zh":
        return f"{number}{things[0]}{things[1]}"
    return f"{number} {things[0] if number == 1 else things[1]}"


def question_and_answer(cast: Cast, rng: Random) -> str:
    """Short questions with short answers, as on an exercise sheet."""
    told: list[str] = []
    for _ in range(2 + int(rng.random() * 5)):
        step = chain(rng, 1, largest_number(cast))[0]
        sign = SIGN_WORDS[cast.lang][step.sign]
        slots = {"sum": expression([step]), "answer": step.result, "step": str(step)}
        slots |= {"left": step.left, "sign": sign, "right": step.right}
        told.append(say(rng, SHORT[cast.lang], slots))
    return "\n".join(told)


def numbers(cast: Cast, rng: Random) -> str:
    """Counting, comparing, doubling, odd and even, number words."""
    forms = rng.sample(NUMBER_FORMS, 2 + int(rng.random() * 4))
    return join(cast.lang, [form(cast.lang, rng, largest_number(cast)) for form in forms])


def _count_on(lang: Lang, rng: Random, largest: int) -> str:
    start, stride = int(rng.random() * (largest - 8)), pick(rng, (1, 1, 1, 2, -1))
    row = [start + stride * i for i in range(6)]
    row = [value for value in row if 0 <= value <= largest]
    return say(rng, COUNTING[lang][stride], {"row": (", " if lang == "en" else "、").join(map(str, row))})


def _compare(lang: Lang, rng: Random, largest: int) -> str:
    low, high = sorted(rng.sample(range(largest + 1), 2))
    return say(rng, COMPARE[lang], {"low": low, "high": high})


def _spell(lang: Lang, rng: Random, largest: int) -> str:
    value = int(rng.random() * 21)
    return say(
        rng, SPELL[lang], {"value": value, "word": SPELT[lang][value], "Word": capital(SPELT[lang][value])}
    )


def _odd_or_even(lang: Lang, rng: Random, largest: int) -> str:
    value = int(rng.random() * (largest + 1))
    return say(rng, (ODD if value % 2 else EVEN)[lang], {"value": value})


def _neighbours(lang: Lang, rng: Random, largest: int) -> str:
    value = 1 + int(rng.random() * (largest - 1))
    return say(rng, BETWEEN[lang], {"value": value, "before": value - 1, "after": value + 1})


NUMBER_FORMS = (_count_on, _compare, _compare, _spell, _odd_or_even, _neighbours)
# Worked sums and word problems come twice, since the exam asks for these.
FORMS = (table, worked, worked, problems, problems, question_and_answer, numbers)
