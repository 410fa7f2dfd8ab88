"""Exam questions and chats about pictures, in the world's own PNG files."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from itertools import islice

import numpy as np
import pytest

from danlu.world.grading import grade
from danlu.world.names import LANGS
from danlu.world.pictures import KINDS
from danlu.world.scene import SIDE, draw
from danlu.world.seeing import CATEGORY, COMPARE, FIND, kind_of, picture_chats, png, seeing_questions
from danlu.world.splits import SPLITS

ASKED = seeing_questions("exam", 40, 3)


def unpacked(url: str) -> np.ndarray:
    """Pixels of a file of ours, read by rules written apart."""
    data = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    size = struct.unpack(">II", data[16:24])
    length = struct.unpack(">I", data[33:37])[0]
    assert data[37:41] == b"IDAT"
    rows = np.frombuffer(zlib.decompress(data[41 : 41 + length]), np.uint8).reshape(size[1], -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(size[1], size[0], 3)


def test_the_exam_asks_every_kind_alike_in_both_languages_with_the_picture_before_the_words():
    assert len(ASKED) == len({question.id for question in ASKED}) == 80
    for lang in LANGS:
        kinds = [kind_of(question.id) for question in ASKED if question.lang == lang]
        assert kinds == [*KINDS] * 10
    for question in ASKED:
        assert question.category == CATEGORY
        (message,) = question.messages
        (image,) = message["images"]
        assert image["at"] == 0
        assert unpacked(image["url"]).shape == (SIDE, SIDE, 3)
    assert seeing_questions("exam", 12, 3)[:12] == ASKED[:12]


@pytest.mark.parametrize("lang", LANGS)
def test_the_right_answer_earns_the_mark_and_all_others_none(lang):
    asked = [question for question in ASKED if question.lang == lang]
    said = {(kind_of(question.id), question.gold["replies"][0]) for question in asked}
    for question in asked:
        assert grade(question, question.gold["replies"][0]) == 1
        assert all(grade(question, reply) == 1 for reply in question.gold["accept"])
        own = kind_of(question.id), question.gold["replies"][0]
        assert not any(
            grade(question, other) for kind, other in said if (kind, other) != own and kind == own[0]
        )
        assert not grade(question, "")
        assert not grade(question, f"{question.gold['replies'][0]} {question.gold['replies'][0]}")


def test_numbers_may_be_written_as_words():
    counts = [question for question in ASKED if kind_of(question.id) == "count"]
    words = {"en": {"0": "Zero.", "1": "one", "2": "Two"}, "zh": {"0": "零个", "1": "一个。", "2": "两个"}}
    for question in counts:
        number = question.gold["accept"][0]
        if number in words[question.lang]:
            assert grade(question, words[question.lang][number]) == 1


def test_the_file_shows_the_drawing():
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    url = f"data:image/png;base64,{base64.b64encode(png(picture)).decode()}"
    assert unpacked(url).tolist() == picture.tolist()
    assert png(picture).endswith(b"IEND\xae\x42\x60\x82")
    assert len(draw(())) == SIDE


def test_chats_show_one_picture_and_ask_of_it_what_no_other_split_asks():
    asked = {split: set() for split in SPLITS}
    for split in SPLITS:
        mix = {"train": COMPARE}.get(split)
        chats = list(picture_chats(60, split, 1, mix=mix, n_turns=6))
        assert [chat["lang"] for chat in chats[:4]] == ["en", "zh", "en", "zh"]
        for chat in chats:
            first, *others = chat["messages"]
            assert [part["type"] for part in first["content"]] == ["image_url", "text"]
            assert all(isinstance(message["content"], str) for message in others)
            assert [message["role"] for message in chat["messages"]] == ["user", "assistant"] * (
                len(chat["messages"]) // 2
            )
            url, prompt = first["content"][0]["image_url"]["url"], first["content"][1]["text"]
            said = [prompt, *(message["content"] for message in others)]
            asked[split] |= {question for question in said[::2] if not re.search(EXERCISE, question)}
            assert unpacked(url).any()
    # A question's words are its combination, and exercises are for learning only.
    assert all(len(questions) > 40 for questions in asked.values())
    assert not asked["train"] & asked["dev"]
    assert not asked["train"] & asked["exam"]
    assert not asked["dev"] & asked["exam"]


EXERCISE = (
    r"^(What colour is the \w+\?|What shape is the \w+ thing\?|Where is .*|What is (in|there).*"
    r"|.* there each\?"
    r"|.*在哪里？|\w{2,3}是什么颜色的？|\w{2}的东西是什么形状？|每个位置.*|图上有什么.*|.*各有几个？"
    r"|(Where|What colours|What shapes) are these: .*|How do .*|.*各在哪里？|.*各是什么.*|各在哪边：.*"
    r"|How does .*|Is the (\w+|\w+ thing) [a-z ]* the (\w+|\w+ thing)\?|.* or .*"
    r"|.*哪边？|(\w{2}的东西|[^的]{2,3})在(\w{2}的东西|[^的]{2,3})[上下左右][面边]吗？|.*还是.*)$"
)


def test_the_first_chats_do_not_depend_on_how_many_are_written():
    assert list(picture_chats(5, "train", 2)) == list(islice(picture_chats(9, "train", 2), 5))
    assert next(picture_chats(1, "train", 2)) != next(picture_chats(1, "train", 3))


def test_a_mix_decides_what_is_asked():
    said = [chat["messages"][0]["content"][1]["text"] for chat in picture_chats(40, "train", 1, mix=FIND)]
    assert all(re.search(EXERCISE, question) for question in said)
    said = [chat["messages"][0]["content"][1]["text"] for chat in picture_chats(40, "dev", 1)]
    assert not any(re.search(EXERCISE, question) for question in said)
