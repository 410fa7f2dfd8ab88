"""What the program needs of a tokenizer and of a chat format, whoever made the model that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from danlu.tokenizer.chat import Message, Rendered, Sight


class TextTokenizer(Protocol):
    """Text ⇄ ids. Ordinary text never becomes a control token, whatever it looks like."""

    vocab_size: int
    begin_id: int  # stands before a text, as in pretraining
    eos_id: int  # ends a text
    pad_id: int  # may be eos_id where the model has no other
    control_ids: frozenset[int]
    fingerprint: str  # a digest of all that decides about ids

    @property
    def image_id(self) -> int | None:
        """Marks where a patch of a picture stands; None: texts only."""
        ...

    def control_id(self, text: str) -> int | None:
        """The id of the control token that is spelled so; None if there is none."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of a text that stands alone; what looks like a control token is spelled in ordinary ones."""
        ...

    def encode_after_control(self, text: str) -> list[int]:
        """Ids of a text that stands behind a control token; some tokenizers put no blank before it then."""
        ...

    def encode_continued(self, text: str) -> list[int]:
        """Ids of a text that goes on from other text: nothing is put before it."""
        ...

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """`encode` of each."""
        ...

    def decode(self, ids: Iterable[int], *, show_control: bool = False) -> str:
        """The text of ids; those that end inside a character show as �."""
        ...

    def decode_bytes(self, ids: Iterable[int], *, show_control: bool = False) -> bytes:
        """UTF-8 of the ids, blanks at the start kept; the bytes of two lists joined are those of both."""
        ...

    def bytes_per_token(self, texts: Iterable[str]) -> float:
        """How much text a token holds, over all texts together."""
        ...

    def save(self, directory: Path) -> None:
        """Write the files by which it is read again."""
        ...

    def to_json(self) -> str:
        """The content of `tokenizer.json`."""
        ...


class AnyChatFormat(Protocol):
    """How messages become ids and ids become messages."""

    @property
    def tokenizer(self) -> TextTokenizer:
        """Of the same model."""
        ...

    @property
    def template(self) -> str:
        """The same format in Jinja, for other programs; it is never run here."""
        ...

    @property
    def sight(self) -> Sight | None:
        """How the model sees pictures; None: it reads text only."""
        ...

    @property
    def stop_ids(self) -> frozenset[int]:
        """Each of these ends the assistant's turn."""
        ...

    @property
    def end_id(self) -> int:
        """Which of them a turn is written with."""
        ...

    @property
    def call_id(self) -> int | None:
        """Inside the assistant's turn it opens a call of a tool; None: there are no calls in this format."""
        ...

    @property
    def blank_first(self) -> bool:
        """Whether an answer begins with a blank that belongs to the format, not to what is said."""
        ...

    def render(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> Rendered:
        """Ids of the whole conversation, with a loss mask over what the assistant says."""
        ...

    def prompt(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """Ids up to where the assistant begins to answer the last message."""
        ...

    def going_on(self, results: Sequence[Message]) -> list[int]:
        """Ids that follow an ended turn with calls: their results, up to where the assistant speaks again."""
        ...

    def lengths(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[int, list[int]]:
        """Tokens of `prompt` that belong to no message, and those of each message."""
        ...

    def n_images(self, ids: Sequence[int]) -> int:
        """How many pictures the markers among `ids` stand for."""
        ...

    def parse(self, ids: Sequence[int]) -> Message:
        """What the model said after a prompt."""
        ...
