"""How people's answers arise from scores: when they call completions level, how reliable each rater is.

Its numbers are trained beside a score model's weights and lie in the model directory's config.json.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from danlu.config import ConfigError

MOST_TIED = 0.95  # share of ties that a start is made from, at most


class RaterModel(nn.Module):
    """A tie parameter and a scale for each rater, either of which may be absent.

    A rater of scale a answers as if differences of scores were a times as large: 1 is the average rater, 0
    would be guessing. Scores have no unit of their own, so the scales are free up to a factor; it is fixed by
    letting their geometric mean be one.
    """

    log_tie: nn.Parameter | None
    log_scales: nn.Parameter | None
    n_rankings: Tensor

    def __init__(
        self, kind: str, *, log_tie: float | None = None, n_rankings: Mapping[str, int] | None = None
    ) -> None:
        """
        Args:
            kind: which likelihood `log_tie` is a parameter of.
            log_tie: where the tie parameter begins; None = there is none.
            n_rankings: rankings by each rater; None = raters are alike.
        """
        super().__init__()
        self.kind, self.names = kind, tuple(n_rankings or ())
        self.log_tie = None if log_tie is None else nn.Parameter(torch.tensor(float(log_tie)))
        self.log_scales = nn.Parameter(torch.zeros(len(self.names))) if self.names else None
        counts = torch.tensor(list((n_rankings or {}).values()), dtype=torch.float32)
        self.register_buffer("n_rankings", counts, persistent=False)

    def centred(self) -> Tensor:
        """Logarithm of each rater's scale; they sum to zero, (raters,)."""
        if self.log_scales is None:
            return torch.zeros(0)
        return self.log_scales - self.log_scales.mean()

    def numbers(self, raters: Sequence[str]) -> Tensor:
        """Each name's place among `names`, -1 for a name that is not there, int64."""
        known = {name: number for number, name in enumerate(self.names)}
        return torch.tensor([known.get(name, -1) for name in raters], dtype=torch.int64)

    def scales(self) -> dict[str, float]:
        """Each rater's scale by name."""
        return dict(zip(self.names, self.centred().detach().exp().tolist(), strict=True))

    def to_tree(self) -> dict[str, Any]:
        """Plain values, for config.json."""
        scales, counts = self.scales(), self.n_rankings.tolist()
        return {
            "kind": self.kind,
            "log_tie": None if self.log_tie is None else self.log_tie.item(),
            "raters": {
                name: {"scale": scales[name], "rankings": int(n)}
                for name, n in zip(self.names, counts, strict=True)
            },
        }

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> RaterModel:
        """What `to_tree` gave, frozen: whoever trains goes by a model of its own.

        Raises:
            ConfigError: it is not what `to_tree` gives.
        """
        try:
            raters = {str(name): each for name, each in dict(tree["raters"]).items()}
            counts = {name: int(each["rankings"]) for name, each in raters.items()}
            log_scales = [math.log(each["scale"]) for each in raters.values()]
            model = cls(str(tree["kind"]), log_tie=tree["log_tie"], n_rankings=counts)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{tree!r} describes no raters ({error!r}); train the model again") from None
        if model.log_scales is not None:
            model.log_scales.data.copy_(torch.tensor(log_scales))
        return model.requires_grad_(False)


def tie_start(kind: str, tied: float) -> float | None:
    """The tie parameter under which equal scores tie as often as all pairs do; None where there is none.

    Args:
        kind: the likelihood.
        tied: share of pairs that raters call level, above 0.
    """
    tied = min(tied, MOST_TIED)
    if kind == "davidson":  # nu / (2 + nu) = tied
        return math.log(2 * tied / (1 - tied))
    if kind == "rao_kupper":  # (theta - 1) / (theta + 1) = tied
        return math.log(math.log((1 + tied) / (1 - tied)))
    return None
