"""Where the pages are, and the files that belong to them."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

ROOT = "/studio"
STATIC = f"{ROOT}/static"
SIGN_IN, SIGN_OUT, PREFER = f"{ROOT}/sign-in", f"{ROOT}/sign-out", f"{ROOT}/prefer"
FILES = Path(__file__).parent / "static"


@lru_cache
def versioned(name: str) -> str:
    """The address of one of our files, which changes with its content: browsers keep it for ever."""
    return f"{STATIC}/{name}?{hashlib.sha256((FILES / name).read_bytes()).hexdigest()[:12]}"


def is_page(address: str) -> bool:
    """Whether an address leads to one of our pages, and nowhere else."""
    parts = urlsplit(address)
    plain = address.isprintable() and "\\" not in address and "//" not in address.partition("?")[0]
    return plain and not parts.scheme and not parts.netloc and (parts.path + "/").startswith(f"{ROOT}/")
