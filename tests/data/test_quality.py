from __future__ import annotations

import numpy as np
import pytest

from danlu.data.language import identify, profile
from danlu.data.quality import QualityConfig, Text, fault


def judged(text, **config):
    counts = profile(text)
    return fault(Text(text, counts, identify(text, counts)), QualityConfig(**config))


WORDS = [
    a + b
    for a in ("watch", "bag", "shoe", "phone", "ring", "lamp")
    for b in ("price", "sale", "shop", "store", "gift")
]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("好。", "too short"),
        ("鐩愭槸鍒囨\ufffd嘲鍩庣\ufffd殑鐗逛骇", "broken characters"),
        ("锟斤拷锟斤拷的猫叫皮皮", "broken characters"),
        ("abcd~~##^^||$$++== abcd~~##^^||$$++==", "symbols"),
        ("ab ....!!!!,,,,;;;; abcd ....!!!!,,,,;;;;", "few letters"),
        ("Кошка спит на коврике.", "foreign language"),
        ("lrfbw mdl rw lpfgwxq gzwmphcsg nlpnfcpn the", "gibberish"),
        ("bcdfghjklm" * 12, "gibberish"),
        ("鼹鼴齾龘靐齉爩鱻麤龗灪龖厵滟爨癵驫麣", "gibberish"),
        ("hello " * 30, "monotony"),
        ("米拉" * 30, "monotony"),
        (" ".join(f"buy these good cheap shoes and bags from shop {i}." for i in range(20)), "repetition"),
        ("One line that is long enough.\n" * 4 + "Another line.\nA third one here.", "duplicate lines"),
        (" ".join(np.random.default_rng(0).choice(WORDS, 180)), "keywords"),
        ("\n".join(f"Cheap thing number {i}" for i in range(9)), "list of links"),
    ],
)
def test_each_rule_finds_its_kind(text, rule):
    assert judged(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        "Parek Uvin keeps an agash.",
        "猫睡了。",
        "5 + 7 = 12\n5 + 4 = 9\n5 + 9 = 14\n5 + 8 = 13",
        "名称：塞斯镇\n河：朱尔瓦河\n地区：沙漠\n特产：葡萄酒\n长官：多吉\n建于：1805\n食物：粥\n颜色：红\n湖：大湖",
        "鸭子嘎嘎叫。叽叽，叽叽，是小鸟在叫。喵喵，是猫。",
        "The rhythm of the NHS, BBC and HTML: try my gym, why not?",
        "稻梁肥，蒹葭秀。\n黄添篱落，绿淡汀洲。\n木叶空，山容瘦。",
        "貓睡在墊子上，牠很開心，龍與鳳。",
    ],
)
def test_short_plain_arithmetic_and_listed_texts_are_good_in_both_languages(text):
    assert judged(text, languages=("en", "zh", "other")) == ""


def test_thresholds_and_languages_are_settings():
    assert judged("Кошка спит на коврике.", languages=("other",)) == ""
    assert judged("Parek Uvin keeps an agash.", min_size=100) == "too short"
