"""The one error of all tools: a request that is refused, in words for whoever made it, person or model."""

from __future__ import annotations


class ToolError(ValueError):
    """A tool refuses a request; the text says what was found and what would be right."""
