from __future__ import annotations

from pathlib import Path

import pytest
from made_up_run import write_run


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run of one's own, to change."""
    return write_run(tmp_path / "first-run")
