"""Fine-tuning on labels, with language modelling beside it (Radford et al. 2018, eq. 3 to 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.config import ConfigError
from danlu.data.labelled import LabelledBatch
from danlu.objectives.loss import Loss, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """Negative log-likelihood of the labels and, `auxiliary` times, of the inputs' next tokens (eq. 5)."""

    auxiliary: float = 0.5  # of the language-modelling loss; 0 leaves it out

    def __post_init__(self) -> None:
        if not 0 <= self.auxiliary < float("inf"):
            raise ConfigError(f"auxiliary is {self.auxiliary}; it must be 0 or more")

    def __call__(self, model: Any, batch: LabelledBatch) -> Loss:
        hidden = model.hidden(*batch.inputs)
        outputs = item_outputs(model.answer(hidden, batch.end_index), batch)
        total, right = LOSSES[name_of(batch)](outputs, batch)
        terms = {"label": Term(total)}
        if self.auxiliary:
            words = model.words_nll_sum(hidden, batch.target_ids, batch.loss_mask)
            terms["words"] = Term(words, self.auxiliary)
        metrics = {} if right is None else {"accuracy": (right.detach(), batch.n_answers)}
        return Loss(terms, metrics)

    def weights(self, batch: LabelledBatch) -> Mapping[str, Tensor]:
        words = {"words": batch.loss_mask.sum()} if self.auxiliary else {}
        return {"label": batch.n_answers, **words}


def item_outputs(outputs: Tensor, batch: LabelledBatch) -> Tensor:
    """What the rows of an item say together.

    Both orders of a similar pair are added (the head is linear: adding outputs adds hidden vectors); the
    choices of an item stand side by side, (items, most choices), with -inf where one has fewer.
    """
    if batch.kind == "similarity":
        return outputs.new_zeros(batch.n_items, outputs.shape[1]).index_add(0, batch.item_ids, outputs)
    if batch.kind == "choice":
        counts = batch.item_ids.bincount()
        place = torch.arange(len(batch.item_ids)) - (counts.cumsum(0) - counts)[batch.item_ids]
        table = outputs.new_full((batch.n_items, int(counts.max())), float("-inf"))
        return table.index_put((batch.item_ids, place), outputs.squeeze(1))
    if batch.kind == "span":
        return outputs.masked_fill(~batch.answer_mask[..., None], float("-inf"))
    return outputs


def name_of(batch: LabelledBatch) -> str:
    """Which loss is meant."""
    if batch.kind in ("span", "tag"):
        return batch.kind
    return "number" if batch.targets.is_floating_point() else "class"


def class_loss(outputs: Tensor, batch: LabelledBatch) -> tuple[Tensor, Tensor | None]:
    """Summed cross-entropy and how many are right; outputs are (items, classes)."""
    right = (outputs.argmax(1) == batch.targets).sum()
    return F.cross_entropy(outputs, batch.targets, reduction="sum"), right


def number_loss(outputs: Tensor, batch: LabelledBatch) -> tuple[Tensor, Tensor | None]:
    """Summed squared error; outputs are (items, 1)."""
    return (outputs.squeeze(1) - batch.targets).square().sum(), None


def span_loss(outputs: Tensor, batch: LabelledBatch) -> tuple[Tensor, Tensor | None]:
    """Mean of the start's and the end's cross-entropy, summed; outputs are (items, seq, 2)."""
    losses = (F.cross_entropy(outputs[..., i], batch.targets[:, i], reduction="sum") for i in (0, 1))
    right = (outputs.argmax(1) == batch.targets).all(1).sum()
    return sum(losses, outputs.new_zeros(())) / 2, right


def tag_loss(outputs: Tensor, batch: LabelledBatch) -> tuple[Tensor, Tensor | None]:
    """Summed cross-entropy of the tagged words; outputs are (items, seq, tags)."""
    said, wanted = outputs[batch.answer_mask], batch.targets[batch.answer_mask]
    return F.cross_entropy(said, wanted, reduction="sum"), (said.argmax(1) == wanted).sum()


LOSSES: dict[str, Callable[[Tensor, LabelledBatch], tuple[Tensor, Tensor | None]]] = {
    "class": class_loss,
    "number": number_loss,
    "span": span_loss,
    "tag": tag_loss,
}
