from __future__ import annotations

import json
from pathlib import Path

import pytest

from danlu.data.chats import read_chats, read_comparisons
from danlu.data.records import DataError

DATA = Path(__file__).parents[3] / "shared" / "data"


def write(tmp_path, *records):
    path = tmp_path / "records.jsonl"
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def said(messages):
    return [(message["role"], message["content"]) for message in messages]


HELLO = [("user", "你好"), ("assistant", "你好！")]
BRIEF = ("system", "Be brief.")
MORE = [("user", "a"), ("assistant", "b")]


def turns(*pairs, speaker="role", words="content"):
    return [{speaker: role, words: content} for role, content in pairs]


SHAREGPT = turns(("human", "你好"), ("gpt", "你好！"), speaker="from", words="value")
CHATS = {
    "ours": ({"messages": turns(BRIEF, *HELLO)}, [BRIEF, *HELLO]),
    "parts": ({"messages": turns(("user", [{"type": "text", "text": "你好"}]))}, HELLO[:1]),
    "alpaca": (
        {"instruction": "Add", "input": "1 2", "output": "3"},
        [("user", "Add\n1 2"), ("assistant", "3")],
    ),
    "history": ({"instruction": "a", "output": "b", "history": [["你好", "你好！"]]}, [*HELLO, *MORE]),
    "sharegpt": ({"conversations": SHAREGPT, "system": "Be brief."}, [BRIEF, *HELLO]),
    "response": ({"prompt": "你好", "response": "你好！"}, HELLO),
    "trl": ({"prompt": turns(HELLO[0]), "completion": turns(HELLO[1])}, HELLO),
    "turns": ({"turns": ["你好", "你好！"]}, HELLO),
    "hh": ({"text": "\n\nHuman: 你好\n\nAssistant: 你好！"}, HELLO),
    "hh twice": (
        {"transcript": "\n\nHuman: a\n\nHuman: b\n\nAssistant: c"},
        [("user", "a\n\nb"), ("assistant", "c")],
    ),
}


@pytest.mark.parametrize(("record", "expected"), CHATS.values(), ids=CHATS.keys())
def test_the_shapes_of_the_field_become_messages(tmp_path, record, expected):
    (chat,) = read_chats(write(tmp_path, record))
    assert said(chat.messages) == expected


TRANSCRIPT = "\n\nHuman: 你好\n\nAssistant:"
SAID_A, SAID_B = (turns(HELLO[0], ("assistant", answer)) for answer in "ab")
RANKED = [{"text": "a", "rank": 1}, {"text": "b", "rank": 0}]
MQM = [{"text": "a", "mqm": 0.5}, {"text": "b", "mqm": 0.0}, {"text": "c", "mqm": 0.5}]
PAIR = (HELLO[:1], ["a", "b"], [1, 2])
COMPARISONS = {
    "ours": (
        {"prompt": turns(HELLO[0]), "completions": ["a", "b", "c"], "ranks": [2, 1, 1]},
        (HELLO[:1], ["a", "b", "c"], [2, 1, 1]),
    ),
    "pair": ({"prompt": "你好", "chosen": "a", "rejected": "b"}, PAIR),
    "hh prompt": ({"prompt": TRANSCRIPT, "chosen": " a", "rejected": " b"}, PAIR),
    "hh": ({"chosen": TRANSCRIPT + " a", "rejected": TRANSCRIPT + " b"}, PAIR),
    "messages": ({"chosen": SAID_A, "rejected": SAID_B}, PAIR),
    "oasst": (
        {"context": turns(("prompter", "你好"), words="text"), "answers": RANKED},
        (HELLO[:1], ["a", "b"], [2, 1]),
    ),
    "mqm": (
        {"source": "你好", "direction": "zh-en", "answers": MQM},
        ([("user", "Translate into English: 你好")], ["a", "b", "c"], [2, 1, 2]),
    ),
}


@pytest.mark.parametrize(("record", "expected"), COMPARISONS.values(), ids=COMPARISONS.keys())
def test_the_shapes_of_comparisons_become_ranked_completions(tmp_path, record, expected):
    (comparison,) = read_comparisons(write(tmp_path, record | {"annotator": "Mei", "id": 4}))
    assert (said(comparison.prompt), comparison.completions, comparison.ranks) == expected
    assert (comparison.annotator, comparison.id, comparison.unfinished) == ("Mei", "4", [])


