"""Each kind of adapter as PEFT's files have it: its settings, its tensors, and back again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.adapters.attach import decoder_of, new_bottleneck
from danlu.adapters.joint_layers import (
    BOTTLENECK,
    LAYERED,
    Model,
    Slot,
    bottleneck_slots,
    slots_of,
)
from danlu.adapters.settings import AdapterConfig, Bottleneck, Budget, VirtualTokens
from danlu.adapters.virtual_tokens import DeepPrefix, Prompt
from danlu.config import ConfigError
from danlu.model.adapted import Part, places
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import place_in
from danlu.model.weights import ModelFileError, check_tensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE = "base_model."  # PEFT's wrapper around the model; around one with adapted layers there is another
LAYERS = f"{BASE}model."
EMBEDDINGS = "prompt_embeddings"
ANSWERS_KEY = "answers"  # in the header: what a classifier's outputs stand for
PARTS_KEY = "joint_layers"  # in the header: of layers that others keep as one, which parts are adapted


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """What an adapter directory holds, checked as far as it can be without its base."""

    path: Path
    base: Path  # model directory that it was trained on
    task: str
    config: AdapterConfig
    tree: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    header: Mapping[str, str]

    @property
    def classifies(self) -> bool:
        """Whether it makes a classifier of ours, which says what its outputs stand for."""
        return ANSWERS_KEY in self.header

    @property
    def scores(self) -> bool:
        """Whether it makes a score model."""
        return self.task == "SEQ_CLS" and not self.classifies


@dataclass(frozen=True, slots=True)
class Written:
    """What an adapter is in a file, the score head apart."""

    tensors: dict[str, Tensor]
    tree: dict[str, Any]
    header: dict[str, str] = field(default_factory=dict[str, str])


def heads_of(model: Model) -> dict[str, Tensor]:
    """The weights that stand on a backbone and come with an adapter, by their names in the layout of others.

    A language model has none: its output projection is the base's.
    """
    if isinstance(model, LanguageModel):
        return {}
    if isinstance(model, ScoreModel):
        return {place_in(model, "score.weight").name: model.score.weight}
    return {place_in(model, name).name: weight for name, weight in model.head_parameters()}


def head_key(config: AdapterConfig, theirs: str) -> str:
    """PEFT does not wrap the layers of a model before which virtual tokens stand."""
    return f"{BASE if FORMS[config.kind].virtual else LAYERS}{theirs}"


def _saved_modules(model: Model) -> list[str] | None:
    """What PEFT is to load whole."""
    layers = (name.rpartition(".")[0].removesuffix(".dense") for name in heads_of(model))
    return sorted({layer.rpartition(".")[2] for layer in layers}) or None


@torch.no_grad()
def write_parts(model: Model, name: str, config: AdapterConfig) -> Written:
    """The adapter of that name."""
    brought = {place: parts[name] for place, parts in places(model).items() if name in parts}
    if not brought:
        raise ValueError(f"the model has no adapter {name!r} to save")
    form = FORMS[config.kind]
    written = form.write(model, brought, config)
    return replace(written, tree={"peft_type": form.peft_type, "inference_mode": True, **written.tree})


def parts_of(model: Model, file: AdapterFile) -> dict[str, Part]:
    """What the file brings, by our names of the places; anything that does not fit the model is an error."""
    return FORMS[file.config.kind].parts(model, file)


def settings_of(where: Path, tree: Mapping[str, Any]) -> AdapterConfig:
    """What an adapter's config asks for; a setting that changes the arithmetic as we cannot is refused."""
    peft_type = tree.get("peft_type")
    form = next((form for form in FORMS.values() if form.peft_type == peft_type), None)
    if form is None:
        known = ", ".join(dict.fromkeys(form.peft_type for form in FORMS.values()))
        raise ModelFileError(f"{where}: peft_type is {peft_type!r}; these can be read: {known}")
    allowed_here = {**COMMON, **form.allowed}
    for key, value in tree.items():
        if key in IGNORED or key in form.ignored or key in form.reads:
            continue
        allowed = allowed_here.get(key, NOTHING)
        if value not in allowed:
            raise ModelFileError(f"{where}: {key} is {value!r}; only {allowed[0]!r} can be read")
    try:
        return form.settings(tree)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{where}: {form.numbers} ({error})") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One kind as a file."""

    peft_type: str
    write: Callable[[Model, Mapping[str, Any], AdapterConfig], Written]
    parts: Callable[[Model, AdapterFile], dict[str, Part]]
    settings: Callable[[Mapping[str, Any]], AdapterConfig]
    numbers: str  # what must hold of the settings
    reads: frozenset[str]
    ignored: frozenset[str] = frozenset()
    allowed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    virtual: bool = False


