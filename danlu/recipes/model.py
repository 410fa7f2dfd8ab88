"""`danlu model MODEL`: what a model directory holds, what memory it takes, and how fast it can be here.

Weights are read only where speed is to be measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from rich.table import Table

from danlu.config import ConfigError
from danlu.inspect.anatomy import (
    WIDTHS,
    Anatomy,
    activation_bytes,
    cache_bytes,
    dissect,
    training_bytes,
)
from danlu.inspect.speed import bounds, measure_machine
from danlu.inspect.view import console
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import AnyModel, Opened, open_model, read_model, weights_of
from danlu.model.quantize import Quantisation, StoredQuantised, quantised_tensors
from danlu.model.tensor_file import Stored
from danlu.recipes.model_files import whole_model_dir
from danlu.recipes.model_speed import measured, speed_rows

SUMMARY = "what a model is, its parameters by part, memory and speed to train and to serve: danlu model MODEL"
POSITIONAL = ("model",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    model: Path  # model directory, or the run directory of the stage that made it
    tokens: int = 1024  # tokens that caches, activations and speeds are reckoned for
    measure: bool = False  # take the speeds by writing, reading and training, instead of reckoning bounds

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ConfigError(f"tokens is {self.tokens}; it must be at least 1")


def run(config: ModelReport) -> Path:
    opened, screen = open_model(whole_model_dir(config.model)), console()
    anatomy, shape = dissect(opened.model), opened.model.config
    for line in description(opened, anatomy):
        screen.print(line)
    screen.print(_table(("part", "parameters", "share"), part_rows(anatomy)))
    columns = ("computing in", "weights", f"serving {config.tokens:,} tokens", "training, AdamW", "with Muon")
    rows = chain(memory_rows(anatomy, shape, config.tokens), quantised_rows(opened.model, config.tokens))
    screen.print(_table(columns, rows))
    screen.print(
        f"Training keeps weights, gradients and moments in float32; the activations of {config.tokens:,} "
        "tokens are reckoned in, an estimate."
    )
    for each in speeds(config, anatomy, shape):
        screen.print(each)
    return config.model


def speeds(config: ModelReport, anatomy: Anatomy, shape: ModelConfig) -> Iterator[Table | str]:
    """Tokens a second here, and how they were come by."""
    columns = ("tokens a second", "writing a text", "reading a prompt", "training")
    threads = torch.get_num_threads()
    if config.measure:
        found, precision = measured(read_model(whole_model_dir(config.model)), config.tokens)
        yield _table(columns, speed_rows({"measured": found}))
        kernels = f"{precision.dtype}, {precision.kernels} kernels"
        yield (
            f"Measured with {threads} threads on random tokens: writing in float32, one text; reading and "
            f"training in {kernels}, AdamW."
        )
        return
    machine = measure_machine()
    yield _table(columns, speed_rows(bounds(anatomy, shape, machine, config.tokens)))
    products = ", ".join(f"{rate / 1e9:.3g} in {name}" for name, rate in machine.flops_per_s.items())
    gb_per_s = machine.bytes_per_s / 1e9
    yield (
        f"At most, after {config.tokens:,} tokens: memory was measured to read {gb_per_s:.3g} GB/s with "
        f"{threads} threads, and products to take {products} (10⁹ operations a second); "
        "measure=true times the model itself."
    )


def description(opened: Opened, anatomy: Anatomy) -> Iterator[str]:
    """What it is, in a few lines."""
    shape = opened.model.config
    formats = Counter(stored_as(each) for each in opened.tensors.values())
    yield f"{opened.architecture}: {opened.path}"
    yield f"{anatomy.n_parameters:,} parameters, stored as {' and '.join(formats)}"
    if shape.experts:
        taken = f"{shape.experts.n_active} of {shape.experts.n_experts} experts"
        yield f"{anatomy.n_active:,} of them work on a token, which takes {taken}"
    yield (
        f"{shape.n_layers} layers of width {shape.d_model}, {shape.n_heads} heads of {shape.head_dim} "
        f"({shape.n_kv_heads} of keys and values), MLP {shape.d_ff}, vocabulary {shape.vocab_size:,}"
    )
    if shape.pictures is not None:
        side, n_patches = shape.pictures.side, shape.pictures.n_patches
        yield f"sees pictures of {side} by {side} pixels, each as {n_patches} tokens"
    windows = f", {shape.window} tokens in windowed layers" if shape.window else ""
    yield f"reads up to {shape.max_seq_len:,} tokens{windows}"
    yield ", ".join(f"{name} {value}" for name, value in choices(shape).items())


def stored_as(each: Stored | StoredQuantised) -> str:
    """The format of a tensor's numbers, in a word."""
    return f"int{each.bits}" if isinstance(each, StoredQuantised) else str(each.dtype).removeprefix("torch.")


def choices(shape: ModelConfig) -> dict[str, str]:
    """The model's row of the parts table."""
    names = ("topology", "norm", "norm_position", "position", "mlp", "bias")
    found = {name: str(getattr(shape, name)) for name in names}
    marks = {"qk_norm": shape.qk_norm, "tied": shape.tie_embeddings, "scaled rope": shape.rope_scaling}
    return found | {name: "yes" for name, there in marks.items() if there}


def part_rows(anatomy: Anatomy) -> Iterator[tuple[str, ...]]:
    """Each part's parameters, and the sum."""
    for part, count in anatomy.parts.items():
        yield part, f"{count:,}", f"{count / anatomy.n_parameters:.1%}"
    yield "all", f"{anatomy.n_parameters:,}", ""


def memory_rows(anatomy: Anatomy, shape: ModelConfig, tokens: int) -> Iterator[tuple[str, ...]]:
    """Memory at each precision."""
    for name, width in WIDTHS.items():
        weights = width * anatomy.n_parameters
        activations = activation_bytes(shape, tokens, width)
        serving = weights + cache_bytes(shape, tokens, width)
        training = (training_bytes(anatomy, muon=muon) + activations for muon in (False, True))
        yield name, *(in_units(size) for size in (weights, serving, *training))


def quantised_rows(model: AnyModel, tokens: int) -> Iterator[tuple[str, ...]]:
    """Memory of the weights in 8 and 4 bits; they compute in bfloat16 and are trained by adapters only."""
    if not isinstance(model, LanguageModel | ScoreModel):
        return
    cache = cache_bytes(model.config, tokens, WIDTHS["bfloat16"])
    for bits in (8, 4):
        written = quantised_tensors(dict(weights_of(model)), Quantisation(bits=bits), torch.float32)
        weights = sum(each.n_bytes for each in written.values())
        yield f"int{bits}", in_units(weights), in_units(weights + cache), "adapter", "adapter"


def in_units(n_bytes: int) -> str:
    """A size to be read: 988 MB, 15.4 GB."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes} B"


def _table(columns: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table
