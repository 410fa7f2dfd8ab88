"""`danlu import DIR OUT`: open weights become a model directory of ours, checked whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from danlu.inspect.anatomy import dissect
from danlu.model.hf import open_model, read_model
from danlu.recipes.model_files import (
    Format,
    format_of,
    token_ids,
    tokenizer_note,
    whole_model_dir,
    write_anew,
)

SUMMARY = "take in open weights, from a directory in the Hugging Face layout: danlu import DIR OUT"
POSITIONAL = ("source", "out")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportConfig:
    source: Path  # directory with config.json and safetensors files
    out: Path  # model directory to be written
    dtype: Format = "stored"  # stored: as it lies there
    shard_gb: float = 5.0  # largest file of weights


def run(config: ImportConfig) -> Path:
    source = whole_model_dir(config.source)
    opened = open_model(source)
    dtype = format_of(source, config.dtype)
    model = read_model(source, dtype=dtype)
    tokens = token_ids(dict(opened.settings.tree))
    write_anew(model, config.out, source=source, dtype=dtype, tokens=tokens, shard_gb=config.shard_gb)
    print(f"{opened.architecture}, {dissect(model).n_parameters:,} parameters as {dtype}: {config.out}")
    if note := tokenizer_note(config.out):
        print(f"the weights are complete; it cannot be spoken to here: {note}")
    return config.out
