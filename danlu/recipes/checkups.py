"""What `danlu doctor` shows and checks of each stage, on the objects that the stage itself would build."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from rich.console import Console
from torch import Tensor

from danlu.adapters.files import is_adapter, load_adapter
from danlu.config import ConfigError
from danlu.data.chats import Chat, Comparison, read_chats
from danlu.data.packing import PackedBatches
from danlu.data.rankings import RankingBatches, every_comparison
from danlu.data.records import Batch, RankingBatch, RolloutBatch
from danlu.data.sft import render_chat
from danlu.data.shards import open_shards
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.inspect import data_checks, model_checks
from danlu.inspect.finding import Finding
from danlu.inspect.view import (
    Shown,
    legend,
    lines_of_batch,
    lines_of_ranking,
    packing_table,
    specials_table,
    token_table,
)
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import load_language_model, load_model
from danlu.objectives.loss import Loss, Objective
from danlu.objectives.ppo import PpoBatch, Surrogate
from danlu.objectives.ranking import end_scores
from danlu.objectives.token_loss import TokenLoss, token_logprobs
from danlu.recipes import grpo, ppo
from danlu.recipes.grpo import GrpoConfig
from danlu.recipes.judge import check_one_judge, tokenizer_of
from danlu.recipes.policy import read_prompts
from danlu.recipes.ppo import PpoConfig
from danlu.recipes.pretrain import PretrainConfig
from danlu.recipes.rater_settings import rater_model
from danlu.recipes.reward import RewardConfig, read_rankings, scorer_from
from danlu.recipes.rloo import RlooConfig
from danlu.recipes.sft import SftConfig, batches_of
from danlu.recipes.stage import adapt, chat_format_of, settle
from danlu.rl.collect import Collected, Memory, collect
from danlu.rl.controller import AdaptiveKl
from danlu.rl.packing import Packing
from danlu.rl.rollout import Prompt, Rollout, lay_out
from danlu.rl.scoring import score_sequences
from danlu.rl.team import Team
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat
from danlu.train.run import Run

N_BATCHES = 4  # batches that are checked
N_RANKINGS = 64  # comparisons that are checked
N_DRAWN = 24  # tokens that the sampler draws after each prompt
NOT_GIVEN = Path("doctor")  # nothing is written, so `out` need not be given

Checkup = Callable[[Any, Console], Iterator[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainDoctor(PretrainConfig):
    out: Path = NOT_GIVEN  # the stage's run directory, if it has one; only read
    example: int = 1  # document to show, counted from 1
    n_shown: int = 120  # tokens of it


@dataclass(frozen=True, slots=True, kw_only=True)
class SftDoctor(SftConfig):
    out: Path = NOT_GIVEN  # the stage's run directory, if it has one; only read
    example: int = 1  # chat to show, counted from 1
    n_shown: int = 120  # tokens of it


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardDoctor(RewardConfig):
    out: Path = NOT_GIVEN  # the stage's run directory, if it has one; only read
    example: int = 1  # comparison to show, counted from 1
    n_shown: int = 120  # tokens of it


@dataclass(frozen=True, slots=True, kw_only=True)
class PpoDoctor(PpoConfig):
    out: Path = NOT_GIVEN  # the stage's run directory, if it has one; only read
    example: int = 1  # prompt to answer and show, counted from 1
    n_shown: int = 120  # tokens of prompt and answer


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpoDoctor(GrpoConfig):
    out: Path = NOT_GIVEN  # the stage's run directory, if it has one; only read
    example: int = 1  # prompt to answer and show, counted from 1
    n_shown: int = 120  # tokens of prompt and answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RlooDoctor(RlooConfig):
    out: Path = NOT_GIVEN  # the stage's run directory, if it has one; only read
    example: int = 1  # prompt to answer and show, counted from 1
    n_shown: int = 120  # tokens of prompt and answer


PolicyDoctor = PpoDoctor | GrpoDoctor | RlooDoctor
TextDoctor = PretrainDoctor | SftDoctor | PolicyDoctor


def check_pretrain(config: PretrainDoctor, screen: Console) -> Iterator[Finding]:
    """Packed documents, and the untrained model."""
    tokenizer = Tokenizer.load(config.tokenizer)
    shards = open_shards(config.shards / "train", fingerprint=tokenizer.fingerprint)
    batches = PackedBatches(shards, config.batch_size, config.seq_len, config.seed, lead_with_eos=True)
    document = number_of(config.example, len(shards), "documents")
    row, segment = batches.row_with(document)
    show_batch(screen, config, tokenizer, row, segment, empty_questions(row, tokenizer.eos_id))
    heading(screen, "checks")
    model = LanguageModel(config.model.model_config(tokenizer.vocab_size), seed=config.seed)
    settled(config.out, model, config.batch_size, config.seq_len)
    some = list(islice(batches, N_BATCHES))
    is_pad = [empty_questions(batch, tokenizer.eos_id) for batch in some]
    yield data_checks.special_tokens(tokenizer)
    yield from text_findings(some, is_pad, model.config.max_seq_len)
    yield data_checks.answers_end(some, {tokenizer.eos_id}, may_go_on=True)
    loss, gradient = loss_and_gradient(model, TokenLoss(), some[0], model)
    yield model_checks.untrained_loss(loss, tokenizer.vocab_size)
    yield gradient
    prompts = [batch.input_ids[0, : min(16, config.seq_len)].tolist() for batch in some]
    yield from sampling_findings(model, prompts)


def check_sft(config: SftDoctor, screen: Console) -> Iterator[Finding]:
    """Packed chats, and the base model."""
    chat_format = chat_format_of(config.base)
    tokenizer, model = chat_format.tokenizer, load_language_model(config.base)
    chats = read_chats(config.data)
    number = number_of(config.example, len(chats), "chats")
    batches = batches_of(chats, chat_format, config, config.seed)
    row, segment = batches.row_with(number)
    show_batch(screen, config, tokenizer, row, segment, row.input_ids == tokenizer.pad_id)
    heading(screen, "checks")
    yield (fit := model_checks.tokenizer_fits(model.config.vocab_size, tokenizer.vocab_size))
    if not fit.ok:  # every id means something else, so nothing that follows would mean anything
        return
    adapt(model, config.adapter, config.seed, config.base)
    settled(config.out, model, config.batch_size, config.seq_len)
    some = list(islice(batches, N_BATCHES))
    is_pad = [batch.input_ids == tokenizer.pad_id for batch in some]
    prompts, rendered = asked(chats, chat_format)
    yield data_checks.special_tokens(tokenizer)
    yield data_checks.prompt_is_prefix(prompts, rendered)
    yield data_checks.fitting(len(chats), batches.n_dropped, f"seq_len, {config.seq_len}")
    yield from text_findings(some, is_pad, model.config.max_seq_len)
    yield data_checks.answers_end(some, {tokenizer.im_end_id})
    loss, gradient = loss_and_gradient(model, TokenLoss(), some[0], model)
    yield model_checks.trained_loss(loss, tokenizer.vocab_size)
    yield gradient
    room = model.config.max_seq_len - N_DRAWN
    yield from sampling_findings(model, [ids for ids in prompts if len(ids) <= room][:8])


def check_reward(config: RewardDoctor, screen: Console) -> Iterator[Finding]:
    """Rankings, and the base under a fresh score head, or the reward model that is to learn further."""
    chat_format = chat_format_of(config.base)
    tokenizer, base = chat_format.tokenizer, load_model(config.base)
    comparisons, _ = read_rankings(config)
    number = number_of(config.example, len(comparisons), "comparisons")
    size, longest = config.prompts_per_batch, min(config.max_len, base.config.max_seq_len)
    limits, too_long = (size, longest), config.too_long
    (example,) = every_comparison([comparisons[number]], chat_format, *limits, too_long=too_long)
    show_ranking(screen, config, tokenizer, example, comparisons[number])
    heading(screen, "checks")
    yield (fit := model_checks.tokenizer_fits(base.config.vocab_size, tokenizer.vocab_size))
    if not fit.ok:
        return
    model = scorer_from(base, config.seed)
    adapt(model, config.adapter, config.seed, config.base)
    model.raters = rater_model(config.objective, comparisons)
    settled(config.out, model, size, longest)
    whole = RankingBatches(comparisons, chat_format, *limits, config.seed, too_long=too_long)
    chosen = comparisons[:N_RANKINGS]
    some = list(every_comparison(chosen, chat_format, *limits, too_long=too_long))
    yield data_checks.special_tokens(tokenizer)
    yield data_checks.fitting(len(comparisons), whole.n_dropped, f"max_len, {longest}")
    yield data_checks.ranks_teach(some)
    n_cut = sum(sum(comparison.unfinished) for comparison in chosen)
    yield data_checks.scores_at_ends(some, tokenizer.im_end_id, n_cut)
    loss, gradient = loss_and_gradient(model, config.objective, some[0], model)
    yield model_checks.ranking_loss(loss, config.objective.indifferent(model, some[0]))
    yield gradient
    yield packed_scores(model, some[0], tokenizer.pad_id)


def check_policy(config: PolicyDoctor, screen: Console) -> Iterator[Finding]:
    """One rollout of the policy, rewarded, and the first minibatch that would be learnt from."""
    check_one_judge(config, None)
    tokenizer = (chat_format := chat_format_of(config.policy)).tokenizer
    heading(screen, "checks of the models")
    for finding in tokenizer_findings(config, tokenizer):
        yield finding
        if not finding.ok:  # every id means something else, so nothing that follows means anything
            return
    with scratch_run(config.out) as scratch:
        team = TEAMS[type(config)](config, chat_format, scratch)
    chosen = chosen_prompts(config, chat_format)
    yield data_checks.special_tokens(tokenizer)
    agreement = sampler_finding(team, chosen, config)
    yield agreement
    if not agreement.ok:  # nothing that is computed from such a rollout means anything
        return
    controller = AdaptiveKl(config.kl, config.n_episodes)
    rollout = replace(config.rollout, n_episodes=len(chosen) * config.rollout.n_completions)
    collected = collect(team, chosen, rollout, config.advantage, Memory(controller), seed=config.seed)
    minibatch = collected.batch.rows(torch.arange(config.rollout.minibatch_size))
    packing = Packing.of(minibatch)
    rows, is_pad = packing.pack(minibatch), ~packing.filled
    show_rollout(screen, config, tokenizer, rows, packing)
    heading(screen, "checks of the rollout")
    yield from rollout_findings(collected, config)
    yield from text_findings([rows], [is_pad], cast(LanguageModel, team.trained.policy).config.max_seq_len)
    yield packed_logprobs(team, minibatch, packing, config.objective.temperature)
    yield from update_findings(team, config.objective, PpoBatch(rows, kl=controller.penalty))


TEAMS: dict[type, Callable[[Any, ChatFormat, Run], Team]] = {
    PpoDoctor: ppo.build_team,
    GrpoDoctor: grpo.build_team,
    RlooDoctor: grpo.build_team,
}
CHECKUPS: dict[type, Checkup] = {
    PretrainDoctor: check_pretrain,
    SftDoctor: check_sft,
    RewardDoctor: check_reward,
    **dict.fromkeys(TEAMS, check_policy),
}


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


def asked(chats: Sequence[Chat], chat_format: ChatFormat) -> tuple[list[list[int]], list[list[int]]]:
    """Of the first chats, the prompt of the last answer and what is trained on."""
    prompts: list[list[int]] = []
    rendered: list[list[int]] = []
    for chat in chats[:N_RANKINGS]:
        last = max(i for i, message in enumerate(chat.messages) if message["role"] == "assistant")
        if last:
            prompts.append(chat_format.prompt(list(chat.messages[:last]), chat.tools))
            rendered.append(render_chat(chat, chat_format)[0])
    return prompts, rendered


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


def sampler_finding(team: Team, prompts: Sequence[Prompt], config: PolicyDoctor) -> Finding:
    """The same for rollouts, with their own sampler, temperature and tolerance."""
    rollout = config.rollout
    sampling = SamplingConfig(
        max_new_tokens=rollout.max_new_tokens, temperature=rollout.temperature, seed=config.seed
    )
    completions = team.sampler.generate([prompt.ids for prompt in prompts], sampling)
    rollouts = [Rollout(p, c) for p, c in zip(prompts, completions, strict=True)]
    sampled, trained = both_logprobs(
        team.trained.policy, rollouts, pad_id=team.pad_id, temperature=config.objective.temperature
    )
    return model_checks.logprobs_agree(sampled, trained, rollout.logprob_tolerance)


@torch.no_grad()
def both_logprobs(
    model: Any, rollouts: Sequence[Rollout], *, pad_id: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of drawn tokens by the sampler and by the training forward, both (tokens,)."""
    batch = lay_out(rollouts, pad_id)
    trained = token_logprobs(model(*batch.inputs), batch.target_ids, temperature=temperature)
    sampled = torch.tensor([each for rollout in rollouts for each in rollout.completion.logprobs])
    return sampled, trained[batch.loss_mask]


