"""What is known of a reward model beside its weights: how it fares, and who disagrees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from danlu.data.chats import Comparison
from danlu.data.rankings import lay_out
from danlu.data.records import RankingBatch
from danlu.evaluate import judging
from danlu.evaluate.judging import Judged, all_pairs
from danlu.evaluate.ranking import Outcomes, Pair, summarise_pairs
from danlu.evaluate.raters import FEWEST, agreement, equal_but_ranked_apart
from danlu.model.heads import ScoreModel
from danlu.objectives.ranking import WITH_TIES, end_scores, outcome_probabilities
from danlu.rl.collect import evaluating
from danlu.tokenizer.chat import ChatFormat


def judge(
    model: ScoreModel, comparisons: Sequence[Comparison], chat_format: ChatFormat, max_len: int
) -> list[Judged]:
    """Scores on the scale that rankings were fitted on, of every ranking that fits."""

    def scores(batch: RankingBatch) -> Any:
        return end_scores(model, batch) / model.gain

    with evaluating(model):
        return judging.judge(comparisons, chat_format, max_len, lay_out, scores)


def measure(model: ScoreModel, judged: Sequence[Judged]) -> dict[str, Any]:
    """Accuracy, ties and calibration over all pairs."""
    return summarise_pairs(pairs_by(model, judged))


def pairs_by(model: ScoreModel, judged: Sequence[Judged]) -> list[Pair]:
    """Every pair, with what the model's own likelihood says of it where that knows ties."""
    raters = model.raters
    if raters is None or raters.kind not in WITH_TIES:
        return list(all_pairs(judged))
    kind, log_tie = raters.kind, raters.log_tie
    assert log_tie is not None

    def outcomes(margin: float) -> Outcomes:
        return outcome_probabilities(kind, margin, log_tie)

    return list(all_pairs(judged, outcomes))


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
    surely_wrong = [
        name
        for name, found in by_rater.items()
        if found["accuracy"]["high"] < 0.5 and found["n_prompts"] >= FEWEST
    ]
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