def _write_layers(model: Model, brought: Mapping[str, Any], config: AdapterConfig) -> Written:
    layered = LAYERED[config.kind]
    tensors: dict[str, Tensor] = {}
    members: dict[str, dict[int, int]] = {}
    adapted: dict[str, Slot] = {}
    for theirs, slot in slots_of(model).items():
        mine = {i: brought[ours] for i, ours in enumerate(slot.layers) if ours in brought}
        if mine:
            adapted[theirs] = slot
            tensors |= {f"{LAYERS}{theirs}.{key}": each for key, each in layered.write(slot, mine).items()}
            if len(slot.layers) > 1:
                members[theirs] = {i: getattr(part, "rank", 1) for i, part in mine.items()}
    tree = {
        "target_modules": _ends(model, adapted) or sorted(adapted),
        "modules_to_save": _saved_modules(model),
        "fan_in_fan_out": any(slot.transposed for slot in adapted.values()),
    }
    header = {PARTS_KEY: json.dumps(members)} if members else {}
    if config.kind == "ia3":
        return Written(tensors, tree | _ia3_tree(model, tensors, adapted), header)
    return Written(tensors, tree | _low_rank_tree(config, brought, tensors, adapted), header)


def _ia3_tree(model: Model, tensors: Mapping[str, Tensor], adapted: Mapping[str, Slot]) -> dict[str, Any]:
    """Which layers are rescaled at their input; PEFT wants them named as among all."""
    inputs = [theirs for theirs in adapted if len(tensors[f"{LAYERS}{theirs}.ia3_l"]) == 1]
    ends, ends_of_inputs = _ends(model, adapted), _ends(model, inputs)
    named = {"feedforward_modules": ends_of_inputs}
    if ends is None or ends_of_inputs is None:
        named = {"target_modules": sorted(adapted), "feedforward_modules": inputs}
    return {**named, "init_ia3_weights": True}


def _low_rank_tree(
    config: AdapterConfig,
    brought: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    adapted: Mapping[str, Slot],
) -> dict[str, Any]:
    """Ranks and what updates are multiplied by."""
    scales = {
        theirs: next(brought[ours].scale for ours in slot.layers if ours in brought)
        for theirs, slot in adapted.items()
    }
    first = LAYERED[config.kind].suffixes[0]
    ranks = {theirs: len(tensors[f"{LAYERS}{theirs}.{first}"]) for theirs in adapted}
    common = {"lora_dropout": config.dropout, "bias": "none", "init_lora_weights": True}
    if config.kind == "adalora":
        return common | _adalora_tree(config, ranks, next(iter(scales.values())))
    alphas = {
        theirs: scale * (math.sqrt(ranks[theirs]) if config.rank_stabilised else ranks[theirs])
        for theirs, scale in scales.items()
    }
    return common | {
        "r": config.rank,
        "lora_alpha": config.alpha,
        "use_rslora": config.rank_stabilised,
        "use_dora": config.kind == "dora",
        "rank_pattern": {theirs: rank for theirs, rank in ranks.items() if rank != config.rank},
        "alpha_pattern": {
            theirs: alpha for theirs, alpha in alphas.items() if not math.isclose(alpha, config.alpha)
        },
    }


def _adalora_tree(config: AdapterConfig, ranks: Mapping[str, int], scale: float) -> dict[str, Any]:
    """PEFT has one rank for all layers, of which a pattern says what is left, and one alpha."""
    rank, budget = max(ranks.values()), config.budget
    less = {f"{theirs}.lora_E": [i < r for i in range(rank)] for theirs, r in ranks.items() if r < rank}
    return {
        "init_r": rank,
        "target_r": max(1, round(budget.final_rank)),
        "lora_alpha": config.alpha * scale / config.scale(rank),
        "rank_pattern": less or None,
        "beta1": budget.sensitivity_beta,
        "beta2": budget.uncertainty_beta,
        "orth_reg_weight": budget.orthogonality,
        "deltaT": budget.every,
        # PEFT counts these in updates; all are done.
        "total_step": 1,
        "tinit": 0,
        "tfinal": 0,
    }


