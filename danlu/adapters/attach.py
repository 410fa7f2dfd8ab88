"""Bringing adapters to a model, and saying which of them count: several by name, switched, added, taken off.

Several models may stand on one base, see `sharing.py`; several adapters may lie on one model. What an adapter
changes is a vector from the base's weights to others, so adapters may be added with any factors, also with
negative ones (task arithmetic, Ilharco et al. 2023).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor, nn

from danlu.adapters.adalora import AdaLora
from danlu.adapters.bottleneck import AdaptedMixture, Bottleneck
from danlu.adapters.ia3 import Rescale, rescales_input
from danlu.adapters.lora import Dora, Lora
from danlu.adapters.settings import AdapterConfig
from danlu.adapters.virtual_tokens import DeepPrefix, MadePrefix, PrefixedDecoder, Prompt, Virtual, read
from danlu.config import ConfigError
from danlu.model.adapted import AdaptedLinear, Part, Parts, check_mergeable, is_brought, places
from danlu.model.blocks import Block
from danlu.model.classifiers import Classifier
from danlu.model.mlp import MixtureOfExperts
from danlu.model.transformer import Decoder

DEFAULT = "default"  # an adapter's name where it has no other
EVERY_LINEAR = ("q", "k", "v", "out", "gate", "up")
# The loss reads lm_head's weight itself, and a tied one is the embedding; the other heads are trained whole.
HEADS = ("lm_head", "score", "classifier", "pooler", "span")
EYE = "backbone.eye."
LOW_RANK: dict[str, type[Lora]] = {"lora": Lora, "dora": Dora, "adalora": AdaLora}
HOSTS: tuple[tuple[type[nn.Module], Callable[[Any], nn.Module]], ...] = (
    (nn.Linear, AdaptedLinear),
    (MixtureOfExperts, AdaptedMixture),
    (Decoder, PrefixedDecoder),
)


def attach(
    model: nn.Module,
    config: AdapterConfig,
    *,
    name: str = DEFAULT,
    seed: int = 0,
    init_ids: Sequence[int] = (),
) -> None:
    """Freeze `model`, in place, but for a new adapter, and the head of a score model or a classifier.

    The new adapter alone counts. It begins as the identity: the model answers as before, bit for bit. Only
    virtual tokens cannot, for every text attends to them.

    Args:
        model: any with linear layers; for bottlenecks and virtual tokens one of ours.
        config: which adapter; its kind must not be `none`.
        name: under which it is switched and saved.
        seed: of its first values and of its dropout.
        init_ids: tokens as which virtual tokens begin, repeated or cut; empty: drawn at random.
    """
    generator = torch.Generator().manual_seed(seed)
    if config.kind in ("prefix", "p_tuning_v2", "prompt"):
        found: dict[str, Part] = {"backbone": _virtual(model, config, init_ids, generator)}
    elif config.kind in ("houlsby", "pfeiffer"):
        found = _bottlenecks(model, config, generator)
    else:
        found = _updates(model, config, seed, generator)
    bring(model, found, name=name)


def bring(model: nn.Module, found: Mapping[str, Part], *, name: str = DEFAULT) -> None:
    """As `attach`, for parts that are there already, by the names of what they are to stand at."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or hasattr(Parts(), name):
        raise ValueError(f"{name!r} cannot be an adapter's name; use letters, digits, '_' and '-'")
    if name in names(model):
        raise ValueError(f"the model has an adapter {name!r} already; give the new one another name")
    _check_unmerged(model)
    model.requires_grad_(False)
    for place, part in found.items():
        host = _host(model, place)
        host.adapters[name] = part.train(host.training)
    activate(model, {name: 1.0})
    _leave_room(model)
    for place, linear in linear_layers(model).items():
        if place.rpartition(".")[2] == "score":
            linear.weight = nn.Parameter(linear.weight.detach().clone())  # a twin may share what it was
    if isinstance(model, Classifier):
        for _, weight in model.head_parameters():
            weight.requires_grad_(True)


def names(model: nn.Module) -> list[str]:
    """The adapters that the model has, in alphabetical order."""
    return sorted({name for parts in places(model).values() for name in parts})


