"""Where the prompts of RLHF's rounds come from, and who says what the answers are worth in the end.

Either the embedded world, whose truth is known and whose annotators rank, or a file of prompts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from danlu.config import ConfigError
from danlu.evaluate.exam import run_exam
from danlu.generate.sampling import SamplingConfig
from danlu.recipes.answering import answerer
from danlu.recipes.embedded import Teacher, sample_completions, sample_texts
from danlu.recipes.jsonl import write_jsonl
from danlu.recipes.preferences import compare_speakers
from danlu.recipes.ranking_tasks import Record, lot_of
from danlu.recipes.round_settings import RankingsConfig
from danlu.recipes.speaker import load_speaker
from danlu.rl.judges import TrueScore
from danlu.train.checkpoint import replace_file
from danlu.world import annotators
from danlu.world.grading import grade
from danlu.world.judging import true_score
from danlu.world.question import Question
from danlu.world.tasks import questions


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is asked for other purposes than ranking."""

    n_prompts: int  # for PPO to practise on, where there is no end of them
    n_watched: int
    max_new_tokens: int


class Asking(Protocol):
    """Prompts for every purpose, `{"id", "messages"}` each, and a judge of the whole."""

    def tasks(self, model: Path, number: int) -> Iterator[Record]:
        """Prompts that no earlier round had, with completions by `model`, for ranking in round `number`."""
        ...

    def rank(self, tasks: Sequence[Record], number: int) -> Sequence[Mapping[str, Any]]:
        """Rankings by whoever lives where the prompts come from."""
        ...

    def to_practise(self, number: int) -> list[Record]:
        """What PPO asks in round `number`."""
        ...

    def to_watch(self) -> list[Record]:
        """What the guard asks, the same in every round and no part of any training."""
        ...

    def true_score(self, number: int) -> TrueScore | None:
        """What answers to the last two are worth, where that is known."""
        ...

    def measure(self, policy: Path, reward_model: Path) -> dict[str, Any]:
        """How well a reward model knows the truth about a policy's answers, where there is one."""
        ...

    def examine(self, before: Path | None, after: Path, judges: Sequence[Path], folder: Path) -> None:
        """Examine the model `after` a round, or at the beginning, when there is none `before`."""
        ...


class WorldAsks:
    """The embedded world: fresh questions for every round, annotators, and the exam."""

    def __init__(self, teacher: Teacher, config: RankingsConfig, amounts: Amounts, seed: int) -> None:
        self.teacher, self.config, self.amounts, self.seed = teacher, config, amounts, seed

    def tasks(self, model: Path, number: int) -> Iterator[Record]:
        asked = list(self.to_rank(number).values())
        seed = self.seed * 1009 + number
        completions = sample_completions(model, asked, self.teacher.config, seed)
        for question, texts in zip(asked, completions, strict=True):
            yield {**record_of(question), "completions": texts}

    def to_rank(self, number: int) -> dict[str, Question]:
        """Questions of round `number`: a longer draw begins like a shorter one, and those are left out."""
        n, seed = self.config.n_prompts, self.seed + FOR_RANKING
        try:
            drawn = self.teacher.practise(n * number, seed)
        except ValueError as error:
            raise ConfigError(f"rankings.n_prompts is {n} and this is round {number}: {error}") from None
        earlier = self.teacher.practise(n * (number - 1), seed)
        return {name: question for name, question in drawn.items() if name not in earlier}

    def rank(self, tasks: Sequence[Record], number: int) -> Sequence[Mapping[str, Any]]:
        asked = self.to_rank(number)
        people = annotators.pool(self.teacher.seed, self.config.n_annotators)
        questions_of = [asked[task["id"]] for task in tasks]
        return annotators.collect(questions_of, [task["completions"] for task in tasks], people, self.seed)

    def to_practise(self, number: int) -> list[Record]:
        return [prompt_of(question) for question in self._practice(number).values()]

    def to_watch(self) -> list[Record]:
        return [prompt_of(question) for question in self._watched.values()]

    def true_score(self, number: int) -> TrueScore | None:
        known = {**self._practice(number), **self._watched}
        return lambda name, completion: true_score(known[name], completion)

    def measure(self, policy: Path, reward_model: Path) -> dict[str, Any]:
        return self.teacher.judge(policy, reward_model)

    def examine(self, before: Path | None, after: Path, judges: Sequence[Path], folder: Path) -> None:
        asked = questions(self.teacher.world, "exam", self.teacher.exam_per_cell, self.teacher.seed)
        marked = run_exam(asked, answerer(load_speaker(after)), grade)
        worth = [replace(g, score=true_score(q, g.answer)) for q, g in zip(asked, marked, strict=True)]
        write_jsonl(folder / "exam.jsonl", map(asdict, marked))
        write_jsonl(folder / "true_score.jsonl", map(asdict, worth))

    def _practice(self, number: int) -> dict[str, Question]:
        return self.teacher.practise(self.amounts.n_prompts, self.seed + FOR_PRACTICE + 1009 * number)

    @cached_property
    def _watched(self) -> dict[str, Question]:
        return self.teacher.draw("dev", self.amounts.n_watched, self.seed + FOR_PRACTICE)


