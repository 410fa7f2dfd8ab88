"""One answer as it comes: tokens become pieces of text, each with its tokens, and calls of tools."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from danlu.generate.request import Token
from danlu.serve.api.text_stream import TextStream
from danlu.serve.api.vocabulary import Vocabulary

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Spoken:
    """A token of the text."""

    token: Token
    start: int  # characters of the text before it


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the text, and the tokens that are told with it."""

    text: str
    tokens: Sequence[Spoken]


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A tool is called."""

    number: int  # of the call, from 0
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """The next piece of a call's arguments."""

    number: int
    text: str


Piece = Text | CallBegun | CallArguments


class Reply:
    """Reads one completion in the chat format, token by token.

    Args:
        stops: strings that end the text; in the arguments of a call they mean nothing.
        call_id: opens a call; None where there are no tools.
        blank_first: a blank that the answer begins with belongs to the chat format.
        show_end: tell also of the control token that ends the answer, with no text.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        stops: Sequence[str] = (),
        call_id: int | None = None,
        show_end: bool = False,
        blank_first: bool = False,
    ) -> None:
        self._vocabulary, self._call_id, self._show_end = vocabulary, call_id, show_end
        self._blank_first = blank_first
        self._text = TextStream(stops)
        self._waiting: deque[tuple[Spoken, int]] = deque()  # with the characters up to the token's end
        self._call: _Call | None = None
        self._n_begun = 0
        self.n_calls = 0  # that have come to their end
        self.n_tokens = 0

    @property
    def stopped(self) -> bool:
        """Whether a stop string has ended the answer."""
        return self._text.stopped

    def push(self, token: Token) -> list[Piece]:
        """What a token adds."""
        self.n_tokens += 1
        if token.id in self._vocabulary.control_ids:
            return self._control(token)
        raw = self._vocabulary.bytes_of[token.id]
        if self._blank_first and self.n_tokens == 1:
            raw = raw.removeprefix(b" ")
        if self._call is not None:
            return self._call.push(raw)
        start = self._text.n_decoded
        text = self._text.push(raw)
        self._waiting.append((Spoken(token, start), self._text.n_decoded))
        return self._told(text, self._certain())

    def finish(self) -> list[Piece]:
        """What was held back: nothing more comes."""
        if self._call is not None:
            pieces, self._call = self._call.flush(), None
            return pieces
        text = self._text.flush()
        return self._told(text, self._certain() if self.stopped else len(self._waiting))

    def _control(self, token: Token) -> list[Piece]:
        """A control token ends the text, or one call and begins the next."""
        self.n_calls = self._n_begun
        pieces = self.finish()
        if token.id == self._call_id:
            self._call = _Call(self._n_begun)
            self._n_begun += 1
        elif self._show_end:
            pieces.append(Text("", [Spoken(token, self._text.n_decoded)]))
        return pieces

    def _certain(self) -> int:
        """How many of the waiting tokens are told with what has been released."""
        released = self._text.n_released
        if self.stopped:  # what begins behind the cut is no part of the answer
            return sum(spoken.start < released for spoken, _ in self._waiting)
        return next((n for n, (_, end) in enumerate(self._waiting) if end > released), len(self._waiting))

    def _told(self, text: str, n: int) -> list[Piece]:
        tokens = [self._waiting.popleft()[0] for _ in range(n)]
        return [Text(text, tokens)] if text or tokens else []


class _Call:
    """One call: its name up to a line break, then its arguments."""

    def __init__(self, number: int) -> None:
        self._number, self._name, self._named = number, "", False
        self._text = TextStream()

    def push(self, raw: bytes) -> list[Piece]:
        return self._read(self._text.push(raw))

    def flush(self) -> list[Piece]:
        return self._read(self._text.flush())

    def _read(self, text: str) -> list[Piece]:
        if self._named:
            return [CallArguments(self._number, text)] if text else []
        self._name += text
        name, line_break, arguments = self._name.partition("\n")
        if not line_break:
            return []
        self._named = True
        begun: list[Piece] = [CallBegun(self._number, name)]
        return begun + ([CallArguments(self._number, arguments)] if arguments else [])
