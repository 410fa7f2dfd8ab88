"""What stays of a conversation and what goes."""

from __future__ import annotations

import pytest

from danlu.dialogue.context import fit
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatError, ChatFormat, Message

TALK: list[Message] = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "first"},
    {"role": "user", "content": "two"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "sum", "arguments": "{}"}}],
    },
    {"role": "tool", "content": "4", "tool_call_id": "c"},
    {"role": "assistant", "content": "four"},
    {"role": "user", "content": "three"},
]
TOOLS = [{"type": "function", "function": {"name": "sum"}}]


@pytest.fixture(scope="module")
def chat() -> ChatFormat:
    return ChatFormat(Tokenizer.train(["user assistant system one two three"] * 3, 290))


@pytest.mark.parametrize("tools", [[], TOOLS])
@pytest.mark.parametrize("start", [0, 1])
def test_lengths_add_up_to_the_prompt(chat: ChatFormat, tools: list[dict[str, object]], start: int):
    messages = TALK[start:]
    overhead, lengths = chat.lengths(messages, tools)
    assert overhead + sum(lengths) == len(chat.prompt(messages, tools))
    shorter = [*TALK[start:1], *TALK[7:]]
    assert overhead + sum(lengths[: 1 - start]) + lengths[-1] == len(chat.prompt(shorter, tools))


def test_all_stays_where_all_fits(chat: ChatFormat):
    n = len(chat.prompt(TALK, TOOLS))
    kept = fit(chat, TALK, TOOLS, room=n)
    assert (kept.messages, kept.left_out, kept.n_tokens) == (TALK, (), n)


def test_the_oldest_exchange_goes_first_and_whole(chat: ChatFormat):
    n = len(chat.prompt(TALK))
    kept = fit(chat, TALK, room=n - 1)
    assert kept.left_out == (1, 2)
    assert kept.n_tokens == len(chat.prompt(kept.messages))
    kept = fit(chat, TALK, room=kept.n_tokens - 1)
    assert kept.left_out == (1, 2, 3, 4, 5, 6)  # with the call and its result
    assert kept.messages == [TALK[0], TALK[7]]


def test_a_pinned_turn_keeps_its_exchange(chat: ChatFormat):
    kept = fit(chat, TALK, room=1, pinned={2})
    assert kept.left_out == (3, 4, 5, 6)
    assert kept.messages == [*TALK[:3], TALK[7]]


def test_the_system_and_the_last_question_stay_though_they_do_not_fit(chat: ChatFormat):
    kept = fit(chat, TALK, room=1)
    assert kept.messages == [TALK[0], TALK[7]]
    assert kept.n_tokens == len(chat.prompt([TALK[0], TALK[7]])) > 1


def test_what_is_no_conversation_is_refused(chat: ChatFormat):
    with pytest.raises(ChatError, match="roles must alternate"):
        fit(chat, [TALK[1], TALK[1]], room=100)


def test_a_system_turn_alone_is_left_to_the_caller_to_judge(chat: ChatFormat):
    assert fit(chat, TALK[:1], room=1).messages == TALK[:1]


@pytest.mark.parametrize("pinned", [(), (2,)])
def test_what_surely_goes_is_left_out_as_ever_and_never_encoded(chat: ChatFormat, pinned: tuple[int, ...]):
    _, lengths = chat.lengths(TALK)
    for room in range(1, len(chat.prompt(TALK)) + 1):
        for share in (1, 2, 5):

            def fewest(message: Message, share: int = share) -> int:
                return lengths[TALK.index(message)] // share

            assert fit(chat, TALK, room=room, pinned=pinned, fewest=fewest) == fit(
                chat, TALK, room=room, pinned=pinned
            )
    unreadable: list[Message] = [{"role": "user", "content": "\ud800"}, {"role": "assistant", "content": ""}]
    with pytest.raises(ValueError, match="surrogate"):
        fit(chat, [*unreadable, TALK[7]], room=50)
    kept = fit(chat, [*unreadable, TALK[7]], room=50, fewest=lambda m: 60 if m in unreadable else 0)
    assert (kept.messages, kept.left_out) == ([TALK[7]], (0, 1))