def _layer_parts(model: Model, file: AdapterFile) -> dict[str, Part]:
    layered, slots, where = LAYERED[file.config.kind], slots_of(model), file.path / WEIGHTS
    heads = _head_shapes(model, file)
    wanted = {_layer_of(key, layered.suffixes) for key in file.tensors.keys() - heads.keys()}
    if unknown := sorted(wanted - slots.keys()):
        raise ModelFileError(
            f"{where}: adapts {unknown[0]}; no layer of that name in {file.base} takes an adapter"
        )
    if not wanted:
        raise ModelFileError(
            f"{where}: holds no {' and '.join(layered.suffixes)}; it must adapt at least one layer"
        )
    members, found = _members(file), dict[str, Part]()
    of_each = {
        theirs: {
            s: t for s in layered.suffixes if (t := file.tensors.get(f"{LAYERS}{theirs}.{s}")) is not None
        }
        for theirs in wanted
    }
    ranks = {theirs: _rank_of(file, theirs) for theirs in wanted}
    shapes = {
        f"{LAYERS}{theirs}.{suffix}": torch.Size(shape)
        for theirs in wanted
        for suffix, shape in layered.shapes(slots[theirs], ranks[theirs], of_each[theirs]).items()
    }
    check_tensors(where, file.tensors, shapes | heads, f"{CONFIG} and the base")
    for theirs in (theirs for theirs in slots if theirs in wanted):
        slot, own = slots[theirs], members.get(theirs)
        parts = layered.read(slot, of_each[theirs], file.config, _scale_of(file, theirs), own)
        found |= {slot.layers[i]: part for i, part in parts.items()}
    return found


def _rank_of(file: AdapterFile, theirs: str) -> int:
    """The rank that the settings give a layer."""
    pattern = file.tree.get("rank_pattern") or {}
    if file.config.kind == "adalora":
        return sum(pattern.get(f"{theirs}.lora_E", [True] * file.config.rank))
    return int(_by_ending(pattern, theirs, file.config.rank))


def _scale_of(file: AdapterFile, theirs: str) -> float:
    if file.config.kind in ("ia3", "adalora"):
        return file.config.scale(file.config.rank)
    alpha = float(_by_ending(file.tree.get("alpha_pattern") or {}, theirs, file.config.alpha))
    return replace(file.config, alpha=alpha).scale(_rank_of(file, theirs))


def _by_ending(pattern: Mapping[str, Any], theirs: str, default: Any) -> Any:
    """What the first ending that names a layer says of it."""
    return next((value for end, value in pattern.items() if f".{theirs}".endswith(f".{end}")), default)


def _members(file: AdapterFile) -> dict[str, dict[int, int]]:
    """Of layers that others keep as one, the rank of each part that is adapted."""
    try:
        tree = json.loads(file.header.get(PARTS_KEY, "{}"))
        return {name: {int(i): int(rank) for i, rank in each.items()} for name, each in tree.items()}
    except (ValueError, AttributeError) as error:
        raise ModelFileError(f"{file.path / WEIGHTS}: its header is damaged: {error}") from error


def _head_shapes(model: Model, file: AdapterFile) -> dict[str, torch.Size]:
    return {head_key(file.config, theirs): weight.shape for theirs, weight in heads_of(model).items()}


def _layer_of(key: str, suffixes: tuple[str, ...]) -> str:
    layer = key.removeprefix(LAYERS)
    suffix = next((suffix for suffix in suffixes if layer.endswith(f".{suffix}")), None)
    return key if layer == key or suffix is None else layer.removesuffix(f".{suffix}")


def _ends(model: Model, layers: Iterable[str]) -> list[str] | None:
    """The ends of names that stand for just these layers; None where no ends do."""
    layers = set(layers)
    ends = {name.rpartition(".")[2] for name in layers}
    named = {name for name in slots_of(model) if name.rpartition(".")[2] in ends}
    return sorted(ends) if named == layers else None


