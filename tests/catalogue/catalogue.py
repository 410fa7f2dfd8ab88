"""The catalogue's register: for each fault who shipped it, the test against it, and our code with that fault.

`@fault(…)` stands on the test. Where `broken` is given, it names functions of ours and a version of each with
the fault in it; `test_catalogue.py` puts those in and insists that the same test then fails.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Check = Callable[..., None]
FAULTS: dict[str, Fault] = {}


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry; its name is the test's."""

    check: Check
    shipped: str  # project and issue, CVE, or file
    broken: Mapping[str, Any] = field(default_factory=dict)  # dotted name of ours → version with the fault


def fault(shipped: str, *, broken: Mapping[str, Any] | None = None) -> Callable[[Check], Check]:
    """Enter a test into the catalogue."""

    def enter(check: Check) -> Check:
        assert check.__name__ not in FAULTS, f"two tests are called {check.__name__}"
        FAULTS[check.__name__] = Fault(check, shipped, broken or {})
        return check

    return enter


def entries() -> dict[str, Fault]:
    """Every entry of every file of this folder."""
    for path in sorted(Path(__file__).parent.glob("test_faults_*.py")):
        importlib.import_module(path.stem)
    return FAULTS
