"""What is known of a reward model beside its weights: how it fares, what it gets wrong, and who disagrees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from danlu.data.chats import Comparison
from danlu.data.rankings import TooLong, cut, lay_out, tokenize_comparisons
from danlu.data.sft import padding_id
from danlu.evaluate.ranking import Outcomes, Pair, pairs_of, summarise_pairs
from danlu.evaluate.raters import agreement, equal_but_ranked_apart, prompt_key
from danlu.model.heads import ScoreModel
from danlu.objectives.ranking import WITH_TIES, end_scores, outcome_probabilities
from danlu.tokenizer.chat import ChatFormat

JUDGED_AT_ONCE = 16  # comparisons in one forward pass
MOST_WRONG = 50  # pairs that are shown
Judged = tuple[Comparison, list[float]]  # a ranking, and what the model makes of each completion


@torch.no_grad()
def judge(
    model: ScoreModel,
    comparisons: Sequence[Comparison],
    chat_format: ChatFormat,
    max_len: int,
    too_long: TooLong = "drop",
) -> list[Judged]:
    """Scores on the scale that rankings were fitted on, of every ranking that fits."""
    judged: list[Judged] = []
    groups = tokenize_comparisons(comparisons, chat_format, max_len, too_long)
    for some in cut(groups, JUDGED_AT_ONCE):
        batch = lay_out(some, padding_id(chat_format))
        scores = end_scores(model, batch) / model.gain
        for number, group in enumerate(some):
            judged.append((group.comparison, scores[batch.group_ids == number].tolist()))
    return judged


def measure(model: ScoreModel, judged: Sequence[Judged]) -> dict[str, Any]:
    """Accuracy, ties and calibration over all pairs."""
    return summarise_pairs(list(all_pairs(model, judged)))


def all_pairs(model: ScoreModel, judged: Sequence[Judged]) -> Iterator[Pair]:
    """The model's margin on every pair of every ranking; rankings of one prompt are no two witnesses."""
    raters = model.raters
    log_tie = None if raters is None else raters.log_tie

    def outcomes(margin: float) -> Outcomes:
        assert raters is not None
        assert log_tie is not None
        return outcome_probabilities(raters.kind, margin, log_tie)

    for comparison, scores in judged:
        yield from pairs_of(
            prompt_key(comparison),
            scores,
            comparison.ranks,
            rater=comparison.annotator,
            outcomes=None if raters is None or raters.kind not in WITH_TIES else outcomes,
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


def rater_report(
    model: ScoreModel, comparisons: Sequence[Comparison], measured: dict[str, Any] | None
) -> dict[str, Any]:
    """How far raters agree, how reliable each was found to be, and what is odd about the rankings.

    Args:
        model: the trained model.
        comparisons: the rankings that it learnt from.
        measured: what `measure` found on rankings that it did not learn from.
    """
    agreed = agreement(comparisons)
    by_rater: dict[str, Any] = (measured or {}).get("raters", {})
    surely_wrong = [name for name, found in by_rater.items() if found["accuracy"]["high"] < 0.5]
    return {
        "agreement": agreed or None,
        "reliability": {} if model.raters is None else model.raters.scales(),
        "contrary": sorted({*agreed.get("contrary", []), *surely_wrong}),
        "n_equal_ranked_apart": len(equal_but_ranked_apart(comparisons)),
    }


def warnings(report: dict[str, Any]) -> list[str]:
    """What a reader of the report must not miss."""
    told: list[str] = []
    if report["contrary"]:
        told.append(
            f"contradict the other raters or the model more often than not: {', '.join(report['contrary'])}; "
            "their rankings were learnt from like all others. Have they taken 1 for the worst?"
        )
    if report["n_equal_ranked_apart"]:
        told.append(
            f"{report['n_equal_ranked_apart']} rankings put one of two equal completions before the other; "
            "nothing can be learnt from these pairs"
        )
    return told
