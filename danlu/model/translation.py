"""The encoder-decoder's output: logits of the next token of a target, given its source."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from danlu.config import ConfigError
from danlu.model.config import ModelConfig
from danlu.model.fused_loss import PLAIN_LOSS, LossKernels, excess_sum, nll_sum
from danlu.model.layers import Linear
from danlu.model.transformer import EncoderDecoder, initialise


class TranslationModel(nn.Module):
    """Encoder-decoder and output projection, which is the embedding of both texts (Vaswani et al. 2017).

    `logits_bias`, (1, vocab), is added to the logits and not trained: open weights in Marian's form have one.
    """

    logits_bias: Tensor

    def __init__(self, config: ModelConfig, *, seed: int = 0) -> None:
        super().__init__()
        if config.topology != "encoder-decoder":
            raise ConfigError(
                f"model.topology is {config.topology!r}; a translation model's is 'encoder-decoder'"
            )
        self.config = config
        self.backbone = EncoderDecoder(config)
        self.lm_head = Linear(config.d_model, config.vocab_size, bias=False)
        self.register_buffer("logits_bias", torch.zeros(1, config.vocab_size))
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
        source_ids: Tensor,
        source_segment_ids: Tensor | None,
        input_ids: Tensor,
        segment_ids: Tensor | None = None,
    ) -> Tensor:
        """Logits, (batch, seq, vocab), float32; the arguments are the backbone's."""
        return self.logits(self.backbone(source_ids, source_segment_ids, input_ids, segment_ids))

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits, (…, vocab), float32, of hidden vectors."""
        return self.lm_head(hidden).float() + self.logits_bias[0].float()

    def nll_sum(
        self,
        source_ids: Tensor,
        source_segment_ids: Tensor | None,
        input_ids: Tensor,
        target_ids: Tensor,
        loss_mask: Tensor,
    ) -> Tensor:
        """Summed negative log-likelihood of the targets under `loss_mask`; all logits are never held."""
        hidden = self.backbone(source_ids, source_segment_ids, input_ids)
        return nll_sum(
            hidden, self.lm_head.weight, target_ids, loss_mask, self.loss_kernels, bias=self.logits_bias[0]
        )

    def nll_and_excess(
        self,
        source_ids: Tensor,
        source_segment_ids: Tensor | None,
        input_ids: Tensor,
        target_ids: Tensor,
        loss_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """What `nll_sum` gives, and `excess_sum`, by which labels are smoothed."""
        hidden = self.backbone(source_ids, source_segment_ids, input_ids)
        weight, bias = self.lm_head.weight, self.logits_bias[0]
        nll = nll_sum(hidden, weight, target_ids, loss_mask, self.loss_kernels, bias=bias)
        return nll, excess_sum(hidden, weight, target_ids, loss_mask, bias=bias)
