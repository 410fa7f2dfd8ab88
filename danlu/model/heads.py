"""What a backbone's hidden vectors become: logits over the vocabulary, or one score a position."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from danlu.config import ConfigError
from danlu.model.config import ModelConfig
from danlu.model.fused_loss import PLAIN_LOSS, LossKernels, nll_sum, target_logprobs
from danlu.model.kv_cache import KvCache
from danlu.model.layers import Linear
from danlu.model.raters import RaterModel
from danlu.model.transformer import TOPOLOGIES, Decoder, initialise


class LanguageModel(nn.Module):
    """Backbone and output projection."""

    def __init__(self, config: ModelConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.backbone = _decoder(config)
        self.lm_head = Linear(config.d_model, config.vocab_size, bias=False)
        self.loss_kernels: LossKernels = PLAIN_LOSS  # precision.py may put faster ones
        initialise(self.backbone, seed)
        if config.tie_embeddings:
            self.lm_head.weight = self.backbone.embedding.weight
        else:
            # Hidden vectors have length sqrt(d_model): the first logits are all but zero.
            generator = torch.Generator().manual_seed(seed + 1)
            nn.init.normal_(self.lm_head.weight, std=1 / config.d_model, generator=generator)

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        branch_ids: Tensor | None = None,
        *,
        kv_cache: KvCache | None = None,
        patches: Tensor | None = None,
    ) -> Tensor:
        """Logits, (batch, seq, vocab), float32; the arguments are the backbone's."""
        hidden = self.backbone(
            input_ids, position_ids, segment_ids, branch_ids, kv_cache=kv_cache, patches=patches
        )
        return self.lm_head(hidden).float()

    def nll_sum(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None,
        segment_ids: Tensor | None,
        target_ids: Tensor,
        loss_mask: Tensor,
        *,
        pictures: Tensor | None = None,
    ) -> Tensor:
        """Summed negative log-likelihood of the targets under `loss_mask`; all logits are never held.

        `pictures` are those that the rows' markers stand for, in order, (n, side, side, 3).
        """
        patches = None if pictures is None else self.backbone.look(pictures)
        hidden = self.backbone(input_ids, position_ids, segment_ids, patches=patches)
        return nll_sum(hidden, self.lm_head.weight, target_ids, loss_mask, self.loss_kernels)

    def target_logprobs(
        self,
        inputs: tuple[Tensor | None, ...],
        target_ids: Tensor,
        loss_mask: Tensor,
        *,
        temperature: float = 1.0,
    ) -> Tensor:
        """log p of each target under `loss_mask`, row by row, (counted,), float32; all logits are never held.

        Args:
            inputs: positional arguments of the backbone, so that a prompt may be the stem of several answers.
            target_ids: (batch, seq); `loss_mask` likewise, True where the target counts.
            temperature: divides the logits.
        """
        hidden = self.backbone(*inputs)
        hidden = hidden if temperature == 1 else hidden / temperature
        return target_logprobs(hidden, self.lm_head.weight, target_ids, loss_mask, self.loss_kernels)


class ScoreModel(nn.Module):
    """Backbone and one number a position: a reward model, read where a completion ends, or a value model.

    A score is `gain` times the head's output less `shift`. Both are 1 and 0 during training; differences of
    scores divided by `gain` are what raters' answers were fitted by.
    """

    shift: Tensor
    gain: Tensor
    raters: RaterModel | None

    def __init__(self, config: ModelConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.backbone = _decoder(config)
        initialise(self.backbone, seed)
        self.score = score_head(config, seed)
        self.register_buffer("shift", torch.zeros(()))
        self.register_buffer("gain", torch.ones(()))
        self.raters = None  # how rankings arise from scores, where that was learnt

    @classmethod
    def on(cls, backbone: Decoder, *, seed: int = 0) -> ScoreModel:
        """A fresh score head on this very backbone."""
        with torch.device("meta"):  # no memory: everything is about to be replaced
            scorer = cls(backbone.config)
        scorer.backbone, scorer.score = backbone, score_head(backbone.config, seed)
        scorer.shift, scorer.gain = torch.zeros(()), torch.ones(())
        return scorer

    @classmethod
    def from_language_model(cls, model: LanguageModel, *, seed: int = 0) -> ScoreModel:
        """A copy of the model's backbone under a fresh score head."""
        return cls.on(copy.deepcopy(model.backbone), seed=seed)

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        branch_ids: Tensor | None = None,
        *,
        kv_cache: KvCache | None = None,
    ) -> Tensor:
        """Scores, (batch, seq), float32."""
        hidden = self.backbone(input_ids, position_ids, segment_ids, branch_ids, kv_cache=kv_cache)
        return (self.score(hidden.float()).squeeze(-1) - self.shift) * self.gain


class ValueHead(nn.Module):
    """One number a position from a language model's hidden vectors; zero at first (Ziegler et al. 2019)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.score = Linear(d_model, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        """Values, (batch, seq), float32, of hidden vectors, (batch, seq, d_model)."""
        return self.score(hidden.float()).squeeze(-1)


def _decoder(config: ModelConfig) -> Decoder:
    if config.topology not in TOPOLOGIES:
        raise ConfigError(
            f"model.topology is {config.topology!r}; this head stands on a decoder. Over an encoder "
            "there are MaskedLanguageModel and EncoderClassifier"
        )
    return TOPOLOGIES[config.topology](config)


def score_head(config: ModelConfig, seed: int) -> Linear:
    """One number a position: N(0, 1 / (d_model + 1)) (Stiennon et al. 2020, appendix B)."""
    head = Linear(config.d_model, 1, bias=False)
    generator = torch.Generator().manual_seed(seed + 1)
    nn.init.normal_(head.weight, std=(config.d_model + 1) ** -0.5, generator=generator)
    return head