@torch.no_grad()
def packed_scores(model: ScoreModel, batch: RankingBatch, pad_id: int) -> Finding:
    """Scores of completions that share a row against scores of each by itself."""
    width = batch.input_ids.shape[1]
    whole: list[list[int]] = []
    for end, ids in zip(batch.end_index.tolist(), data_checks.completions_of(batch), strict=True):
        row, last = divmod(end, width)
        stem = (batch.segment_ids[row] == batch.segment_ids[row, last]) & (batch.branch_ids[row] == 0)
        whole.append([*batch.input_ids[row][stem].tolist(), *ids])
    alone = torch.tensor(score_sequences(model, whole, pad_id))
    tolerance = 0.1 if model.backbone.compute_dtype is torch.bfloat16 else 1e-3
    return model_checks.packed_equals_alone(end_scores(model, batch), alone, tolerance)


def chosen_prompts(config: PolicyDoctor, chat_format: ChatFormat) -> list[Prompt]:
    """The example and what follows it: as few prompts as fill whole minibatches and whole groups."""
    rollout = config.rollout
    longest = load_language_model(config.policy).config.max_seq_len - rollout.max_new_tokens
    prompts = read_prompts(config.prompts, chat_format, longest)
    first = number_of(config.example, len(prompts), "prompts")
    n = math.lcm(rollout.minibatch_size, rollout.n_completions) // rollout.n_completions
    return [prompts[(first + i) % len(prompts)] for i in range(n)]


