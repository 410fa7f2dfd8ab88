"""A file is chosen by a button with a name, by click or key, and refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from small_studio import Running
from test_pages import Visit, button

CHOOSE = "Or choose a file: .txt or .jsonl"


def asked(page: Any, act: Callable[[], None]) -> Any:
    """What the browser asks with after an act.

    It asks only while it still counts what happens as the visitor's doing, which a busy machine may outlast.
    """
    from playwright.sync_api import TimeoutError as Late

    for _ in range(2):
        with suppress(Late), page.expect_file_chooser(timeout=10_000) as chosen:
            act()
        if chosen.is_done():
            return chosen.value
    pytest.fail("no choice of files was opened")


def test_the_button_opens_the_choice_of_a_file_by_click_and_by_key(visit: Visit, tmp_path: Path):
    page = visit().go("tasks")
    file = tmp_path / "prompts.txt"
    file.write_text("从前\nOnce\n", encoding="utf-8")
    asked(page, lambda: button(page, CHOOSE).click())
    button(page, CHOOSE).focus()
    asked(page, lambda: page.keyboard.press("Enter")).set_files(file)
    page.wait_for_function("document.querySelector('textarea').value.includes('从前')")
    page.fill("textarea", "")
    asked(page, lambda: button(page, CHOOSE).click()).set_files(file)  # the same again
    page.wait_for_function("document.querySelector('textarea').value.includes('从前')")


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en-US", "It must be .txt / .jsonl, of at most 20 MB."),
        ("zh-CN", "只接受 .txt / .jsonl，最大 20 MB。"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_the_reason(
    visit: Visit, tmp_path: Path, language: str, told: str
):
    page = visit(language).go("tasks")
    file = tmp_path / "picture.png"
    file.write_bytes(b"\x89PNG")
    page.set_input_files("input[type=file]", file)
    page.wait_for_selector(f".q-notification >> text={told}")


def test_a_conversation_is_chosen_in_the_history(running: Running, visit: Visit, tmp_path: Path):
    page = visit("zh-CN").go("chat")
    file = tmp_path / "talk.json"
    file.write_text(json.dumps({"messages": [{"role": "user", "content": "你好"}]}), encoding="utf-8")
    button(page, "导入对话").click()
    with page.expect_file_chooser() as chosen:
        button(page, "选择 JSON 文件").click()
    chosen.value.set_files(file)
    page.wait_for_selector(".dl-user >> text=你好")
