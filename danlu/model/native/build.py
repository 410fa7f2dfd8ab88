"""C code compiled once with the machine's own compiler and kept in the user's cache folder."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

COMPILE_TIMEOUT_S = 120


def build_library(sources: Sequence[Path], flags: Sequence[str]) -> ctypes.CDLL | None:
    """Load the library compiled from `sources`, of which the first is compiled and the others are included.

    Returns None where there is no compiler, or it does not accept the flags, or nothing can be written.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "danlu"
    parts = [
        *(source.read_bytes() for source in sources),
        compiler.encode(),
        " ".join(flags).encode(),
        _processor(),
    ]
    name = f"{sources[0].stem}-{hashlib.sha256(bytes(1).join(parts)).hexdigest()[:16]}.so"
    try:
        if not (folder / name).exists():
            _compile([compiler, *flags, str(sources[0])], folder, name)
        return ctypes.CDLL(str(folder / name))
    except (OSError, subprocess.SubprocessError):
        return None


def _compile(command: Sequence[str], folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        fresh = Path(work) / name
        subprocess.run(
            [*command, "-o", str(fresh), "-lm"], check=True, capture_output=True, timeout=COMPILE_TIMEOUT_S
        )
        fresh.replace(folder / name)


def _processor() -> bytes:
    """What tells processors of different instructions apart: machines may share a cache folder."""
    info = Path("/proc/cpuinfo")
    lines = info.read_bytes().splitlines() if info.exists() else []
    features = next((line for line in lines if line.startswith((b"flags", b"Features"))), b"")
    return features or f"{platform.machine()} {platform.processor()}".encode()
