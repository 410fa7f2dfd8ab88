"""Every sentence with which something on a page may be refused is known in Chinese, and is said so."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

from danlu.feedback.event import Event, read_body
from danlu.feedback.records import FeedbackError, Ranking
from danlu.serve.studio import phrases
from danlu.serve.studio.faults import in_language
from danlu.serve.studio.faults_zh import CHINESE, NESTED, WORDS
from danlu.tokenizer.chat import ChatError, check_messages

PACKAGE = Path(phrases.__file__).parents[2]
SOURCES = [
    *(PACKAGE / "feedback" / f"{name}.py" for name in ("accounts", "log", "records", "store")),
    *sorted((PACKAGE / "serve" / "studio").glob("*.py")),
    *(PACKAGE / "recipes" / name for name in ("studio_inspect.py", "studio_scores.py")),
    PACKAGE / "tokenizer" / "chat.py",
]
OTHERS = {
    # These put together what has forms of its own.
    "{} {}",
    "{}: {}",
    "turn {}: {}; it must be text",
    # These are said before there is a page, or of what a browser does not send.
    "runs is {}, which is a file; it must be a folder, which may be missing yet",
    "the form is too large",
}


def form_of(node: ast.expr) -> str | None:
    """A text of the source, with {} for what is put into it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values)
    return None


def raised(path: Path) -> set[str]:
    """The forms of all that a file raises."""
    return {
        form
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
        for each in node.exc.args
        if (form := form_of(each)) is not None
    }


def test_whatever_is_refused_on_a_page_is_known_in_chinese():
    known = {re.sub(r"\{\w+\}", "{}", form) for form in CHINESE} | OTHERS
    missing = {path.name: found for path in SOURCES if (found := raised(path) - known)}
    assert not missing


def test_both_languages_have_the_same_places_and_no_english_sentence_is_left():
    for english, chinese in CHINESE.items():
        places = [
            {name for _, name, *_ in string.Formatter().parse(text) if name} for text in (english, chinese)
        ]
        assert places[1] <= places[0], english
        assert places[0] - places[1] <= {"db"}, english
        assert any("\u4e00" <= char <= "\u9fff" for char in chinese), english
    assert all(isinstance(each, str) for each in NESTED | WORDS.keys())


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("no model is called '小丹'; it may have been removed", "没有名为 '小丹' 的模型，它可能已被移除。"),
        (
            "line 3: the engine has failed: RuntimeError",
            "第 3 行：推理引擎出错（RuntimeError）。请重新启动工作室，问题仍在时请看服务器日志。",
        ),
        (
            "the lesson 0001-sft is done; there is nothing to go on with",
            "训练 0001-sft 已完成，没有可以继续的内容。",
        ),
        ("line 2 field 'prompt' is 7; it must be text", "第 2 行：字段 'prompt' 是 7；应为文本。"),
        ("rank cannot be read: Permission denied", "无法读取 rank：没有权限。"),  # a name is no word of ours
        ("nobody has written this", "nobody has written this"),
    ],
)
def test_a_refusal_is_said_in_chinese_with_what_it_names(english: str, chinese: str):
    assert in_language("zh", english) == chinese
    assert in_language("en", english) == english


def test_what_the_store_and_the_chat_format_refuse_is_said_in_chinese():
    with pytest.raises(FeedbackError) as few:
        Ranking(completions=("a",), ranks=(1,))
    assert in_language("zh", str(few.value)) == "有 1 个回答；排序需要 2 到 16 个互不相同的回答。"
    with pytest.raises(FeedbackError) as wrong:
        read_body("message", {"conversation": "c", "role": "user", "content": 7})
    assert in_language("zh", str(wrong.value)) == "消息的 content 应为 文本，实际是 7。"
    with pytest.raises(FeedbackError) as bare:
        Event.from_tree({"id": "a"})
    assert in_language("zh", str(bare.value)).startswith("缺少 'kind'")
    with pytest.raises(ChatError) as turned:
        check_messages([{"role": "user", "content": "你好"}, {"role": "user", "content": "在吗"}])
    assert in_language("zh", str(turned.value)) == "第 2 轮与第 1 轮都来自 'user'，角色应当轮流。"


def test_braces_and_markup_in_what_is_named_stay_as_they_are():
    named = "<b>{0}</b>{name}\n"
    assert in_language("zh", f"{named!r} has no account") == f"没有名为 {named!r} 的账号。"
