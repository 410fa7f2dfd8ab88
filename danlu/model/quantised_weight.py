"""A matrix in 8 or 4 bits that layers take for an ordinary frozen weight; activations stay as they are.

Linear layers, embeddings, adapters and the fused kernels all read `weight`. So what is small is the weight
itself, not the layer: nothing else in a model has to know. Products of few rows in bfloat16 go through
PyTorch's packed kernels; all others make the numbers again, a part of the matrix at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_map_only

from danlu.config import ConfigError
from danlu.model.native.products import MakeProducts, Products

Bits = Literal[8, 4]
# With more rows, or in float32, the packed kernels lose to torch's own product with numbers made anew.
PACKED_ROWS = 32
PART = 1 << 20  # numbers of a weight that are made again at once: 4 MB in float32
BLOCK = 64  # rows that every known packing keeps together, or a multiple of those
LEVELS = 15  # steps of a 4-bit code


class QuantisedWeight(Tensor):
    """A frozen matrix, (out, in), kept as whole numbers and scales.

    It answers to any dtype: `to` changes only which one it shows. An operation that has no form of its own
    here sees the numbers made again; one that would write into them is refused.
    """

    bits: Bits
    codes: Tensor
    scales: Tensor

    def __new__(
        cls, codes: Tensor, scales: Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32
    ) -> Self:
        weight: Self = Tensor._make_wrapper_subclass(cls, tuple(shape), dtype=dtype, device=codes.device)  # pyright: ignore
        weight.codes, weight.scales = codes, scales
        return weight

    def shown_as(self, dtype: torch.dtype) -> Self:
        """The same codes under another dtype."""
        return type(self)(self.codes, self.scales, self.shape, dtype)

    @property
    def n_bytes(self) -> int:
        """What it takes in memory."""
        return self.codes.nbytes + self.scales.nbytes

    def rows(self, start: int, stop: int) -> Tensor:
        """Some rows made again, float32; `start` is a multiple of 64."""
        raise NotImplementedError

    def rows_at(self, ids: Tensor) -> Tensor:
        """The rows of these numbers, (…, in), float32."""
        raise NotImplementedError

    def fits_kernel(self) -> bool:
        """Whether the packed kernel can be given this shape."""
        raise NotImplementedError

    def packed_product(self, x: Tensor) -> Tensor:
        """What x, (rows, in) in bfloat16, becomes by the packed kernel: (rows, out)."""
        raise NotImplementedError

    def product(self, x: Tensor) -> Tensor:
        """What x, (rows, in), becomes: (rows, out)."""
        if x.dtype is torch.bfloat16 and len(x) <= PACKED_ROWS and self.fits_kernel():
            return self.packed_product(x.contiguous())
        out = x.new_empty(len(x), self.shape[0])
        for start, stop in self._parts():
            torch.mm(x, self.rows(start, stop).to(x.dtype).t(), out=out[:, start:stop])
        return out

    def input_gradient(self, grad: Tensor) -> Tensor:
        """The gradient of x, (rows, in), for that of the product, (rows, out)."""
        total = grad.new_zeros(len(grad), self.shape[1], dtype=torch.float32)
        for start, stop in self._parts():
            total += grad[:, start:stop] @ self.rows(start, stop).to(grad.dtype)
        return total.to(grad.dtype)

    def dense(self) -> Tensor:
        """All of it made again, in the dtype that it shows."""
        out = torch.empty(self.shape, dtype=self.dtype)
        for start, stop in self._parts():
            out[start:stop] = self.rows(start, stop)
        return out

    def _parts(self) -> Iterator[tuple[int, int]]:
        n_rows, width = self.shape
        step = max(PART // width // BLOCK, 1) * BLOCK
        return ((start, min(start + step, n_rows)) for start in range(0, n_rows, step))

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied = torch.nn.Parameter(self.shown_as(self.dtype), requires_grad=False)  # codes are never changed
        memo[id(self)] = copied
        return copied

    def __repr__(self, **_: Any) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return f"{type(self).__name__}({tuple(self.shape)})"

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        own = FUNCTIONS.get(func)
        with torch._C.DisableTorchFunctionSubclass():  # pyright: ignore[reportPrivateUsage]
            return (own or func)(*args, **kwargs or {})

    @classmethod
    def __torch_dispatch__(
        cls,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        first = args[0] if args else None
        if isinstance(first, QuantisedWeight):
            if func in SAME:
                return first.shown_as(first.dtype)
            if func is torch.ops.aten._to_copy.default and kwargs.keys() == {"dtype"}:
                return first.shown_as(kwargs["dtype"])
            if func._schema.is_mutable:
                raise ConfigError(f"a quantised weight cannot be written into, as {func} would; {FROZEN}")
        return func(*_made_again(args), **_made_again(kwargs))


class Int8Weight(QuantisedWeight):
    """One scale a row: codes (out, in) int8 from -127 to 127, scales (out,) float32."""

    bits = 8

    @classmethod
    def of(cls, weight: Tensor) -> Int8Weight:
        """Round to the nearest code; a row's largest number is its 127."""
        parts = [part.float() for part in weight.detach().split(BLOCK)]
        scales = torch.cat([part.abs().amax(1) / 127 for part in parts])
        codes = [
            (part / _never_zero(scale)[:, None]).round_().to(torch.int8)
            for part, scale in zip(parts, scales.split(BLOCK), strict=True)
        ]
        return cls(torch.cat(codes), scales, weight.shape)

    def rows(self, start: int, stop: int) -> Tensor:
        return self.codes[start:stop] * self.scales[start:stop, None]

    def rows_at(self, ids: Tensor) -> Tensor:
        return self.codes[ids] * self.scales[ids].unsqueeze(-1)

    def fits_kernel(self) -> bool:
        return self.shape[1] % 16 == 0  # on other widths torch 2.13's kernel reads past the end and crashes

    def packed_product(self, x: Tensor) -> Tensor:
        return torch.ops.aten._weight_int8pack_mm(x, self.codes, self.scales.to(x.dtype))


