"""Checks of a model before it is trained: its loss, its gradients, and that it samples what it learns."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from danlu.generate.decoder import Span, TorchDecoder, make_cache, tokens_of
from danlu.inspect.finding import Finding
from danlu.model.heads import LanguageModel

BLOCK_SIZE = 16  # of the cache that is held against the full pass
FLOAT32_TOLERANCE, BFLOAT16_TOLERANCE = 1e-4, 0.05  # nats a token, mean: what rounding explains
RATIO_TOLERANCE = 1e-4  # root mean square of log ratio; the same forward gives the same bits
LOSS_TOLERANCE = 0.05  # relative
NUDGE = 1e-3  # so little changes no ratio of probabilities that matters
RANKING_TOLERANCE = 1.3  # nats a ranking that a start may cost more than preferring nothing


def tolerance_of(model: LanguageModel) -> float:
    """How far log-probabilities of two ways to compute them may lie apart, on average."""
    return BFLOAT16_TOLERANCE if model.backbone.compute_dtype is torch.bfloat16 else FLOAT32_TOLERANCE


def tokenizer_fits(vocab_size: int, n_tokens: int) -> Finding:
    """The model has one embedding for each token."""
    return Finding(
        check="tokenizer fits the model",
        ok=vocab_size == n_tokens,
        found=f"the tokenizer has {n_tokens:,} tokens and the model knows {vocab_size:,}",
        wanted="the same number, by using the tokenizer that the model was trained with",
        why="With another tokenizer every id means something else.",
    )


def same_tokenizer(fingerprints: Sequence[str]) -> Finding:
    """All models of a stage read the same ids."""
    return Finding(
        check="one tokenizer",
        ok=len(set(fingerprints)) == 1,
        found=" and ".join(fingerprint[:12] for fingerprint in fingerprints),
        wanted="the same fingerprint for the policy and the reward model",
        why="A reward model with another tokenizer scores another text.",
    )


def untrained_loss(loss: float, vocab_size: int) -> Finding:
    """An untrained model knows nothing, and is not sure of anything."""
    uniform = math.log(vocab_size)
    return Finding(
        check="untrained loss",
        ok=abs(loss / uniform - 1) <= LOSS_TOLERANCE,
        found=f"{loss:.3f} nats a token",
        wanted=f"log({vocab_size:,}) = {uniform:.3f}, within {LOSS_TOLERANCE:.0%}",
        why="A model that begins sure of what it cannot know spends its first updates on unlearning it.",
    )


def trained_loss(loss: float, vocab_size: int) -> Finding:
    """A trained model is not worse than one that knows nothing."""
    uniform = math.log(vocab_size)
    return Finding(
        check="loss before training",
        ok=loss <= (1 + LOSS_TOLERANCE) * uniform,
        found=f"{loss:.3f} nats a token (knowing nothing costs {uniform:.3f})",
        wanted=f"no more than log({vocab_size:,})",
        why="A base model worse than none was trained on other ids, or its weights are damaged.",
    )


def ranking_loss(loss: float, indifferent: float) -> Finding:
    """Before training, a fresh head prefers nothing by much; `indifferent` is what equal scores cost."""
    return Finding(
        check="loss before training",
        ok=loss <= indifferent + RANKING_TOLERANCE,
        found=f"{loss:.3f} nats a ranking (preferring nothing costs {indifferent:.3f})",
        wanted=f"about as much, at most {RANKING_TOLERANCE} more",
        why="Scores that begin far apart spend the only pass over the rankings on coming together.",
    )


def gradient_reaches(model: nn.Module, loss: Callable[[], Tensor]) -> Finding:
    """One backward pass reaches every parameter that is to be trained; gradients are gone afterwards.

    Where weights begin at zero by design, as LoRA's B and the head of a value model do, what stands before
    them gets no gradient at first. So they are moved a little while the loss is computed.
    """
    model.zero_grad(set_to_none=True)
    with nudged(model):
        loss().backward()
    named = dict(model.named_parameters())
    trained = {name: p for name, p in named.items() if p.requires_grad}
    idle = [name for name, p in trained.items() if p.grad is None or not bool(p.grad.any())]
    wild = [name for name, p in trained.items() if p.grad is not None and not bool(p.grad.isfinite().all())]
    model.zero_grad(set_to_none=True)
    frozen = f", {len(named) - len(trained)} are frozen" if len(trained) < len(named) else ""
    lost = f"; not {_few(idle)}" if idle else ""
    broken = f"; not finite in {_few(wild)}" if wild else ""
    return Finding(
        check="gradient reaches every parameter",
        ok=bool(trained) and not idle and not wild,
        found=f"{len(trained) - len(idle)} of {len(trained)}{frozen}{lost}{broken}",
        wanted="all of them, finite",
        why="A parameter without a gradient keeps its random start for ever.",
    )


@contextmanager
def nudged(model: nn.Module) -> Generator[None]:
    """Within, trained weights that are all zero are a little off it."""
    at_zero = [p for p in model.parameters() if p.requires_grad and not bool(p.any())]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in at_zero:
            parameter.copy_(NUDGE * torch.randn(parameter.shape, generator=generator))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter in at_zero:
                parameter.zero_()


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


@torch.no_grad()
def cache_equals_full(model: LanguageModel, ids: Sequence[int]) -> Finding:
    """Reading a text token by token through the cache gives the log-probabilities of one full pass."""
    full = model(torch.tensor([ids]))[0].log_softmax(-1)
    n_blocks = -(-(len(ids) + 1) // BLOCK_SIZE)
    cache = make_cache(
        model, n_blocks, BLOCK_SIZE, model.backbone.compute_dtype or model.lm_head.weight.dtype
    )
    decoder = TorchDecoder(model, np.arange(n_blocks, dtype=np.int32)[None], cache)
    half = len(ids) // 2
    decoder.read([Span(0, 0, ids[:half])])
    places = range(half, len(ids))
    cached = torch.cat([decoder.logits(tokens_of([Span(0, t, [ids[t]])])).log_softmax(-1) for t in places])
    # Weighed by probability: in bfloat16 what is all but impossible is rounded coarsely, and never drawn.
    apart = (full[half:].exp() * (cached - full[half:]).abs()).sum(-1)
    gap, tolerance = float(apart.mean()), tolerance_of(model)
    return Finding(
        check="cached decoding equals the full pass",
        ok=gap <= tolerance,
        found=f"{gap:.1g} nats a token apart over {len(cached)} positions",
        wanted=f"at most {tolerance:.1g}, which is rounding",
        why="What is sampled is then not what the model has learnt.",
    )


def logprobs_agree(sampled: Tensor, trained: Tensor, tolerance: float) -> Finding:
    """The sampler and the training forward give the drawn tokens the same log-probability.

    Args:
        sampled: what the sampler reported, (tokens,).
        trained: by the training forward at the temperature of the settings, (tokens,).
        tolerance: mean distance that rounding explains.
    """
    gap = float((sampled - trained).abs().mean())
    return Finding(
        check="sampler and training agree",
        ok=gap <= tolerance,
        found=f"log-probabilities of {len(sampled)} drawn tokens are {gap:.1g} apart on average",
        wanted=f"at most {tolerance:.1g}, which is rounding",
        why="Another temperature, truncation or precision in the sampler turns KL negative and ratios false.",
    )


def ratio_is_one(ratio: float, approx_kl: float) -> Finding:
    """Before the first update the policy is the one that sampled.

    Args:
        ratio: mean of p_new / p_old over the tokens.
        approx_kl: mean of half the squared log ratio.
    """
    spread = math.sqrt(2 * max(approx_kl, 0.0)) if math.isfinite(approx_kl) else math.inf
    return Finding(
        check="ratio is one",
        ok=abs(ratio - 1) <= RATIO_TOLERANCE and spread <= RATIO_TOLERANCE,
        found=f"mean {ratio:.6f}, log ratio {spread:.1g} (root mean square)",
        wanted="1 and 0 at every token before the first update",
        why="Dropout, another mask or another temperature lie between rollout and training.",
    )


def starts_at_reference(kl: float, tolerance: float) -> Finding:
    """The policy begins as its own reference."""
    return Finding(
        check="KL at the start",
        ok=abs(kl) <= tolerance,
        found=f"{kl:.2g} nats a completion",
        wanted=f"0, within {tolerance:.2g}",
        why="The penalty would pull the policy to another model than the one it began as.",
    )


def some_end(n_ended: int, n_sampled: int, max_new_tokens: int) -> Finding:
    """Some completions end by themselves."""
    return Finding(
        check="completions end",
        ok=n_ended > 0,
        found=f"{n_ended} of {n_sampled} ended within {max_new_tokens} tokens",
        wanted="at least one, by a larger rollout.max_new_tokens or a policy that was fine-tuned",
        why="Where none ends, all scores are of cut texts and the penalty for that is the same for all.",
    )


def scores_differ(scores: Tensor) -> Finding:
    """The reward model tells completions apart, and every score is a number."""
    finite = bool(scores.isfinite().all())
    spread = float(scores.std(unbiased=False)) if finite else math.nan
    return Finding(
        check="scores",
        ok=finite and spread > 0,
        found=f"mean {float(scores.mean()):+.3f}, deviation {spread:.3f} over {len(scores)} completions",
        wanted="finite numbers that are not all the same",
        why="Equal scores push nowhere, and one NaN makes every weight NaN.",
    )


def packing_keeps_logprobs(packed: Tensor, alone: Tensor, tolerance: float) -> Finding:
    """A completion's log-probabilities do not depend on what shares its row.

    Args:
        packed: of all chosen tokens, in rows of several completions, (tokens,).
        alone: of the same tokens, one completion a row, (tokens,).
        tolerance: mean distance that rounding explains.
    """
    gap = float((packed - alone).abs().mean())
    return Finding(
        check="packed rollouts equal rollouts alone",
        ok=gap <= tolerance,
        found=f"log-probabilities of {len(packed)} tokens are {gap:.1g} apart on average",
        wanted=f"at most {tolerance:.1g}, which is rounding",
        why="Attention that crosses from one completion to the next makes every ratio wrong.",
    )


def packed_equals_alone(packed: Tensor, alone: Tensor, tolerance: float) -> Finding:
    """A completion's score does not depend on what stands beside it."""
    gap = float((packed - alone).abs().max())
    return Finding(
        check="packed scores equal scores alone",
        ok=gap <= tolerance,
        found=f"at most {gap:.1g} apart over {len(packed)} completions",
        wanted=f"at most {tolerance:.1g}, which is rounding",
        why="Attention that crosses from one completion to the next scores both.",
    )
