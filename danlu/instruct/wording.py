"""In which words a model is asked, in both languages, and how its reply is read.

Every question has two forms: what a user says to an assistant, and a plain text to go on with, for a base
model, which knows no turns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from danlu.data.language import Lang
from danlu.instruct.records import Done


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The words of one language."""

    more: str  # asks for more tasks: {n} are shown, {wanted} are wanted, counting from {first}
    list_of: str  # stands above a plain list of tasks
    give: str  # asks for the material of the last task
    done: str  # stands above plain tasks with their answers
    task: str
    material: str
    answer: str
    none: str  # that a task needs no material
    nothing: tuple[str, ...]  # further ways of saying so
    examples: tuple[tuple[str, str], ...]  # a task and its material, shown where no seed has any


ENGLISH = Wording(
    more="Here are {n} tasks that people gave to an assistant. Write {wanted} more. Let them differ from "
    "these and from each other in kind and in subject, and be such that words alone can do them. Put each on "
    "a line of its own, numbered from {first}.",
    list_of="Tasks for an assistant, each of another kind and about something else.",
    give="Some tasks need material to work on: a text, figures, a list. Others can be done as they stand. "
    "Write the material of the last task below, and nothing else; if it needs none, write: none",
    done="Tasks, each done well.",
    task="Task:",
    material="Material:",
    answer="Answer:",
    none="none",
    nothing=("no material", "no material needed", "not needed", "n/a", "no input", "<noinput>"),
    examples=(
        ("Shorten this sentence.", "The train that was to leave at noon left at two because of the snow."),
        ("Name three things that float on water.", ""),
    ),
)
CHINESE = Wording(
    more="下面是人们交给助手的 {n} 个任务。请再写 {wanted} 个，彼此之间、与这些之间，类型和题材都要不同，"
    "并且只用文字就能完成。每个占一行，从 {first} 开始编号。",
    list_of="交给助手的任务，类型和题材各不相同。",
    give="有的任务需要材料：一段文字、一些数字、一份清单；有的直接就能做。请写出下面最后一个任务的材料，"
    "不要写别的；如果不需要材料，就写：无",
    done="任务，以及做得好的答案。",
    task="任务：",
    material="材料：",
    answer="答案：",
    none="无",
    nothing=("不需要", "无需材料", "不需要材料", "没有", "无材料"),
    examples=(
        ("把这句话缩短。", "原定中午出发的那趟火车，因为下雪，到两点才开。"),
        ("说出三样能浮在水上的东西。", ""),
    ),
)
WORDINGS: Mapping[Lang, Wording] = {"en": ENGLISH, "zh": CHINESE}


def ask_for_tasks(shown: Sequence[str], wanted: int, lang: Lang, *, plain: bool) -> str:
    """Show some tasks, numbered, and ask for more."""
    words, first = WORDINGS[lang], len(shown) + 1
    lines = [f"{number}. {one_line(task)}" for number, task in enumerate(shown, start=1)]
    if plain:
        return "\n".join([words.list_of, "", *lines, f"{first}."])
    above = words.more.format(n=len(shown), wanted=wanted, first=first)
    return "\n".join([above, "", *lines])


def read_tasks(reply: str, *, plain: bool, finished: bool) -> list[str]:
    """The numbered lines of a reply; where it was cut, the last is left out."""
    text = f"0. {reply.lstrip()}" if plain else reply
    found = [(match[1].strip(), match.end()) for match in NUMBERED.finditer(text)]
    if not finished and found and not text[found[-1][1] :].strip():
        found.pop()
    return [task.strip("*").strip() for task, _ in found]


def ask_for_material(task: str, shown: Sequence[Done], lang: Lang) -> str:
    """Show some tasks with their material, and ask for that of another."""
    words = WORDINGS[lang]
    pairs = [(each.task, each.material) for each in shown] or list(words.examples)
    lines = [
        f"{words.task} {one_line(each)}\n{words.material} {material or words.none}\n"
        for each, material in pairs
    ]
    return "\n".join([words.give, "", *lines, f"{words.task} {one_line(task)}\n{words.material}"])


def read_material(reply: str, lang: Lang) -> str:
    """The material; empty where the reply says that none is needed."""
    words = WORDINGS[lang]
    text = until(reply, words.task).strip().removeprefix(words.material).strip()
    said = text.casefold().strip(".。!！()（）'\"“”` ")
    return "" if said in {words.none, *words.nothing} else text


def ask_for_answer(task: str, material: str, shown: Sequence[Done], lang: Lang) -> str:
    """Show some tasks with their answers, and leave that of another open."""
    words = WORDINGS[lang]
    lines = [f"{_posed(each.task, each.material, words)}{each.answer}\n" for each in shown]
    return "\n".join([words.done, "", *lines, _posed(task, material, words).rstrip()])


def read_answer(reply: str, lang: Lang, *, plain: bool) -> str:
    """The answer alone, without the next task that a base model goes on to write."""
    return until(reply, WORDINGS[lang].task).strip() if plain else reply.strip()


def is_whole(reply: str, lang: Lang, *, finished: bool) -> bool:
    """Whether a reply came to its end, or to where the next task begins."""
    return finished or f"\n{WORDINGS[lang].task}" in reply


def until(text: str, mark: str) -> str:
    """A text up to the line that begins with a mark."""
    return text.partition(f"\n{mark}")[0]


def one_line(text: str) -> str:
    """A text with single blanks in place of line ends."""
    return " ".join(text.split())


def _posed(task: str, material: str, words: Wording) -> str:
    given = f"{words.material} {material}\n" if material else ""
    return f"{words.task} {one_line(task)}\n{given}{words.answer} "


NUMBERED = re.compile(r"^[ \t*]*\d{1,3}[.)、．][ \t]*(\S.*)$", re.MULTILINE)
