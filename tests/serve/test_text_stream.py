"""Text, tokens and calls as they come, wherever the borders of tokens lie."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from danlu.generate.request import Token
from danlu.serve.api.reply import CallArguments, CallBegun, Reply, Text
from danlu.serve.api.text_stream import TextStream
from danlu.serve.api.tool_filter import CallRules, ToolFilter
from danlu.serve.api.vocabulary import Vocabulary
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat


def cut_at(text: str, stops: list[str]) -> str:
    """By the other route: character after character over the whole text."""
    for end in range(1, len(text) + 1):
        found = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: min(found)]
    return text


@given(
    st.text("ab你", max_size=12),
    st.lists(st.text("ab你", min_size=1, max_size=3), max_size=3),
    st.lists(st.integers(0, 40), max_size=8),
)
def test_stop_strings_cut_at_the_same_place_however_the_bytes_are_divided(
    text: str, stops: list[str], cuts: list[int]
):
    raw, stream = text.encode(), TextStream(stops)
    places = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    pieces = [stream.push(raw[a:b]) for a, b in pairwise(places)]
    assert "".join([*pieces, stream.flush()]) == cut_at(text, stops)
    assert stream.stopped == any(stop in text for stop in stops)


def test_nothing_is_held_back_that_cannot_become_a_stop_string():
    stream = TextStream(["END"])
    assert [stream.push(each) for each in (b"abE", b"N", b"x", b"EN", b"D!")] == ["ab", "", "ENx", "", ""]
    assert stream.stopped
    assert stream.flush() == ""


def test_half_a_character_waits_for_its_other_half_and_is_shown_if_none_comes():
    stream = TextStream()
    raw = "你".encode()
    assert [stream.push(raw[:1]), stream.push(raw[1:])] == ["", "你"]
    assert [stream.push(raw[:2]), stream.flush()] == ["", "�"]


def test_no_two_tokens_are_spelled_alike(chat: ChatFormat):
    vocabulary = Vocabulary(chat.tokenizer)
    assert len(set(vocabulary.spelling)) == len(vocabulary) == chat.tokenizer.vocab_size
    for i, raw in enumerate(vocabulary.bytes_of):
        if len(raw) == 1 and raw >= b"\x80":  # no character by itself
            assert vocabulary.spelling[i] == f"bytes:\\x{raw[0]:02x}"


def test_a_token_that_looks_like_another_spelling_is_spelled_in_bytes():
    tokenizer = Tokenizer.train(["bytes: bytes: bytes:"] * 5, 275, "deepseek-v3")
    vocabulary = Vocabulary(tokenizer)
    assert len(set(vocabulary.spelling)) == tokenizer.vocab_size
    for i, spelling in enumerate(vocabulary.spelling):
        if i not in tokenizer.control_ids and not spelling.startswith("bytes:"):
            assert spelling.encode() == vocabulary.bytes_of[i]


def told(pieces: list[object]) -> list[int]:
    return [each.token.id for piece in pieces if isinstance(piece, Text) for each in piece.tokens]


def read(chat: ChatFormat, ids: list[int], **options: object) -> tuple[Reply, list[object]]:
    reply = Reply(Vocabulary(chat.tokenizer), **options)  # type: ignore[arg-type]
    pieces: list[object] = [piece for i in ids for piece in reply.push(Token(id=i, logprob=-1.0))]
    return reply, [*pieces, *reply.finish()]


def test_calls_are_read_as_the_chat_format_reads_them(chat: ChatFormat):
    tokenizer = chat.tokenizer
    start, end = tokenizer.im_start_id, tokenizer.im_end_id
    one, two = tokenizer.encode('weather\n{"city": "北京"}'), tokenizer.encode("add\n[1]")
    ids = [*tokenizer.encode("好 "), start, *one, start, *two, end]
    reply, pieces = read(chat, ids, call_id=start)
    parsed = chat.parse(ids)
    assert "".join(piece.text for piece in pieces if isinstance(piece, Text)) == parsed["content"]
    for number, call in enumerate(parsed["tool_calls"]):
        assert CallBegun(number, call["function"]["name"]) in pieces
        arguments = [
            each.text for each in pieces if isinstance(each, CallArguments) and each.number == number
        ]
        assert "".join(arguments) == call["function"]["arguments"]
    assert reply.n_calls == 2


def test_a_call_that_was_cut_does_not_count(chat: ChatFormat):
    start = chat.tokenizer.im_start_id
    reply, _ = read(chat, [start, *chat.tokenizer.encode("weather\n{")], call_id=start)
    assert reply.n_calls == 0


def test_tokens_behind_the_cut_are_not_told(chat: ChatFormat):
    ids = chat.tokenizer.encode("abcdef")  # a byte each: nothing here was merged
    assert len(ids) == 6
    reply, pieces = read(chat, ids, stops=["cd"])
    assert reply.stopped
    assert told(pieces) == ids[:2]


@given(st.text("你好abc é", max_size=10))
def test_without_stops_every_token_is_told_once_and_in_order(text: str):
    tokenizer = BYTES
    ids = tokenizer.encode(text)
    _, pieces = read(ChatFormat(tokenizer), [*ids, tokenizer.im_end_id], show_end=True)
    assert told(pieces) == [*ids, tokenizer.im_end_id]
    assert "".join(piece.text for piece in pieces if isinstance(piece, Text)) == text


def test_the_filter_lets_a_call_name_a_tool_and_nothing_else(chat: ChatFormat):
    vocabulary, start = Vocabulary(chat.tokenizer), chat.tokenizer.im_start_id
    rules = CallRules(names=["weather", "wet"], must_call=True, parallel=False)
    filter_ = ToolFilter(rules, vocabulary, start)

    def allowed() -> set[int]:
        logits = torch.zeros(len(vocabulary))
        filter_.allow(logits)
        return set(logits.isfinite().nonzero()[:, 0].tolist())

    assert allowed() == {start}
    filter_.accept(start)
    written = b""
    for byte in b"wet\n":
        whole = [b"weather\n", b"wet\n"]
        pieces = {vocabulary.bytes_of[i] for i in allowed()}
        assert bytes([byte]) in pieces
        assert all(any(name.startswith(written + piece) for name in whole) for piece in pieces)
        filter_.accept(vocabulary.id_of[bytes([byte])])
        written += bytes([byte])
    assert allowed() == set(range(len(vocabulary))) - {start}  # one call, for parallel is off


BYTES = Tokenizer.train(["x"], 300)
