"""`danlu instruct`: instruction data by asking a model for new tasks, their material and their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from danlu.config import ConfigError
from danlu.data.chats import read_chats
from danlu.feedback.body import to_json
from danlu.generate.sampling import SamplingConfig
from danlu.instruct.asking import Replies
from danlu.instruct.endpoint import Endpoint
from danlu.instruct.filters import FilterConfig
from danlu.instruct.making import Choice, MakingConfig, SelfInstruct, account, sift
from danlu.instruct.records import Given, Outcome, check_share, read_seeds
from danlu.recipes.instruct_models import asker, scorer
from danlu.train.checkpoint import replace_file
from danlu.train.progress import progress_bar
from danlu.train.run import Run, open_run

SUMMARY = "make instruction data by asking a model for tasks and answers (self-instruct)"
# What may differ when a run is taken up again: replies stay good, and all else is worked out from them anew.
GROWING = ("n", "keep_best", "making.patience")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructConfig:
    seeds: tuple[Path, ...]  # chats by people; `instruction`, `input`, `output` say what is material
    out: Path
    n: int = 1000  # examples wanted
    model: Path | None = None  # model directory or run directory that is asked; none: endpoint.url is
    plain: bool = False  # the model is a base model, which goes on with texts and knows no turns
    endpoint: Endpoint = field(default_factory=Endpoint)
    sampling: SamplingConfig = field(
        default_factory=lambda: SamplingConfig(max_new_tokens=512, temperature=0.7, top_p=0.95)
    )
    making: MakingConfig = field(default_factory=MakingConfig)
    filters: FilterConfig = field(default_factory=FilterConfig)
    avoid: tuple[Path, ...] = ()  # chats whose questions nothing may repeat, such as an exam's
    reward_model: Path | None = None  # model directory or run directory that scores the answers
    keep_best: float = 1.0  # share of the examples that is kept, those of the highest scores

    def __post_init__(self) -> None:
        check_share("keep_best", self.keep_best)
        if self.n < 1:
            raise ConfigError(f"n is {self.n}; it must be at least 1")
        if (self.model is None) == (self.endpoint.url is None):
            both = "both are set" if self.model else "neither is set"
            raise ConfigError(f"either model or endpoint.url is asked, and {both}")
        if self.reward_model is None and (self.keep_best < 1 or self.making.n_answers > 1):
            raise ConfigError("keep_best and making.n_answers choose by a reward model; name reward_model")


def run(config: InstructConfig) -> Path:
    """Make examples until there are as many as wanted, or nothing new comes."""
    avoid = [chat.messages[0]["content"] for path in config.avoid for chat in read_chats(path)]
    given = Given(seeds=read_seeds(config.seeds, config.filters.languages), avoid=avoid)
    making = SelfInstruct(
        given,
        Replies(config.out / "replies.jsonl", asker(config.model, config.endpoint, config.sampling)),
        config.making,
        config.filters,
        plain=config.plain,
        seed=config.sampling.seed,
        score=None if config.reward_model is None else scorer(config.reward_model),
    )
    outcome, choice = Outcome(), Choice()
    opened = open_run(config.out, config, free=GROWING)
    with progress_bar("instruct", config.n, "examples") as progress:
        for outcome in making.rounds():
            choice = sift(outcome, given, config.filters, config.keep_best)
            n_made = len(outcome.kept) + len(outcome.dropped)
            detail = f"{outcome.n_questions:,} questions · {len(choice.kept) / max(1, n_made):.0%} kept"
            progress.show(min(len(choice.kept), config.n), detail)
            if len(choice.kept) >= config.n:
                break
    write(opened, config, outcome, choice, len(given.seeds))
    return config.out


def write(run: Run, config: InstructConfig, outcome: Outcome, choice: Choice, n_seeds: int) -> None:
    """The examples, what people may review, what was dropped, and the account."""
    kept = choice.kept[: config.n]
    by = {"by": config.endpoint.model or str(config.model), "sampling": asdict(config.sampling)}
    write_lines(run.path / "chats.jsonl", [each.to_tree(by) for each in kept])
    review = [{"id": each.id, "prompt": each.messages[:1], "completions": [each.answer]} for each in kept]
    write_lines(run.path / "review.jsonl", review)
    write_lines(run.path / "dropped.jsonl", [asdict(each) for each in (*outcome.dropped, *choice.dropped)])
    dropped = account(outcome, choice)
    run.finish(
        n=len(kept),
        n_seeds=n_seeds,
        n_questions=outcome.n_questions,
        n_rounds=outcome.rounds,
        n_spare=len(choice.kept) - len(kept),
        languages={lang: sum(each.lang == lang for each in kept) for lang in config.filters.languages},
        dropped=dict(dropped.most_common()),
    )
    show(config, len(kept), outcome, dropped)


def show(config: InstructConfig, n_kept: int, outcome: Outcome, dropped: dict[str, int]) -> None:
    """The account for the terminal, and whether it is less than was wanted."""
    console = Console()
    table = Table("what", "how many", box=None, pad_edge=False)
    table.add_row("questions to the model", f"{outcome.n_questions:,}")
    for why, count in sorted(dropped.items(), key=lambda item: -item[1]):
        table.add_row(Text(f"dropped: {why}"), f"{count:,}")
    table.add_row("kept", f"{n_kept:,}")
    console.print(table)
    if n_kept < config.n:
        console.print(
            f"{n_kept:,} of {config.n:,}: {config.making.patience} rounds in a row brought nothing that was "
            "kept. More seeds, a higher temperature or another model bring more; the reasons are in "
            f"{config.out / 'dropped.jsonl'}",
            highlight=False,
            markup=False,
        )
    console.print(f"examples: {config.out / 'chats.jsonl'}", highlight=False, markup=False)


def write_lines(path: Path, trees: Sequence[dict[str, Any]]) -> None:
    """One JSON object a line, the file whole or not at all."""
    replace_file(path, "".join(f"{to_json(tree)}\n" for tree in trees))
