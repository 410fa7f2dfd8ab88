"""`danlu export MODEL OUT`: a model of ours, adapter merged in, for other programs or for less memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from danlu.adapters.files import find_base, is_adapter, load_adapter, read_adapter
from danlu.config import ConfigError
from danlu.model.gguf import GgufFormat, write_gguf
from danlu.model.heads import LanguageModel
from danlu.model.hf import AnyModel, layout_of, open_model, read_model
from danlu.model.quantize import GROUPS, Quantisation
from danlu.recipes.model_files import Format, format_of, model_dir, token_ids, vocabulary_of, write_anew

SUMMARY = "hand a model on, adapter merged in: as a directory, quantised, or as GGUF: danlu export MODEL OUT"
POSITIONAL = ("model", "out")
GROUP = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    model: Path  # model or adapter directory, or the run directory of the stage that made it
    out: Path  # directory to be written, or a file that ends with .gguf
    dtype: Format = "bfloat16"  # stored: as it lies there; in a quantised model, of what is not quantised
    shard_gb: float = 5.0  # largest file of weights
    quantize: Literal["none", "int8", "int4"] = "none"  # a directory for Danlu alone, a half or a quarter
    group: int = GROUP  # int4: columns of a matrix that share a scale; 32, 64, 128 or 256
    format: GgufFormat | None = None  # of a .gguf file; f16 by default

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise ConfigError(f"group is {self.group}; it must be one of {', '.join(map(str, GROUPS))}")
        if self.group != GROUP and self.quantize != "int4":
            raise ConfigError(f"group is set, but quantize is {self.quantize!r}; it belongs to int4")
        if self.is_gguf and self.quantize != "none":
            raise ConfigError(
                f"quantize is {self.quantize!r} and out is {self.out}; for a .gguf file set format "
                "to q8_0 or q4_0"
            )
        if self.format is not None and not self.is_gguf:
            raise ConfigError(f"format is {self.format!r}, but out is {self.out}; it must end with .gguf")

    @property
    def is_gguf(self) -> bool:
        return self.out.suffix == ".gguf"

    @property
    def quantisation(self) -> Quantisation | None:
        if self.quantize == "none":
            return None
        return Quantisation(bits=8 if self.quantize == "int8" else 4, group=self.group)


def run(config: ExportConfig) -> Path:
    adapter = next((path for path in (config.model, config.model / "adapter") if is_adapter(path)), None)
    merged = adapter is not None and not (config.model / "model" / "config.json").is_file()
    source = find_base(read_adapter(adapter)) if merged and adapter else model_dir(config.model)
    if config.is_gguf and config.out.exists():
        raise ConfigError(f"out is {config.out}, which exists; name a file that is not there yet")
    dtype = format_of(source, config.dtype)
    as_read = "stored" if config.is_gguf or config.quantisation else dtype
    model = load_adapter(adapter) if merged and adapter else read_model(source, dtype=as_read)
    if config.is_gguf:
        return export_gguf(model, source, config)
    tokens = token_ids(dict(open_model(source).settings.tree))
    write_anew(
        model,
        config.out,
        source=source,
        dtype=dtype,
        tokens=tokens,
        shard_gb=config.shard_gb,
        quantisation=config.quantisation,
    )
    how = dtype if config.quantisation is None else config.quantize
    print(f"{layout_of(model.config).model_type} as {how}: {config.out}")
    return config.out


def export_gguf(model: AnyModel, source: Path, config: ExportConfig) -> Path:
    """One file with the tokenizer in it."""
    if not isinstance(model, LanguageModel):
        raise ConfigError(
            f"{config.model} holds a {type(model).__name__}; GGUF is written of language models"
        )
    form = config.format or "f16"
    config.out.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(model, config.out, vocabulary_of(source), form=form, name=source.resolve().name)
    print(f"{layout_of(model.config).model_type} as GGUF {form}: {config.out}")
    return config.out
