"""Fixtures of the studio's tests. Other folders have a `conftest` too, so tests import from `visiting`."""

from visiting import chat, chromium, running, visit

__all__ = ["chat", "chromium", "running", "visit"]
