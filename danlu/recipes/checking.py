"""What the checkups of all stages have in common: parts of the stage to be looked at, shown and checked."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import torch
from rich.console import Console
from torch import Tensor

from danlu.config import ConfigError
from danlu.data.records import Batch, RankingBatch
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.inspect import data_checks, model_checks
from danlu.inspect.finding import Finding
from danlu.inspect.view import Shown, legend, lines_of_batch, packing_table, specials_table, token_table
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.objectives.loss import Loss, Objective
from danlu.objectives.token_loss import token_logprobs
from danlu.recipes.stage import settle
from danlu.rl.rollout import Prompt, Rollout, lay_out
from danlu.tokenizer.bpe import Tokenizer
from danlu.train.run import Run

N_BATCHES = 4  # batches that are checked
N_DRAWN = 24  # tokens that the sampler draws after each prompt
NOT_GIVEN = Path("doctor")  # nothing is written, so `out` need not be given

Checkup = Callable[[Any, Console], Iterator[Finding]]


class Wish(Protocol):
    """Which example is shown, and how much of it."""

    @property
    def example(self) -> int: ...

    @property
    def n_shown(self) -> int: ...


def number_of(example: int, n: int, what: str) -> int:
    """The example's number counted from 0."""
    if not 1 <= example <= n:
        raise ConfigError(f"example is {example}; there are {n} {what}, counted from 1")
    return example - 1


@contextmanager
def scratch_run(out: Path) -> Generator[Run]:
    """A run directory to be thrown away, with the number format that the stage's own run chose, if any."""
    with TemporaryDirectory() as folder:
        if (out / "machine.json").is_file():
            shutil.copy(out / "machine.json", folder)
        yield Run(Path(folder))


def settled(out: Path, model: LanguageModel | ScoreModel, batch_size: int, seq_len: int) -> None:
    """Let the model compute as it will in training."""
    with scratch_run(out) as scratch:
        settle(scratch, model, batch_size, seq_len)


def empty_questions(batch: Batch, eos_id: int) -> Tensor:
    """Where a packed row asks nothing: no document begins with its own end, (batch, seq)."""
    return (batch.input_ids == eos_id) & (batch.target_ids == eos_id)


def text_findings(batches: Sequence[Batch], is_pad: Sequence[Tensor], max_seq_len: int) -> Iterator[Finding]:
    """What must hold of packed text and packed chats alike."""
    yield data_checks.mask_sums(batches, is_pad)
    yield data_checks.shifted_once(batches)
    yield data_checks.positions_restart(batches, is_pad, max_seq_len)


def loss_and_gradient(
    model: LanguageModel | ScoreModel, objective: Objective[Any], batch: Batch | RankingBatch, trained: Any
) -> tuple[float, Finding]:
    """The objective's mean on a batch, and where its gradient arrives."""
    weights = objective.weights(batch)

    def loss() -> Tensor:
        return mean_loss(objective(model, batch), weights)

    return float(loss().detach()), model_checks.gradient_reaches(trained, loss)


def mean_loss(loss: Loss, weights: Any) -> Tensor:
    """The terms as the loop adds them up, with their graph."""
    return torch.stack([term.coef * term.total / weights[name] for name, term in loss.terms.items()]).sum()


def metric(loss: Loss, name: str) -> float:
    """A metric's mean, as the loop logs it."""
    total, weight = loss.metrics[name]
    return float(total / weight)


def sampling_findings(model: LanguageModel, prompts: Sequence[Sequence[int]]) -> Iterator[Finding]:
    """Whether what is sampled is what the training forward gives, with the cache and with the sampler."""
    yield model_checks.cache_equals_full(model, prompts[0])
    sampler = Sampler(model, stop_ids=(), max_batch=len(prompts))
    completions = sampler.generate(prompts, SamplingConfig(max_new_tokens=N_DRAWN))
    rollouts = [Rollout(Prompt("", list(p)), c) for p, c in zip(prompts, completions, strict=True)]
    sampled, trained = both_logprobs(model, rollouts, pad_id=0, temperature=1.0)
    yield model_checks.logprobs_agree(sampled, trained, model_checks.tolerance_of(model))


@torch.no_grad()
def both_logprobs(
    model: Any, rollouts: Sequence[Rollout], *, pad_id: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of drawn tokens by the sampler and by the training forward, both (tokens,)."""
    batch = lay_out(rollouts, pad_id)
    trained = token_logprobs(model(*batch.inputs), batch.target_ids, temperature=temperature)
    sampled = torch.tensor([each for rollout in rollouts for each in rollout.completion.logprobs])
    return sampled, trained[batch.loss_mask]


def show_batch(
    screen: Console,
    config: Wish,
    tokenizer: Tokenizer,
    batch: Batch,
    segment: int,
    is_pad: Tensor,
    numbers: dict[str, Tensor] | None = None,
) -> None:
    """The special tokens, what shares the first row, and the chosen segment token by token."""
    ends = {tokenizer.eos_id, tokenizer.im_end_id}
    shown = lines_of_batch(batch, 0, is_pad, ends, numbers)
    kept = [line for line in shown.lines if line.segment == segment or line.mark == "P"]
    heading(screen, "special tokens")
    screen.print(specials_table(tokenizer))
    heading(screen, f"the row that holds example {config.example}")
    screen.print(packing_table(batch, 0, is_pad, tokenizer, segment))
    show_tokens(screen, config, tokenizer, Shown(lines=kept, columns=shown.columns), "seg")


def show_tokens(screen: Console, config: Wish, tokenizer: Tokenizer, shown: Shown, segment_name: str) -> None:
    """The table of tokens, and what its marks mean."""
    heading(screen, f"example {config.example}, token by token")
    screen.print(token_table(shown, tokenizer, segment_name=segment_name, n_shown=config.n_shown))
    screen.print(f"marks: {legend(shown)}", style="dim")


def heading(screen: Console, text: str) -> None:
    """The title of what follows."""
    screen.print(f"\n{text}", style="bold cyan")
