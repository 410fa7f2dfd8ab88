"""Output that a grammar admits and nothing else: JSON schema, regular expression, or EBNF in Lark's notation.

A grammar is compiled once by the `llguidance` library and kept; every request gets a filter of its own, which
before each token says which ones may come. An end token may come exactly where the text so far is complete.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from llguidance.numpy import allocate_token_bitmask
from torch import Tensor

if TYPE_CHECKING:  # only its stubs have it
    from llguidance._lib import JsonCompileOptions

GrammarKind = Literal["json_schema", "regex", "lark"]


class GrammarError(ValueError):
    """A grammar that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrammarLimits:
    """What a grammar may cost. Each bounds time or memory that a stranger's request could take."""

    max_bytes: int = 64 * 1024  # of the grammar as text
    max_depth: int = 32  # of lists and objects within each other in a schema
    max_kept: int = 64  # compiled grammars
    max_items: int = 20_000  # of the parser, for one token
    max_states: int = 50_000  # of the lexer; each takes one or two kB

    def for_parser(self) -> LLParserLimits:
        return LLParserLimits(
            step_max_items=self.max_items,
            max_lexer_states=self.max_states,
            max_grammar_size=self.max_bytes,
            verbose_errors=False,
        )


class GrammarFilter:
    """Which tokens may come next in one completion; see `request.TokenFilter`."""

    def __init__(self, matcher: LLMatcher, vocab_size: int) -> None:
        self._matcher, self.vocab_size = matcher, vocab_size
        self._mask = allocate_token_bitmask(1, vocab_size)
        self._address = self._mask.ctypes.data

    def mask_address(self) -> int:
        """Where the bits of the tokens stand that the grammar admits; see `request.TokenMask`."""
        self._matcher.unsafe_compute_mask_ptr(self._address, self._mask.nbytes)
        if self._matcher.is_error():  # beyond the limits; the engine ends a request for which nothing is left
            self._mask[:] = 0
        return self._address

    def allow(self, logits: Tensor) -> None:
        """Set what the grammar does not admit to minus infinity, in place; logits are (vocab,)."""
        self.mask_address()
        allowed = np.unpackbits(self._mask[0].view(np.uint8), bitorder="little")[: len(logits)]
        logits.masked_fill_(torch.from_numpy(allowed == 0).to(logits.device), -torch.inf)

    def accept(self, token_id: int) -> None:
        """Go on by the token that was drawn."""
        self._matcher.consume_token(token_id)

    def allows_something(self) -> bool:
        """Whether there is a token that may come next."""
        self.mask_address()
        return bool(self._mask.any())

    @property
    def is_complete(self) -> bool:
        """Whether the text may end here."""
        return self._matcher.is_accepting()


