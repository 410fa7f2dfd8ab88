from __future__ import annotations

import pytest

from danlu.data.pii import is_resident_id, mask_private, passes_luhn


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to anna.b+c@mail.example.co.uk.", "Write to <email>."),
        ("邮箱是wang1@example.cn，请回复", "邮箱是<email>，请回复"),
        ("我的手机号是13812345678。", "我的手机号是<phone>。"),
        ("电话138-1234-5678或+86 138 1234 5678", "电话<phone>或<phone>"),
        ("座机010-12345678", "座机<phone>"),
        ("Call (321) 555-0123 or +44 1632 960348.", "Call <phone> or <phone>."),
        ("身份证号：11010519491231002X", "身份证号：<id>"),
        ("卡号4111 1111 1111 1111", "卡号<card>"),
        ("Card 5105105105105100 was charged", "Card <card> was charged"),
        ("加QQ：123456789聊", "加QQ：<account>聊"),
        ("微信号: wang_123", "微信号: <account>"),
        ("The server is at 8.8.8.8 now", "The server is at <ip> now"),
    ],
)
def test_private_data_is_replaced_by_its_kind(text, masked):
    assert mask_private(text)[0] == masked


@pytest.mark.parametrize(
    "text",
    [
        "In 1949 there were 541670000 people; in 2019 there were 1400050000.",
        "The number is 3.14159265358979.",
        "身份证号110105194912310021的校验位不对",
        "Order 4111111111111112 is no card.",
        "192.168.0.1 and 127.0.0.1 are nobody's; nor is 999.1.1.1",
        "他用微信聊天，她用QQ听歌。",
        "12 + 30 = 42; 5 × 4 = 20",
        "user@localhost",
        "2019-2020 学年",
    ],
)
def test_other_numbers_stay(text):
    assert mask_private(text) == (text, {})


def test_what_was_found_is_counted_by_kind():
    text = "a@b.example, c@d.example, 13812345678"
    assert mask_private(text)[1] == {"email": 2, "phone": 1}


def test_checksums():
    # GB 11643-1999, appendix: 11010519491231002X; any other last character is wrong.
    assert [last for last in "0123456789X" if is_resident_id("11010519491231002" + last)] == ["X"]
    # 7992739871 with check digit 3, the worked example of Luhn's algorithm.
    assert [last for last in range(10) if passes_luhn(f"7992739871{last}")] == [3]
