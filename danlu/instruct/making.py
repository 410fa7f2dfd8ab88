"""Rounds of self-instruct: new tasks from some that are shown, the material of each, and the answer.

Everything follows from the seeds, the settings and the replies, in this order; nothing else is kept.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from random import Random

from danlu.config import ConfigError
from danlu.data.dedup import NearDuplicates
from danlu.data.language import Lang, identify
from danlu.instruct.asking import Question, Replies, Reply
from danlu.instruct.filters import FilterConfig, fault_of_answer, fault_of_material, fault_of_task
from danlu.instruct.records import Done, Dropped, Given, Made, Outcome, id_of
from danlu.instruct.rouge import Known, words_of
from danlu.instruct.wording import (
    ask_for_answer,
    ask_for_material,
    ask_for_tasks,
    is_whole,
    read_answer,
    read_material,
    read_tasks,
)
from danlu.tokenizer.chat import Message

Score = Callable[[Sequence[Sequence[Message]]], Sequence[float | None]]  # chats → scores; None = too long


@dataclass(frozen=True, slots=True, kw_only=True)
class MakingConfig:
    n_shown: int = 8  # tasks that the model is shown when it is asked for more
    n_made_shown: int = 2  # of these, made by the model, once there are any
    n_wanted: int = 8  # tasks asked for at a time
    n_lists: int = 4  # times that tasks are asked for in a round
    n_materials: int = 1  # of each task
    n_answers: int = 1  # to each; the reward model's best is kept
    patience: int = 10  # rounds in a row that bring nothing new, after which the run ends with what there is

    def __post_init__(self) -> None:
        for name in ("n_shown", "n_wanted", "n_lists", "n_materials", "n_answers", "patience"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.n_made_shown < self.n_shown:
            raise ConfigError(
                f"n_made_shown is {self.n_made_shown}; it must be at least 0 and less than n_shown"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task that passed, on its way to an answer."""

    task: str
    lang: Lang
    shown: tuple[str, ...]
    similarity: float
    material: str = ""


