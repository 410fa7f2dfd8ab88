"""Tasks that want a tool: sums too large for the head, what only documents say, both in turn, or neither.

They are categories of their own, drawn from random numbers of their own; those of `tasks` never see them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypedDict

from danlu.world.archive import Entry, absent, entries
from danlu.world.grading import grade
from danlu.world.names import LANGS, Lang
from danlu.world.question import Draft, Gold, Message, Question, as_question
from danlu.world.splits import Split, generator, split_of
from danlu.world.sums import Step, counted, expression
from danlu.world.tasks import MAX_MISSES
from danlu.world.tasks import cell as plain_cell
from danlu.world.tasks_sums import ASCII_SIGN, ASK, FEWER, HAS, HOW_MANY, IN_WORDS, MORE, PEOPLE, THINGS
from danlu.world.truth import World
from danlu.world.wording import Lines, capital, chance, lines, pick, say

N_ABSENT = 400  # people whom nobody tells about, in all splits
PLACE = re.compile(r"\[(.+)\]$")  # of a citation, at the end of an answer
WITHOUT = ("facts", "arithmetic", "translation", "sentiment")  # what is asked where no tool helps


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call that should be made."""

    name: str
    arguments: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ToolTask:
    """A question, the calls that it wants in their order, and the answers that are right after them."""

    question: Question
    calls: tuple[Wanted, ...]
    answers: tuple[
        str, ...
    ] = ()  # the whole answer is one of these; none where the question's own rule marks

    @property
    def id(self) -> str:
        return self.question.id

    @property
    def category(self) -> str:
        return self.question.category

    @property
    def lang(self) -> Lang:
        return self.question.lang

    @property
    def messages(self) -> tuple[Message, ...]:
        return self.question.messages


class Said(TypedDict, total=False):
    """What the marks read of a turn in OpenAI's shape."""

    role: str
    content: str
    tool_calls: Sequence[Mapping[str, Any]]


def tool_tasks(world: World, split: Split, n_per_cell: int, seed: int) -> list[ToolTask]:
    """`n_per_cell` different tasks for every category and language, cell after cell."""
    return [
        task
        for category in TOOL_CATEGORIES
        for lang in LANGS
        for task in tool_cell(world, split, category, lang, n_per_cell, seed)
    ]


def tool_cell(world: World, split: Split, category: str, lang: Lang, n: int, seed: int) -> list[ToolTask]:
    """`n` different tasks of one category in one language; of fewer that there are, an error."""
    found: dict[str, ToolTask] = {}
    rng = generator("tool tasks", world.seed, category, lang, split, seed)
    misses = 0
    while len(found) < n and misses < MAX_MISSES:
        task = TOOL_CATEGORIES[category](world, split, lang, rng)
        if task is None or task.id in found:
            misses += 1
        else:
            found[task.id] = task
            misses = 0
    if len(found) < n:
        raise ValueError(
            f"asked for {n} {split} tasks of {category!r} in {lang!r}; only {len(found)} different ones exist"
        )
    return list(found.values())


def calculator(world: World, split: Split, lang: Lang, rng: Random) -> ToolTask | None:
    """'What is 48,213 − 9,577?': nobody does that in the head."""
    steps = _large_steps(rng)
    if split_of("large sum", *(str(step) for step in steps)) != split:
        return None
    draft = Draft(split, _asked(lang, rng, steps), _sum_gold(lang, steps))
    written = ascii_sum(expression(steps))
    return ToolTask(as_question("calculator", lang, draft), (_calculate(written),))


def search(world: World, split: Split, lang: Lang, rng: Random) -> ToolTask | None:
    """'Look it up: what is the telephone number of Mira Tolen?', answered with the sentence and its place."""
    entry = pick(rng, entries(world, split, lang))
    question = entry.question(int(rng.random() * 2))
    if chance(rng, 0.15):
        return _nothing_found(world, split, lang, entry, rng)
    prompt = say(rng, LOOK_UP[lang], {"q": question})
    return _looked_up(Draft(split, prompt, _exactly((cited(entry),))), lang, question)


