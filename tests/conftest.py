from __future__ import annotations

from hypothesis import settings

# A loaded machine may take seconds for an example; slowness is measured elsewhere.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
