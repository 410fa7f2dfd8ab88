"""What a check found, as one line: what is there, what would be right, why it matters."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check."""

    check: str  # its name
    ok: bool
    found: str
    wanted: str  # what would be right
    why: str  # what a wrong outcome does to training, as a sentence

    @property
    def line(self) -> str:
        """`ok     check: found`, or `WRONG  check: found; right would be wanted. why`."""
        if self.ok:
            return f"ok     {self.check}: {self.found}"
        return f"WRONG  {self.check}: {self.found}; right would be {self.wanted}. {self.why}"
