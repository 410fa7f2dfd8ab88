"""What can be seen inside a model, as plain values: who looks is told by `recipes`, which may load models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from danlu.feedback.errors import FeedbackError
from danlu.tokenizer.chat import Message

Said = str | Sequence[Message]  # a text, or a chat
Stage = Literal["pretrain", "sft", "reward", "kto", "ppo"]
STAGES: tuple[Stage, ...] = get_args(Stage)
MOST_READ = 1024  # tokens that are read
MOST_DRAWN = 128  # tokens whose attention and lens are drawn


class InspectError(FeedbackError):
    """A model cannot be looked into, or a text cannot be read; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A token that might have stood somewhere."""

    id: int
    label: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSeen:
    """A token, and what the model thought of it before it was read."""

    at: int  # place, from 0
    id: int
    label: str
    logprob: float | None = None  # nats; None: nothing stands before it
    rank: int | None = None  # 1 is the likeliest
    entropy: float | None = None  # of what was expected here, nats
    best: Sequence[Guess] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A text as a model reads it."""

    tokens: Sequence[TokenSeen]
    n_left_out: int = 0  # tokens behind them that were not read


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """How a text goes on from another token."""

    ids: Sequence[int]  # of all: what stands before, the token, and what follows
    before: str
    token: str
    after: str
    ended: bool  # by itself, rather than at the limit


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSeen:
    """What one attention head looks at."""

    drawing: str  # SVG; texts in it are escaped
    strongest: Sequence[tuple[str, str, float]]  # from token, to token, weight
    n_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """What the model would say after each layer."""

    labels: Sequence[str]  # of the tokens read
    layers: Sequence[
        tuple[int, Sequence[Guess]]
    ]  # blocks behind it, and the likeliest next token at each place


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskLine:
    """One position of what training reads."""

    at: int
    position: int
    segment: int
    id: int
    label: str
    mark: str  # as `danlu doctor` has them: "*", "$", "P", "S" or ""
    target: str = ""
    numbers: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """An example as a stage of training reads it."""

    stage: Stage
    lines: Sequence[MaskLine]
    columns: Sequence[str] = ()  # what the numbers are called
    n_learnt: int = 0  # targets, or scores
    n_left_out: int = 0  # positions that are not shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A record of a data set."""

    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    source: str = ""
    line: int = 0
    ids: Sequence[int] = ()  # of a document in a shard …
    fingerprint: str = ""  # … and the tokenizer that made them


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """A reward model's score after each token of a text."""

    labels: Sequence[str]
    scores: Sequence[float]
    n_left_out: int = 0


class Microscope(Protocol):
    """Looks into models; every method may take a while, and InspectError is all that it raises."""

    def read(self, model: Path, /, said: Said) -> Sequence[int]:
        """A text as ids, whole."""
        ...

    def tokens(self, model: Path, /, ids: Sequence[int], n_best: int) -> Reading:
        """Each token with its probability and alternatives, and last what is expected next."""
        ...

    def branch(self, model: Path, /, ids: Sequence[int], n_new: int) -> Branch:
        """Go on greedily from the last of some ids."""
        ...

    def heads(self, model: Path, /, ids: Sequence[int]) -> Sequence[int]:
        """How many heads each layer has."""
        ...

    def head(self, model: Path, /, ids: Sequence[int], layer: int, head: int) -> HeadSeen:
        """What one head looks at."""
        ...

    def lens(self, model: Path, /, ids: Sequence[int]) -> Lens:
        """What each layer would say."""
        ...

    def masks(self, model: Path, /, stage: Stage, example: Example) -> Masks:
        """What a stage would learn of an example."""
        ...

    def scores(self, model: Path, /, said: Said) -> Scores:
        """What a reward model says of each beginning of a text."""
        ...
