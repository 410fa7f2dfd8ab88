"""The catalogue as a whole: its tests fail on code with the fault, and its pages list the same faults."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from catalogue import entries

FAULTS = entries()
BROKEN = [name for name, found in FAULTS.items() if found.broken]
DOCS = Path(__file__).parent.parent.parent / "docs"
FIXTURES = ("tmp_path",)


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.filterwarnings("ignore")
def test_the_test_fails_where_the_fault_is_in(
    name: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
):
    found = FAULTS[name]
    needed = [each for each in inspect.signature(found.check).parameters if each in FIXTURES]
    given: dict[str, Any] = {each: request.getfixturevalue(each) for each in needed}
    for target, faulty in found.broken.items():
        monkeypatch.setattr(target, faulty)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        found.check(**given)


def test_there_are_forty_faults_and_ten_shown_failing():
    assert len(FAULTS) >= 40
    assert len(BROKEN) >= 10


def rows(page: str) -> dict[str, tuple[str, bool]]:
    """Of each fault in a page's tables: where it was shipped, and whether its test is shown failing."""
    found: dict[str, tuple[str, bool]] = {}
    for line in (DOCS / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        name = re.fullmatch(r"`(test_\w+)`( ✗)?", cells[-1])
        if name and len(cells) == 4:
            assert name[1] not in found, f"{page} lists {name[1]} twice"
            found[name[1]] = (cells[1].replace("`", ""), bool(name[2]))
    return found


@pytest.mark.parametrize("page", ["catalogue.md", "catalogue.zh.md"])
def test_pages_and_tests_list_the_same_faults(page: str):
    expected = {name: (found.shipped.replace("`", ""), bool(found.broken)) for name, found in FAULTS.items()}
    assert rows(page) == expected


@pytest.mark.parametrize("page", ["catalogue.md", "catalogue.zh.md"])
def test_pages_count_their_faults(page: str):
    text = (DOCS / page).read_text(encoding="utf-8")
    assert str(len(FAULTS)) in text
    assert str(len(BROKEN)) in text
