"""`danlu merge OUT adapters=A,B factors=1,-0.5`: adapters of one base, added up into a model of its own.

What an adapter changes is a vector between two sets of weights. Such vectors can be added, to have both
tasks, and subtracted, to unlearn one (task arithmetic, Ilharco et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from danlu.adapters.attach import activate
from danlu.adapters.files import apply_adapter, find_base, is_adapter, read_adapter
from danlu.adapters.settings import MERGEABLE
from danlu.config import ConfigError
from danlu.model.hf import load_language_model, open_model
from danlu.recipes.model_files import Format, format_of, token_ids, write_anew

SUMMARY = "add adapters of one base up into a model: danlu merge OUT adapters=A,B factors=1,-0.5"
POSITIONAL = ("out",)


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConfig:
    out: Path  # model directory to be written
    adapters: tuple[Path, ...]  # adapter directories, or run directories of the stages that made them
    factors: tuple[float, ...] = ()  # one an adapter, negative to subtract it; none: each counts once
    dtype: Format = "stored"  # stored: as the base lies there
    shard_gb: float = 5.0  # largest file of weights

    def __post_init__(self) -> None:
        if not self.adapters:
            raise ConfigError("adapters is empty; name at least one adapter directory")
        if self.factors and len(self.factors) != len(self.adapters):
            raise ConfigError(
                f"factors has {len(self.factors)} numbers; it must have one for each of the "
                f"{len(self.adapters)} adapters"
            )


def run(config: MergeConfig) -> Path:
    files = [read_adapter(adapter_in(path)) for path in config.adapters]
    source = find_base(files[0])
    for path, file in zip(config.adapters, files, strict=True):
        if file.config.kind not in MERGEABLE:
            raise ConfigError(
                f"adapters: {path} is of kind {file.config.kind!r}, which no weight can stand for; "
                f"these can be merged: {', '.join(kind for kind in MERGEABLE if kind != 'none')}"
            )
        if find_base(file).resolve() != source.resolve():
            raise ConfigError(
                f"adapters: {path} stands on {find_base(file)}, {config.adapters[0]} on {source}; what "
                "adapters change can be added on one base only"
            )
    model = load_language_model(source)
    factors = config.factors or (1.0,) * len(files)
    names = {f"adapter_{number}": factor for number, factor in enumerate(factors)}
    for name, file in zip(names, files, strict=True):
        apply_adapter(model, file, name=name)
    activate(model, names)
    tokens = token_ids(dict(open_model(source).settings.tree))
    dtype = format_of(source, config.dtype)
    write_anew(model, config.out, source=source, dtype=dtype, tokens=tokens, shard_gb=config.shard_gb)
    print(f"{len(files)} adapters on {source} as {dtype}: {config.out}")
    return config.out


def adapter_in(path: Path) -> Path:
    """The adapter directory that is meant: this one, or the one in a run directory."""
    return path / "adapter" if is_adapter(path / "adapter") else path
