"""A studio over a scripted model in this process, and a browser that looks at it."""

from __future__ import annotations

import pytest

pytest.importorskip("nicegui", reason="the studio needs NiceGUI: pip install 'danlu[studio]'")
playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need Playwright")
