from __future__ import annotations

import json

import pytest

from danlu.data.chats import read_grades, read_ratings
from danlu.data.records import DataError

HELLO = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "你好！"}]


def write(tmp_path, *records):
    path = tmp_path / "thumbs.jsonl"
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


RATINGS = {
    "ours": ({"messages": HELLO, "thumb": "up"}, True),
    "down": ({"messages": HELLO, "thumb": "down"}, False),
    "stored": ({"prompt": HELLO[:1], "completion": "你好！", "rating": -1}, False),
    "trl": ({"prompt": "你好", "completion": "你好！", "label": True}, True),
    "alpaca": ({"instruction": "你好", "output": "你好！", "rating": 1}, True),
}


@pytest.mark.parametrize(("record", "liked"), RATINGS.values(), ids=RATINGS.keys())
def test_thumbs_of_several_shapes_are_read(tmp_path, record, liked):
    (rating,) = read_ratings(write(tmp_path, record))
    assert list(rating.prompt) == HELLO[:1]
    assert (rating.completion, rating.liked, rating.unfinished) == ("你好！", liked, False)


def test_the_answer_that_was_rated_is_the_last_turn(tmp_path):
    turns = [*HELLO, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (rating,) = read_ratings(write(tmp_path, {"messages": turns, "thumb": "up", "unfinished": True}))
    assert list(rating.prompt) == turns[:3]
    assert (rating.completion, rating.unfinished) == ("b", True)


BAD = {
    "another word": (
        {"messages": HELLO, "thumb": "sideways"},
        r"'thumb' is str 'sideways'; .*'up' or 'down'",
    ),
    "a grade": ({"messages": HELLO, "rating": 4}, r"'rating' is int '4'; it must be 1 or -1"),
    "true is not 1": ({"messages": HELLO, "rating": True}, r"'rating' is bool 'True'; it must be 1 or -1"),
    "no thumb": ({"messages": HELLO}, r"which is no rating; expected a chat.*'thumb'"),
    "no answer": ({"messages": HELLO[:1], "thumb": "up"}, r"ends with a turn of 'user'"),
    "no chat": ({"text": 3, "thumb": "up"}, r"field 'text' is int '3'"),
    "only an answer": ({"messages": HELLO[1:], "thumb": "up"}, r"turn 1 is from 'assistant' and comes first"),
    "unfinished": (
        {"messages": HELLO, "thumb": "up", "unfinished": 1},
        r"'unfinished' is 1; .*true or false",
    ),
}


@pytest.mark.parametrize(("record", "told"), BAD.values(), ids=BAD.keys())
def test_what_is_no_rating_is_refused_with_its_place(tmp_path, record, told):
    path = write(tmp_path, {"messages": HELLO, "thumb": "up"}, record)
    with pytest.raises(DataError, match=rf"thumbs\.jsonl:2: .*{told}"):
        read_ratings(path)


@pytest.mark.parametrize("grade", [-2, -1, 0, 1, 2])
def test_grades_are_read_and_a_neutral_one_is_no_thumb(tmp_path, grade):
    path = write(tmp_path, {"messages": HELLO, "grade": grade}, {"messages": HELLO, "thumb": "down"})
    assert [rating.grade for rating in read_grades(path)] == [grade, -1]
    assert [rating.liked for rating in read_ratings(path)] == ([grade > 0] if grade else []) + [False]


@pytest.mark.parametrize("grade", [3, -3, 1.0, True, "2"])
def test_a_grade_out_of_range_is_an_error(tmp_path, grade):
    with pytest.raises(DataError, match=r"field 'grade' is .*; it must be -2 or -1 or 0 or 1 or 2"):
        read_grades(write(tmp_path, {"messages": HELLO, "grade": grade}))
