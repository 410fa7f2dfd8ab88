"""What goes wrong with stored feedback, told to whoever gave it."""

from __future__ import annotations


class FeedbackError(ValueError):
    """A judgement, a file or a database that cannot be used; the text says what was found and what to do."""