class Int4Weight(QuantisedWeight):
    """A scale and a middle for each group of columns: number = (code - 8) * scale + middle.

    codes are (out, in / 2) uint8 in the order that the packed kernel wants, scales (in / group, out, 2)
    bfloat16.
    """

    bits = 4

    @classmethod
    def of(cls, weight: Tensor, group: int) -> Int4Weight:
        """Round to the nearest of 16 levels between a group's ends, drawn in where that errs less."""
        pairs = [_coded(part.float(), group) for part in weight.detach().split(BLOCK)]
        codes, scales = zip(*pairs, strict=True)
        return cls.from_pairs(torch.cat([paired(part) for part in codes]), torch.cat(scales))

    @classmethod
    def from_pairs(cls, pairs: Tensor, scales: Tensor) -> Int4Weight:
        """From codes (out, in / 2) of two columns a byte, and scales (out, in / group, 2) bfloat16.

        `pairs` is put into the kernel's order where it lies, which takes no second copy.
        """
        for part in pairs.split(BLOCK):
            wide = unpaired(part).to(torch.int32)
            part.copy_(torch.ops.aten._convert_weight_to_int4pack_for_cpu(wide, 1))
        return cls(pairs, scales.transpose(0, 1).contiguous(), (len(pairs), 2 * pairs.shape[1]))

    @property
    def group(self) -> int:
        """Columns that share a scale."""
        return self.shape[1] // len(self.scales)

    def plain(self, start: int = 0, stop: int | None = None) -> tuple[Tensor, Tensor]:
        """Codes (out, in) and scales of some rows, `scales` as `from_pairs` takes them."""
        stop = len(self.codes) if stop is None else stop
        return unpacked(self.codes[start:stop]), self.scales[:, start:stop].transpose(0, 1)

    def rows(self, start: int, stop: int) -> Tensor:
        codes, scales = self.plain(start, stop)
        levels = codes.float().sub_(8).unflatten(1, (-1, self.group))
        scale, middle = scales.float().unsqueeze(2).unbind(-1)
        return levels.mul_(scale).add_(middle).flatten(1)

    def rows_at(self, ids: Tensor) -> Tensor:
        return self.dense().float()[ids]

    def fits_kernel(self) -> bool:
        return True  # a matrix that does not is never packed

    def packed_product(self, x: Tensor) -> Tensor:
        scales = self.scales.to(x.dtype)
        return torch.ops.aten._weight_int4pack_mm_for_cpu(x, self.codes, self.group, scales)