def tokenizer_findings(config: PolicyDoctor, tokenizer: Tokenizer) -> Iterator[Finding]:
    """Whether policy and reward model read the same ids."""
    for path in filter(None, (config.policy, config.reward_model)):
        model = load_adapter(path) if is_adapter(path) else load_model(path)
        yield model_checks.tokenizer_fits(model.config.vocab_size, tokenizer.vocab_size)
    if config.reward_model is not None:
        theirs = tokenizer_of(config.reward_model).fingerprint
        yield model_checks.same_tokenizer([tokenizer.fingerprint, theirs])


def update_findings(team: Team, objective: Surrogate, batch: PpoBatch) -> Iterator[Finding]:
    """What must hold before the first update."""
    loss, weights = objective(team.trained, batch), objective.weights(batch)
    yield model_checks.ratio_is_one(metric(loss, "ratio"), metric(loss, "approx_kl"))
    yield model_checks.gradient_reaches(
        team.trained, lambda: mean_loss(objective(team.trained, batch), weights)
    )


def rollout_findings(collected: Collected, config: PolicyDoctor) -> Iterator[Finding]:
    """What must hold of a rollout before anything is learnt from it."""
    rollouts = collected.rollouts
    n_ended = sum(rollout.ended for rollout in rollouts)
    yield model_checks.some_end(n_ended, len(rollouts), config.rollout.max_new_tokens)
    yield model_checks.scores_differ(collected.scores)
    if config.reference is None:
        yield model_checks.starts_at_reference(collected.stats["kl"], 1e-3)


