"""Danlu: from raw text to an assistant aligned by human feedback."""

__version__ = "0.1.0"