def test_a_record_may_say_which_completions_were_cut(tmp_path):
    record = {"prompt": "a", "completions": ["b", "c"], "ranks": [1, 2]}
    (comparison,) = read_comparisons(write(tmp_path, record | {"unfinished": [False, True]}))
    assert comparison.unfinished == [False, True]
    with pytest.raises(DataError, match=r"1: field 'unfinished' is \[1\]; it must be a list of 2 booleans"):
        read_comparisons(write(tmp_path, record | {"unfinished": [1]}))


GOOD = {"prompt": "a", "response": "b"}
USER = {"role": "user", "content": "a"}


CALL = {"id": "c7", "type": "function", "function": {"name": "sum", "arguments": '{"a": [1]}'}}
SUM = {"name": "sum", "description": "Add.", "parameters": {}}


@pytest.mark.parametrize(
    ("record", "content", "call_id"),
    [
        (
            {"messages": [USER, {"role": "assistant", "content": "One moment.", "tool_calls": [CALL]}]},
            "One moment.",
            "c7",
        ),
        ({"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]}, "", "c7"),
        (
            {
                "messages": [
                    USER,
                    {"role": "assistant", "tool_calls": [{"name": "sum", "arguments": {"a": [1]}}]},
                ]
            },
            "",
            "call_1",
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "a"},
                    {"from": "function_call", "value": '{"name": "sum", "arguments": {"a": [1]}}'},
                ]
            },
            "",
            "call_1",
        ),
    ],
)
def test_calls_of_tools_are_read_with_and_without_words_in_every_shape(tmp_path, record, content, call_id):
    (message,) = read_chats(write(tmp_path, record))[0].messages[1:]
    assert message == {"role": "assistant", "content": content, "tool_calls": [{**CALL, "id": call_id}]}


def test_what_is_no_json_is_no_call_and_a_result_keeps_its_id(tmp_path):
    turns = [{"from": "human", "value": "a"}, {"from": "function_call", "value": "I call nobody"}]
    assert read_chats(write(tmp_path, {"conversations": turns}))[0].messages[1] == {
        "role": "assistant",
        "content": "I call nobody",
    }
    result = {"role": "tool", "content": "1", "tool_call_id": "c7"}
    called = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    (chat,) = read_chats(
        write(tmp_path, {"messages": [USER, called, result, {"role": "assistant", "content": "b"}]})
    )
    assert chat.messages[2] == result