def fits_int4(shape: Sequence[int], group: int) -> bool:
    """Whether the packed 4-bit kernel takes such a matrix in such groups."""
    return shape[0] % 16 == 0 and shape[1] % group == 0


class QuantisedProducts:
    """`Products` with weights of which some are quantised: none is kept in another form."""

    def __init__(self, weights: Sequence[Tensor], dtype: torch.dtype) -> None:
        self._weights = [w if isinstance(w, QuantisedWeight) else w.to(dtype) for w in weights]

    def apply(self, x: Tensor, *, bias: Tensor | None = None, skip: Tensor | None = None) -> Tensor:
        out = torch.cat([F.linear(x, weight) for weight in self._weights], dim=1)
        out = out if bias is None else out.add_(bias.to(x.dtype))
        return out if skip is None else out.add_(skip)

    def input_gradient(self, grad: Tensor) -> Tensor:
        parts = grad.split([len(weight) for weight in self._weights], dim=1)
        pairs = zip(self._weights, parts, strict=True)
        return sum(
            (w.input_gradient(g) if isinstance(w, QuantisedWeight) else g @ w for w, g in pairs),
            start=grad.new_zeros(()),
        )

    def weight_gradients(self, grad: Tensor, x: Tensor) -> list[Tensor]:
        raise ConfigError(f"a quantised weight has no gradient; {FROZEN}")

    def add_weight_gradients(self, grad: Tensor, x: Tensor, gradients: Sequence[Tensor]) -> None:
        raise ConfigError(f"a quantised weight has no gradient; {FROZEN}")


def products_of(weights: Sequence[Tensor], dtype: torch.dtype, make: MakeProducts) -> Products:
    """Products with weights by `make`, or where one is quantised by what can read it."""
    if any(isinstance(weight, QuantisedWeight) for weight in weights):
        return QuantisedProducts(weights, dtype)
    return make(weights, dtype)


class _Product(torch.autograd.Function):
    """x, (rows, in), times a quantised weight; the packed kernels have no backward pass of their own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: QuantisedWeight) -> Tensor:
        ctx.weight = weight
        return weight.product(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return ctx.weight.input_gradient(grad_outputs[0]), None


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if not isinstance(weight, QuantisedWeight):
        return F.linear(x, weight, bias)
    out = _Product.apply(x.flatten(0, -2), weight).unflatten(0, x.shape[:-1])
    return out if bias is None else out + bias


def _embedding(ids: Tensor, weight: Tensor, *_: Any, **__: Any) -> Tensor:
    assert isinstance(weight, QuantisedWeight)
    return weight.rows_at(ids).to(weight.dtype)


def _to(weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Another dtype is only shown; whatever else is asked for goes its usual way."""
    if (
        isinstance(weight, QuantisedWeight)
        and len(args) == 1
        and isinstance(args[0], torch.dtype)
        and not kwargs
    ):
        return weight if weight.dtype is args[0] else weight.shown_as(args[0])
    return Tensor.to(weight, *args, **kwargs)


def _detach(weight: Tensor) -> Tensor:
    return weight.shown_as(weight.dtype) if isinstance(weight, QuantisedWeight) else Tensor.detach(weight)


def _new_zeros(weight: Tensor, *size: Any, **options: Any) -> Tensor:
    return torch.zeros(*size, **{"dtype": weight.dtype, **options})


def _requires_grad(weight: Tensor, requires_grad: bool = True) -> Tensor:
    if requires_grad and isinstance(weight, QuantisedWeight):
        raise ConfigError(f"a quantised weight cannot be trained; {FROZEN}")
    return Tensor.requires_grad_(weight, requires_grad)


def _made_again(arguments: Any) -> Any:
    return tree_map_only(QuantisedWeight, QuantisedWeight.dense, arguments)


