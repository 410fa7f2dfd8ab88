"""Which tokens may come while tools can be called: a call names one of the tools, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from danlu.serve.api.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRules:
    """What may be called, and when."""

    names: Sequence[str]
    must_call: bool  # the answer begins with a call
    parallel: bool  # several calls in one answer


class ToolFilter:
    """A `TokenFilter` for one answer in the chat format: <|im_start|>NAME⏎ARGUMENTS up to <|im_end|>."""

    def __init__(self, rules: CallRules, vocabulary: Vocabulary, im_start_id: int) -> None:
        self._rules, self._vocabulary, self._im_start_id = rules, vocabulary, im_start_id
        self._where: Literal["start", "text", "name", "arguments"] = "start"
        self._name = b""  # what has been written of it

    def allow(self, logits: Tensor) -> None:
        """Set what must not come next to minus infinity, in place; logits are (vocab,)."""
        if self._where == "start" and self._rules.must_call:
            _keep_only(logits, [self._im_start_id])
        elif self._where == "name":
            _keep_only(logits, self._beginnings())
        elif self._where == "arguments" and not self._rules.parallel:
            logits[self._im_start_id] = -torch.inf

    def accept(self, token_id: int) -> None:
        """Take note of the token that was drawn."""
        if token_id == self._im_start_id:
            self._where, self._name = "name", b""
        elif self._where == "name":
            self._name += self._vocabulary.bytes_of[token_id]
            self._where = "arguments" if self._name.endswith(b"\n") else "name"
        elif self._where == "start":
            self._where = "text"

    def _beginnings(self) -> list[int]:
        """Tokens with which one of the names, and the line break after it, can go on."""
        lines = [f"{name}\n".encode() for name in self._rules.names]
        rests = [line[len(self._name) :] for line in lines if line.startswith(self._name)]
        pieces = {rest[:n] for rest in rests for n in range(1, len(rest) + 1)}
        return [self._vocabulary.id_of[piece] for piece in pieces if piece in self._vocabulary.id_of]


def _keep_only(logits: Tensor, ids: Sequence[int]) -> None:
    kept = logits[list(ids)].clone()
    logits.fill_(-torch.inf)
    logits[list(ids)] = kept
