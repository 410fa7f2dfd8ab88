"""What goes wrong with stored feedback, told to whoever gave it."""

from __future__ import annotations


class FeedbackError(ValueError):
    """A judgement, a file or a database that cannot be used; the text says what was found and what to do."""


class FullDiskError(FeedbackError):
    """There is no room for what was said; what was accepted before is safe."""


class WithdrawnTaskError(FeedbackError):
    """Nobody wants an answer to this task any more."""