class SelfInstruct:
    """What was made so far, and how more is made.

    Args:
        given: seeds by people, and what nothing may repeat.
        replies: the model that is asked.
        plain: whether it is a base model.
        score: by a reward model; None if there is none.
    """

    def __init__(
        self,
        given: Given,
        replies: Replies,
        config: MakingConfig,
        filters: FilterConfig,
        *,
        plain: bool,
        seed: int,
        score: Score | None = None,
    ) -> None:
        self.seeds, self.replies, self.config, self.filters = given.seeds, replies, config, filters
        self.plain, self.seed, self.score = plain, seed, score
        self.outcome = Outcome()
        self._known, self._known_ids = Known(), list[str]()
        for each in given.seeds:
            self._remember(each.task, each.id)
        for text in given.avoid:
            self._remember(text, "avoid")
        self._made: dict[Lang, list[tuple[str, str]]] = defaultdict(list)  # id and task
        short = [each for each in given.seeds if len(words_of(each.task)) <= filters.max_task]
        self._short: dict[Lang, list[Done]] = defaultdict(list)
        for each in short:
            self._short[each.lang].append(each)
        if not short:
            raise ConfigError(
                f"filters.max_task is {filters.max_task}; every seed's task is longer and none could be shown"
            )

    def rounds(self) -> Iterator[Outcome]:
        """What there is after each round; ends when `patience` rounds in a row brought nothing."""
        idle = 0
        while idle < self.config.patience:
            before = len(self.outcome.kept)
            self.outcome.rounds += 1
            self._answer(self._materials(self._new_tasks()))
            idle = 0 if len(self.outcome.kept) > before else idle + 1
            yield self.outcome

    def _new_tasks(self) -> list[NewTask]:
        """Lists of tasks, of each those that pass."""
        questions: list[Question] = []
        asked: list[tuple[Lang, tuple[str, ...]]] = []
        for number in range(self.config.n_lists):
            key = f"{self.outcome.rounds}/tasks/{number}"
            lang, shown = self._shown(Random(f"{self.seed}/{key}"))
            text = ask_for_tasks([task for _, task in shown], self.config.n_wanted, lang, plain=self.plain)
            questions.append(Question(key=key, text=text, plain=self.plain))
            asked.append((lang, tuple(name for name, _ in shown)))
        found: list[NewTask] = []
        for (lang, ids), reply in zip(asked, self._ask(questions), strict=True):
            if reply.fault:
                self._drop(reply.fault, "")
                continue
            tasks = read_tasks(reply.text, plain=self.plain, finished=reply.finished)
            if not tasks:
                self._drop("no task in the reply", reply.text)
            for task in tasks[: self.config.n_wanted]:
                found += self._passed(task, lang, ids)
        return found

    def _shown(self, rng: Random) -> tuple[Lang, list[tuple[str, str]]]:
        """A language and tasks of it to show, id and text."""
        langs: list[Lang] = list(self._short)
        lang: Lang = rng.choices(langs, [len(self._short[lang]) for lang in langs])[0]
        seeds, made = [(each.id, each.task) for each in self._short[lang]], self._made[lang]
        n_made = min(self.config.n_made_shown, len(made))
        shown = rng.sample(seeds, min(self.config.n_shown - n_made, len(seeds))) + rng.sample(made, n_made)
        rng.shuffle(shown)
        return lang, shown

    def _passed(self, task: str, asked: Lang, shown: tuple[str, ...]) -> Iterator[NewTask]:
        """The task, if it breaks no rule and is like none before it."""
        if fault := fault_of_task(task, self.filters):
            self._drop(fault, task)
            return
        index, similarity = self._known.closest(task)
        if similarity >= self.filters.similarity:
            self._drop("task like one before", task, self._known_ids[index])
            return
        found = identify(task)
        lang = found if found in self.filters.languages else asked
        name = id_of(task)
        self._remember(task, name)
        self._made[lang].append((name, task))
        yield NewTask(task=task, lang=lang, shown=shown, similarity=similarity)

    def _materials(self, tasks: Sequence[NewTask]) -> list[NewTask]:
        """Each task with its material, as often as different ones are wanted."""
        questions = [
            self._about(f"materials/{number}/{copy}", each, ask_for_material)
            for number, each in enumerate(tasks)
            for copy in range(self.config.n_materials)
        ]
        replies = in_groups(self._ask(questions), self.config.n_materials)
        found: list[NewTask] = []
        for task, several in zip(tasks, replies, strict=True):
            kept = dict.fromkeys(text for reply in several for text in self._material(task, reply))
            found += [replace(task, material=text) for text in kept]
        return found

    def _material(self, task: NewTask, reply: Reply) -> Iterator[str]:
        text = read_material(reply.text, task.lang)
        fault = reply.fault or fault_of_material(text, self.filters)
        if not fault and not is_whole(reply.text, task.lang, finished=reply.finished):
            fault = "material cut off"
        if fault:
            self._drop(fault, f"{task.task}\n{text}")
        else:
            yield text

    def _answer(self, tasks: Sequence[NewTask]) -> None:
        """Keep every task with its answer, or with the best of several."""
        questions = [
            self._to_answer(f"answers/{number}/{copy}", each)
            for number, each in enumerate(tasks)
            for copy in range(self.config.n_answers)
        ]
        replies = in_groups(self._ask(questions), self.config.n_answers)
        for task, several in zip(tasks, replies, strict=True):
            made = [each for reply in several for each in self._made_of(task, reply)]
            if self.score is not None:
                made = self._best(made, self.score)
            self.outcome.kept += made[:1]
            for each in made[1:]:
                self._drop("not the best answer to its task", f"{each.question}\n{each.answer}")

    def _made_of(self, task: NewTask, reply: Reply) -> Iterator[Made]:
        answer = read_answer(reply.text, task.lang, plain=self.plain)
        question = f"{task.task}\n{task.material}".strip()
        fault = reply.fault or fault_of_answer(answer, question, self.filters)
        if not fault and not (self.plain and is_whole(reply.text, task.lang, finished=False)):
            fault = "" if reply.finished else "answer cut off"
        if fault:
            self._drop(fault, f"{question}\n{answer}")
            return
        yield Made(
            id=id_of(task.task, task.material, answer),
            task=task.task,
            material=task.material,
            answer=answer,
            lang=task.lang,
            shown=task.shown,
            similarity=task.similarity,
            round=self.outcome.rounds,
        )

    def _best(self, made: Sequence[Made], score: Score) -> list[Made]:
        """Those that can be scored, the best first."""
        scored: list[Made] = []
        for each, value in zip(made, score([each.messages for each in made]), strict=True):
            if value is None:
                self._drop("too long for the reward model", f"{each.question}\n{each.answer}")
            else:
                scored.append(replace(each, score=value))
        return sorted(scored, key=lambda each: -(each.score or 0.0))

    def _about(
        self, what: str, task: NewTask, wording: Callable[[str, Sequence[Done], Lang], str]
    ) -> Question:
        """A question about a task, beside seeds of its language with and without material."""
        key = f"{self.outcome.rounds}/{what}"
        rng = Random(f"{self.seed}/{key}")
        own = [each for each in self.seeds if each.lang == task.lang]
        kinds = [[each for each in own if bool(each.material) == given] for given in (True, False)]
        # Without seeds of both kinds the model would not see that there are two.
        shown = [each for kind in kinds for each in rng.sample(kind, 2)] if min(map(len, kinds)) > 1 else []
        rng.shuffle(shown)
        return Question(key=key, text=wording(task.task, shown, task.lang), plain=self.plain)

    def _to_answer(self, what: str, task: NewTask) -> Question:
        key = f"{self.outcome.rounds}/{what}"
        if not self.plain:
            return Question(key=key, text=f"{task.task}\n{task.material}".strip())
        own = [each for each in self.seeds if each.lang == task.lang] or self.seeds
        shown = Random(f"{self.seed}/{key}").sample(own, min(3, len(own)))
        text = ask_for_answer(task.task, task.material, shown, task.lang)
        return Question(key=key, text=text, plain=True)

    def _ask(self, questions: Sequence[Question]) -> list[Reply]:
        self.outcome.n_questions += len(questions)
        return self.replies.of(questions) if questions else []

    def _remember(self, text: str, name: str) -> None:
        self._known.add(text)
        self._known_ids.append(name)

    def _drop(self, why: str, text: str, like: str = "") -> None:
        self.outcome.dropped.append(Dropped(why=why, text=text, round=self.outcome.rounds, like=like))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What of all that was made goes into the file."""

    kept: list[Made] = field(default_factory=list[Made])
    dropped: list[Dropped] = field(default_factory=list[Dropped])


def in_groups(replies: Sequence[Reply], size: int) -> list[Sequence[Reply]]:
    """Consecutive replies, `size` at a time."""
    return [replies[first : first + size] for first in range(0, len(replies), size)]


def sift(outcome: Outcome, given: Given, filters: FilterConfig, keep_best: float) -> Choice:
    """Leave out what nearly repeats something, then all but the best share by score."""
    near = NearDuplicates(filters.near_duplicates)
    texts = [*(f"{each.question}\n{each.answer}" for each in given.seeds), *given.avoid]
    for text in (*texts, *(f"{each.question}\n{each.answer}" for each in outcome.kept)):
        near.add(text)
    names = [*(each.id for each in given.seeds), *("avoid" for _ in given.avoid)]
    names += [each.id for each in outcome.kept]
    choice = Choice()
    for each, earlier in zip(outcome.kept, near.repeats()[len(texts) :], strict=True):
        if earlier < 0:
            choice.kept.append(each)
        else:
            choice.dropped.append(_dropped("near duplicate", each, names[earlier]))
    return choice if keep_best == 1 else best_of(choice, keep_best)


def best_of(choice: Choice, share: float) -> Choice:
    """The share of the highest scores, in the order in which they were made."""
    by_score = sorted(choice.kept, key=lambda each: -(each.score or 0.0))
    best = {each.id for each in by_score[: ceil(share * len(by_score))]}
    worse = [_dropped("low score", each) for each in choice.kept if each.id not in best]
    return Choice(kept=[each for each in choice.kept if each.id in best], dropped=[*choice.dropped, *worse])


def account(outcome: Outcome, choice: Choice) -> Counter[str]:
    """How often each rule dropped something."""
    return Counter(each.why for each in (*outcome.dropped, *choice.dropped))


def _dropped(why: str, made: Made, like: str = "") -> Dropped:
    return Dropped(why=why, text=f"{made.question}\n{made.answer}", round=made.round, like=like)
