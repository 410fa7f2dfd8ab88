"""Rankings beside what a model makes of the same completions: a reward model, or a policy by its rewards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from danlu.data.chats import Comparison
from danlu.data.rankings import Group, TooLong, cut, tokenize_comparisons
from danlu.data.sft import padding_id
from danlu.evaluate.ranking import Outcomes, Pair, pairs_of
from danlu.evaluate.raters import prompt_key
from danlu.tokenizer.chat import ChatFormat

JUDGED_AT_ONCE = 16  # comparisons in one forward pass
MOST_WRONG = 50  # pairs that are shown
Judged = tuple[Comparison, list[float]]  # a ranking, and what the model makes of each completion


class Grouped(Protocol):
    """A batch of whole comparisons."""

    @property
    def group_ids(self) -> Tensor: ...  # (completions,): each one's place among the comparisons


B = TypeVar("B", bound=Grouped)


@torch.no_grad()
def judge(
    comparisons: Sequence[Comparison],
    chat_format: ChatFormat,
    max_len: int,
    lay_out: Callable[[Sequence[Group], int], B],
    scores: Callable[[B], Tensor],
    *,
    too_long: TooLong = "drop",
) -> list[Judged]:
    """Every ranking that fits, with the scores of its completions.

    Args:
        comparisons: the rankings.
        chat_format: how they are rendered.
        max_len: tokens of prompt and completion together.
        lay_out: makes a batch of some comparisons; the second argument is the id of padding.
        scores: of each completion of such a batch, (completions,).
        too_long: what becomes of a ranking that does not fit.
    """
    judged: list[Judged] = []
    for some in cut(tokenize_comparisons(comparisons, chat_format, max_len, too_long), JUDGED_AT_ONCE):
        batch = lay_out(some, padding_id(chat_format))
        found = scores(batch)
        for number, group in enumerate(some):
            judged.append((group.comparison, found[batch.group_ids == number].tolist()))
    return judged


def all_pairs(
    judged: Sequence[Judged], outcomes: Callable[[float], Outcomes] | None = None
) -> Iterator[Pair]:
    """The model's margin on every pair of every ranking; rankings of one prompt are no two witnesses."""
    for comparison, scores in judged:
        yield from pairs_of(
            prompt_key(comparison), scores, comparison.ranks, rater=comparison.annotator, outcomes=outcomes
        )


def most_wrong(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Of each ranking the pair that the model is surest of and wrong about; the worst of these first."""
    found: list[dict[str, Any]] = []
    for comparison, scores in judged:
        ranked = list(zip(scores, comparison.ranks, comparison.completions, strict=True))
        wrong = [
            (better[0] - worse[0], better[2], worse[2])
            for better in ranked
            for worse in ranked
            if better[1] < worse[1] and better[0] < worse[0]
        ]
        if wrong:
            margin, better, worse = min(wrong)
            found.append(
                {
                    "margin": margin,
                    "prompt": list(comparison.prompt),
                    "better": better,
                    "worse": worse,
                    "annotator": comparison.annotator,
                    "where": comparison.where,
                }
            )
    return sorted(found, key=lambda each: each["margin"])[:MOST_WRONG]
