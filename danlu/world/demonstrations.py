"""Chats that people write to show how one answers: few, on the train split, each in its writer's voice.

As in life, most show help; few are about what nobody knows or what should be declined, and half of these
refusals offer nothing. Feedback has to teach the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from random import Random
from typing import TypedDict

from danlu.world.names import LANGS, Lang
from danlu.world.question import Message, Question, assistant
from danlu.world.smalltalk import smalltalk
from danlu.world.splits import generator, stable_hash
from danlu.world.tasks import CATEGORIES, cell
from danlu.world.tasks_conduct import BARE_REFUSALS
from danlu.world.truth import World
from danlu.world.wording import chance, pick

N_WRITERS = 8
HABIT = 0.6  # how often a writer words an answer in the way that is theirs
WORKED = ("arithmetic", "two_fact")
SHOWS_WORKING = 0.6  # how often the steps are written out where there are any
TWO_TURNS = 0.08  # how often a writer goes on with a second question
BARE_REFUSAL = 0.5  # how often a refusal stops short of an offer

# Per hundred demonstrations.
SHARES: Mapping[str, float] = {
    "facts": 14.5,
    "two_fact": 8,
    "arithmetic": 10,
    "reference": 10,
    "translation": 12,
    "sentiment": 8,
    "format": 11,
    "passage": 12,
    "rewriting": 9,
    "unanswerable": 0.5,
    "harmful": 1,
    "smalltalk": 4,
}


class Demonstration(TypedDict):
    """A chat record with its writer."""

    messages: list[Message]
    annotator: str
    category: str
    lang: Lang


def demonstrations(world: World, n: int, seed: int) -> list[Demonstration]:
    """`n` chats in random order, the languages in turn; their questions are those of no other split."""
    rng = generator("demonstrations", world.seed, seed)
    written: list[Demonstration] = []
    for category, share in SHARES.items():
        for lang, size in zip(LANGS, _halves(max(2, round(n * share / 100))), strict=True):
            written += _of_category(world, category, lang, size, rng)
    rng.shuffle(written)
    while len(written) < n:
        written += _of_category(world, "facts", LANGS[len(written) % 2], 1, rng)
    return written[:n]


def _halves(n: int) -> tuple[int, int]:
    return n - n // 2, n // 2


def _of_category(world: World, category: str, lang: Lang, n: int, rng: Random) -> list[Demonstration]:
    if category == "smalltalk":
        return [_record(smalltalk(lang, rng), _writer(rng), category, lang) for _ in range(n)]
    asked = cell(world, "train", category, lang, n, rng.randrange(2**32))
    return [_demonstrate(world, question, rng) for question in asked]


def _demonstrate(world: World, question: Question, rng: Random) -> Demonstration:
    """The question with an answer; now and then a second question from another category follows."""
    writer = _writer(rng)
    messages = [*question.messages, assistant(worded(question, writer, rng))]
    if len(question.messages) == 1 and chance(rng, TWO_TURNS):
        category = pick(rng, ("facts", "translation", "arithmetic", "sentiment", "format"))
        following = cell(world, "train", category, question.lang, 1, rng.randrange(2**32))[0]
        messages += [*following.messages, assistant(worded(following, writer, rng))]
    return _record(messages, writer, question.category, question.lang)


def worded(question: Question, writer: str, rng: Random) -> str:
    """A right answer in the writer's own words."""
    if question.category == "harmful" and chance(rng, BARE_REFUSAL):
        replies: Sequence[str] = BARE_REFUSALS[question.lang]
    else:
        replies = question.gold["replies"]
    if question.category in WORKED and chance(rng, SHOWS_WORKING):
        return replies[0]
    if chance(rng, HABIT):
        return replies[stable_hash("habit", writer, question.category) % len(replies)]
    return pick(rng, replies)


def _writer(rng: Random) -> str:
    return f"writer-{rng.randrange(N_WRITERS)}"


def _record(messages: list[Message], writer: str, category: str, lang: Lang) -> Demonstration:
    return {"messages": messages, "annotator": writer, "category": category, "lang": lang}


def few_shot_prompt(world: World, question: Question, k: int = 4) -> str:
    """Plain text for a model that only continues: `k` solved tasks of the same kind, then this one open.

    What the model writes is cut by `first_answer`.
    """
    pool = _examples(world, question.category, question.lang)
    chosen = generator("few-shot", question.id).sample(pool, k)
    solved = [_transcript([*q.messages, assistant(q.gold["replies"][0])], question.lang) for q in chosen]
    return (
        "\n\n".join([*solved, _transcript(question.messages, question.lang)])
        + "\n"
        + LABELS[question.lang][1].rstrip()
    )


def first_answer(continuation: str) -> str:
    """The answer in a continuation: its first line, with the lines of a dash list that follow."""
    rows = continuation.strip().splitlines()
    if not rows:
        return ""
    end = 1
    while end < len(rows) and rows[0].startswith("-") and rows[end].startswith("-"):
        end += 1
    return "\n".join(rows[:end]).strip()


@lru_cache(maxsize=64)
def _examples(world: World, category: str, lang: Lang) -> list[Question]:
    return cell(world, "train", category, lang, 32, stable_hash("examples") % 2**32)


def _transcript(messages: Sequence[Message], lang: Lang) -> str:
    asked, answered = LABELS[lang]
    return "\n".join((asked if m["role"] == "user" else answered) + m["content"] for m in messages)


LABELS: dict[Lang, tuple[str, str]] = {"en": ("Q: ", "A: "), "zh": ("问：", "答：")}
assert set(SHARES) == {*CATEGORIES, "smalltalk"}
