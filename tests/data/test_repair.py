from __future__ import annotations

from time import process_time

import pytest

from danlu.data.pii import mask_private
from danlu.data.repair import REPAIRS, repair, tidy

ALL = [name for name, _ in REPAIRS]
ENGLISH = "The cat’s name is “Pip” – it likes a café.\nIt sleeps all day."
CHINESE = "她是面包师，她说：“早上好”。\n她的猫叫皮皮。"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (ENGLISH, "latin-1"),
        ("The cat’s café – really…", "cp1252"),
        (CHINESE, "latin-1"),
        ("猫叫Pip，狗叫Max。他说：“早上好”。", "latin-1"),
        ("今天天气很好", "gbk"),
    ],
)
def test_text_read_in_the_wrong_encoding_is_restored(text, encoding):
    assert repair(text.encode().decode(encoding), ALL) == (text, ["mojibake"])


def test_a_closing_quote_that_windows_1252_lost_is_restored():
    broken = "“Pip”".encode().decode("cp1252", errors="replace")
    assert repair(broken, ALL) == ("“Pip”", ["mojibake"])


@pytest.mark.parametrize(
    "text",
    [
        "Er trank Café au lait in Zürich – für 5 €.",
        "L’été, où “il” va à l’école…",
        "他说：“café”很好。价格是 €5–€10。",
        "涓涓细流，在浜边。",
        "naïve “é” »",
    ],
)
def test_accents_quotes_and_rare_characters_that_are_right_stay(text):
    assert repair(text, ALL) == (text, [])


@pytest.mark.parametrize(
    ("marked_up", "text"),
    [
        ('<div class="a"><p>One &amp; two.<br/>Three.</p></div>', "One & two.\nThree."),
        ("<p>她说<b>你好</b>&nbsp;。</p><!-- ad --><script>var x = '<p>';</script>", "她说你好 。"),
        (
            "{{stub}}\n== History ==\n'''Pip''' is a [[Cat|cat]].<ref>p. 3</ref>\n[[Category:Cats]]",
            "Pip is a cat.",
        ),
        ("<p>One&nbsp; two &#160;three</p>", "One two three"),
        ("[b]Bold[/b] and [url=http://a.b]link[/url]", "Bold and link"),
    ],
)
def test_markup_goes_and_the_text_stays(marked_up, text):
    assert repair(marked_up, ALL) == (text, ["markup"])


@pytest.mark.parametrize(
    "text",
    [
        "If a < b and c > d, then swap.",
        "The type List<String> holds text.",
        "AT&T; R&D & more",
        "a[i] = b[j]  # x == y",
        "Use this:\n```\n<p>Hello</p>\n```",
        "| a | b | c | d |\n| - | - | - | - |",
    ],
)
def test_what_only_looks_like_markup_or_a_menu_stays(text):
    assert repair(text, ALL) == (text, [])


@pytest.mark.parametrize(
    "line",
    [
        "Home | About us | News | Contact | Log in",
        "Copyright © 2019 EasyRead. All rights reserved.",
        "This website uses cookies. Accept all",
        "Read more »",
        "Share this: Facebook Twitter",
        "首页 > 新闻 > 国内 > 正文",
        "京ICP备2019001号",
        "上一篇：没有了  下一篇：返回列表",
        "请登录后发表评论",
        "责任编辑：小编",
        "扫描二维码关注我们",
    ],
)
def test_lines_of_the_page_go_and_lines_of_the_text_stay(line):
    assert repair(f"{line}\nPip is a cat.\n\n皮皮是一只猫。", ALL) == (
        "Pip is a cat.\n\n皮皮是一只猫。",
        ["boilerplate"],
    )


@pytest.mark.parametrize(
    "text",
    [
        "She could share this secret with no one, and read more books at home.",
        "天上一条大裂纹，路上一条狗，下一页他再也没有翻开。",
        "I give you the freedom to enjoy your privacy.",
        "他注册了公司，登录了网站，把说明书查看更多次。",
        "He sold shoes at the market for $5 a pair and said: buy two!",
        "他加了一点盐，打电话给朋友，说晚饭好了。",
    ],
)
def test_prose_that_mentions_such_things_stays(text):
    assert repair(text, ALL) == (text, [])


@pytest.mark.parametrize(
    "advertisement",
    [
        "BUY NOW!!! Cheap watches, 70% OFF! Visit www.best-watches.top today!",
        "Make $900 a week from home! No experience needed! Click here: http://abc12.xyz",
        "专业代开发票，点数低，加微信：wang123，电话13812345678",
        "限时抢购！全场3折，点击 www.abc.com 马上下单！！！",
    ],
)
def test_advertisements_go(advertisement):
    assert repair(f"Pip is a cat.\n{advertisement}", ALL) == ("Pip is a cat.", ["advertisement"])


def test_a_repair_that_is_not_asked_for_is_not_done():
    assert repair("<p>One.</p>", ["mojibake"]) == ("<p>One.</p>", [])


def test_tidying_keeps_characters_and_mends_space():
    messy = "\ufeffe\u0301te\u0301\u200b \r\nＡＢＣ，１２\u00a0３\u2028\n\n\n\nend\x07 \ud800"
    assert tidy(messy) == "été\nＡＢＣ，１２ ３\n\nend"


@pytest.mark.parametrize(
    "piece", ["<!--", "<script>", "<p ", "[[", "{{", " \n", "Ã©", "buy ", "\n== a", "1-", "a.", "(123) "]
)
def test_the_cost_of_a_hostile_text_does_not_run_away(piece):
    hostile = piece * (200_000 // len(piece))
    began = process_time()
    repair(hostile, ALL)
    mask_private(hostile)
    # Linear work takes a tenth of a second, quadratic work a minute.
    assert process_time() - began < 10
