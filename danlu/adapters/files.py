"""Adapter directories in the layout of the PEFT library: `adapter_config.json`, `adapter_model.safetensors`.

Tensors have the names that PEFT gives them over the base in its Hugging Face layout. What PEFT has no place
for stands in the header of the safetensors file, which it does not read: a digest of the base's weights, and
of a score model its zero, its unit and its raters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from danlu.adapters.lora import (
    HEADS,
    LoraConfig,
    adapted_layers,
    attach_to,
    base_digest,
    linear_layers,
    twin,
)
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import SCORE_KEYS, apply_score_tree, hf_name, load_model, score_tree
from danlu.model.layouts.settings import Settings
from danlu.model.weights import (
    ModelFileError,
    check_tensors,
    read_file,
    read_json,
    write_json,
    write_tensors,
)

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # PEFT's wrapper around the model
TASKS: dict[type[nn.Module], str] = {LanguageModel: "CAUSAL_LM", ScoreModel: "SEQ_CLS"}
SCORE_KEY = f"{PREFIX}score.weight"


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """What an adapter directory holds, checked as far as it can be without its base."""

    path: Path
    base: Path  # model directory that it was trained on
    task: str
    config: LoraConfig
    tensors: Mapping[str, Tensor]
    header: Mapping[str, str]

    @property
    def scores(self) -> bool:
        """Whether it makes a score model."""
        return self.task == "SEQ_CLS"


def is_adapter(path: Path) -> bool:
    """Whether a directory holds an adapter."""
    return (path / CONFIG).is_file()


def save_adapter(model: LanguageModel | ScoreModel, path: Path, config: LoraConfig, *, base: Path) -> None:
    """Write an adapter directory.

    Args:
        model: with an adapter attached, not merged.
        path: where to; created if missing.
        config: what the adapter was attached with.
        base: the model directory that the adapter belongs to; it is named in the config as given.
    """
    layers = adapted_layers(model)
    if not layers:
        raise ValueError("the model has no adapter to save")
    header = {"base_sha256": base_digest(model)}
    tensors = {
        f"{PREFIX}{hf_name(name, model.config)}.lora_{which}.weight": getattr(
            layer, f"lora_{which.lower()}"
        ).detach()
        for name, layer in layers.items()
        for which in "AB"
    }
    if isinstance(model, ScoreModel):
        tensors[SCORE_KEY] = model.score.weight.detach()
        header |= {key: json.dumps(value) for key, value in score_tree(model).items()}
    path.mkdir(parents=True, exist_ok=True)
    write_tensors(path / WEIGHTS, {key: each.contiguous() for key, each in tensors.items()}, **header)
    write_json(path / CONFIG, _config_tree(model, config, base))


def load_adapter(path: Path, *, vocab_size: int | None = None) -> LanguageModel | ScoreModel:
    """The model that an adapter directory makes with its base, for a tokenizer of `vocab_size` if given."""
    file = read_adapter(path)
    return on_base(file, load_model(find_base(file), vocab_size=vocab_size))


def load_score_adapter(path: Path, *, base: LanguageModel | ScoreModel, base_dir: Path) -> ScoreModel:
    """A score model from an adapter directory.

    Args:
        path: the adapter directory.
        base: a model that is loaded already; if the adapter belongs to it, the result stands on the same
            weights, which are then frozen.
        base_dir: where `base` was read from.
    """
    file = read_adapter(path)
    if not file.scores:
        raise ModelFileError(f"{path} adapts a language model; the adapter of a score model is needed here")
    found = find_base(file)
    if found.resolve() != base_dir.resolve():
        base = load_model(found, vocab_size=base.config.vocab_size)
    model = on_base(file, base)
    assert isinstance(model, ScoreModel)
    return model


def on_base(file: AdapterFile, base: LanguageModel | ScoreModel) -> LanguageModel | ScoreModel:
    """The adapter's model over the very weights of `base`, which are frozen."""
    if isinstance(base, ScoreModel) and not file.scores:
        raise ModelFileError(f"{file.path} adapts a language model, but {file.base} holds a score model")
    base.requires_grad_(False)
    model = ScoreModel.on(twin(base.backbone)) if file.scores else twin(base)
    apply_adapter(model, file)
    return model