def _coded(weight: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Codes (out, in) and scales (out, in / group, 2) of some rows, float32."""
    groups = weight.unflatten(1, (-1, group))
    low, high = groups.amin(2), groups.amax(2)
    least = torch.full_like(low, torch.inf)
    codes = torch.zeros_like(groups, dtype=torch.uint8)
    scales = low.new_zeros(*low.shape, 2, dtype=torch.bfloat16)
    for share in SHARES:
        width, middle = (high - low) * share / LEVELS, (high + low) / 2 + (high - low) * share / LEVELS / 2
        kept = torch.stack([_never_zero(width), middle], -1).bfloat16()
        scale, centre = kept.float().unsqueeze(2).unbind(-1)
        found = ((groups - centre) / scale).round_().add_(8).clamp_(0, LEVELS)
        error = (found.sub(8).mul_(scale).add_(centre) - groups).square_().sum(2)
        better = error < least
        least = torch.where(better, error, least)
        scales = torch.where(better.unsqueeze(-1), kept, scales)
        codes = torch.where(better.unsqueeze(-1), found.to(torch.uint8), codes)
    return codes.flatten(1), scales


def _never_zero(scale: Tensor) -> Tensor:
    return torch.where(scale == 0, 1.0, scale)


def paired(codes: Tensor) -> Tensor:
    """Codes (out, in) of 0 to 15 as bytes of two columns, the first in the low half."""
    return codes[:, 0::2] | (codes[:, 1::2] << 4)


def unpaired(pairs: Tensor) -> Tensor:
    """The codes in bytes of two columns, (out, in)."""
    return torch.stack([pairs & 15, pairs >> 4], -1).flatten(1)


def unpacked(packed: Tensor) -> Tensor:
    """The codes, (out, in) of 0 to 15, that the kernel keeps as (out, in / 2) bytes of two."""
    block, halves = _packing()
    n_rows, width = len(packed), 2 * packed.shape[1]
    whole = n_rows // block * block
    parts = [_opened(packed[:whole].reshape(-1, width, block // 2), halves=halves)] if whole else []
    if whole < n_rows:  # what fills no block is always kept as neighbours
        parts.append(_opened(packed[whole:].reshape(1, width, -1), halves=False))
    return torch.cat([part.transpose(1, 2).flatten(0, 1) for part in parts])


def _opened(blocks: Tensor, *, halves: bool) -> Tensor:
    """Codes (blocks, in, rows) of bytes (blocks, in, rows / 2).

    A byte holds rows i and i + rows / 2 if `halves`, else 2i and 2i + 1.
    """
    low, high = blocks & 15, blocks >> 4
    return torch.cat([low, high], -1) if halves else torch.stack([low, high], -1).flatten(2)


@cache
def _packing() -> tuple[int, bool]:
    """In which blocks of rows torch packs on this processor, and whether by halves: found by trying."""
    codes = torch.randint(16, (112, 32), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
    for block, halves in PACKINGS:
        whole = len(codes) // block * block
        opened = _opened(packed[:whole].view(-1, 32, block // 2), halves=halves)
        if torch.equal(opened.transpose(1, 2).flatten(0, 1).int(), codes[:whole]):
            return block, halves
    raise RuntimeError(
        f"torch {torch.__version__} packs 4-bit weights in a way that is not known here; use int8"
    )


FROZEN = (
    "its codes are whole numbers. Train an adapter over it (adapter.kind=lora), or start from the model "
    "before it was quantised"
)
SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)  # of a group's span that its 16 levels may cover
PACKINGS = ((64, True), (32, True), (64, False), (32, False), (16, False))
SAME = {torch.ops.aten.detach.default, torch.ops.aten.alias.default, torch.ops.aten.clone.default}
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    F.linear: _linear,
    F.embedding: _embedding,
    Tensor.requires_grad_: _requires_grad,
    # Not left to the dispatcher: its first call from Python imports 40 MB.
    Tensor.to: _to,
    Tensor.detach: _detach,
    Tensor.new_zeros: _new_zeros,
}