@pytest.mark.parametrize("given", [[SUM], [{"type": "function", "function": SUM}], json.dumps([SUM])])
def test_tools_of_a_chat_come_in_openais_shape(tmp_path, given):
    (chat,) = read_chats(write(tmp_path, {**GOOD, "tools": given}))
    assert chat.tools == [{"type": "function", "function": SUM}]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"messages": [USER, USER]}, "turn 2 is from 'user' like turn 1; roles must alternate"),
        ({"messages": []}, r"field 'messages' is list '\[\]'; it must be a list of turns"),
        (
            {"messages": [{"role": "king", "content": "a"}]},
            "turn 1 is from str 'king'; roles are system, user",
        ),
        ({"messages": [{"role": "user"}]}, r"turn 1: what is said is missing: fields are \['role'\]"),
        (
            {"messages": [{"role": "user", "content": None}]},
            "turn 1 says NoneType 'None'; content must be text",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "parts must be of type 'text'",
        ),
        (
            {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [1]}]},
            "turn 2: call 1 is int '1'; it must have 'function' with 'name' and 'arguments'",
        ),
        (
            {"messages": [USER, {"role": "assistant", "content": "a", "tool_calls": "b"}]},
            "turn 2: 'tool_calls' is str 'b'; it must be a list",
        ),
        ({"messages": [USER], "tools": "["}, "field 'tools' is str '\\['; as text it must be JSON"),
        ({"messages": [USER], "tools": [{"name": 3}]}, "a tool is dict .*; it must have 'function' with"),
        ({"instruction": "a", "output": 3}, "field 'output' is int '3'; it must be text"),
        (
            {"title": "a", "body": "b"},
            r"has fields \['body', 'title'\], which is no chat; expected 'messages'",
        ),
        ({"text": "no transcript"}, "is no transcript; it must begin with"),
        ({"turns": "a"}, "field 'turns' is str 'a'; it must be a list of texts"),
    ],
)
def test_a_broken_chat_is_an_error_with_its_file_its_line_and_the_line_itself(tmp_path, record, message):
    with pytest.raises(DataError, match=rf"records\.jsonl:2: .*{message}.* The record: \{{") as caught:
        read_chats(write(tmp_path, GOOD, record))
    assert json.dumps(record, ensure_ascii=False)[:100] in str(caught.value)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "a", "completions": ["b", "c"], "ranks": [1]}, "has 2 completions but 1 ranks; each"),
        ({"prompt": "a", "completions": ["b"], "ranks": [1]}, "has 1 completion; a comparison needs 2 to 16"),
        ({"prompt": "a", "completions": ["b", "c"], "ranks": ["x", "y"]}, "must be a list of whole numbers"),
        ({"prompt": "a", "completions": ["b", "c"], "ranks": [1.5, 2]}, "must be a list of whole numbers"),
        ({"prompt": "a", "completions": ["b", "c"], "ranks": [True, 2]}, "must be a list of whole numbers"),
        ({"prompt": "a", "completions": ["b", "c"], "ranks": None}, "must be a list of whole numbers"),
        ({"prompt": "a", "completions": ["b", "c"]}, "which is no comparison"),
        ({"prompt": "a", "completions": ["b", "c"], "ranks": [0, 1]}, "the rank 0; ranks count from 1"),
        ({"prompt": "a", "completions": ["b", "c"], "ranks": [-3, -1]}, "the rank -3; ranks count from 1"),
        ({"chosen": "a", "rejected": "b"}, "has no field 'prompt', and 'chosen' and 'rejected'"),
        ({"prompt": "a", "answers": [{"text": "b"}, {"text": "c"}]}, "each needs 'text' and one of"),
        ({"prompt": "a", "response": "b"}, "which is no comparison; expected 'prompt', 'completions'"),
        ({"prompt": turns(*MORE), "chosen": "c", "rejected": "d"}, "turn 3 is from 'assistant' like turn 2"),
    ],
)
def test_a_broken_comparison_is_an_error_with_its_file_and_line(tmp_path, record, message):
    with pytest.raises(DataError, match=rf"records\.jsonl:1: .*{message}"):
        read_comparisons(write(tmp_path, record))


@pytest.mark.parametrize("strengths", [[], [1, 2], [-1], ["much"], [True], [float("inf")], "much better", 2])
def test_strengths_that_are_no_numbers_for_the_steps_between_ranks_are_refused(tmp_path, strengths):
    record = {"prompt": "a", "completions": ["b", "c", "d"], "ranks": [1, 2, 2], "strengths": strengths}
    (tmp_path / "ranked.jsonl").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(DataError, match=r"ranked\.jsonl:1: field 'strengths' is .*a list of 1 numbers"):
        read_comparisons(tmp_path / "ranked.jsonl")


def test_a_chosen_and_a_rejected_may_say_how_much_better(tmp_path):
    record = {"prompt": "a", "chosen": "b", "rejected": "c", "strengths": [3]}
    (tmp_path / "ranked.jsonl").write_text(json.dumps(record), encoding="utf-8")
    (comparison,) = read_comparisons(tmp_path / "ranked.jsonl")
    assert comparison.levels == [0.0, -3.0]


def test_the_votes_of_several_judges_make_a_ranking(tmp_path):
    votes = [[1, 1, 2], [2, 0, 2], [0, 0, 0], [1, 2, 0]]
    path = write(tmp_path, *({"prompt": "a", "answers": ["b", True], "labels": each} for each in votes))
    read = read_comparisons(path)
    assert [comparison.ranks for comparison in read] == [[1, 2], [2, 1], [1, 1], [1, 1]]
    assert read[0].completions == ["b", "True"]


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data sets are not here")
@pytest.mark.parametrize(
    ("name", "n", "completions"),
    [
        ("pref_hh_harmless", 1824, 2),
        ("pref_mt_mqm", 1176, 15),
        ("pref_oasst100", 166, 9),
        ("pref_pandalm", 812, 2),
    ],
)
def test_published_comparisons_are_read_whole(name, n, completions):
    read = read_comparisons(DATA / name)
    assert len(read) == n
    assert max(len(comparison.completions) for comparison in read) == completions
