"""What an encoder's hidden vectors become: masked words and the next sentence, or classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.model.classifiers import (
    Answers,
    Classifier,
    DecoderClassifier,
    SpanClassifier,
    TokenClassifier,
)
from danlu.model.config import ModelConfig
from danlu.model.layers import Linear, make_norm
from danlu.model.transformer import Encoder, Stack, initialise


class MaskedLanguageModel(nn.Module):
    """BERT's pretraining heads (Devlin et al. 2018, section 3.1): the masked words, and the next sentence.

    Args:
        next_sentence: whether there is a pooler and the head that tells if the second sentence follows.
    """

    def __init__(self, config: ModelConfig, *, next_sentence: bool = True, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.backbone = Encoder(config)
        self.transform = Linear(config.d_model, config.d_model)
        self.transform_norm = make_norm(config)
        self.lm_head = Linear(config.d_model, config.vocab_size)
        self.pooler = Linear(config.d_model, config.d_model) if next_sentence else None
        self.next_sentence = Linear(config.d_model, 2) if next_sentence else None
        initialise(self.backbone, seed)
        draw_heads(self, seed)
        if config.tie_embeddings:
            self.lm_head.weight = self.backbone.embedding.weight

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        type_ids: Tensor | None = None,
    ) -> Tensor:
        """Logits of the word at each place, (batch, seq, vocab), float32; the arguments are the encoder's."""
        return self.words(self.backbone(input_ids, position_ids, segment_ids, type_ids))

    def words(self, hidden: Tensor) -> Tensor:
        """Logits of the word at each place, (…, vocab), float32, from hidden vectors."""
        return self.lm_head(self.transform_norm(F.gelu(self.transform(hidden)))).float()

    def follows(self, hidden: Tensor) -> Tensor:
        """Logits of "it follows" and "it does not", (batch, 2), float32, from the first token's vector."""
        if self.pooler is None or self.next_sentence is None:
            raise ValueError("this model has no pooler; it was made without next_sentence")
        return self.next_sentence(pool(self.pooler, hidden)).float()


class EncoderClassifier(Classifier):
    """An encoder, its pooler and an answer for a whole input."""

    def __init__(
        self, config: ModelConfig, answers: Answers, *, seed: int = 0, backbone: Stack | None = None
    ) -> None:
        super().__init__(config, answers, seed=seed, backbone=backbone)
        self.pooler = Linear(config.d_model, config.d_model)
        self.classifier = Linear(config.d_model, answers.n_outputs)
        draw_heads(self, seed)

    def everywhere(self, hidden: Tensor) -> Tensor:
        return self.classifier(pool(self.pooler, hidden)).float()


def classifier_over(backbone: Stack, answers: Answers, *, seed: int = 0) -> Classifier:
    """A backbone under a fresh head for these answers."""
    whole = EncoderClassifier if isinstance(backbone, Encoder) else DecoderClassifier
    kind = {"span": SpanClassifier, "tag": TokenClassifier}.get(answers.kind, whole)
    return kind(backbone.config, answers, seed=seed, backbone=backbone)


def pool(pooler: Linear, hidden: Tensor) -> Tensor:
    """One vector for an input, (batch, d_model), from that of its first token."""
    return torch.tanh(pooler(hidden[:, 0]))


def draw_heads(model: nn.Module, seed: int) -> None:
    """Draw what lies outside the backbone: small, so that first answers are all but even."""
    generator = torch.Generator().manual_seed(seed + 1)
    for child in model.children():
        if isinstance(child, Linear):
            nn.init.normal_(child.weight, std=child.in_features**-0.5 / 2, generator=generator)
            nn.init.zeros_(child.bias)
