"""A model that can be talked with."""

from __future__ import annotations

from dataclasses import dataclass

from danlu.serve.api.service import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """A model that can be talked with."""

    digest: str  # SHA-256 of its weights
    service: Service

    @property
    def name(self) -> str:
        return self.service.served.name