@torch.no_grad()
def packed_logprobs(team: Team, minibatch: RolloutBatch, packing: Packing, temperature: float) -> Finding:
    """The policy's log-probabilities in the rows of training against those of one completion a row."""

    def logprobs(rows: Batch) -> Tensor:
        return token_logprobs(
            team.trained.policy(*rows.tree_inputs), rows.target_ids, temperature=temperature
        )

    mask = minibatch.loss_mask
    together = packing.unpack(logprobs(packing.pack(minibatch)))
    tolerance = model_checks.tolerance_of(cast(LanguageModel, team.trained.policy))
    return model_checks.packing_keeps_logprobs(together[mask], logprobs(minibatch)[mask], tolerance)


def show_rollout(
    screen: Console, config: PolicyDoctor, tokenizer: Tokenizer, rows: RolloutBatch, packing: Packing
) -> None:
    """The packed row that holds the example, and the example in it."""
    first = packing.filled & (packing.source == 0)  # where the first completion begins
    row = int(first.any(dim=1).nonzero()[0, 0])
    segment = int(rows.segment_ids[first][0])
    shown = rows.rows(torch.tensor([row]))
    numbers = {"logprob": shown.old_logprobs, "advantage": shown.advantages}
    show_batch(screen, config, tokenizer, shown, segment, ~packing.filled[row, None], numbers)


def show_batch(
    screen: Console,
    config: TextDoctor,
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


def show_ranking(
    screen: Console, config: RewardDoctor, tokenizer: Tokenizer, batch: RankingBatch, comparison: Comparison
) -> None:
    """The special tokens, the ranking, and prompt and completions token by token."""
    heading(screen, "special tokens")
    screen.print(specials_table(tokenizer))
    heading(screen, f"ranks of example {config.example}: {batch.ranks.tolist()} (1 is best, equal is a tie)")
    steps = list(comparison.strengths) or "not said"
    screen.print(f"by {comparison.annotator or 'somebody unnamed'}, weighing {comparison.weight:g}")
    screen.print(f"how much better each rank is than the next: {steps}")
    show_tokens(screen, config, tokenizer, lines_of_ranking(batch, 0, tokenizer.pad_id), "part")


def show_tokens(screen: Console, config: Any, tokenizer: Tokenizer, shown: Shown, segment_name: str) -> None:
    """The table of tokens, and what its marks mean."""
    heading(screen, f"example {config.example}, token by token")
    screen.print(token_table(shown, tokenizer, segment_name=segment_name, n_shown=config.n_shown))
    screen.print(f"marks: {legend(shown)}", style="dim")


def heading(screen: Console, text: str) -> None:
    """The title of what follows."""
    screen.print(f"\n{text}", style="bold cyan")