def _write_bottlenecks(model: Model, brought: Mapping[str, Any], config: AdapterConfig) -> Written:
    slots = bottleneck_slots(model, config.kind)
    tensors = {
        f"{LAYERS}{theirs}.{suffix}": getattr(brought[ours], name)
        for theirs, ours in slots.items()
        for name, suffix in BOTTLENECK.items()
    }
    tree = {
        "variant": config.kind,
        "bottleneck_width": config.bottleneck.width,
        "activation": config.bottleneck.activation,
        "target_modules": sorted(slots),
        "modules_to_save": _saved_modules(model),
    }
    return Written(tensors, tree)


def _bottleneck_parts(model: Model, file: AdapterFile) -> dict[str, Part]:
    found: dict[str, Part] = {}
    into: dict[str, Tensor] = {}
    for theirs, place in bottleneck_slots(model, file.config.kind).items():
        found[place] = part = new_bottleneck(model, place, file.config)
        into |= {f"{LAYERS}{theirs}.{s}": getattr(part, name) for name, s in BOTTLENECK.items()}
    shapes = {key: tensor.shape for key, tensor in into.items()} | _head_shapes(model, file)
    check_tensors(file.path / WEIGHTS, file.tensors, shapes, f"{CONFIG} and the base")
    with torch.no_grad():
        for key, tensor in into.items():
            tensor.copy_(file.tensors[key])
    return found


def _bottleneck_settings(tree: Mapping[str, Any]) -> AdapterConfig:
    if tree["variant"] not in ("houlsby", "pfeiffer"):
        raise ConfigError(f"variant is {tree['variant']!r}")
    if tree["activation"] not in ("relu", "gelu", "tanh"):
        raise ConfigError(f"activation is {tree['activation']!r}")
    settings = Bottleneck(width=int(tree["bottleneck_width"]), activation=tree["activation"])
    return AdapterConfig(kind=tree["variant"], bottleneck=settings)


def _write_virtual(model: Model, brought: Mapping[str, Any], config: AdapterConfig) -> Written:
    (part,) = brought.values()
    shape = model.config
    is_prompt = isinstance(part, Prompt)
    kv_width = shape.n_kv_heads * shape.head_dim
    tree = {
        "num_virtual_tokens": part.n,
        "num_layers": shape.n_layers,
        "num_attention_heads": shape.n_heads if is_prompt else shape.n_kv_heads,
        "token_dim": shape.d_model if is_prompt else kv_width,
        "num_transformer_submodules": 1,
        **({"prompt_tuning_init": "RANDOM"} if is_prompt else {"prefix_projection": False}),
        "modules_to_save": _saved_modules(model),
    }
    return Written({EMBEDDINGS: part.embeddings if is_prompt else part.flat()}, tree)


def _virtual_parts(model: Model, file: AdapterFile) -> dict[str, Part]:
    decoder, kind = decoder_of(model, file.config.kind), file.config.kind
    shape = decoder.config
    prefix_width = 2 * shape.n_layers * shape.n_kv_heads * shape.head_dim
    width = shape.d_model if kind == "prompt" else prefix_width
    shapes = {EMBEDDINGS: torch.Size((file.config.virtual.n, width))} | _head_shapes(model, file)
    check_tensors(file.path / WEIGHTS, file.tensors, shapes, f"{CONFIG} and the base")
    trained = file.tensors[EMBEDDINGS].float()
    return {"backbone": Prompt(trained) if kind == "prompt" else DeepPrefix(trained, shape, kind)}


def _prefix_settings(tree: Mapping[str, Any]) -> AdapterConfig:
    return AdapterConfig(kind="prefix", virtual=VirtualTokens(n=int(tree["num_virtual_tokens"])))


def _prompt_settings(tree: Mapping[str, Any]) -> AdapterConfig:
    return AdapterConfig(kind="prompt", virtual=VirtualTokens(n=int(tree["num_virtual_tokens"])))


def _lora_settings(tree: Mapping[str, Any]) -> AdapterConfig:
    return AdapterConfig(
        kind="dora" if tree.get("use_dora") else "lora",
        rank=int(tree["r"]),
        alpha=float(tree["lora_alpha"]),
        rank_stabilised=bool(tree.get("use_rslora", False)),
    )


