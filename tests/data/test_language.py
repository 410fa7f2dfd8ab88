from __future__ import annotations

import pytest

from danlu.data.language import identify, profile


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("The cat sleeps on the mat.", "en"),
        ("Parek Uvin keeps an agash.", "en"),
        ("“Um, um, um. Stop that thunder! Plenty too much thunder up here.”", "en"),
        ("The word for dog is 狗 in Chinese.", "en"),
        ("nyu (にゅ) was built in 2005 and used to be my main server.", "en"),
        ("猫睡在垫子上。", "zh"),
        ("貓睡在墊子上，牠很開心。", "zh"),
        ("使用 Docker 部署 Redis 集群的步骤如下", "zh"),
        ("猫はマットの上で寝ています。", "other"),
        ("Кошка спит на коврике.", "other"),
        ("고양이가 매트 위에서 자고 있다.", "other"),
        ("Die Katze ist auf dem Tisch und der Hund liegt nicht auf der Bank.", "other"),
        ("Le chat est dans la maison et il ne veut pas sortir avec nous.", "other"),
        ("12 + 30 = 42", "other"),
    ],
)
def test_a_text_is_named_by_its_script_and_its_commonest_words(text, lang):
    assert identify(text) == lang


def test_characters_are_counted_by_class():
    counts = profile("aé中あд7 ，+\ufffd\ud800\n")
    assert (counts.latin, counts.han, counts.kana, counts.letter, counts.digit) == (2, 1, 1, 1, 1)
    assert (counts.space, counts.punctuation, counts.symbol, counts.broken) == (2, 1, 1, 2)
    assert counts.visible == 10
