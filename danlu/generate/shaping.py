"""What a request does to logits before a token is drawn: penalties, biases, bans."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor


def shape(
    logits: Tensor,
    counts: Mapping[int, int],
    *,
    presence_penalty: float = 0.0,
    frequency_penalty: float = 0.0,
    logit_bias: Mapping[int, float] | None = None,
    forbidden_ids: Collection[int] = (),
) -> Tensor:
    """Logits less the penalties, plus the biases, -inf where forbidden; a copy.

    The penalties are OpenAI's: id j loses `frequency_penalty` times the number of times that it stands in
    the completion so far, and `presence_penalty` once if that number is above 0. The prompt does not count.

    Args:
        logits: (vocab,) float32.
        counts: how often each id stands in the completion.
    """
    shaped = logits.clone()
    if counts and (presence_penalty or frequency_penalty):
        ids, n = (torch.tensor(list(each), device=logits.device) for each in (counts.keys(), counts.values()))
        shaped[ids] -= presence_penalty + frequency_penalty * n.float()
    if logit_bias:
        ids = torch.tensor(list(logit_bias), device=logits.device)
        shaped[ids] += torch.tensor(list(logit_bias.values()), device=logits.device)
    if forbidden_ids:
        shaped[torch.tensor(sorted(forbidden_ids), device=logits.device)] = -torch.inf
    return shaped