def _adalora_settings(tree: Mapping[str, Any]) -> AdapterConfig:
    rank = int(tree["init_r"])
    alpha = float(tree["lora_alpha"])
    budget = Budget(final_rank=min(rank, float(tree.get("target_r", rank))))
    return AdapterConfig(kind="adalora", rank=rank, alpha=alpha if alpha > 0 else rank, budget=budget)


def _ia3_settings(tree: Mapping[str, Any]) -> AdapterConfig:
    return AdapterConfig(kind="ia3")


# Which layers are adapted is told by the tensors; the rest is about training, or about where files lie.
IGNORED = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
        "layers_to_transform",
        "peft_type",
        "peft_version",
        "revision",
        "target_modules",
        "task_type",
    }
)
NOTHING: tuple[Any, ...] = (None, False, {}, [], "")
COMMON: dict[str, tuple[Any, ...]] = {
    "modules_to_save": (
        ["score"],
        ["classifier", "score"],
        ["classifier"],
        ["classifier", "pooler"],
        ["qa_outputs"],
        None,
        [],
    )
}
_OF_LORA = frozenset(
    {
        "fan_in_fan_out",
        "loftq_config",
        "lora_dropout",
        "megatron_config",
        "megatron_core",
        "qalora_group_size",
    }
)
_LORA_ALLOWED: dict[str, tuple[Any, ...]] = {
    "bias": ("none",),
    # Others, such as PiSSA, also change the base.
    "init_lora_weights": (True, False, "gaussian", "orthogonal"),
}
_LORA = Form(
    peft_type="LORA",
    write=_write_layers,
    parts=_layer_parts,
    settings=_lora_settings,
    numbers="r and lora_alpha must be numbers above 0",
    reads=frozenset({"r", "lora_alpha", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern"}),
    ignored=_OF_LORA,
    allowed=_LORA_ALLOWED,
)
_PREFIX = Form(
    peft_type="PREFIX_TUNING",
    write=_write_virtual,
    parts=_virtual_parts,
    settings=_prefix_settings,
    numbers="num_virtual_tokens must be a number above 0",
    reads=frozenset({"num_virtual_tokens"}),
    # The file holds keys and values, whatever made them; their shape is checked.
    ignored=frozenset(
        {
            "encoder_hidden_size",
            "init_weights",
            "num_attention_heads",
            "num_layers",
            "prefix_projection",
            "token_dim",
        }
    ),
    allowed={"num_transformer_submodules": (1,)},
    virtual=True,
)
_BOTTLENECK = Form(
    peft_type="BOTTLENECK",
    write=_write_bottlenecks,
    parts=_bottleneck_parts,
    settings=_bottleneck_settings,
    numbers="variant must be 'houlsby' or 'pfeiffer', activation 'relu', 'gelu' or 'tanh', and "
    "bottleneck_width a number above 0",
    reads=frozenset({"variant", "activation", "bottleneck_width"}),
)
FORMS: dict[str, Form] = {
    "lora": _LORA,
    "dora": _LORA,
    "adalora": Form(
        peft_type="ADALORA",
        write=_write_layers,
        parts=_layer_parts,
        settings=_adalora_settings,
        numbers="init_r and lora_alpha must be numbers above 0",
        reads=frozenset({"init_r", "target_r", "lora_alpha", "rank_pattern"}),
        ignored=_OF_LORA
        | {"beta1", "beta2", "deltaT", "orth_reg_weight", "r", "tfinal", "tinit", "total_step"},
        allowed=_LORA_ALLOWED,
    ),
    "ia3": Form(
        peft_type="IA3",
        write=_write_layers,
        parts=_layer_parts,
        settings=_ia3_settings,
        numbers="it must be a table of settings",
        reads=frozenset(),
        ignored=frozenset({"fan_in_fan_out", "feedforward_modules", "init_ia3_weights"}),
    ),
    "prefix": _PREFIX,
    "p_tuning_v2": _PREFIX,
    "prompt": replace(
        _PREFIX,
        peft_type="PROMPT_TUNING",
        settings=_prompt_settings,
        ignored=frozenset(
            {
                "num_attention_heads",
                "num_layers",
                "prompt_tuning_init",
                "prompt_tuning_init_text",
                "token_dim",
                "tokenizer_kwargs",
                "tokenizer_name_or_path",
            }
        ),
    ),
    "houlsby": _BOTTLENECK,
    "pfeiffer": _BOTTLENECK,
}
