from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from danlu.tokenizer.bpe import PATTERNS, SMALLEST_VOCAB, Tokenizer
from danlu.tokenizer.chat import ChatError, ChatFormat, Message
from danlu.tokenizer.chatml import CONTROL_TOKENS

CORPUS = ["user\nassistant\nHello there, the answer is 12. 你好，答案是十二。system tool\n"] * 5


@pytest.fixture(scope="module", params=sorted(PATTERNS))
def chat(request: pytest.FixtureRequest) -> ChatFormat:
    return ChatFormat(Tokenizer.train(CORPUS, 320, request.param))


def turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}  # type: ignore[typeddict-item]


marked = st.sampled_from([*CONTROL_TOKENS, "<|im_start|>assistant\n", "assistant", "\n", " ", "你好"])
contents = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | marked, max_size=4).map(
    "".join
)


def calling(content: str, calls: list[tuple[str, str]]) -> Message:
    """A turn of the assistant with calls; a parsed turn numbers them in the same way."""
    message = turn("assistant", content)
    message["tool_calls"] = [
        {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate(calls, start=1)
    ]
    return message


names = st.sampled_from(["search", "calculator", "sql-2"])


@st.composite
def conversations(draw: st.DrawFn, contents: st.SearchStrategy[str] = contents) -> list[Message]:
    messages = [turn("system", draw(contents))] if draw(st.booleans()) else []
    for i in range(draw(st.integers(1, 3))):
        asker = draw(st.sampled_from(["user", "tool"])) if i else "user"
        messages.append(turn(asker, draw(contents)))
        if draw(st.booleans()):
            calls = draw(st.lists(st.tuples(names, contents), min_size=1, max_size=3))
            messages += [calling(draw(contents), calls), *(turn("tool", draw(contents)) for _ in calls)]
        messages.append(turn("assistant", draw(contents)))
    return messages


def n_calls(message: Message) -> int:
    return len(message.get("tool_calls", ()))


@given(messages=conversations())
def test_a_conversation_begins_with_its_prompt(chat: ChatFormat, messages: list[Message]):
    rendered, prompt = chat.render(messages).ids, chat.prompt(messages[:-1])
    assert rendered[: len(prompt)] == prompt


@given(messages=conversations())
def test_what_follows_the_prompt_parses_to_the_message_that_was_rendered(
    chat: ChatFormat, messages: list[Message]
):
    prompt = chat.prompt(messages[:-1])
    assert chat.parse(chat.render(messages).ids[len(prompt) :]) == messages[-1]


@given(messages=conversations())
def test_no_content_adds_a_control_token(chat: ChatFormat, messages: list[Message]):
    ids = chat.render(messages).ids
    starts, ends = (
        sum(i == control for i in ids) for control in (chat.tokenizer.im_start_id, chat.tokenizer.im_end_id)
    )
    assert (starts, ends) == (len(messages) + sum(map(n_calls, messages)), len(messages))
    assert chat.tokenizer.eos_id not in ids
    assert chat.tokenizer.pad_id not in ids


@given(messages=conversations())
def test_the_loss_covers_what_the_assistant_says_and_its_end_of_turn(
    chat: ChatFormat, messages: list[Message]
):
    rendered = chat.render(messages)
    learned = [i for i, counts in zip(rendered.ids, rendered.loss_mask, strict=True) if counts]
    said = [written(message) for message in messages if message["role"] == "assistant"]
    assert chat.tokenizer.decode(learned, show_control=True) == "".join(f"{text}<|im_end|>" for text in said)


def written(message: Message) -> str:
    functions = [call["function"] for call in message.get("tool_calls", ())]
    return message["content"] + "".join(f"<|im_start|>{f['name']}\n{f['arguments']}" for f in functions)


@pytest.mark.parametrize(
    ("messages", "tokens"),
    [
        (
            [turn("user", "Hi!"), turn("assistant", "Yo")],
            "<|im_start|> u s e r ⏎ H i ! <|im_end|> ⏎ <|im_start|> a s s i s t a n t ⏎ *Y *o *<|im_end|> ⏎",
        ),
        (
            [turn("system", "你"), turn("user", "a"), turn("assistant", "好"), turn("user", "b")],
            "<|im_start|> s y s t e m ⏎ e4 bd a0 <|im_end|> ⏎ <|im_start|> u s e r ⏎ a <|im_end|> "
            "⏎ <|im_start|> a s s i s t a n t ⏎ *e5 *a5 *bd *<|im_end|> "
            "⏎ <|im_start|> u s e r ⏎ b <|im_end|> ⏎",
        ),
        (
            [turn("user", "a"), calling("b", [("f", "{}"), ("g", "")]), turn("tool", "1"), turn("tool", "2")],
            "<|im_start|> u s e r ⏎ a <|im_end|> ⏎ <|im_start|> a s s i s t a n t ⏎ "
            "*b *<|im_start|> *f *⏎ *{ *} *<|im_start|> *g *⏎ *<|im_end|> ⏎ "
            "<|im_start|> t o o l ⏎ 1 <|im_end|> ⏎ <|im_start|> t o o l ⏎ 2 <|im_end|> ⏎",
        ),
        (
            [turn("user", "<|im_end|>"), turn("assistant", "")],
            "<|im_start|> u s e r ⏎ < | i m _ e n d | > <|im_end|> ⏎ "
            "<|im_start|> a s s i s t a n t ⏎ *<|im_end|> ⏎",
        ),
    ],
)
def test_the_rendered_tokens_are_these(messages: list[Message], tokens: str):
    """Tokens are single bytes here; a star marks those that are learned."""
    tokenizer = Tokenizer.train([], SMALLEST_VOCAB)
    rendered = ChatFormat(tokenizer).render(messages)
    shown = [
        "*" * counts + show(tokenizer, i) for i, counts in zip(rendered.ids, rendered.loss_mask, strict=True)
    ]
    assert " ".join(shown) == tokens


def show(tokenizer: Tokenizer, token: int) -> str:
    content = tokenizer.decode_bytes([token], show_control=True)
    return content.decode().replace("\n", "⏎") if content.isascii() else content.hex()


def test_parsing_stops_at_the_first_control_token_and_takes_an_unfinished_answer_whole(chat: ChatFormat):
    hello, more = chat.tokenizer.encode("Hello"), chat.tokenizer.encode(" more")
    for control in sorted(chat.tokenizer.control_ids):
        assert chat.parse([*hello, control, *more]) == turn("assistant", "Hello")
    assert chat.parse(hello) == turn("assistant", "Hello")
    assert chat.stop_ids == {chat.tokenizer.im_end_id}


# Another program takes text that spells a control token for one, and merges a line break that begins a text
# with the one that ends the header.
exportable = contents.map(lambda text: text.replace("|", "").lstrip())


@given(messages=conversations(exportable), described=st.booleans())
def test_the_exported_template_gives_the_same_ids(chat: ChatFormat, messages: list[Message], described: bool):
    tools = [{"name": "search", "description": "看 <b>"}, {"name": "calculator"}] if described else []
    rendered = by_template(chat, messages, tools, add_generation_prompt=False)
    assert rendered == chat.render(messages, tools).ids
    prompt = by_template(chat, messages[:-1], tools, add_generation_prompt=True)
    assert prompt == chat.prompt(messages[:-1], tools)


def by_template(
    chat: ChatFormat, messages: list[Message], tools: list[dict[str, str]], *, add_generation_prompt: bool
) -> list[int]:
    """As transformers does it: the template into text, the text into ids with control tokens recognised."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    template = environment.from_string(chat.template)
    text = template.render(messages=messages, tools=tools, add_generation_prompt=add_generation_prompt)
    return tokenizers.Tokenizer.from_str(chat.tokenizer.to_json()).encode(text).ids


def test_the_template_is_written_beside_the_tokenizer(chat: ChatFormat, tmp_path: Path):
    chat.tokenizer.save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["chat_template"] == chat.template
    assert config["eos_token"] != config["pad_token"]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "no messages; a conversation has at least one"),
        ([turn("assistant", "a")], "turn 1 is from 'assistant' and comes first; expected system or user"),
        ([turn("tool", "a")], "turn 1 is from 'tool' and comes first; expected system or user"),
        ([turn("user", "a"), turn("user", "b")], "turn 2 is from 'user' like turn 1; roles must alternate"),
        ([turn("user", "a"), turn("system", "b")], "turn 2 is from 'system'; only the first may be"),
        (
            [turn("system", "a"), turn("assistant", "b")],
            "turn 2 is from 'assistant' and follows 'system'; expected user",
        ),
        ([turn("human", "a")], "turn 1 is from 'human'; a turn is from one of system, user, assistant, tool"),
        ([{"role": "user"}], "turn 1: 'content' is missing; it must be text"),
        ([{"role": "user", "content": None}], "turn 1: 'content' is None; it must be text"),
        ([{"content": "a"}], "turn 1: 'role' is missing; it must be text"),
    ],
)
def test_messages_that_are_no_conversation_are_refused(
    chat: ChatFormat, messages: list[Message], message: str
):
    with pytest.raises(ChatError) as caught:
        chat.render(messages)
    assert str(caught.value) == message


def test_a_call_that_was_cut_is_no_call(chat: ChatFormat):
    whole = chat.render([turn("user", "?"), calling("So:", [("f", '{"x": 1}'), ("g", '{"y": 2}')])]).ids
    answer = whole[len(chat.prompt([turn("user", "?")])) : whole.index(chat.tokenizer.im_end_id, 20) + 1]
    first, second = (i for i, each in enumerate(answer) if each == chat.tokenizer.im_start_id)
    assert chat.parse(answer) == calling("So:", [("f", '{"x": 1}'), ("g", '{"y": 2}')])
    assert chat.parse(answer[:-1]) == calling("So:", [("f", '{"x": 1}')])
    assert chat.parse(answer[:second]) == turn("assistant", "So:")
    assert chat.parse([*answer[: second - 1], chat.tokenizer.eos_id]) == turn("assistant", "So:")
    assert chat.parse(answer[:first]) == turn("assistant", "So:")


def changed(call: dict[str, object]) -> Message:
    return {**turn("assistant", ""), "tool_calls": [call]}  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (
            [turn("user", "?"), calling("", [("f", "")]), turn("user", "!")],
            "turn 3 is from 'user'; a call before it has no",
        ),
        (
            [turn("user", "?"), calling("", [("f", "")]), turn("tool", "1"), turn("tool", "2")],
            "turn 4 is from 'tool' like turn 3",
        ),
        (
            [turn("user", "?"), calling("", [("f", "")]), {**turn("tool", "1"), "tool_call_id": "x"}],
            "turn 3 answers another call than the first that has no result yet",
        ),
        (
            [{**calling("", [("f", "")]), "role": "user"}],
            "turn 1: 'tool_calls' must be a list, in a turn of the assistant",
        ),
        ([turn("user", "?"), changed({"id": "1"})], "turn 2: call 1 is no call"),
        (
            [turn("user", "?"), changed({"id": "1", "function": {"name": "a\nb", "arguments": ""}})],
            "the name without a line break",
        ),
        (
            [turn("user", "?"), changed({"id": "1", "function": {"name": "a", "arguments": {}}})],
            "turn 2: call 1 is no call",
        ),
    ],
)
def test_calls_and_results_that_do_not_fit_are_refused(
    chat: ChatFormat, messages: list[Message], message: str
):
    with pytest.raises(ChatError, match=message):
        chat.render(messages)


def test_there_is_no_prompt_while_a_call_waits_for_its_result(chat: ChatFormat):
    messages = [turn("user", "?"), calling("", [("f", ""), ("g", "")]), turn("tool", "1")]
    with pytest.raises(ChatError, match="1 tool calls are without a result"):
        chat.prompt(messages)


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_there_is_no_prompt_where_nobody_asks(chat: ChatFormat, role: str):
    messages = [turn("system", "a")] if role == "system" else [turn("user", "a"), turn("assistant", "b")]
    with pytest.raises(ChatError, match=f"the last turn is from '{role}'; there is nothing to answer"):
        chat.prompt(messages)
