from __future__ import annotations

import os

from hypothesis import settings

# A loaded machine may take seconds for an example; slowness is measured elsewhere.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Processes of a parallel run share the cores; torch, imported later, would start threads for all in each.
if n_processes := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    n_threads = max(1, (os.cpu_count() or 1) // int(n_processes))
    os.environ.setdefault("OMP_NUM_THREADS", str(n_threads))
