"""A trainer of the Hugging Face family as a competitor that takes turns."""

from __future__ import annotations

import importlib
from typing import Any

from turns import Turns


class StopTraining(BaseException):
    """There are no more turns."""


def train_in_turns(trainer: Any) -> None:
    """Train until there are no more turns."""
    try:
        trainer.train()
    except StopTraining:
        return


def waits_for_turns(turns: Turns, per_turn: int) -> Any:
    """A callback of transformers' Trainer that answers after so many updates and waits for the next turn."""
    transformers: Any = importlib.import_module("transformers")

    def begin(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not turns.wait():
            raise StopTraining

    def end(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % per_turn == 0:
            turns.answer(float(state.global_step))
            begin(self, args, state, control)

    made = type("Waits", (transformers.TrainerCallback,), {"on_train_begin": begin, "on_step_end": end})
    return made()
