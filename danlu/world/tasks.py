"""The tasks of the world: eleven categories in two languages, drawn into splits that never share one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from danlu.world.names import LANGS, Lang
from danlu.world.question import Draft, Question, as_question
from danlu.world.splits import Split, generator
from danlu.world.tasks_conduct import harmful
from danlu.world.tasks_form import following_format
from danlu.world.tasks_knowledge import fact, reference, two_facts, unanswerable
from danlu.world.tasks_language import rewriting, translation
from danlu.world.tasks_reading import passage, sentiment
from danlu.world.tasks_sums import arithmetic
from danlu.world.truth import World

# Draws one task of a category, or None where the dice made none; its `split` says where it may be asked.
Drawer = Callable[[World, Lang, Random], Draft | None]

CATEGORIES: Mapping[str, Drawer] = {
    "facts": fact,
    "two_fact": two_facts,
    "arithmetic": arithmetic,
    "reference": reference,
    "translation": translation,
    "sentiment": sentiment,
    "format": following_format,
    "passage": passage,
    "rewriting": rewriting,
    "unanswerable": unanswerable,
    "harmful": harmful,
}
MAX_MISSES = 10_000  # draws in a row that bring nothing fresh before a cell counts as exhausted


def questions(world: World, split: Split, n_per_cell: int, seed: int) -> list[Question]:
    """`n_per_cell` different questions for every category and language, cell after cell.

    The first questions of a cell do not depend on how many are drawn.
    """
    return [
        question
        for category in CATEGORIES
        for lang in LANGS
        for question in cell(world, split, category, lang, n_per_cell, seed)
    ]


def cell(world: World, split: Split, category: str, lang: Lang, n: int, seed: int) -> list[Question]:
    """`n` different questions of one category in one language."""
    found: dict[str, Question] = {}
    rng = generator("questions", world.seed, category, lang, split, seed)
    misses = 0
    while len(found) < n and misses < MAX_MISSES:
        draft = CATEGORIES[category](world, lang, rng)
        question = as_question(category, lang, draft) if draft and draft.split == split else None
        if question is None or question.id in found:
            misses += 1
        else:
            found[question.id] = question
            misses = 0
    if len(found) < n:
        raise ValueError(
            f"asked for {n} {split} questions of {category!r} in {lang!r}, but a world of "
            f"{len(world.people)} people has only {len(found)} different ones; "
            "ask for fewer or make the world larger"
        )
    return list(found.values())
