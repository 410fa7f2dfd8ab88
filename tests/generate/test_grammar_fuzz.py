"""Schemas that a machine makes up, right ones and wrong ones.

Under a right one every text that random logits draw is valid, as a validator says that nobody here wrote. A
wrong one is refused, or taken for what it can be, within a second, and nothing is raised but GrammarError.
"""

from __future__ import annotations

import json
import random
import time
from typing import Any

import jsonschema_rs
import pytest
import torch
from test_grammar import EOS, GRAMMARS, IM_END, TEXT, TOKENS

from danlu.generate.grammar import GrammarError

NAMES = ["a", "名字", "x y", "$ref", "type", "\\", '"', "\n", "é"]
WRONG: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    10**30,
    1e308,
    "",
    "string",
    "[",
    "(a+)+$",
    [],
    [[]],
    {},
    {"type": []},
]
KEYWORDS = [
    *(
        "type",
        "properties",
        "required",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
    ),
    *("pattern", "format", "enum", "const", "anyOf", "oneOf", "allOf", "not", "$ref", "$defs", "minimum"),
    *("maximum", "multipleOf", "additionalProperties", "patternProperties", "if", "then", "uniqueItems"),
]


def right(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """A schema of bounded texts, of kinds that may stand in each other."""
    kinds = ["string", "integer", "number", "boolean", "null", "enum", "const"]
    kind = rng.choice(kinds + ["object", "array", "anyOf"] * (2 if depth < 3 else 0))
    if kind == "object":
        names = rng.sample(NAMES, rng.randint(0, 3))
        return {
            "type": "object",
            "properties": {name: right(rng, depth + 1) for name in names},
            "required": rng.sample(names, rng.randint(0, len(names))),
            "additionalProperties": False,
        }
    if kind == "array":
        least = rng.randint(0, 2)
        items = right(rng, depth + 1)
        return {"type": "array", "items": items, "minItems": least, "maxItems": least + rng.randint(0, 2)}
    if kind == "anyOf":
        return {"anyOf": [right(rng, depth + 1) for _ in range(rng.randint(1, 3))]}
    if kind == "enum":
        return {"enum": rng.sample([1, "a", "汉", None, True, [1], {"a": 2}, -3.5], rng.randint(1, 4))}
    if kind == "const":
        return {"const": rng.choice(["", "x", 0, [], {}, "\u0000", "𝕏"])}
    if kind == "string":
        return {"type": "string", "maxLength": rng.randint(0, 5)}
    if kind == "integer":
        low = rng.randint(-1000, 1000)
        return {"type": "integer", "minimum": low, "maximum": low + rng.randint(0, 500)}
    return (
        {"type": "number", "minimum": 0, "maximum": rng.choice([1, 10.5])}
        if kind == "number"
        else {"type": kind}
    )


def wrong(rng: random.Random, depth: int = 0) -> Any:
    """Keywords with values that mostly do not belong to them."""
    if depth > 4 or rng.random() < 0.4:
        return rng.choice([*WRONG, rng.choice(KEYWORDS)])
    if rng.random() < 0.2:
        return [wrong(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    keywords = rng.sample(KEYWORDS, rng.randint(1, 4))
    return {keyword: wrong(rng, depth + 1) for keyword in keywords}


def drawn(schema: dict[str, Any], seed: int) -> bytes | None:
    """A text under the schema, with numbers kept short; None if it would not end."""
    generator, text = torch.Generator().manual_seed(seed), b""
    token_filter = GRAMMARS.filter("json_schema", json.dumps(schema))
    for n in range(400):
        logits = torch.randn(len(TOKENS), generator=generator)
        logits[[32, 9, 10, 13]] -= 3.0
        logits[list(b"0123456789")] -= 0.02 * n
        logits[[EOS, IM_END]] += 5.0
        token_filter.allow(logits)
        token_id = int(logits.argmax())
        assert logits[token_id] > -torch.inf, (schema, text)
        token_filter.accept(token_id)
        if token_id >= len(TEXT):
            return text
        text += TOKENS[token_id]
    return None


def check_right(n: int, seed: int) -> None:
    rng, n_drawn = random.Random(seed), 0
    for number in range(n):
        schema = right(rng)
        text = drawn(schema, number)
        if text is not None:
            n_drawn += 1
            assert jsonschema_rs.is_valid(schema, json.loads(text.decode())), (schema, text)
    assert n_drawn > 0.8 * n


def check_wrong(n: int, seed: int) -> None:
    rng, n_refused = random.Random(seed), 0
    for _ in range(n):
        schema = wrong(rng)
        began = time.process_time()
        try:
            token_filter = GRAMMARS.filter("json_schema", json.dumps(schema))
            token_filter.allow(torch.zeros(len(TOKENS)))
        except GrammarError:
            n_refused += 1
        assert time.process_time() - began < 1, schema
    assert n_refused > 0.3 * n


def test_every_text_under_a_made_up_schema_is_valid_under_it():
    check_right(60, seed=1)


def test_a_made_up_schema_that_is_none_is_refused_at_once():
    check_wrong(150, seed=2)


@pytest.mark.slow
def test_every_text_under_many_made_up_schemas_is_valid():
    check_right(3000, seed=3)


@pytest.mark.slow
def test_many_made_up_schemas_that_are_none_are_refused_at_once():
    check_wrong(10_000, seed=4)
