"""One dial: from minutes to a plan for the whole recipe, by measuring this machine for a few seconds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from danlu.data.records import Batch
from danlu.model.heads import LanguageModel
from danlu.model.precision import choose_precision
from danlu.objectives.token_loss import TokenLoss
from danlu.recipes.pretrain import Shape
from danlu.train.loop import LoopConfig, train
from danlu.train.optim import OptimConfig, build_optimizer

SHORTEST, LONGEST = 2.0, 600.0  # minutes
SEQ_LEN = 256
BATCH_SIZE = 8  # rows; 2,048 tokens an update: small models gain more from many updates than from large ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A model and the vocabulary that goes with it."""

    shape: Shape
    vocab_size: int

    @property
    def n_parameters(self) -> int:
        """All weights, embeddings counted once."""
        s = self.shape
        attention = s.d_model * s.head_dim * (2 * s.n_heads + 2 * s.n_kv_heads) + 2 * s.head_dim
        block = attention + 3 * s.d_model * s.d_ff + 2 * s.d_model
        return s.n_layers * block + s.d_model * (self.vocab_size + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """The loss on held-out text: E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, approach 3).

    N counts all parameters, D tokens read.
    """

    e: float
    a: float
    alpha: float
    b: float
    beta: float

    def predict(self, n_parameters: float, n_tokens: float) -> float:
        return self.e + self.a / n_parameters**self.alpha + self.b / n_tokens**self.beta


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the recipe will do and how long each stage may take."""

    minutes: float
    size: Size
    corpus_bytes: int
    tokens_per_s: float  # measured, training
    seconds: Mapping[str, float]  # budget by stage
    tokens: int  # predicted for pretraining
    loss: float | None  # predicted bits per byte after them; None where no law was fitted to such text

    def to_tree(self) -> dict[str, Any]:
        predicted = {
            "total_seconds": sum(self.seconds.values()),
            "seconds": dict(self.seconds),
            "tokens": self.tokens,
            "loss": self.loss,
        }
        return {
            "minutes": self.minutes,
            "shape": asdict(self.size.shape),
            "vocab_size": self.size.vocab_size,
            "n_parameters": self.size.n_parameters,
            "corpus_bytes": self.corpus_bytes,
            "tokens_per_s": self.tokens_per_s,
            "predicted": predicted,
        }

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Plan:
        predicted = tree["predicted"]
        return cls(
            minutes=tree["minutes"],
            size=Size(shape=Shape(**tree["shape"]), vocab_size=tree["vocab_size"]),
            corpus_bytes=tree["corpus_bytes"],
            tokens_per_s=tree["tokens_per_s"],
            seconds=predicted["seconds"],
            tokens=predicted["tokens"],
            loss=predicted["loss"],
        )


def make_plan(minutes: float, *, text_bytes: int | None = None, shares: Mapping[str, float]) -> Plan:
    """Measure each size in turn and take the one whose loss will be lowest after the time for pretraining.

    Args:
        minutes: for everything.
        text_bytes: how much text there is; None is the embedded world, which writes as much as is wanted.
            For other text no loss is predicted: the law then only compares sizes.
        shares: of the time, by stage.
    """
    seconds = {name: share * minutes * 60 for name, share in shares.items()}
    law = LAW if text_bytes is None else OTHER_TEXT
    best: Plan | None = None
    least = math.inf
    for size in sizes_for(text_bytes):
        speed = training_speed(size)
        tokens = int(speed * seconds["pretrain"])
        loss = law.predict(size.n_parameters, tokens)
        if loss >= least:
            break
        least = loss
        best = Plan(
            minutes=minutes,
            size=size,
            corpus_bytes=corpus_bytes(tokens, text_bytes),
            tokens_per_s=speed,
            seconds=seconds,
            tokens=tokens,
            loss=loss if text_bytes is None else None,
        )
    assert best is not None
    return best


def sizes_for(text_bytes: int | None) -> Iterator[Size]:
    """Models to choose from, with the vocabulary that the text asks for."""
    for size in SIZES:
        yield size if text_bytes is None else replace(size, vocab_size=vocabulary_for(text_bytes))


def vocabulary_for(text_bytes: int) -> int:
    """Tokens worth learning from so much real text in two languages: Chinese alone has thousands of signs."""
    return next((size for limit, size in VOCABULARIES if text_bytes < limit), LARGEST_VOCABULARY)


def corpus_bytes(tokens: int, text_bytes: int | None = None) -> int:
    """Text to write: about two bytes a token read, so that it is read about one and a half times.

    Of text that exists, what can be read once, at about four bytes a token.
    """
    if text_bytes is not None:
        return min(text_bytes, max(1_000_000, 4 * tokens))
    return max(1_000_000, min(1_000_000_000, 2 * tokens))


def training_speed(size: Size, *, n_updates: int = 8) -> float:
    """Tokens a second of pretraining updates at their median; the first one is not counted."""
    model = LanguageModel(size.shape.model_config(size.vocab_size))
    choose_precision(model, batch_size=BATCH_SIZE, seq_len=SEQ_LEN)
    optimizer = build_optimizer(model, OptimConfig(kind="muon"))
    batch = random_batch(size.vocab_size)
    loop = LoopConfig(n_steps=n_updates + 1)
    reports = train(model, [batch] * (n_updates + 1), TokenLoss(), optimizer, lambda _: 1e-3, loop)
    return batch.input_ids.numel() / median([report.seconds for report in reports][1:])


def random_batch(vocab_size: int) -> Batch:
    """A full batch of meaningless tokens."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocab_size, (BATCH_SIZE, SEQ_LEN), generator=generator)
    return Batch(
        input_ids=ids,
        target_ids=ids,
        loss_mask=torch.ones_like(ids, dtype=torch.bool),
        position_ids=torch.arange(SEQ_LEN).expand_as(ids).contiguous(),
        segment_ids=torch.zeros_like(ids),
    )


def show(plan: Plan) -> None:
    """Print the plan as people read it."""
    s = plan.size.shape
    table = Table(title=f"Plan for {plan.minutes:g} minutes")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    for name, seconds in plan.seconds.items():
        table.add_row(name, f"{seconds:.0f}")
    console = Console()
    console.print(table)
    console.print(
        f"model: {plan.size.n_parameters:,} parameters ({s.n_layers} layers, width {s.d_model}, "
        f"vocabulary {plan.size.vocab_size}); text: {plan.corpus_bytes / 1e6:.1f} MB; "
        f"measured {plan.tokens_per_s:,.0f} tokens/s; expected {plan.tokens:,} tokens read and "
        + ("a loss that no law foretells" if plan.loss is None else f"{plan.loss:.3f} bits per byte"),
        highlight=False,
    )


NARROW = Shape(d_model=192, n_layers=3, n_heads=6, n_kv_heads=2, head_dim=32, d_ff=512)
WIDE = Shape(d_model=384, n_layers=6, n_heads=6, n_kv_heads=2, head_dim=64, d_ff=1024)
SIZES = (
    Size(shape=NARROW, vocab_size=2048),
    Size(shape=replace(NARROW, n_layers=4), vocab_size=2048),
    Size(shape=replace(NARROW, d_model=256, n_layers=5, n_heads=8, d_ff=704), vocab_size=4096),
    Size(shape=WIDE, vocab_size=8192),
    Size(shape=replace(WIDE, d_model=512, n_layers=8, n_heads=8, n_kv_heads=4, d_ff=1408), vocab_size=8192),
    Size(
        shape=replace(WIDE, d_model=640, n_layers=10, n_heads=10, n_kv_heads=5, d_ff=1728), vocab_size=16384
    ),
)
SHARES = {
    "data": 0.015,
    "tokenizer": 0.01,
    "pretrain": 0.27,
    "sft": 0.275,
    "comparisons": 0.055,
    "reward": 0.15,
    "ppo": 0.205,
    "evaluate": 0.02,
}
# Text that exists is not soon learnt by heart, and people's chats and rankings are few.
SHARES_OF_FILES = {
    "data": 0.01,
    "tokenizer": 0.01,
    "pretrain": 0.5,
    "sft": 0.13,
    "comparisons": 0.005,
    "reward": 0.105,
    "ppo": 0.16,
    "evaluate": 0.08,
}
# Bits per byte of the embedded world's text, through a few runs of 1 to 2 M parameters on 1 to 3.6 M tokens:
# near those a prediction, elsewhere a guess.
LAW = Law(e=0.15, a=22_400.0, alpha=0.85, b=13_530.0, beta=0.737)
# Nats a token of web text (Besiroglu et al. 2024, a second fit to Hoffmann et al.'s runs): far from such
# small models, and in another unit, so it serves to compare sizes and for nothing else.
OTHER_TEXT = Law(e=1.82, a=482.0, alpha=0.348, b=2085.0, beta=0.366)
VOCABULARIES = ((4_000_000, 4096), (100_000_000, 8192))  # for text of fewer bytes, so many tokens
LARGEST_VOCABULARY = 16384