def apply_adapter(model: LanguageModel | ScoreModel, file: AdapterFile) -> None:
    """Attach an adapter to the base that it was trained on; any other is refused."""
    theirs = {
        hf_name(name, model.config): name
        for name in linear_layers(model)
        if name.rpartition(".")[2] not in HEADS
    }
    wanted = {_layer_of(key) for key in file.tensors if key != SCORE_KEY}
    where = file.path / WEIGHTS
    if unknown := sorted(wanted - theirs.keys()):
        raise ModelFileError(
            f"{where}: adapts {unknown[0]}; no layer of that name in {file.base} takes an adapter"
        )
    if not wanted:
        raise ModelFileError(f"{where}: holds no lora_A and lora_B; it must adapt at least one layer")
    names = [ours for name, ours in theirs.items() if name in wanted]
    shapes = {SCORE_KEY: torch.Size((1, model.config.d_model))} if file.scores else {}
    for name in names:
        linear, key = linear_layers(model)[name], f"{PREFIX}{hf_name(name, model.config)}.lora_"
        shapes[f"{key}A.weight"] = torch.Size((file.config.rank, linear.in_features))
        shapes[f"{key}B.weight"] = torch.Size((linear.out_features, file.config.rank))
    check_tensors(where, file.tensors, shapes, f"{CONFIG} and the base")
    attach_to(model, names, file.config)
    digest = file.header.get("base_sha256")
    if digest is not None and digest != base_digest(model):
        raise ModelFileError(
            f"{file.path}: was trained on other weights than those in {file.base}; name its own base"
        )
    with torch.no_grad():
        for name, layer in adapted_layers(model).items():
            layer.lora_a.copy_(file.tensors[f"{PREFIX}{hf_name(name, model.config)}.lora_A.weight"])
            layer.lora_b.copy_(file.tensors[f"{PREFIX}{hf_name(name, model.config)}.lora_B.weight"])
        if isinstance(model, ScoreModel):
            model.score.weight.copy_(file.tensors[SCORE_KEY])
            apply_score_tree(Settings(where, _told(file)), model)


def read_adapter(path: Path) -> AdapterFile:
    """Read an adapter directory; a setting that changes the arithmetic as we cannot is refused."""
    where, tree = path / CONFIG, read_json(path / CONFIG)
    for key, value in tree.items():
        if key not in IGNORED and key not in READ and value not in ALLOWED.get(key, NOTHING):
            allowed = ALLOWED.get(key, NOTHING)[0]
            raise ModelFileError(f"{where}: {key} is {value!r}; only {allowed!r} can be read")
    if tree.get("task_type") not in TASKS.values():
        raise ModelFileError(
            f"{where}: task_type is {tree.get('task_type')!r}; it must be one of {sorted(TASKS.values())}"
        )
    base = tree.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ModelFileError(
            f"{where}: base_model_name_or_path is {base!r}; it must name the base's directory"
        )
    try:
        config = LoraConfig(
            kind="lora",
            rank=int(tree["r"]),
            alpha=float(tree["lora_alpha"]),
            rank_stabilised=bool(tree.get("use_rslora", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{where}: r and lora_alpha must be numbers above 0 ({error})") from error
    tensors, header = read_file(path / WEIGHTS)
    return AdapterFile(path, Path(base), tree["task_type"], config, tensors, header)


def find_base(file: AdapterFile) -> Path:
    """The model directory that an adapter names, seen from here or from the adapter's own directory."""
    for folder in (file.base, file.path / file.base):
        if (folder / "config.json").is_file():
            return folder
    raise ModelFileError(
        f"{file.path / CONFIG}: the base {str(file.base)!r} is no model directory here; "
        "put it there, or name its place in base_model_name_or_path"
    )


def _config_tree(model: LanguageModel | ScoreModel, config: LoraConfig, base: Path) -> dict[str, Any]:
    return {
        "base_model_name_or_path": str(base),
        "peft_type": "LORA",
        "task_type": TASKS[type(model)],
        "inference_mode": True,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "use_rslora": config.rank_stabilised,
        "target_modules": _target_modules(model),
        "modules_to_save": ["score"] if isinstance(model, ScoreModel) else None,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
    }


def _told(file: AdapterFile) -> dict[str, Any]:
    """What the header says of a score model."""
    try:
        return {key: json.loads(file.header[key]) for key in SCORE_KEYS if key in file.header}
    except ValueError as error:
        raise ModelFileError(f"{file.path / WEIGHTS}: its header is damaged: {error}") from error


def _target_modules(model: LanguageModel | ScoreModel) -> list[str]:
    """The ends of names that stand for just the adapted layers, or their whole names."""
    linears = {hf_name(name, model.config) for name in linear_layers(model)}
    adapted = {hf_name(name, model.config) for name in adapted_layers(model)}
    ends = {name.rpartition(".")[2] for name in adapted}
    uniform = {name for name in linears if name.rpartition(".")[2] in ends} == adapted
    return sorted(ends if uniform else adapted)


def _layer_of(key: str) -> str:
    match = re.fullmatch(rf"{re.escape(PREFIX)}(.+)\.lora_[AB]\.weight", key)
    return match[1] if match else key


READ = {"base_model_name_or_path", "task_type", "r", "lora_alpha", "use_rslora"}
# Which layers are adapted is told by the tensors; the rest is about training, or about where files lie.
IGNORED = {
    "auto_mapping",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_dropout",
    "megatron_config",
    "megatron_core",
    "peft_version",
    "revision",
    "target_modules",
}
ALLOWED: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "modules_to_save": (["score"], ["classifier", "score"], None, []),
    # Others, such as PiSSA, also change the base.
    "init_lora_weights": (True, False, "gaussian", "orthogonal"),
}
NOTHING: tuple[Any, ...] = (None, False, {}, [], "")
