"""What `danlu doctor` shows and checks of pretraining, SFT and reward models, on what they would build."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console

from danlu.config import ConfigError
from danlu.data.chats import Chat, Comparison, read_chats
from danlu.data.packing import PackedBatches
from danlu.data.rankings import RankingBatches, every_comparison
from danlu.data.records import Batch, RankingBatch
from danlu.data.sft import render_chat
from danlu.data.shards import open_shards
from danlu.inspect import data_checks, model_checks
from danlu.inspect.finding import Finding
from danlu.inspect.view import lines_of_ranking, specials_table
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import load_language_model, load_model
from danlu.model.vocabulary import with_new_tokens
from danlu.objectives.ranking import end_scores
from danlu.objectives.token_loss import TokenLoss
from danlu.recipes import continued
from danlu.recipes.checking import (
    N_BATCHES,
    N_DRAWN,
    NOT_GIVEN,
    Checkup,
    empty_questions,
    heading,
    loss_and_gradient,
    number_of,
    sampling_findings,
    settled,
    show_batch,
    show_tokens,
    text_findings,
)
from danlu.recipes.continued import ContinueConfig
from danlu.recipes.pretrain import PretrainConfig
from danlu.recipes.rater_settings import rater_model
from danlu.recipes.reward import RewardConfig, read_rankings, scorer_from
from danlu.recipes.sft import SftConfig, batches_of
from danlu.recipes.stage import adapt, chat_format_of
from danlu.rl.scoring import score_sequences
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat

N_RANKINGS = 64  # comparisons that are checked


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainDoctor(PretrainConfig):
    out: Path = NOT_GIVEN  # the stage's run directory, if it has one; only read
    example: int = 1  # document to show, counted from 1
    n_shown: int = 120  # tokens of it


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinueDoctor(ContinueConfig):
    out: Path = NOT_GIVEN  # the stage's run directory, if it has one; only read
    example: int = 1  # document of the new text to show, counted from 1
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


def check_pretrain(config: PretrainDoctor, screen: Console) -> Iterator[Finding]:
    """Packed documents, and the untrained model."""
    if config.objective != "causal":
        raise ConfigError(f"objective is {config.objective!r}; the doctor knows causal pretraining only")
    tokenizer = Tokenizer.load(config.tokenizer)
    shards = open_shards(config.shards / "train", fingerprint=tokenizer.fingerprint)
    batches = PackedBatches(shards, config.batch_size, config.seq_len, config.seed, lead_with_eos=True)
    document = number_of(config.example, len(shards), "documents")
    row, segment = batches.row_with(document)
    show_batch(screen, config, tokenizer, row, segment, empty_questions(row, tokenizer.eos_id))
    heading(screen, "checks")
    model = LanguageModel(config.model.model_config(tokenizer.vocab_size), seed=config.seed)
    yield from packed_findings(config, model, tokenizer, batches, model_checks.untrained_loss)


def check_continued(config: ContinueDoctor, screen: Console) -> Iterator[Finding]:
    """Packed documents of the new text with those that are replayed, and the base with its new tokens."""
    old, base = continued.open_base(config.base)
    with written(config, old) as there:
        tokenizer = Tokenizer.load(there.out / "tokenizer")
        shards = continued.open_all(there, tokenizer, "train")
        document = number_of(config.example, len(shards[continued.NEW]), "documents")
        row, segment = continued.packed(there, shards[continued.NEW]).row_with(document)
        show_batch(screen, config, tokenizer, row, segment, empty_questions(row, tokenizer.eos_id))
        heading(screen, "checks")
        model = with_new_tokens(base, old.parts(tokenizer))
        batches = continued.batches_of(there, shards)
        yield from packed_findings(config, model, tokenizer, batches, model_checks.trained_loss)


def packed_findings(
    config: PretrainDoctor | ContinueDoctor,
    model: LanguageModel,
    tokenizer: Tokenizer,
    batches: Iterable[Batch],
    check_loss: Callable[[float, int], Finding],
) -> Iterator[Finding]:
    """What must hold of packed documents, and of a model before it learns them."""
    settled(config.out, model, config.batch_size, config.seq_len)
    some = list(islice(batches, N_BATCHES))
    is_pad = [empty_questions(batch, tokenizer.eos_id) for batch in some]
    yield data_checks.special_tokens(tokenizer)
    yield from text_findings(some, is_pad, model.config.max_seq_len)
    yield data_checks.answers_end(some, {tokenizer.eos_id}, may_go_on=True)
    loss, gradient = loss_and_gradient(model, TokenLoss(), some[0], model)
    yield check_loss(loss, tokenizer.vocab_size)
    yield gradient
    prompts = [batch.input_ids[0, : min(16, config.seq_len)].tolist() for batch in some]
    yield from sampling_findings(model, prompts)


@contextmanager
def written(config: ContinueDoctor, old: Tokenizer) -> Generator[ContinueDoctor]:
    """The settings with `out` where the shards lie: the run's own, or a folder to be thrown away."""
    if continued.is_prepared(config):
        yield config
        return
    with TemporaryDirectory() as folder:
        there = replace(config, out=Path(folder))
        continued.write_shards(there, old)
        yield there


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


CHECKUPS: dict[type, Checkup] = {
    PretrainDoctor: check_pretrain,
    ContinueDoctor: check_continued,
    SftDoctor: check_sft,
    RewardDoctor: check_reward,
}
