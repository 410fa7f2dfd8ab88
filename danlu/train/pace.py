"""How many updates fit into the time there is."""

from __future__ import annotations

from time import perf_counter
from typing import Any


class Pace:
    """The number of updates of a run, planned again as it goes until the learning rate begins to fall.

    With a constant rate before the fall, moving its beginning changes nothing that was already done. Without
    a time limit the number stays as given.
    """

    def __init__(
        self,
        n_steps: int,
        *,
        seconds: float | None = None,
        decay_fraction: float = 0.5,
        multiple: int = 1,
        most: int | None = None,
    ) -> None:
        self.n_steps, self.seconds, self.decay_fraction = n_steps, seconds, decay_fraction
        self.multiple = multiple  # the number of updates stays one of this
        self.most = most  # updates, however much time there is
        self.spent = 0.0
        self._last = perf_counter()

    def update(self, step: int) -> None:
        """Count the time since the last call; `step` updates are done."""
        now = perf_counter()
        self.spent += now - self._last
        self._last = now
        if self.seconds is None or step < 10 or step >= (1 - self.decay_fraction) * self.n_steps:
            return
        fitting = int(self.seconds * step / self.spent)
        fitting = fitting if self.most is None else min(fitting, self.most)
        whole = max(fitting, step + 1) // self.multiple
        self.n_steps = max(whole, -(-step // self.multiple)) * self.multiple

    def state_dict(self) -> dict[str, Any]:
        return {"n_steps": self.n_steps, "spent": self.spent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.n_steps, self.spent = state["n_steps"], state["spent"]
        self._last = perf_counter()