class FileAsks:
    """A file of prompts, divided by first question: some are watched, some examined, most trained on."""

    def __init__(
        self, prompts: Sequence[Record], config: RankingsConfig, amounts: Amounts, seed: int
    ) -> None:
        self.config, self.amounts, self.seed = config, amounts, seed
        self.parts: dict[str, list[Record]] = {"watched": [], "examined": [], "trained": []}
        for record in sorted(prompts, key=lambda record: lot_of(record["messages"], f"order {seed}")):
            lot = lot_of(record["messages"], "prompts")
            name = "watched" if lot < WATCHED else "examined" if lot < EXAMINED else "trained"
            self.parts[name].append(record)

    def tasks(self, model: Path, number: int) -> Iterator[Record]:
        n, prompts = self.config.n_prompts, self.parts["trained"]
        asked = prompts[n * (number - 1) : n * number]
        if len(asked) < n:
            raise ConfigError(
                f"rankings.n_prompts is {n}: round {number} needs prompts that no earlier round had, and of "
                f"the {len(prompts)} that may be trained on {len(asked)} are left; name more, or rank fewer"
            )
        sampling = SamplingConfig(max_new_tokens=self.amounts.max_new_tokens, seed=self.seed * 1009 + number)
        completions = sample_texts(
            model, [record["messages"] for record in asked], sampling, self.config.n_completions
        )
        for record, texts in zip(asked, completions, strict=True):
            yield {"id": record["id"], "prompt": record["messages"], "completions": texts}

    def rank(self, tasks: Sequence[Record], number: int) -> Sequence[Mapping[str, Any]]:
        raise ConfigError("rankings.by is 'annotators', and these know the embedded world only")

    def to_practise(self, number: int) -> list[Record]:
        return self.parts["trained"]

    def to_watch(self) -> list[Record]:
        return self.parts["watched"][: self.amounts.n_watched]

    def true_score(self, number: int) -> TrueScore | None:
        return None

    def measure(self, policy: Path, reward_model: Path) -> dict[str, Any]:
        return {}

    def examine(self, before: Path | None, after: Path, judges: Sequence[Path], folder: Path) -> None:
        if before is None:
            return
        prompts = [record["messages"] for record in self.parts["examined"][:MOST_EXAMINED]]
        speakers = {"before": load_speaker(before), "after": load_speaker(after)}
        found = compare_speakers(judges, speakers, prompts, self.amounts.max_new_tokens)
        found["judges"] = [path.parent.name for path in judges]
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / "summary.json", json.dumps(found, indent=1))


def record_of(question: Question) -> Record:
    """A question as a task begins."""
    return {"id": question.id, "prompt": list(question.messages)}


def prompt_of(question: Question) -> Record:
    return {"id": question.id, "messages": list(question.messages)}


FOR_RANKING, FOR_PRACTICE = 31_000_003, 47_000_017  # seeds of questions, apart from those of `danlu run`
WATCHED, EXAMINED = 0.1, 0.2  # of a file's prompts, up to here; the rest is for training
MOST_EXAMINED = 400
