"""A decoder in C for small models on a CPU, where the interpreter would cost more than the arithmetic.

`decode.c` is compiled once with the machine's own compiler and kept in the user's cache folder. Without a
compiler, or with a model made of other parts, the engine runs the model's own forward instead. What a token
gives depends on its own sequence alone, bit for bit, whoever shares the batch.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from danlu.generate.bindings import (
    CONFIG_FIELDS,
    LayerStruct,
    ModelStruct,
    TokensStruct,
    UpdateStruct,
    library,
)
from danlu.generate.decoder import Drawn, LogprobsOf, Span, Tokens, Wishes, likeliest, tokens_of
from danlu.generate.panels import Panels, fits_panels, group_of, layer_of
from danlu.model.adapted import AdaptedLinear, Factors, is_brought, places
from danlu.model.fused_block import LINEARS, has_native_form
from danlu.model.heads import LanguageModel
from danlu.model.kv_cache import KvCache
from danlu.model.layers import Linear
from danlu.model.transformer import Decoder


@dataclass(frozen=True, slots=True)
class _Adapter:
    updates: ctypes.Array[UpdateStruct]  # (layers, linear layers), as decode.c numbers them
    kept: list[NDArray[np.float32]]  # what they point to

    @property
    def address(self) -> int:
        return ctypes.addressof(self.updates)


def supports(model: LanguageModel) -> bool:
    """Whether the model is on the CPU and has the form that decode.c knows."""
    head, backbone = model.lm_head, model.backbone
    adapted = [module for module in backbone.modules() if isinstance(module, AdaptedLinear)]
    known = type(backbone) is Decoder and has_native_form(backbone) and all(a.by_weights for a in adapted)
    return known and type(head) is Linear and head.weight.device.type == "cpu" and fits_panels(model)


def updates_over(base: LanguageModel, model: LanguageModel) -> dict[str, Factors] | None:
    """What thin updates of linear layers make another model of the very weights of `base`.

    Returns:
        Updates by the layers' names; None where anything else makes the difference.
    """
    weights = dict(base.named_parameters())
    own = [(name, p) for name, p in model.named_parameters() if not is_brought(name)]
    if any(weights.get(name) is not p for name, p in own):
        return None
    if any(parts.counting() for parts in places(base).values()):
        return None
    known, found = set(_linears(base)), dict[str, Factors]()
    for name, parts in places(model).items():
        linear = model.get_submodule(name)
        if not parts.counting():
            continue
        if name not in known or not isinstance(linear, AdaptedLinear) or not linear.by_factors:
            return None
        factors = linear.factors()
        assert factors is not None
        found[name] = factors
    return found


def _linears(model: LanguageModel) -> list[str]:
    """Names of the layers that decode.c knows updates of, in its order."""
    blocks = range(model.config.n_layers)
    return [f"backbone.blocks.{block}.{each}" for block in blocks for each in LINEARS]


class NativeDecoder:
    """A decoder of the Llama and Qwen families on the CPU; see `supports` for which models.

    Weights keep their bits: bfloat16, int8 and int4 are made into factors as they are read. It computes in
    float32; where the model computes in bfloat16 and the processor multiplies that, products with weights
    that are not quantised take rounded operands.
    """

    def __init__(
        self,
        model: LanguageModel,
        tables: NDArray[np.int32],
        cache: KvCache,
        *,
        logprobs: LogprobsOf = "model",
    ) -> None:
        native = library()
        assert native is not None
        self._native, self._model = native, model
        self._tables, self._cache, self._logprobs_of = tables, cache, logprobs
        n_threads = torch.get_num_threads()
        self._team = native.begin_team(n_threads)
        if not self._team:
            raise MemoryError("no memory for the decoder's threads")
        weakref.finalize(self, native.end_team, self._team)
        self._max_seq_len = tables.shape[1] * cache.block_size
        angles = model.backbone.position.angles(torch.arange(self._max_seq_len)[None])
        assert angles is not None  # rope has them
        self._angles = [angle.contiguous() for angle in angles]
        self._logits = np.empty((0, model.config.vocab_size), np.float32)
        self._panels: dict[bool, Panels] = {}
        self._adapters: dict[str, _Adapter] = {}
        self.refresh()
        size = native.draw_scratch_size(model.config.vocab_size, n_threads)
        self._scratch = np.empty(max(size, native.scratch_size(self._struct, n_threads)), np.float32)

    def refresh(self) -> None:
        """Copy the weights, laid out for decode.c."""
        backbone, config = self._model.backbone, self._model.config
        bf16 = backbone.compute_dtype is torch.bfloat16
        panels = self._panels.setdefault(bf16, Panels(self._native, bf16=bf16))
        layers = [layer_of(panels, i, block) for i, block in enumerate(backbone.blocks)]
        self._layers = (LayerStruct * len(layers))(*layers)
        form, embedding, scales = panels.table("embedding", backbone.embedding.weight)
        self._struct = ModelStruct(
            *(getattr(config, name) for name in CONFIG_FIELDS),
            self._cache.n_blocks,
            self._cache.block_size,
            self._max_seq_len,
            bf16 and bool(self._native.multiplies_bf16()),
            group_of(self._model),
            form,
            config.norm_eps,
            embedding,
            scales,
            panels.vector("norm", [*backbone.norm.parameters()]),
            self._layers,
            panels.matrix("lm_head", self._model.lm_head.weight),
            *(t.data_ptr() for t in (*self._angles, self._cache.keys, self._cache.values)),
        )

    def read(self, spans: Sequence[Span]) -> None:
        self._forward(tokens_of(spans), None)

    def judge(self, span: Span, next_ids: Sequence[int]) -> list[float]:
        tokens = tokens_of([span])
        self._make_room(len(tokens))
        self._forward(tokens, self._logits)
        return self._judged(np.array(next_ids)).tolist()

    def draw(self, tokens: Tokens, wishes: Wishes) -> Drawn:
        n = len(tokens)
        self._make_room(n)
        self._forward(tokens, self._logits)
        table = wishes.table
        table["logits"] = self._addresses[:n]
        changed = {i: self._filtered(i, wishes) for i in wishes.filters if i not in wishes.masks}
        for i, each in changed.items():
            table["logits"][i], table["offsets"][i] = each.ctypes.data, 0
        for i, each in wishes.masks.items():
            table["allowed"][i] = each.mask_address()
        ids, logprobs = np.empty(n, np.int64), np.empty(n, np.float32)
        self._native.draw(
            table.ctypes.data,
            n,
            self._logits.shape[1],
            self._scratch.ctypes.data,
            ids.ctypes.data,
            logprobs.ctypes.data,
            self._team,
        )
        if self._logprobs_of == "model":
            logprobs = self._judged(ids)
        return ids.tolist(), logprobs.tolist()

    def top(self, token: int, n: int) -> tuple[tuple[int, float], ...]:
        return likeliest(self._logits[token] - self._highest[token] - self._log_sums[token], n)

    def copy_block(self, source: int, target: int, length: int) -> None:
        self._cache.values[:, :, target, :length] = self._cache.values[:, :, source, :length]
        # Keys lie across positions in decode.c, so part of a block is not a slice of it: all of it goes over.
        self._cache.keys[:, :, target] = self._cache.keys[:, :, source]

    def load_adapter(self, name: str, model: LanguageModel) -> None:
        factors, linears = updates_over(self._model, model), _linears(self._model)
        assert factors is not None
        updates, kept = (UpdateStruct * len(linears))(), list[NDArray[np.float32]]()
        for place, each in enumerate(linears):
            if each in factors:
                down, up = (factor.detach().float() for factor in factors[each])
                kept += [down.contiguous().numpy().copy(), up.t().contiguous().numpy().copy()]
                updates[place] = UpdateStruct(kept[-2].ctypes.data, kept[-1].ctypes.data, len(down))
        self._adapters[name] = _Adapter(updates, kept)

    def unload_adapter(self, name: str) -> None:
        del self._adapters[name]

    def _make_room(self, n: int) -> None:
        """Have a row of logits for each of n tokens."""
        if len(self._logits) < n:
            self._logits = np.empty((n, self._logits.shape[1]), np.float32)
            self._addresses = self._logits.ctypes.data + np.arange(n) * self._logits.strides[0]

    def _judged(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The model's log-probability of an id after each token, (tokens,); what `top` goes by is kept."""
        n = len(ids)
        self._highest, self._log_sums = np.empty(n, np.float32), np.empty(n, np.float32)
        self._native.normalise(
            self._logits.ctypes.data,
            n,
            self._logits.shape[1],
            self._highest.ctypes.data,
            self._log_sums.ctypes.data,
            self._team,
        )
        return self._logits[np.arange(n), ids] - self._highest - self._log_sums

    def _filtered(self, token: int, wishes: Wishes) -> NDArray[np.float32]:
        """A copy of a token's logits with its offsets, and without what its filter forbids."""
        changed = self._logits[token].copy()
        if token in wishes.offsets:
            changed += wishes.offsets[token]
        wishes.filters[token].allow(torch.from_numpy(changed))
        return changed

    def _forward(self, tokens: Tokens, logits: NDArray[np.float32] | None) -> None:
        """Run the tokens; fills the first rows of `logits`, (tokens, vocab)."""
        updates = None
        if tokens.adapters is not None:
            addresses = {name: each.address for name, each in self._adapters.items()}
            updates = np.array([addresses[name] if name else 0 for name in tokens.adapters], np.uint64)
        arrays = (tokens.ids, tokens.rows, tokens.positions, updates, self._tables)
        pointers = (None if array is None else array.ctypes.data for array in arrays)
        self._native.forward(
            self._struct,
            TokensStruct(*pointers, self._tables.shape[1]),
            len(tokens),
            self._scratch.ctypes.data,
            None if logits is None else logits.ctypes.data,
            self._team,
        )
