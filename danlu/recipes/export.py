"""`danlu export MODEL OUT`: a model of ours, adapter merged in, as other programs read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from danlu.adapters.files import find_base, is_adapter, load_adapter, read_adapter
from danlu.model.hf import layout_of, open_model, read_model
from danlu.recipes.model_files import Format, format_of, model_dir, token_ids, write_anew

SUMMARY = "hand a model on in the Hugging Face layout, adapter merged in: danlu export MODEL OUT"
POSITIONAL = ("model", "out")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    model: Path  # model or adapter directory, or the run directory of the stage that made it
    out: Path  # directory to be written
    dtype: Format = "bfloat16"  # stored: as it lies there
    shard_gb: float = 5.0  # largest file of weights


def run(config: ExportConfig) -> Path:
    adapter = next((path for path in (config.model, config.model / "adapter") if is_adapter(path)), None)
    merged = adapter is not None and not (config.model / "model" / "config.json").is_file()
    source = find_base(read_adapter(adapter)) if merged and adapter else model_dir(config.model)
    dtype = format_of(source, config.dtype)
    model = load_adapter(adapter) if merged and adapter else read_model(source, dtype=dtype)
    tokens = token_ids(dict(open_model(source).settings.tree))
    write_anew(model, config.out, source=source, dtype=dtype, tokens=tokens, shard_gb=config.shard_gb)
    print(f"{layout_of(model.config).model_type} as {dtype}: {config.out}")
    return config.out