class Grammars:
    """Compiles grammars over one vocabulary, and keeps those that were used last.

    Args:
        token_bytes: what each id stands for in text, (vocab,); of control tokens, anything.
        control_ids: ids that are no text; a grammar admits none of them but `end_ids`.
        end_ids: what ends a completion.
    """

    def __init__(
        self,
        token_bytes: Sequence[bytes],
        *,
        control_ids: Collection[int],
        end_ids: Collection[int],
        limits: GrammarLimits | None = None,
    ) -> None:
        self._limits = limits or GrammarLimits()
        self._vocab_size = len(token_bytes)
        vocabulary = _Vocabulary(token_bytes, sorted({*control_ids, *end_ids}), min(end_ids))
        self._tokenizer = LLTokenizer(
            vocabulary,  # pyright: ignore[reportArgumentType]  a wrapper by its attributes
            eos_token=sorted(end_ids),
        )
        self._kept: OrderedDict[tuple[GrammarKind, str], LLMatcher] = OrderedDict()

    @property
    def kept(self) -> list[tuple[GrammarKind, str]]:
        """The grammars that are compiled, the one used last at the end."""
        return list(self._kept)

    def filter(self, kind: GrammarKind, grammar: str) -> GrammarFilter:
        """A filter for one completion; GrammarError says what is wrong with the grammar."""
        return GrammarFilter(self._compiled(kind, grammar).deep_copy(), self._vocab_size)

    def _compiled(self, kind: GrammarKind, grammar: str) -> LLMatcher:
        key = (kind, grammar)
        matcher = self._kept.get(key)
        if matcher is None:
            matcher = self._compile(kind, grammar)
            self._kept[key] = matcher
            while len(self._kept) > self._limits.max_kept:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return matcher

    def _compile(self, kind: GrammarKind, grammar: str) -> LLMatcher:
        if (size := len(grammar.encode())) > self._limits.max_bytes:
            raise GrammarError(
                f"the {NAMES[kind]} has {size} bytes; at most {self._limits.max_bytes} are allowed"
            )
        if kind == "json_schema":
            rules = _rules_of_schema(_checked_schema(grammar, self._limits.max_depth))
        elif kind == "regex":
            rules = json.loads(LLMatcher.grammar_from_regex(grammar))["grammars"][0]["lark_grammar"]
        else:
            rules = grammar
        text = LLMatcher.grammar_from_lark(NO_FORCING + rules)
        matcher = LLMatcher(self._tokenizer, text, log_level=0, limits=self._limits.for_parser())
        if matcher.is_error():
            raise GrammarError(f"the {NAMES[kind]} cannot be used: {matcher.get_error()}")
        if not GrammarFilter(matcher.deep_copy(), self._vocab_size).allows_something():
            raise GrammarError(
                f"the {NAMES[kind]} cannot be used: it admits no text, or takes more than the limits allow"
            )
        return matcher


# Left alone, the library admits one spelling only of what must come: that of `_Vocabulary`, byte by byte.
# No model has learnt to write like that.
NO_FORCING = '%llguidance {"no_forcing": true}\n'
# A weak model fills its answer with blanks wherever any number of them may stand.
BETWEEN_JSON: JsonCompileOptions = {"whitespace_pattern": " ?"}
NAMES: dict[GrammarKind, str] = {
    "json_schema": "JSON schema",
    "regex": "regular expression",
    "lark": "grammar",
}


class _Vocabulary:
    """What llguidance wants to know of a tokenizer."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokens: Sequence[bytes], special_ids: Sequence[int], eos_id: int) -> None:
        self.tokens, self.special_token_ids, self.eos_token_id = tokens, special_ids, eos_id
        self._byte_ids = {token: i for i, token in enumerate(tokens) if len(token) == 1}

    def __call__(self, text: bytes | str) -> list[int]:
        """Ids of a text byte by byte; only asked for where forced text is wanted as tokens."""
        encoded = text if isinstance(text, bytes) else text.encode()
        return [self._byte_ids[bytes([byte])] for byte in encoded if bytes([byte]) in self._byte_ids]


def _checked_schema(text: str, max_depth: int) -> dict[str, Any]:
    """A schema, as an object that is not nested too deep for those who walk it."""
    depth = _nesting(text)
    if depth > max_depth:
        raise GrammarError(f"the JSON schema is nested {depth} deep; at most {max_depth} are allowed")
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise GrammarError(f"the JSON schema is no JSON: {error}") from error
    if not isinstance(schema, dict):
        raise GrammarError(f"the JSON schema is {text[:40]!r}; it must be an object")
    return schema


def _rules_of_schema(schema: dict[str, Any]) -> str:
    try:
        checked = LLMatcher.grammar_from_json_schema(schema, overrides=BETWEEN_JSON)
    except ValueError as error:  # a number of too many digits
        raise GrammarError(f"the JSON schema cannot be used: {error}") from error
    return f"start: %json {json.dumps(json.loads(checked)['grammars'][0]['json_schema'])}"


def _nesting(text: str) -> int:
    """How deep brackets lie within each other, those in strings not counted."""
    depth = deepest = 0
    inside = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif inside and character == "\\":
            escaped = True
        elif character == '"':
            inside = not inside
        elif not inside and character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif not inside and character in "]}":
            depth -= 1
    return deepest
