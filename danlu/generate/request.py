"""What is asked of an engine and what it answers, token by token.

An engine speaks ids: text, stop strings and chat formats are its callers' business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

from danlu.generate.sampling import SamplingConfig

EndReason = Literal["stop", "length", "error"]
# The one failure that the request itself is to blame for.
NOTHING_ALLOWED = (
    "no token may come next: the request's grammar, bias and forbidden ids leave none, or the grammar is too "
    "large"
)


class TokenFilter(Protocol):
    """Which tokens may come next, as a grammar says. One belongs to one request."""

    def allow(self, logits: Tensor) -> None:
        """Set what must not come next to minus infinity, in place; logits are (vocab,)."""
        ...

    def accept(self, token_id: int) -> None:
        """Take note of the token that was drawn."""
        ...


@runtime_checkable
class TokenMask(TokenFilter, Protocol):
    """A filter that says the same in bits, which the decoder in C takes without a copy of the logits."""

    vocab_size: int  # tokens that it knows

    def mask_address(self) -> int:
        """Where the bits stand that say which tokens may come next, (vocab / 32 rounded up,) uint32.

        The lowest bit of the first number is token 0's. They stay as they are until the next call.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One completion to make; `n` completions of a prompt are `n` requests, which share its cache."""

    prompt_ids: tuple[int, ...]
    sampling: SamplingConfig
    key: int | str = 0  # with `sampling.seed` it decides the random numbers
    stop_ids: frozenset[int] = frozenset()
    forbidden_ids: frozenset[int] = frozenset()  # never drawn
    presence_penalty: float = 0.0  # off the logit of every id already in the completion
    frequency_penalty: float = 0.0  # the same, times how often
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])
    min_p: float = 0.0  # draw among tokens at least this likely, relative to the likeliest
    n_top: int = 0  # report so many likeliest tokens beside each, the drawn one not counted
    prompt_logprobs: bool = False
    token_filter: TokenFilter | None = None
    adapter: str | None = None
    salt: str = ""  # requests share cached prefixes only under one salt
    # (n, side, side, 3) uint8, in the order of their markers in the prompt. Markers of different pictures are
    # alike: where prefixes are shared, `salt` must tell the pictures apart.
    pictures: Tensor | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token with what the model thought of it."""

    id: int
    logprob: (
        float | None
    )  # under the model alone: no temperature, penalty or filter; None for the first of all
    top: tuple[tuple[int, float], ...] = ()  # the likeliest ids, best first, with theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What one step did for one request: the prompt's tokens once, if asked for, then a token at a time."""

    request_id: int
    token: Token | None = None
    prompt: Sequence[Token] = ()
    end_reason: EndReason | None = None  # set in a request's last event
    error: str = ""  # with end_reason "error": what went wrong, for this request alone


class Engine(Protocol):
    """Runs many requests at once. Not thread-safe: one thread owns it."""

    max_seq_len: int

    def add(self, request: Request) -> int:
        """Queue a request and return its id; ValueError says what is wrong with it."""
        ...

    def cancel(self, request_id: int) -> None:
        """Forget a request; no event of it comes after this."""
        ...

    def step(self) -> list[Event]:
        """Advance what runs by one token, or read a part of a prompt."""
        ...

    @property
    def n_unfinished(self) -> int: ...
