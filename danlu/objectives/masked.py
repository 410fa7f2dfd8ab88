"""BERT's two losses: hidden words, and whether the second span follows (Devlin et al. 2018, 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.data.masked import MaskedBatch
from danlu.objectives.loss import Loss, Term


@dataclass(frozen=True, slots=True)
class MaskedLoss:
    """Mean negative log-likelihood of a hidden word, plus that of the second span being the next or not."""

    def __call__(self, model: Any, batch: MaskedBatch) -> Loss:
        hidden = model.backbone(*batch.inputs)
        words = model.words(hidden[batch.loss_mask])
        wanted = batch.target_ids[batch.loss_mask]
        follows = model.follows(hidden)
        n_words, n_pairs = torch.tensor(len(wanted)), torch.tensor(len(batch))
        return Loss(
            {
                "nll": Term(F.cross_entropy(words, wanted, reduction="sum")),
                "next": Term(F.cross_entropy(follows, batch.strange, reduction="sum")),
            },
            {
                "words_right": ((words.argmax(-1) == wanted).sum(), n_words),
                "next_right": ((follows.argmax(-1) == batch.strange).sum(), n_pairs),
            },
        )

    def weights(self, batch: MaskedBatch) -> Mapping[str, Tensor]:
        return {"nll": batch.loss_mask.sum(), "next": torch.tensor(len(batch))}
