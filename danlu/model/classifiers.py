"""Backbones under a head of labels: for a whole text, for each of its tokens, or for where an answer lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from danlu.config import ConfigError
from danlu.model.config import ModelConfig
from danlu.model.fused_loss import PLAIN_LOSS, LossKernels, nll_sum
from danlu.model.layers import Linear
from danlu.model.transformer import Decoder, Encoder, Stack, initialise

AnswerKind = Literal["class", "similarity", "choice", "span", "tag"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a classifier's outputs stand for; its config.json says it.

    Without labels the answer to a text is a number: the output times `deviation` and plus `mean`.
    """

    kind: AnswerKind = "class"
    labels: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(AnswerKind):
            raise ConfigError(f"kind is {self.kind!r}; it must be one of {', '.join(get_args(AnswerKind))}")
        if self.kind == "tag" and not self.labels:
            raise ConfigError("labels is empty; tags need them")
        if not 0 < self.deviation < float("inf"):
            raise ConfigError(f"deviation is {self.deviation}; it must be above 0")

    @property
    def is_number(self) -> bool:
        """Whether the answer to a text is a number."""
        return self.kind in ("class", "similarity") and not self.labels

    @property
    def n_outputs(self) -> int:
        if self.kind == "span":
            return 2
        return 1 if self.kind == "choice" or self.is_number else len(self.labels)

    def to_tree(self) -> dict[str, Any]:
        """Plain values, all but the labels."""
        return {"kind": self.kind, "mean": self.mean, "deviation": self.deviation}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], labels: tuple[str, ...]) -> Answers:
        """What `to_tree` gave.

        Raises:
            ConfigError: it is not what `to_tree` gives.
        """
        try:
            kind, mean, deviation = tree["kind"], float(tree["mean"]), float(tree["deviation"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{tree!r} describes no answers ({error!r})") from None
        named = kind in ("class", "similarity", "tag") and len(labels) > 1
        return cls(kind=kind, labels=labels if named else (), mean=mean, deviation=deviation)


class Classifier(nn.Module):
    """A backbone, to be given a head; without one, a fresh backbone is drawn.

    `lm_head`, the base's output projection, is there only while the auxiliary loss needs it.
    """

    def __init__(
        self, config: ModelConfig, answers: Answers, *, seed: int = 0, backbone: Stack | None = None
    ) -> None:
        super().__init__()
        self.config, self.answers = config, answers
        if backbone is None:
            backbone = Encoder(config) if config.topology == "encoder" else Decoder(config)
            initialise(backbone, seed)
        self.backbone = backbone
        self.lm_head: Linear | None = None
        self.loss_kernels: LossKernels = PLAIN_LOSS  # precision.py may put faster ones

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        type_ids: Tensor | None = None,
    ) -> Tensor:
        """The head's outputs of every place, float32; the arguments are the backbone's."""
        return self.everywhere(self.hidden(input_ids, position_ids, segment_ids, type_ids))

    def hidden(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None,
        segment_ids: Tensor | None,
        type_ids: Tensor | None,
    ) -> Tensor:
        """The backbone's vectors, (batch, seq, d_model); only an encoder takes `type_ids`."""
        types = () if type_ids is None else (type_ids,)
        return self.backbone(input_ids, position_ids, segment_ids, *types)

    def everywhere(self, hidden: Tensor) -> Tensor:
        """Outputs of every place, (batch, seq, n_outputs), or of the whole where a head reads one place."""
        raise NotImplementedError

    def answer(self, hidden: Tensor, end_index: Tensor) -> Tensor:
        """Outputs where the answer is read.

        Args:
            hidden: (rows, seq, d_model).
            end_index: place of each row's last token, (rows,).

        Returns:
            (rows, n_outputs) for a whole text, (rows, seq, n_outputs) for its tokens, float32.
        """
        return self.everywhere(hidden)

    def head_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """What stands on the backbone and tells the answer, by name."""
        others = ("backbone.", "lm_head.")
        return ((name, each) for name, each in self.named_parameters() if not name.startswith(others))

    def words_nll_sum(self, hidden: Tensor, target_ids: Tensor, loss_mask: Tensor) -> Tensor:
        """Summed negative log-likelihood of the next tokens, for the auxiliary loss."""
        assert self.lm_head is not None
        return nll_sum(hidden, self.lm_head.weight, target_ids, loss_mask, self.loss_kernels)


class DecoderClassifier(Classifier):
    """A decoder read at its last token by a linear layer without bias (Radford et al. 2018, eq. 3)."""

    def __init__(
        self, config: ModelConfig, answers: Answers, *, seed: int = 0, backbone: Stack | None = None
    ) -> None:
        super().__init__(config, answers, seed=seed, backbone=backbone)
        self.score = drawn(Linear(config.d_model, answers.n_outputs, bias=False), seed)

    def everywhere(self, hidden: Tensor) -> Tensor:
        return self.score(hidden.float())

    def answer(self, hidden: Tensor, end_index: Tensor) -> Tensor:
        rows = torch.arange(len(hidden), device=hidden.device)
        return self.everywhere(hidden[rows, end_index])


class TokenClassifier(Classifier):
    """A label for every token, by a linear layer."""

    def __init__(
        self, config: ModelConfig, answers: Answers, *, seed: int = 0, backbone: Stack | None = None
    ) -> None:
        super().__init__(config, answers, seed=seed, backbone=backbone)
        self.classifier = drawn(Linear(config.d_model, answers.n_outputs), seed)

    def everywhere(self, hidden: Tensor) -> Tensor:
        return self.classifier(hidden.float())


class SpanClassifier(Classifier):
    """Where an answer starts and where it ends: two numbers a token (Devlin et al. 2018, section 4.2)."""

    def __init__(
        self, config: ModelConfig, answers: Answers, *, seed: int = 0, backbone: Stack | None = None
    ) -> None:
        super().__init__(config, answers, seed=seed, backbone=backbone)
        self.span = drawn(Linear(config.d_model, answers.n_outputs), seed)

    def everywhere(self, hidden: Tensor) -> Tensor:
        return self.span(hidden.float())


def drawn(head: Linear, seed: int) -> Linear:
    """A head whose first answers are all but even."""
    generator = torch.Generator().manual_seed(seed + 1)
    nn.init.normal_(head.weight, std=head.in_features**-0.5 / 2, generator=generator)
    for bias in [head.bias] if "bias" in dict(head.named_parameters()) else []:
        nn.init.zeros_(bias)
    return head


@torch.no_grad()
def forget_layers(model: Classifier, n_kept: int, seed: int) -> None:
    """Draw anew all blocks after the first `n_kept`, and what follows them; -1 draws the embeddings too.

    How much of pretraining each layer carries over is thus measured (Radford et al. 2018, figure 2).
    """
    if not -1 <= n_kept <= model.config.n_layers:
        raise ConfigError(
            f"keep_layers is {n_kept}; it must be from 0 to the {model.config.n_layers} layers of the base, "
            "or -1 to keep not even the embeddings"
        )
    if n_kept == model.config.n_layers:
        return
    fresh = type(model.backbone)(model.config)
    initialise(fresh, seed)
    kept = (f"blocks.{i}." for i in range(n_kept))
    ends = () if n_kept < 0 else ("embedding.", "position.", "token_type.", "embedding_norm.")
    known, weights = (*kept, *ends), dict(fresh.named_parameters())
    for name, parameter in model.backbone.named_parameters():
        if not name.startswith(known):
            parameter.copy_(weights[name])
    if n_kept < 0 and model.lm_head is not None and not model.config.tie_embeddings:
        nn.init.normal_(
            model.lm_head.weight,
            std=1 / model.config.d_model,
            generator=torch.Generator().manual_seed(seed + 1),
        )
