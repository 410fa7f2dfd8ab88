"""A helper process on a leash: one request in, one answer out, killed when its time is over."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from danlu.tools.error import ToolError

ISOLATED = Path(__file__).parent / "isolated.py"


class HelperError(ToolError):
    """A helper process gave no answer."""


def ask_process(program: Path, request: Mapping[str, Any], *, wall_s: float, what: str) -> dict[str, Any]:
    """The JSON that a program prints when given some JSON.

    The program runs in Python's isolated mode with an empty environment: it sees neither the caller's
    settings nor its secrets.
    """
    command = [sys.executable, "-I", "-S", "-B", str(program)]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=wall_s,
            env={},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HelperError(f"{what} was stopped after {wall_s:g} seconds without an answer") from None
    if done.returncode < 0 or not done.stdout:
        raise HelperError(f"{what} needed more memory or time than is granted")
    return json.loads(done.stdout)


def ask_isolated(
    function: Callable[..., object],
    arguments: Mapping[str, Any],
    *,
    memory_bytes: int,
    wall_s: float,
    what: str,
) -> dict[str, Any]:
    """Call a function, found by importing its module, in a process of its own with caps on memory and time.

    Returns:
        `value`, or `error` with the name and the text of the exception that the function raised.
    """
    request = {
        "path": [each for each in sys.path if each] or ["."],
        "module": function.__module__,
        "function": function.__qualname__,
        "arguments": arguments,
        "memory_bytes": memory_bytes,
        "cpu_s": wall_s,
    }
    return ask_process(ISOLATED, request, wall_s=wall_s, what=what)