def activate(model: nn.Module, factors: Mapping[str, float]) -> None:
    """Let just these adapters count, each times its factor: {"zh": 1} switches, {"rude": -1} subtracts."""
    _check_unmerged(model)
    if unknown := sorted(factors.keys() - set(names(model))):
        raise ValueError(
            f"the model has no adapter {unknown[0]!r}; it has {', '.join(names(model)) or 'none'}"
        )
    for place, parts in places(model).items():
        here = {name: factor for name, factor in factors.items() if name in parts}
        whole = [name for name in here if not parts[name].merges]
        if whole and (len(here) > 1 or here[whole[0]] != 1):
            raise ValueError(
                f"{place}: adapter {whole[0]!r} is of kind {parts[whole[0]].kind!r}, which is on or off: its "
                "factor must be 1 and no other may count in its place"
            )
    for parts in places(model).values():
        parts.active = dict(factors)


@contextmanager
def adapters_off(model: nn.Module) -> Generator[None]:
    """Within, the model is its untouched base, bit for bit: the reference of its own policy."""
    _check_unmerged(model)
    found = list(places(model).values())
    before = [parts.active for parts in found]
    for parts in found:
        parts.active = {}
    try:
        yield
    finally:
        for parts, active in zip(found, before, strict=True):
            parts.active = active


def merge(model: nn.Module) -> None:
    """Make what counts a part of the weights; the adapters rest until `unmerge`.

    Weights are replaced, not written into, so whoever shares the base keeps it.
    """
    for parts in places(model).values():
        for part, _ in parts.counting():
            check_mergeable(part)
    for layer in adapted_layers(model).values():
        layer.merge()


def unmerge(model: nn.Module) -> None:
    """Undo `merge`: the weights are the base's again, and the adapters can be trained."""
    for layer in adapted_layers(model).values():
        layer.unmerge()


def target_layers(model: nn.Module, config: AdapterConfig) -> list[str]:
    """Linear layers whose name ends with one of the targets; a target that names none is an error."""
    linears = linear_layers(model)
    if config.targets is None:
        return _usual(config, linears)
    if heads := [target for target in config.targets if target.rpartition(".")[2] in HEADS]:
        raise ConfigError(f"targets holds {heads[0]!r}; heads take no adapter, name layers inside the blocks")
    found = {target: _ending(target, linears) for target in config.targets}
    if missing := [target for target, layers in found.items() if not layers]:
        present = {name.rpartition(".")[2] for name in linears} - set(HEADS)
        raise ConfigError(f"targets: no linear layer is named {missing[0]!r}; these are: {sorted(present)}")
    wanted = {name for layers in found.values() for name in layers}
    return [name for name in linears if name in wanted]


def linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """Every linear layer of the model's own by name, adapted or not, heads included.

    An encoder of pictures is left as it is: adapters are for what reads and writes text.
    """
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not is_brought(name) and EYE not in name
    }


def adapted_layers(model: nn.Module) -> dict[str, AdaptedLinear]:
    """The linear layers that adapters were brought to, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, AdaptedLinear)}


def bottleneck_places(model: nn.Module, kind: str) -> list[str]:
    """What ends the sublayers of every block, by name: attention and MLP, or the MLP only."""
    found: list[str] = []
    for name, block in model.named_modules():
        if isinstance(block, Block) and EYE not in name:
            mixed = isinstance(block.mlp.sublayer, MixtureOfExperts)
            found += [f"{name}.self_attn.sublayer.out"] if kind == "houlsby" else []
            found += [f"{name}.mlp.sublayer" if mixed else f"{name}.mlp.sublayer.out"]
    if not found:
        raise ConfigError(f"kind {kind!r} needs a Transformer; the model has no block")
    return found


def decoder_of(model: nn.Module, kind: str) -> Decoder:
    """The decoder that virtual tokens stand before."""
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, Decoder):
        raise ConfigError(f"kind {kind!r} needs a decoder; the model has none")
    return backbone


def _usual(config: AdapterConfig, linears: Mapping[str, nn.Linear]) -> list[str]:
    """What a kind adapts by itself: (IA)³ keys, values and what leaves the activation, the others all."""
    if config.kind == "ia3":
        found = [name for name in linears if name.rpartition(".")[2] in ("k", "v") or rescales_input(name)]
    else:
        found = [name for name in linears if name.rpartition(".")[2] in EVERY_LINEAR]
    if not found:
        raise ConfigError("targets is not set, and the model has no layer of the usual names; name some")
    return found


def _ending(target: str, layers: Mapping[str, Any] | Sequence[str]) -> list[str]:
    return [name for name in layers if f".{name}".endswith(f".{target}")]


def _updates(
    model: nn.Module, config: AdapterConfig, seed: int, generator: torch.Generator
) -> dict[str, Part]:
    """What changes linear layers."""
    linears, layers = linear_layers(model), target_layers(model, config)
    if config.kind == "ia3":
        return {name: Rescale(linears[name], on_input=rescales_input(name)) for name in layers}
    ranks, found = _ranks(config, layers), dict[str, Part]()
    device = linears[layers[0]].weight.device
    dropout = torch.Generator(device).manual_seed(seed) if config.dropout else None
    for name in layers:
        rank = ranks[name]
        update = LOW_RANK[config.kind](linears[name], rank, config.scale(rank), config.dropout)
        update.generator = dropout
        update.draw(generator)
        if isinstance(update, AdaLora):
            update.budget = config.budget
        found[name] = update
    return found


def _ranks(config: AdapterConfig, layers: Sequence[str]) -> dict[str, int]:
    """Each layer's rank: that of the longest ending which names it."""
    ranks = dict.fromkeys(layers, config.rank)
    for ending in sorted(config.ranks, key=len):
        named = _ending(ending, layers)
        if not named:
            raise ConfigError(f"ranks.{ending} is set, but no adapted layer's name ends so; see targets")
        ranks |= dict.fromkeys(named, config.ranks[ending])
    return ranks


