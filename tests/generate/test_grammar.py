from __future__ import annotations

import json
import re

import pytest
import torch
from oracle import drain, tiny_model

from danlu.generate.engine import EngineConfig, PagedEngine
from danlu.generate.grammar import GrammarError, GrammarKind, GrammarLimits, Grammars
from danlu.generate.kernel import DecoderConfig
from danlu.generate.request import Request
from danlu.generate.sampling import SamplingConfig

LONGER = [b'{"', b'":', b"true", b"name", b"12", "汉".encode(), "字".encode()[:2], b"SELECT ", b"FROM"]
TEXT = [bytes([i]) for i in range(256)] + LONGER
EOS, IM_END, IM_START = (len(TEXT) + i for i in range(3))
TOKENS = [*TEXT, b"<|endoftext|>", b"<|im_end|>", b"<|im_start|>"]
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "汉"]}, "minItems": 1, "maxItems": 3},
        "ok": {"type": "boolean"},
    },
    "required": ["name", "age", "tags", "ok"],
    "additionalProperties": False,
}
SQL = """
start: "SELECT " column (", " column)? " FROM shops" (" WHERE " column " = " NUMBER)?
column: "name" | "汉字" | "price"
NUMBER: /[0-9]{1,3}/
"""
COLUMN = "(name|汉字|price)"


def grammars(**limits: int) -> Grammars:
    return Grammars(
        TOKENS,
        control_ids={EOS, IM_END, IM_START},
        end_ids={EOS, IM_END},
        limits=GrammarLimits(**limits),
    )


GRAMMARS = grammars()


def draw(kind: GrammarKind, grammar: str, seed: int) -> tuple[bytes, int]:
    """What comes of random logits, in which text is far likelier than an end, and what it ended with."""
    generator = torch.Generator().manual_seed(seed)
    token_filter, text = GRAMMARS.filter(kind, grammar), b""
    for _ in range(300):
        logits = torch.randn(len(TOKENS), generator=generator)
        logits[[32, 9, 10, 13]] -= 3.0  # white space is allowed almost everywhere
        token_filter.allow(logits)
        token_id = int(logits.argmax())
        token_filter.accept(token_id)
        if token_id >= len(TEXT):
            return text, token_id
        assert logits[token_id] > -torch.inf
        text += TOKENS[token_id]
    raise AssertionError(f"no end after 300 tokens: {text!r}")


@pytest.mark.parametrize(
    ("kind", "grammar", "spelt"),
    [
        ("lark", SQL, {b"S", b"SELECT "}),
        ("regex", "SELECT (yes|no)", {b"S", b"SELECT "}),
        ("json_schema", json.dumps(SCHEMA), {b"{", b'{"'}),
    ],
)
def test_text_that_must_come_may_be_spelt_as_the_model_likes(
    kind: GrammarKind, grammar: str, spelt: set[bytes]
):
    logits = torch.zeros(len(TOKENS))
    GRAMMARS.filter(kind, grammar).allow(logits)
    assert {TOKENS[i] for i in (logits == 0).nonzero().flatten().tolist()} == spelt


@pytest.mark.parametrize("seed", range(12))
def test_every_text_under_a_schema_is_valid_under_it(seed: int):
    text, end = draw("json_schema", json.dumps(SCHEMA), seed)
    found = json.loads(text.decode())
    assert end in (EOS, IM_END)
    assert set(found) == {"name", "age", "tags", "ok"}
    assert isinstance(found["name"], str)
    assert len(found["name"]) <= 6
    assert 0 <= found["age"] <= 120
    assert 1 <= len(found["tags"]) <= 3
    assert set(found["tags"]) <= {"a", "汉"}
    assert isinstance(found["ok"], bool)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("kind", "grammar", "pattern"),
    [
        ("regex", "[a-c]{2,4}-[0-9]{1,8}(汉|字)", "[a-c]{2,4}-[0-9]{1,8}(汉|字)"),
        (
            "lark",
            SQL,
            f"SELECT {COLUMN}(, {COLUMN})? FROM shops( WHERE {COLUMN} = [0-9]{{1,3}})?",
        ),
    ],
    ids=["regex", "lark"],
)
def test_every_text_under_a_grammar_is_one_of_its_own(
    kind: GrammarKind, grammar: str, pattern: str, seed: int
):
    text, end = draw(kind, grammar, seed)
    assert end in (EOS, IM_END)
    assert re.fullmatch(pattern, text.decode())


def test_an_end_may_come_exactly_where_the_text_is_complete():
    token_filter = GRAMMARS.filter("regex", "ab?")
    ends = []
    for byte in b"ab":
        logits = torch.zeros(len(TOKENS))
        token_filter.allow(logits)
        ends.append(bool(logits[EOS] == 0))
        token_filter.accept(byte)
        assert token_filter.is_complete
    assert ends == [False, True]
    logits = torch.zeros(len(TOKENS))
    token_filter.allow(logits)
    assert torch.nonzero(logits == 0)[:, 0].tolist() == [EOS, IM_END]


