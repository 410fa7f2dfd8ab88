"""Beam search: the likeliest translations, of which short ones have no advantage."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.config import ConfigError
from danlu.model.kv_cache import KvCache
from danlu.model.translation import TranslationModel

BLOCK_SIZE = 32  # what is read is rounded up to this many positions


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamConfig:
    """How translations are searched for; the defaults are those of Vaswani et al. 2017, section 6.1."""

    beam_size: int = 4  # hypotheses that are followed at the same time; 1 is greedy
    length_penalty: float = 0.6  # alpha: 0 prefers short translations, 1 about the mean of log-probabilities
    max_extra_tokens: int = 50  # a translation is at most so much longer than its source
    batch_tokens: int = 2048  # source tokens times beam_size that are worked on at the same time

    def __post_init__(self) -> None:
        for name in ("beam_size", "batch_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"beam.{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("length_penalty", "max_extra_tokens"):
            if getattr(self, name) < 0:
                raise ConfigError(f"beam.{name} is {getattr(self, name)}; it must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """A translation that the search has found."""

    ids: tuple[int, ...]  # without the end
    logprob: float  # of all its tokens, the end included
    score: float  # logprob over the length penalty
    ended: bool  # False: cut at the greatest length


def penalty(length: int, alpha: float) -> float:
    """By what a log-probability of `length` tokens, the end included, is divided (Wu et al. 2016, eq. 14)."""
    return ((5 + length) / 6) ** alpha


@torch.inference_mode()
def translate(
    model: TranslationModel,
    sources: Sequence[Sequence[int]],
    config: BeamConfig,
    *,
    start_id: int,
    end_id: int,
    forbidden_ids: Collection[int] = (),
) -> list[list[Hypothesis]]:
    """For each source the best translations found, best first, at most `beam_size` of them.

    Args:
        model: in evaluation mode.
        sources: ids, each as the encoder was trained to read it.
        start_id: what translations begin after.
        end_id: what ends one.
        forbidden_ids: never part of a translation.
    """
    _check(sources, model)
    found: list[list[Hypothesis]] = [[] for _ in sources]
    forbidden = torch.tensor(sorted(set(forbidden_ids) - {end_id}), dtype=torch.int64)
    for group in _groups(sources, config):
        search = _Search(model, [sources[i] for i in group], config, start_id, end_id, forbidden)
        for place, hypotheses in zip(group, search.run(), strict=True):
            found[place] = hypotheses
    return found


class _Search:
    """The search for several sources at once; row i * beam_size + j of the tables is beam j of source i.

    Sources whose search is over leave, and the others move up.
    """

    def __init__(
        self,
        model: TranslationModel,
        sources: Sequence[Sequence[int]],
        config: BeamConfig,
        start_id: int,
        end_id: int,
        forbidden: Tensor,
    ) -> None:
        self._model, self._config, self._end_id = model, config, end_id
        device = model.lm_head.weight.device
        self._forbidden = forbidden.to(device)
        width, beams = max(map(len, sources)), config.beam_size
        limit = model.config.max_seq_len
        self._limits = [min(len(source) + config.max_extra_tokens, limit) for source in sources]
        padded = [[*source, *[0] * (width - len(source))] for source in sources]
        lengths = torch.tensor([[len(source)] for source in sources])
        self._is_pad = (torch.arange(width) >= lengths).long().to(device)
        hidden = model.backbone.encode(torch.tensor(padded, device=device), self._is_pad)
        self._memory = model.backbone.read(hidden)
        n_rows, n_blocks = len(sources) * beams, -(-max(self._limits) // BLOCK_SIZE)
        self._tables = torch.arange(n_rows * n_blocks, device=device).view(n_rows, n_blocks)
        self._cache = KvCache(
            n_layers=model.config.n_layers,
            n_blocks=n_rows * n_blocks,
            n_kv_heads=model.config.n_kv_heads,
            block_size=BLOCK_SIZE,
            head_dim=model.config.head_dim,
            dtype=hidden.dtype,
            device=device,
        )
        self._places = list(range(len(sources)))  # which source each group of rows is about
        self._ended: list[list[Hypothesis]] = [[] for _ in sources]  # of each source, best first
        self._ids = torch.full((len(sources), beams, 1), start_id, device=device)
        # At first all beams are the same: one of them counts.
        self._logprobs = torch.full((len(sources), beams), -torch.inf, device=device)
        self._logprobs[:, 0] = 0.0

    def run(self) -> list[list[Hypothesis]]:
        length = 0
        while self._places:
            length += 1
            self._advance(length)
            self._leave(length)
        return self._ended

    def _advance(self, length: int) -> None:
        """One more token for every beam: the `length`-th."""
        n, beams = self._logprobs.shape
        totals = (self._logprobs[:, :, None] + self._next_logprobs(length)).flatten(1)
        vocab_size = totals.shape[1] // beams
        # Of twice as many candidates at most half end here, so that enough are left to go on.
        logprobs, flat = totals.topk(min(2 * beams, totals.shape[1]), dim=1)
        parents, tokens = flat // vocab_size, flat % vocab_size
        ends = tokens == self._end_id
        self._collect(length, logprobs, parents, ends)
        kept = logprobs.masked_fill(ends, -torch.inf).topk(beams, dim=1).indices
        parents, tokens = parents.gather(1, kept), tokens.gather(1, kept)
        self._logprobs = logprobs.masked_fill(ends, -torch.inf).gather(1, kept)
        before = self._ids.gather(1, parents[:, :, None].expand(-1, -1, length))
        self._ids = torch.cat((before, tokens[:, :, None]), dim=2)
        rows = (torch.arange(n, device=parents.device)[:, None] * beams + parents).flatten()
        self._cache.rearrange(self._tables, rows, length)

    def _next_logprobs(self, length: int) -> Tensor:
        """log p of every token after each beam, (sources, beams, vocab), float32."""
        n, beams = self._logprobs.shape
        at = torch.full((n * beams, 1), length - 1, device=self._ids.device)
        self._cache.select(self._tables[: n * beams], at)
        last = self._ids[:, :, -1].reshape(-1, 1)
        hidden = self._model.backbone.step(last, at, self._memory, self._is_pad, kv_cache=self._cache)
        logits = self._model.logits(hidden[:, 0]).index_fill_(-1, self._forbidden, -torch.inf)
        return logits.log_softmax(-1).unflatten(0, (n, beams))

    def _collect(self, length: int, logprobs: Tensor, parents: Tensor, ends: Tensor) -> None:
        """Keep the candidates that end here; only those among the first `beam_size` are worth it."""
        divisor = penalty(length, self._config.length_penalty)
        among = (ends & (logprobs > -torch.inf))[:, : self._config.beam_size]
        for source, rank in among.nonzero().tolist():
            ids = self._ids[source, parents[source, rank], 1:].tolist()
            logprob = float(logprobs[source, rank])
            hypothesis = Hypothesis(ids=tuple(ids), logprob=logprob, score=logprob / divisor, ended=True)
            known = self._ended[self._places[source]]
            known.append(hypothesis)
            known.sort(key=lambda each: -each.score)
            del known[self._config.beam_size :]

    def _leave(self, length: int) -> None:
        """Let sources go that have as many translations as beams, or their length, or nothing to hope for."""
        best_open = self._logprobs.max(dim=1).values.tolist()
        staying: list[int] = []
        for row, (place, logprob) in enumerate(zip(self._places, best_open, strict=True)):
            ended, limit = self._ended[place], self._limits[place]
            # A log-probability only falls, and none is divided by more than at the greatest length.
            hope = logprob / penalty(limit, self._config.length_penalty)
            enough = len(ended) == self._config.beam_size or (ended and hope <= ended[0].score)
            if length < limit and not enough:
                staying.append(row)
            elif not ended:
                ended.append(self._cut(row, length))
        if len(staying) < len(self._places):
            self._keep(torch.tensor(staying, dtype=torch.int64, device=self._ids.device), length)

    def _cut(self, row: int, length: int) -> Hypothesis:
        """The best that has not ended at the greatest length."""
        logprob = float(self._logprobs[row, 0])
        score = logprob / penalty(length, self._config.length_penalty)
        return Hypothesis(
            ids=tuple(self._ids[row, 0, 1:].tolist()), logprob=logprob, score=score, ended=False
        )

    def _keep(self, staying: Tensor, length: int) -> None:
        beams = self._config.beam_size
        self._places = [self._places[row] for row in staying.tolist()]
        self._ids, self._logprobs = self._ids[staying], self._logprobs[staying]
        self._memory = [(keys[staying], values[staying]) for keys, values in self._memory]
        self._is_pad = self._is_pad[staying]
        rows = (staying[:, None] * beams + torch.arange(beams, device=staying.device)).flatten()
        self._cache.rearrange(self._tables, rows, length)


def _check(sources: Sequence[Sequence[int]], model: TranslationModel) -> None:
    """Refuse a source that the model cannot read."""
    for number, source in enumerate(sources, start=1):
        if not source:
            raise ValueError(f"source {number} is empty; it needs at least one token to translate")
        if unknown := [i for i in source if not 0 <= i < model.config.vocab_size]:
            raise ValueError(
                f"source {number} holds id {unknown[0]}; the model knows 0 to {model.config.vocab_size - 1}"
            )


def _groups(sources: Sequence[Sequence[int]], config: BeamConfig) -> list[list[int]]:
    """Places of sources of similar length, as many at a time as `batch_tokens` allows."""
    groups: list[list[int]] = []
    for place in sorted(range(len(sources)), key=lambda i: len(sources[i])):
        # In ascending order the newest is the longest.
        size = (len(groups[-1]) + 1) * len(sources[place]) * config.beam_size if groups else 0
        if not groups or size > config.batch_tokens:
            groups.append([])
        groups[-1].append(place)
    return groups
