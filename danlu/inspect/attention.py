"""Where each head looks: attention weights, read off the model's own attention.

Attention is a mean of values under weights. Handed the unit vectors as values it returns the weights
themselves, for the queries and keys after rotation and under the very mask and scale that the model uses. So
any kind of attention that the model knows can be seen, and the model need not know that it is watched.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from danlu.model.attention import Attend, Attention, CrossAttention, Prefix

ENCODER, DECODER = "encoder", "decoder"
SOURCE, TEXT = (
    "source",
    "text",
)  # what an encoder reads, and what a decoder does; a model of one part has TEXT
Ids = Mapping[str, Sequence[int]]  # of each text that a model reads


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """Attention weights of one layer's heads."""

    stack: str  # which part of the model: "" where there is one only, or for instance "encoder"
    kind: str  # "self", or "cross" from a decoder to what an encoder has read
    layer: int  # from 0
    weights: Tensor  # (n_heads, queries, keys): of each query they add up to 1, a prefix before them included

    @property
    def texts(self) -> tuple[str, str]:
        """The text that looks, and the one that is looked at."""
        if self.stack == ENCODER:
            return SOURCE, SOURCE
        return TEXT, SOURCE if self.kind == "cross" else TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadScore:
    """One head and a number said of it."""

    stack: str
    kind: str
    layer: int
    head: int
    score: float

    @property
    def name(self) -> str:
        """For instance "3.1", layer and head counted from 0, or "encoder 3.1"."""
        where = [self.stack] * bool(self.stack) + ["cross"] * (self.kind == "cross")
        return " ".join([*where, f"{self.layer}.{self.head}"])