def search_then_calculate(world: World, split: Split, lang: Lang, rng: Random) -> ToolTask | None:
    """'Look up the telephone number of Mira Tolen and add 4711.'"""
    entry = pick(rng, entries(world, split, lang))
    if not entry.topic.noun:
        return None
    sign = pick(rng, ("+", "−", "×"))
    right = rng.randint(2, 99) if sign == "×" else rng.randint(11, max(12, entry.number - 1))
    result = {"+": entry.number + right, "−": entry.number - right, "×": entry.number * right}[sign]
    if result < 0:
        return None
    step = Step(entry.number, sign, right, result)
    noun = entry.topic.noun.format(x=entry.person.get(lang))
    prompt = say(rng, THEN[lang][sign], {"noun": noun, "k": right})
    draft = Draft(split, prompt, _exactly((f"{step} [{entry.place}]",)))
    task = _looked_up(draft, lang, entry.question(0), "search_then_calculate")
    return ToolTask(task.question, (*task.calls, _calculate(ascii_sum(expression([step])))), task.answers)


def no_tool(world: World, split: Split, lang: Lang, rng: Random) -> ToolTask | None:
    """A question of another category, with the same tools at hand: they are of no use."""
    (question,) = plain_cell(world, split, pick(rng, WITHOUT), lang, 1, rng.randrange(2**32))
    named = Question(f"no_tool-{question.id}", "no_tool", lang, question.messages, question.gold)
    return ToolTask(named, ())


def demonstrate(task: ToolTask, run: Callable[[Wanted], str], rng: Random) -> list[dict[str, Any]]:
    """The task solved: its calls, what `run` gives for each, and the answer."""
    messages: list[dict[str, Any]] = [dict(message) for message in task.messages]
    for number, wanted in enumerate(task.calls, start=1):
        function = {"name": wanted.name, "arguments": json.dumps(dict(wanted.arguments), ensure_ascii=False)}
        call = {"id": f"call_{number}", "type": "function", "function": function}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        messages.append({"role": "tool", "content": run(wanted), "tool_call_id": call["id"]})
    return [
        *messages,
        {"role": "assistant", "content": pick(rng, task.answers or task.question.gold["replies"])},
    ]


def supported(task: ToolTask, results: Sequence[str]) -> bool:
    """Whether what the tools gave bears out the answer: its place was found, or nothing where nothing is."""
    if not task.answers:
        return True
    place = PLACE.search(task.answers[0])
    return place[1] in "".join(results) if place else '"found": []' in "".join(results)


def grade_episode(task: ToolTask, said: Sequence[Said]) -> float:
    """Half for exactly the wanted calls in their order, half for a right answer: 0, 0.5 or 1."""
    return (right_calls(task, said) + right_answer(task, said)) / 2


def right_calls(task: ToolTask, said: Sequence[Said]) -> bool:
    """Whether what was said calls the wanted tools with the wanted arguments, and nothing else."""
    made = [call["function"] for turn in said for call in turn.get("tool_calls") or ()]
    wanted = [(each.name, _plain_arguments(dict(each.arguments))) for each in task.calls]
    return [(str(each["name"]), _read_arguments(each["arguments"])) for each in made] == wanted


def right_answer(task: ToolTask, said: Sequence[Said]) -> bool:
    """Whether the last thing said is a right answer, with its citation where one is due."""
    if not said or said[-1].get("role") != "assistant" or said[-1].get("tool_calls"):
        return False
    text = said[-1].get("content", "").strip()
    return text in task.answers if task.answers else grade(task.question, text) == 1.0


def grade_transcript(task: ToolTask, said: str) -> float:
    """`grade_episode` of an episode as JSON: a list of the turns that came after the question."""
    return grade_episode(task, json.loads(said))


@dataclass(frozen=True, slots=True)
class ToolExam:
    """Tool tasks with their mark: a `Task`, which an exam asks and PPO or GRPO may reward by."""

    tasks: Sequence[ToolTask]

    def questions(self) -> Sequence[ToolTask]:
        return self.tasks

    def grade(self, question: ToolTask, completion: str) -> float:
        """Of an episode as `grade_transcript` reads it."""
        return grade_transcript(question, completion)


def cited(entry: Entry) -> str:
    """A sentence word for word, with its place."""
    return f"{entry.quote} [{entry.place}]"


def ascii_sum(text: str) -> str:
    """A sum in the signs that a calculator reads."""
    return "".join(ASCII_SIGN.get(char, char) for char in text)


def _calculate(text: str) -> Wanted:
    return Wanted("calculator", {"expression": text})


def _exactly(answers: tuple[str, ...]) -> Gold:
    return {"rule": "exact", "replies": list(answers)}


def _looked_up(draft: Draft, lang: Lang, question: str, category: str = "search") -> ToolTask:
    asked = as_question(category, lang, draft)
    return ToolTask(asked, (Wanted("search", {"question": question}),), tuple(asked.gold["replies"]))