def test_no_grammar_admits_a_control_token_as_text():
    token_filter = GRAMMARS.filter("regex", r"(.|\n)*")
    for byte in b"<|im_start|>":
        logits = torch.zeros(len(TOKENS))
        token_filter.allow(logits)
        assert logits[IM_START] == -torch.inf
        token_filter.accept(byte)


def test_filters_of_one_grammar_do_not_disturb_each_other():
    one, other = (GRAMMARS.filter("regex", "xyz") for _ in range(2))
    one.accept(ord("x"))
    logits = torch.zeros(len(TOKENS))
    other.allow(logits)
    assert torch.nonzero(logits == 0)[:, 0].tolist() == [ord("x")]


@pytest.mark.parametrize(
    ("kind", "grammar", "said"),
    [
        ("json_schema", "{", "no JSON"),
        ("json_schema", "[]", "must be an object"),
        ("json_schema", '{"type": "nonsense"}', "nonsense"),
        ("json_schema", '{"$ref": "http://example.org/x"}', "cannot be used"),
        ("json_schema", '{"$ref": "#"}', "admits no text"),
        ("json_schema", '{"not":' * 1000 + "{}" + "}" * 1000, "1001 deep; at most 32"),
        ("json_schema", '{"x": "' + "[" * 70_000 + '"}', "70009 bytes; at most 65536"),
        ("regex", "a(", "unclosed group"),
        ("regex", "x" * 70_000, "70000 bytes"),
        ("lark", "start: foo", "unknown name"),
        ("lark", "", "cannot be used"),
    ],
)
def test_a_grammar_that_cannot_be_used_is_refused_with_the_reason(kind: GrammarKind, grammar: str, said: str):
    with pytest.raises(GrammarError, match=said):
        GRAMMARS.filter(kind, grammar)


def test_brackets_in_strings_are_no_nesting():
    schema = json.dumps({"enum": ["[[{" * 40 + '"\\']})
    text, _ = draw("json_schema", schema, 0)
    assert json.loads(text) == json.loads(schema)["enum"][0]


def test_so_many_compiled_grammars_are_kept_and_no_more():
    few = grammars(max_kept=3)
    for i in (0, 1, 2, 0, 3, 4):
        few.filter("regex", f"a{i}")
    assert few.kept == [("regex", "a0"), ("regex", "a3"), ("regex", "a4")]


def test_the_engine_writes_what_the_grammar_admits_whatever_the_model_would():
    model = tiny_model(vocab_size=len(TOKENS))
    engine = PagedEngine(model, EngineConfig(decoder=DecoderConfig(verify=False)))
    for key in range(4):
        request = Request(
            prompt_ids=(1, 2, 3),
            sampling=SamplingConfig(max_new_tokens=100, seed=1),
            key=key,
            stop_ids=frozenset({EOS, IM_END}),
            token_filter=GRAMMARS.filter("lark", SQL),
        )
        engine.add(request)
    texts: dict[int, bytes] = {}
    for event in drain(engine):
        assert event.token is not None
        if event.end_reason is None:
            texts[event.request_id] = texts.get(event.request_id, b"") + TOKENS[event.token.id]
        else:
            assert event.end_reason == "stop"
    assert len(texts) == 4
    for text in texts.values():
        assert re.match("SELECT .* FROM shops", text.decode())


class Unmasked:
    """A filter that tells no bits: logits are copied and changed."""

    def __init__(self, kind: GrammarKind, grammar: str) -> None:
        self._filter = GRAMMARS.filter(kind, grammar)

    def allow(self, logits: torch.Tensor) -> None:
        self._filter.allow(logits)

    def accept(self, token_id: int) -> None:
        self._filter.accept(token_id)


@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 1.0), (1.0, 1.0), (1.5, 0.9)])
def test_bits_and_changed_logits_bind_the_decoder_alike(temperature: float, top_p: float):
    model = tiny_model(vocab_size=len(TOKENS), max_seq_len=64)
    found = list[object]()
    for make in (GRAMMARS.filter, Unmasked):
        engine = PagedEngine(model, EngineConfig(decoder=DecoderConfig(kernel="native")))
        for seed in range(4):
            sampling = SamplingConfig(max_new_tokens=24, temperature=temperature, top_p=top_p, seed=seed)
            request = Request(
                prompt_ids=(1, 2, 3),
                sampling=sampling,
                stop_ids=frozenset({EOS, IM_END}),
                logit_bias={ord("n"): 2.0},
                frequency_penalty=0.5,
                token_filter=make("lark", SQL),
            )
            engine.add(request)
        found.append(drain(engine))
    assert found[0] == found[1]


def test_a_filter_of_another_vocabulary_is_refused():
    engine = PagedEngine(tiny_model(vocab_size=len(TOKENS) + 40, max_seq_len=64))
    bound = Request(
        prompt_ids=(1,), sampling=SamplingConfig(), token_filter=GRAMMARS.filter("regex", "[0-9]+")
    )
    with pytest.raises(ValueError, match=f"knows {len(TOKENS)} tokens and the model {len(TOKENS) + 40}"):
        engine.add(bound)