@contextmanager
def watched(model: nn.Module) -> Generator[list[LayerWeights]]:
    """While active, every attention notes its weights in the list, in the order in which they are computed.

    The model reads one row at a time. What it computes is what it computes without being watched.
    """
    seen: list[LayerWeights] = []
    places = {
        name: each for name, each in model.named_modules() if isinstance(each, Attention | CrossAttention)
    }
    hooks = [
        each.register_forward_pre_hook(partial(_hand_over, partial(_note, seen, name)), with_kwargs=True)
        for name, each in places.items()
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _hand_over(note: Any, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Give the attention an `attend`, or an `across`, that notes its weights before it attends."""
    key = "across" if isinstance(module, CrossAttention) else "attend"
    return args, kwargs | {key: partial(_attend_and_note, note, kwargs[key])}


def _attend_and_note(
    note: Any,
    attend: Attend,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float | None = None,
) -> Tensor:
    note(weights_of(attend, q, k, scale))
    return attend(q, k, v, scale=scale)


def _note(seen: list[LayerWeights], name: str, weights: Tensor) -> None:
    place = re.fullmatch(
        r"(?:backbone\.)?(?P<stack>.*?)[._]?blocks\.(?P<layer>\d+)\.(?P<kind>[a-z]+)_.*", name
    )
    if place is None:
        raise ValueError(f"{name} is no attention inside a block")
    if len(weights) != 1:
        raise ValueError(f"{len(weights)} rows are read at once; attention is watched a row at a time")
    seen.append(
        LayerWeights(
            stack=place["stack"], kind=place["kind"], layer=int(place["layer"]), weights=weights[0].detach()
        )
    )


def weights_of(attend: Attend, q: Tensor, k: Tensor, scale: float | None) -> Tensor:
    """The weights of each key for each query, (batch, n_heads, queries, keys), float32.

    What stands before the keys, an adapter's prefix, takes its share of the attention and has no column.

    Args:
        attend: how queries gather from values.
        q: queries as it is given them, (batch, n_heads, queries, head_dim).
        k: keys, (batch, n_kv_heads, keys, head_dim).
        scale: of the scores; None is one over the square root of head_dim.
    """
    unit = torch.eye(k.shape[2], device=k.device).expand(*k.shape[:2], -1, -1)
    prefix: Prefix | None = attend.keywords.get("prefix") if isinstance(attend, partial) else None
    if prefix is None:
        return attend(q.float(), k.float(), unit, scale=scale)
    nothing = unit.new_zeros(*prefix.keys.shape[:-1], k.shape[2])
    return attend(q.float(), k.float(), unit, scale=scale, prefix=replace(prefix, values=nothing))


def self_attention(model: nn.Module, ids: Sequence[int]) -> list[LayerWeights]:
    """The weights of every layer when a decoder or an encoder reads one row of ids."""
    with torch.no_grad(), watched(model) as seen:
        model(torch.tensor([ids]))
    return seen


def translation_attention(model: nn.Module, source: Sequence[int], ids: Sequence[int]) -> list[LayerWeights]:
    """The weights of every layer of an encoder-decoder that reads a source and a target, both rows of ids."""
    with torch.no_grad(), watched(model) as seen:
        model(torch.tensor([source]), None, torch.tensor([ids]))
    named = [replace(each, stack=each.stack or DECODER) for each in seen]
    return sorted(named, key=lambda each: (each.stack != ENCODER, each.kind == "cross"))  # part by part


def heads_between(
    seen: Sequence[LayerWeights], queries: Sequence[int], keys: Sequence[int]
) -> list[HeadScore]:
    """All heads, those first that attend most from some tokens to others.

    A head's score is the share of attention that the queries give the keys, the mean over the queries.

    Args:
        seen: self-attention, or cross-attention whose queries and keys are other texts' tokens.
        queries: places of the tokens that look.
        keys: places of those that are looked at.
    """
    scores = [
        each.weights[:, list(queries)][:, :, list(keys)].sum(-1).mean(-1).tolist() for each in seen
    ]  # (layers, heads)
    return _ranked(seen, scores)


def _ranked(seen: Sequence[LayerWeights], scores: Sequence[Sequence[float]]) -> list[HeadScore]:
    found = [
        HeadScore(stack=each.stack, kind=each.kind, layer=each.layer, head=head, score=score)
        for each, of_layer in zip(seen, scores, strict=True)
        for head, score in enumerate(of_layer)
    ]
    return sorted(found, key=lambda each: -each.score)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What two texts' attention has in common, and the second's weights less the first's."""

    # Of each text that a model reads, the places in the first and the second that stand for each other.
    pairs: Mapping[str, Sequence[tuple[int, int]]]
    layers: Sequence[LayerWeights]  # differences, (n_heads, pairs, pairs)

    def ranked(self) -> list[HeadScore]:
        """All heads, those first whose attention moved most: the share of it, the mean over the tokens."""
        return _ranked(
            self.layers, [each.weights.abs().sum(-1).mean(-1).div(2).tolist() for each in self.layers]
        )


def difference(
    first: Sequence[LayerWeights], second: Sequence[LayerWeights], first_ids: Ids, second_ids: Ids
) -> Difference:
    """How attention differs between two readings, over the tokens that stand for each other."""
    pairs = {text: aligned(ids, second_ids[text]) for text, ids in first_ids.items()}
    layers = [
        replace(a, weights=_at(b, pairs, side=1) - _at(a, pairs, side=0))
        for a, b in zip(first, second, strict=True)
    ]
    return Difference(pairs=pairs, layers=layers)


def _at(layer: LayerWeights, pairs: Mapping[str, Sequence[tuple[int, int]]], *, side: int) -> Tensor:
    """The weights at the places of one side of the pairs."""
    rows, columns = ([pair[side] for pair in pairs[text]] for text in layer.texts)
    return layer.weights[:, rows][:, :, columns]


def aligned(first: Sequence[int], second: Sequence[int]) -> list[tuple[int, int]]:
    """Places of two rows that stand for each other: equal tokens, and as many others between equal ones."""
    matcher = SequenceMatcher(a=list(first), b=list(second), autojunk=False)
    return [
        pair
        for tag, a, a_end, b, b_end in matcher.get_opcodes()
        if tag == "equal" or (tag == "replace" and a_end - a == b_end - b)
        for pair in zip(range(a, a_end), range(b, b_end), strict=True)
    ]