def _nothing_found(world: World, split: Split, lang: Lang, entry: Entry, rng: Random) -> ToolTask | None:
    number = rng.randrange(N_ABSENT)
    if split_of("absent", number) != split:
        return None
    question = pick(rng, entry.topic.questions).format(x=absent(world, number).get(lang))
    prompt = say(rng, LOOK_UP[lang], {"q": question})
    return _looked_up(Draft(split, prompt, _exactly(NOTHING[lang])), lang, question)


def _large_steps(rng: Random) -> list[Step]:
    """One sum of large numbers, or two in a row."""
    value = rng.randint(100, 99_999)
    steps: list[Step] = []
    for _ in range(pick(rng, (1, 1, 1, 2))):
        sign = pick(rng, ("+", "−", "×"))
        right = rng.randint(12, 999) if sign == "×" else rng.randint(100, 99_999)
        if sign == "−" and right > value:
            sign = "+"
        result = {"+": value + right, "−": value - right, "×": value * right}[sign]
        steps.append(Step(value, sign, right, result))
        value = result
    return steps


def _asked(lang: Lang, rng: Random, steps: Sequence[Step]) -> str:
    """In figures, in words, or as a story."""
    step, dice = steps[0], rng.random()
    if len(steps) > 1 or dice < 0.5:
        return say(rng, ASK[lang], {"sum": expression(list(steps))})
    if step.sign == "×" or dice < 0.75:
        return say(rng, IN_WORDS[lang][step.sign], {"left": step.left, "right": step.right})
    things = pick(rng, THINGS[lang])
    slots: dict[str, object] = {"things": things[1], "n": counted(lang, step.left, things)}
    told = [say(rng, HAS[lang], slots)]
    slots |= {"name": pick(rng, PEOPLE[lang]), "n": counted(lang, step.right, things), "k": step.right}
    told.append(capital(say(rng, (MORE if step.sign == "+" else FEWER)[lang], slots)))
    told.append(say(rng, HOW_MANY[lang], slots))
    return (" " if lang == "en" else "").join(told)


def _sum_gold(lang: Lang, steps: Sequence[Step]) -> Gold:
    result = steps[-1].result
    whole = f"{expression(list(steps))} = {result}"
    replies = (
        [f"The answer is {result}.", f"{whole}."] if lang == "en" else [f"答案是{result}。", f"{whole}。"]
    )
    working = [number for step in steps for number in (step.left, step.right, step.result)]
    return {"rule": "number", "number": result, "operands": working, "replies": replies}


def _read_arguments(text: object) -> dict[str, str] | None:
    try:
        tree = json.loads(str(text))
    except ValueError:
        return None
    return _plain_arguments(tree) if isinstance(tree, dict) else None


def _plain_arguments(arguments: Mapping[str, object]) -> dict[str, str]:
    """Spaces do not matter, nor which sign of multiplication."""
    return {name: re.sub(r"\s+", "", ascii_sum(str(value))) for name, value in arguments.items()}


TOOL_CATEGORIES: Mapping[str, Callable[[World, Split, Lang, Random], ToolTask | None]] = {
    "calculator": calculator,
    "search": search,
    "search_then_calculate": search_then_calculate,
    "no_tool": no_tool,
}
NOTHING: Mapping[Lang, tuple[str, ...]] = {
    "en": ("The documents do not say.", "Nothing in the documents answers that."),
    "zh": ("文档里没有说。", "文档里找不到答案。"),
}
LOOK_UP: Mapping[Lang, Lines] = {
    "en": lines("""
        Look it up: {q}
        [Search|Look in] the documents: {q}
        [Please look|Can you look] in the documents. {q}
        What do the documents say? {q}
    """),
    "zh": lines("""
        查一下[资料|文档]：{q}
        请在[资料|文档]里查找：{q}
        文档里怎么说？{q}
        请查一查：{q}
    """),
}
THEN: Mapping[Lang, Mapping[str, Lines]] = {
    "en": {
        "+": lines("[Look|Please look] up {noun} and add {k}.\nLook up {noun}. What is it plus {k}?"),
        "−": lines("[Look|Please look] up {noun} and take {k} away.\nLook up {noun}. What is it minus {k}?"),
        "×": lines(
            "[Look|Please look] up {noun}, then multiply by {k}.\nLook up {noun}. What is it times {k}?"
        ),
    },
    "zh": {
        "+": lines("[查一下|请查找]{noun}，再加上{k}。\n查一下{noun}，加{k}是多少？"),
        "−": lines("[查一下|请查找]{noun}，再减去{k}。\n查一下{noun}，减{k}是多少？"),
        "×": lines("[查一下|请查找]{noun}，再乘以{k}。\n查一下{noun}，乘{k}是多少？"),
    },
}