def _bottlenecks(model: nn.Module, config: AdapterConfig, generator: torch.Generator) -> dict[str, Part]:
    found: dict[str, Part] = {}
    for name in bottleneck_places(model, config.kind):
        part = new_bottleneck(model, name, config)
        part.draw(generator)
        found[name] = part
    return found


def new_bottleneck(model: nn.Module, place: str, config: AdapterConfig) -> Bottleneck:
    """A bottleneck of zeros for one place."""
    like = next(model.get_submodule(place).parameters())
    d_model = like.shape[1] if place.endswith(".mlp.sublayer") else like.shape[0]
    settings = config.bottleneck
    return Bottleneck(like, d_model, settings.width, settings.activation, config.kind)


def _virtual(
    model: nn.Module, config: AdapterConfig, init_ids: Sequence[int], generator: torch.Generator
) -> Virtual:
    decoder, settings = decoder_of(model, config.kind), config.virtual
    if settings.n >= decoder.config.max_seq_len:
        raise ConfigError(
            f"virtual.n is {settings.n}; it must be below {decoder.config.max_seq_len}, the positions that "
            "the model has, for texts need some too"
        )
    table = decoder.embedding.weight.detach()
    if settings.width is not None:
        made = MadePrefix(decoder.config, settings, table, config.kind)
        made.draw(generator)
        return made
    drawn = torch.randint(len(table), (settings.n,), generator=generator).tolist()
    ids = list(islice(cycle(init_ids or drawn), settings.n))
    embeddings = table[torch.tensor(ids, device=table.device)]
    if config.kind == "prompt":
        return Prompt(embeddings)
    with torch.no_grad(), adapters_off(model):
        layers = read(decoder, embeddings, table.dtype)
    return DeepPrefix(_side_by_side(layers), decoder.config, config.kind)


def _side_by_side(layers: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Keys and values of all layers as `DeepPrefix` keeps them."""
    return torch.cat([each[0].transpose(0, 1).flatten(1) for pair in layers for each in pair], dim=1)


def _host(model: nn.Module, place: str) -> Any:
    """What stands at a place, fit to take parts."""
    module = model.get_submodule(place)
    if not isinstance(getattr(module, "adapters", None), Parts):
        wrap = next(host for kind, host in HOSTS if isinstance(module, kind))
        parent, _, last = place.rpartition(".")
        module = wrap(module)
        setattr(model.get_submodule(parent), last, module)
    return module


def _leave_room(model: Any) -> None:
    """Virtual tokens take positions that texts then lack."""
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, PrefixedDecoder):
        backbone.leave_room()
        model.config = backbone.config


def _check_unmerged(model: nn.Module) -> None:
    if merged := [place for place, parts in places(model).items() if parts.merged]:
        raise ValueError(f"the adapter of {merged[0]} is merged into its weight; unmerge first")
