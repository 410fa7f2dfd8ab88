"""Simulated people who rank completions, each seeing the truth through noise and habits of their own.

Two of them agree on about three pairs in four, as the labelers of InstructGPT did (Ouyang et al. 2022,
section 3.4). Nobody but them and the exam sees the truth; what they pass on is ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypedDict

from danlu.world.judging import COMFORTABLE, Quality, quality, weigh
from danlu.world.names import LANGS, Lang
from danlu.world.question import Message, Question, transcript
from danlu.world.reading import is_in, size, words
from danlu.world.splits import generator

# Calibrated to agreement of 73 to 77 % on a small model's answers, half of them to other questions.
NOISE, WHIM, LAPSE = (0.26, 0.38), (0.02, 0.04), (0.03, 0.07)
SAME = 0.1  # answers whose worth differs by less look the same to people, on average
LEAST, MOST = 2, 16  # completions in one ranking


class Comparison(TypedDict):
    """One person's ranking of the completions of one prompt; 1 is best, equal ranks are ties."""

    prompt: list[Message]
    completions: list[str]
    ranks: list[int]
    annotator: str
    lang: Lang
    category: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotator:
    """A person; all weights are in units of `true_score`, which runs from 0 to 1."""

    id: str
    noise: float = 0.2  # standard deviation of what they make of answers of one worth to one question
    whim: float = 0.05  # standard deviation between answers of the same worth
    lapse: float = 0.06  # how often they misread an answer altogether
    tie: float = SAME  # answers nearer than this look the same to them
    length: float = 0.0  # > 0 likes length, < 0 brevity
    form: float = 0.0  # how much more than others they mind a form that was not kept
    politeness: float = 0.0  # what a kind word is worth to them
    own: Lang = "en"
    leniency: float = 0.0  # what an answer in the wrong language gains if that is their own

    def impression(self, question: Question, completion: str) -> float:
        """What they make of one answer: the same each time they see it."""
        own = generator("impression", self.id, question.id, completion)
        if own.random() < self.lapse:
            return own.random()
        seen = quality(question, completion)
        worth = weigh(question, completion, seen)
        shared = generator("standard", self.id, question.id, worth)
        return (
            worth
            + self._bias(question, completion, seen)
            + shared.gauss(0.0, self.noise)
            + own.gauss(0.0, self.whim)
        )

    def rank(self, question: Question, completions: Sequence[str]) -> list[int]:
        """Ranks with ties; answers that read the same always tie."""
        return _ranks([self.impression(question, text.strip()) for text in completions], self.tie)

    def _bias(self, question: Question, completion: str, seen: Quality) -> float:
        lang = question.answer_lang
        fullness = min(1.0, size(lang, completion) / COMFORTABLE[lang]) - 0.5
        foreign = not seen.right_language and is_in(self.own, completion)
        kind = bool(POLITE & set(words(completion))) or any(word in completion for word in POLITE_ZH)
        return (
            self.length * fullness
            + self.form * (seen.form - 1)
            + self.politeness * kind
            + self.leniency * foreign
        )


def pool(seed: int, n: int = 8) -> list[Annotator]:
    """`n` people with biases of their own, half of them at home in each language."""
    return [_person(seed, index) for index in range(n)]


def _person(seed: int, index: int) -> Annotator:
    rng = generator("annotator", seed, index)
    return Annotator(
        id=f"annotator-{index}",
        noise=rng.uniform(*NOISE),
        whim=rng.uniform(*WHIM),
        lapse=rng.uniform(*LAPSE),
        tie=rng.uniform(0.6 * SAME, 1.4 * SAME),
        length=rng.uniform(-0.1, 0.1),
        form=rng.uniform(0.0, 0.1),
        politeness=rng.uniform(0.0, 0.06),
        own=LANGS[index % 2],
        leniency=rng.uniform(0.0, 0.1),
    )


def collect(
    questions: Sequence[Question],
    completions: Sequence[Sequence[str]],
    people: Sequence[Annotator],
    seed: int,
    *,
    doubled: float = 0.1,
) -> list[Comparison]:
    """One ranking of each question's completions; a share `doubled` is ranked by a second person as well."""
    if len(questions) != len(completions):
        raise ValueError(
            f"{len(questions)} questions but completions for {len(completions)}; they go in pairs"
        )
    records: list[Comparison] = []
    for question, texts in zip(questions, completions, strict=True):
        if not LEAST <= len(texts) <= MOST:
            raise ValueError(f"{question.id} has {len(texts)} completions; a ranking needs {LEAST} to {MOST}")
        rng = generator("collect", seed, question.id)
        wanted = 2 if len(people) > 1 and rng.random() < doubled else 1
        records += [_record(question, texts, person) for person in rng.sample(list(people), wanted)]
    return records


def agreement(records: Sequence[Comparison]) -> float:
    """The share of pairs on which two people agree, over completions that differ.

    The same order, or a tie for both, is agreement; a tie for one of them counts half.
    """
    verdicts = [verdict for a, b in _doubles(records) for verdict in _verdicts(a, b)]
    if not verdicts:
        raise ValueError("no prompt was ranked by two people; collect with doubled > 0")
    return sum(verdicts) / len(verdicts)


def _record(question: Question, texts: Sequence[str], person: Annotator) -> Comparison:
    return {
        "prompt": list(question.messages),
        "completions": list(texts),
        "ranks": person.rank(question, texts),
        "annotator": person.id,
        "lang": question.lang,
        "category": question.category,
    }


def _ranks(worth: Sequence[float], tie: float) -> list[int]:
    """Dense ranks, the largest first; a group of equals reaches `tie` below its best member."""
    ranks, rank, head = [0] * len(worth), 0, float("inf")
    for index in sorted(range(len(worth)), key=lambda i: -worth[i]):
        if head - worth[index] > tie:
            rank, head = rank + 1, worth[index]
        ranks[index] = rank
    return ranks


def _doubles(records: Sequence[Comparison]) -> Iterator[tuple[Comparison, Comparison]]:
    """Every two rankings of one and the same set of completions."""
    same: dict[tuple[str, ...], list[Comparison]] = {}
    for record in records:
        same.setdefault((transcript(record["prompt"]), *record["completions"]), []).append(record)
    for group in same.values():
        yield from combinations(group, 2)


def _verdicts(a: Comparison, b: Comparison) -> Iterator[float]:
    for i, j in combinations(range(len(a["completions"])), 2):
        if a["completions"][i].strip() == a["completions"][j].strip():
            continue
        first, second = (r["ranks"][i] - r["ranks"][j] for r in (a, b))
        if (first == 0) != (second == 0):
            yield 0.5
        else:
            yield float((first > 0) == (second > 0))


POLITE = frozenset({"sorry", "please", "thank", "thanks", "welcome", "glad"})
POLITE_ZH = ("对不起", "谢谢", "抱歉", "请")
