"""Which adapter, and how large: one table of settings for every kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Literal

from danlu.config import ConfigError

Kind = Literal[
    "none", "lora", "dora", "adalora", "ia3", "houlsby", "pfeiffer", "prefix", "p_tuning_v2", "prompt"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How AdaLoRA's budget of singular values falls (Zhang et al. 2023)."""

    final_rank: float = 8.0  # singular values a matrix keeps on average; it begins with `rank`
    keep_first: float = 0.1  # share of the training before the budget begins to fall
    keep_last: float = 0.3  # share of it at the end, in which what is kept stays the same
    every: int = 10  # updates from one allocation to the next
    sensitivity_beta: float = 0.85  # of the moving average of |weight · gradient|
    uncertainty_beta: float = 0.85  # of the moving average of how far that strays
    orthogonality: float = 0.5  # coefficient of the term that keeps singular vectors orthogonal

    def __post_init__(self) -> None:
        if self.final_rank <= 0:
            raise ConfigError(f"final_rank is {self.final_rank}; it must be above 0")
        if min(self.keep_first, self.keep_last) < 0 or self.keep_first + self.keep_last >= 1:
            raise ConfigError(
                f"keep_first is {self.keep_first} and keep_last {self.keep_last}; they are shares of the "
                "training, and something must be left between them"
            )
        if self.every < 1:
            raise ConfigError(f"every is {self.every}; it must be at least 1")
        for name in ("sensitivity_beta", "uncertainty_beta"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")
        if self.orthogonality < 0:
            raise ConfigError(f"orthogonality is {self.orthogonality}; it must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualTokens:
    """What stands before every text in prefix tuning, P-tuning v2 and prompt tuning."""

    n: int = 20
    init_text: str = ""  # they begin as its tokens, repeated or cut; empty: as tokens drawn at random
    width: int | None = None  # inside the MLP that makes a prefix while it is trained; none: no MLP

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ConfigError(f"n is {self.n}; it must be at least 1")
        if self.width is not None and self.width < 1:
            raise ConfigError(f"width is {self.width}; it must be at least 1, or none for no MLP")
        if self.width is not None and self.init_text:
            raise ConfigError(
                "init_text and width are both set; a prefix that an MLP makes cannot begin as a text"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """The small MLP of Houlsby's and Pfeiffer's adapters."""

    width: int = 64
    activation: Literal["relu", "gelu", "tanh"] = "relu"

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"width is {self.width}; it must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """An adapter, or none: then every weight is trained."""

    kind: Kind = "none"
    rank: int = 16
    ranks: Mapping[str, int] = field(default_factory=dict[str, int])  # other ranks, by ends of names
    alpha: float = 32.0  # the update is scaled by alpha / rank
    rank_stabilised: bool = False  # by alpha / sqrt(rank) instead (Kalajdzievski 2023)
    dropout: float = 0.0  # share of what enters the update that is dropped while training
    targets: tuple[str, ...] | None = None  # linear layers, by ends of names; none: as the kind's paper does
    budget: Budget = field(default_factory=Budget)  # adalora
    virtual: VirtualTokens = field(default_factory=VirtualTokens)  # prefix, p_tuning_v2, prompt
    bottleneck: Bottleneck = field(default_factory=Bottleneck)  # houlsby, pfeiffer
    merge: bool | None = None  # publish merged weights in model/ too; none: where the kind can be merged

    def __post_init__(self) -> None:
        for name, rank in {"rank": self.rank, **{f"ranks.{k}": r for k, r in self.ranks.items()}}.items():
            if rank < 1:
                raise ConfigError(f"{name} is {rank}; it must be at least 1")
        if self.alpha <= 0:
            raise ConfigError(f"alpha is {self.alpha}; it must be above 0")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}; it must be in [0, 1)")
        if self.targets is not None and not self.targets:
            raise ConfigError("targets is empty; name linear layers, for instance q,v, or none for the usual")
        self._check_kind()

    def _check_kind(self) -> None:
        """Refuse settings that this kind would not read."""
        changed = [each.name for each in fields(self) if not _is_default(self, each)]
        if not self.on and changed:
            raise ConfigError(
                f"{changed[0]} is set, but kind is 'none': nothing would be adapted; set kind=lora"
            )
        unread = [name for name in changed if name not in ("kind", "merge", *READ[self.kind])]
        if unread:
            raise ConfigError(
                f"{unread[0]} is set, but kind {self.kind!r} does not read it; it reads "
                f"{', '.join(READ[self.kind])}"
            )
        if self.merge and self.kind not in MERGEABLE:
            raise ConfigError(
                f"merge is true, but kind {self.kind!r} cannot be merged: no weight stands for it. Of all "
                f"kinds these can be: {', '.join(MERGEABLE)}"
            )
        if self.kind == "adalora" and self.budget.final_rank > self.rank:
            raise ConfigError(
                f"budget.final_rank is {self.budget.final_rank:g}; it must be at most rank, {self.rank}"
            )
        if self.virtual.width is not None and self.kind != "prefix":
            raise ConfigError(
                f"virtual.width is {self.virtual.width}, but kind {self.kind!r} has no MLP; kind=prefix has"
            )

    @property
    def on(self) -> bool:
        return self.kind != "none"

    @property
    def merges(self) -> bool:
        """Whether merged weights are published."""
        return self.kind in MERGEABLE if self.merge is None else self.merge

    def scale(self, rank: int) -> float:
        """What an update of this rank is multiplied by."""
        if self.kind == "adalora":
            return self.alpha / (rank + 1e-5)  # as in the authors' code, and in PEFT
        return self.alpha / (math.sqrt(rank) if self.rank_stabilised else rank)


def _is_default(config: AdapterConfig, each: Field[Any]) -> bool:
    default = each.default if each.default_factory is MISSING else each.default_factory()
    return getattr(config, each.name) == default


_LOW_RANK = ("rank", "ranks", "alpha", "rank_stabilised", "dropout", "targets")
READ: dict[str, tuple[str, ...]] = {
    "none": (),
    "lora": _LOW_RANK,
    "dora": _LOW_RANK,
    "adalora": ("rank", "alpha", "dropout", "targets", "budget"),
    "ia3": ("targets",),
    "houlsby": ("bottleneck",),
    "pfeiffer": ("bottleneck",),
    "prefix": ("virtual",),
    "p_tuning_v2": ("virtual",),
    "prompt": ("virtual",),
}
MERGEABLE = ("none", "lora", "dora", "adalora", "ia3")
