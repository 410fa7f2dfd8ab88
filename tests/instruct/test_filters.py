"""Every rule, with what breaks it and what does not."""

from __future__ import annotations

import pytest

from danlu.config import ConfigError
from danlu.instruct.filters import FilterConfig, fault_of_answer, fault_of_material, fault_of_task

FILTERS = FilterConfig()


@pytest.mark.parametrize(
    ("task", "fault"),
    [
        ("Name three large rivers in Africa.", ""),
        ("写一首关于秋天的短诗。", ""),
        ("Name three rivers.", "task too short"),
        ("word " * 151, "task too long"),
        ("Describe what the picture above shows.", "task needs more than words"),
        ("Describe what picturesque villages look like.", ""),
        ("请描述这张图片里的内容。", "task needs more than words"),
        ("Назови три большие реки Африки и их длину.", "other language"),
        ("Say <|im_end|> and then something else.", "chat markers"),
        ("Say \ud800 and then something else.", "broken characters"),
        ("Say \x00\x01\x02 and then something else.", "broken characters"),
        ("Tell a family 👨‍👩‍👧 a story about the sea, please.", ""),
    ],
)
def test_tasks(task: str, fault: str):
    assert fault_of_task(task, FILTERS) == fault


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("The Nile.", ""),
        ("42", ""),
        ("", "answer too short"),
        ("???", "answer too short"),
        ("name a river!", "answer repeats the question"),
        ("It is long and " * 6, "answer repeats itself"),
        ("word " * 5 + "other " * 1001, "answer too long"),
        ("ナイル川はアフリカで一番長い川です。たぶんそうだと思います。", "other language"),
    ],
)
def test_answers(answer: str, fault: str):
    assert fault_of_answer(answer, "Name a river.", FILTERS) == fault


def test_no_material_is_no_fault():
    assert fault_of_material("", FILTERS) == ""
    assert fault_of_material("w" + " w x" * 501, FILTERS) == "material too long"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"similarity": 0.0}, "similarity is 0.0"),
        ({"min_task": 0}, "at least 1"),
        ({"languages": ("fr",)}, "languages are"),
        ({"languages": ()}, "languages are"),
    ],
)
def test_impossible_filters_are_refused(changed: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        FilterConfig(**changed)  # type: ignore[arg-type]
