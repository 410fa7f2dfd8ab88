from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from danlu.dialogue.context import fit
from danlu.dialogue.summary import ASK, Summarised, summarised, summarising
from danlu.tokenizer.bpe import SMALLEST_VOCAB, Tokenizer
from danlu.tokenizer.chat import ChatFormat, Message

CHAT = ChatFormat(Tokenizer.train([], SMALLEST_VOCAB))  # a token a byte


def talk(n: int) -> list[Message]:
    turns: list[Message] = [{"role": "system", "content": "Be kind."}]
    for number in range(n):
        turns += [
            {"role": "user", "content": f"question {number} " + "x" * 30},
            {"role": "assistant", "content": f"answer {number}"},
        ]
    return [*turns, {"role": "user", "content": "last"}]


class Model:
    """Answers every request for a summary in the same words, and keeps what it was asked."""

    def __init__(self, text: str = "They counted.") -> None:
        self.text, self.asked = text, list[list[Message]]()

    def __call__(self, messages: list[Message]) -> str:
        assert messages[-1] == {"role": "user", "content": ASK["en"]}
        CHAT.prompt(messages)  # a conversation
        self.asked.append(messages)
        return self.text


def run(messages: list[Message], model: Model, room: int, **changes: object) -> Summarised:
    return summarised(summarising(CHAT, messages, room=room, **changes), model)  # type: ignore[arg-type]


def test_where_everything_fits_nobody_is_asked():
    model = Model()
    found = run(talk(2), model, 10_000)
    assert (found.messages, found.left_out, found.summary, model.asked) == (talk(2), (), "", [])


def test_the_oldest_turns_are_summed_up_and_the_summary_is_an_exchange():
    messages, model = talk(12), Model()
    found = run(messages, model, 520)
    assert found.left_out
    assert found.left_out == tuple(range(1, 1 + len(found.left_out)))
    assert found.messages[:3] == [
        messages[0],
        {"role": "user", "content": ASK["en"]},
        {"role": "assistant", "content": "They counted."},
    ]
    assert found.messages[3:] == messages[1 + len(found.left_out) :]
    assert found.n_tokens == len(CHAT.prompt(found.messages)) <= 520
    told = [message for asked in model.asked for message in asked if message in messages[1:]]
    assert told == [messages[place] for place in found.left_out]  # each once, in order


def test_what_does_not_fit_at_once_is_summed_up_piece_by_piece():
    messages, model = talk(40), Model()
    found = run(messages, model, 520)
    assert len(model.asked) > 3
    assert all(len(CHAT.prompt(asked)) <= 520 for asked in model.asked)
    assert model.asked[1][1:3] == found.messages[1:3]  # the summary so far goes along
    assert found.summary == "They counted."


class Counting(ChatFormat):
    """Keeps how many characters it was asked to count the tokens of."""

    counted = 0

    def lengths(self, messages: Sequence[Message], tools: Any = ()) -> tuple[int, list[int]]:
        self.counted += sum(len(message["content"]) for message in messages)
        return super().lengths(messages, tools)


def test_a_long_conversation_is_counted_once_and_not_anew_for_every_piece():
    messages, model, chat = talk(300), Model(), Counting(CHAT.tokenizer)
    summarised(summarising(chat, messages, room=520), model)
    assert len(model.asked) > 30
    assert chat.counted < 4 * sum(len(message["content"]) for message in messages)


@pytest.mark.parametrize("text", ["", "  ", "w" * 2000])
def test_a_summary_that_is_empty_or_too_long_leaves_what_fits_without_it(text: str):
    messages = talk(12)
    found = run(messages, Model(text), 520)
    plain = fit(CHAT, messages, room=520)
    assert (found.messages, found.left_out, found.summary) == (plain.messages, plain.left_out, "")


def test_a_pinned_exchange_is_not_summed_up():
    messages = talk(12)
    found = run(messages, Model(), 520, pinned={1})
    assert not {1, 2} & set(found.left_out)
    assert found.messages[3:5] == messages[1:3]
