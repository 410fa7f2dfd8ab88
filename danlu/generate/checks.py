"""What no engine of a model can carry out, found before anything runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from danlu.generate.request import Request, TokenMask
from danlu.model.config import ModelConfig

LARGEST_OFFSET = 1e6  # logits are far smaller; forbidden_ids is for what must not come


def check_request(request: Request, *, max_seq_len: int, vocab_size: int, adapters: Collection[str]) -> None:
    """Refuse, with a ValueError, a request that no engine of this model can carry out.

    Args:
        max_seq_len: longest prompt and completion together.
        adapters: names that `request.adapter` may have.
    """
    check_prompt(request.prompt_ids, max_seq_len, vocab_size)
    named = [*request.logit_bias, *request.forbidden_ids, *request.stop_ids]
    if unknown := [i for i in named if not 0 <= i < vocab_size]:
        raise ValueError(f"the request names id {unknown[0]}; the model knows 0 to {vocab_size - 1}")
    numbers = {
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        **{f"logit_bias of {i}": bias for i, bias in request.logit_bias.items()},
    }
    for name, value in numbers.items():
        if not abs(value) <= LARGEST_OFFSET:
            raise ValueError(
                f"{name} is {value}; it must be from {-LARGEST_OFFSET:.0f} to {LARGEST_OFFSET:.0f}"
            )
    if not 0 <= request.min_p <= 1:
        raise ValueError(f"min_p is {request.min_p}; it must be in [0, 1]")
    if not 0 <= request.n_top <= vocab_size:
        raise ValueError(f"n_top is {request.n_top}; it must be 0 to {vocab_size}")
    mask = request.token_filter
    if isinstance(mask, TokenMask) and mask.vocab_size != vocab_size:
        raise ValueError(
            f"the request's filter knows {mask.vocab_size} tokens and the model {vocab_size}; make it "
            "from the model's own tokenizer"
        )
    if request.adapter is not None and request.adapter not in adapters:
        known = ", ".join(sorted(adapters)) or "none"
        raise ValueError(f"there is no adapter {request.adapter!r}; adapters are: {known}")


def check_pictures(request: Request, config: ModelConfig) -> None:
    """Refuse, with a ValueError, pictures that the model cannot see or that have no markers in the prompt."""
    if request.pictures is None:
        n_pictures = 0
    elif config.pictures is None:
        raise ValueError("the request holds pictures, and the model reads text only")
    else:
        n_pictures = len(request.pictures)
    if config.pictures is None or config.marker_id is None:
        return
    side, n_markers = config.pictures.side, request.prompt_ids.count(config.marker_id)
    if n_markers != n_pictures * config.pictures.n_patches:
        raise ValueError(
            f"the prompt has {n_markers} markers of pictures for {n_pictures} pictures; "
            f"each picture has {config.pictures.n_patches}"
        )
    if request.pictures is not None and request.pictures.shape[1:] != (side, side, 3):
        raise ValueError(
            f"the pictures are {tuple(request.pictures.shape)}; they must be (n, {side}, {side}, 3)"
        )


def check_prompt(prompt_ids: Sequence[int], max_seq_len: int, vocab_size: int) -> None:
    """Refuse a prompt that the model cannot answer."""
    if not prompt_ids:
        raise ValueError("the prompt is empty; it needs at least one token to answer to")
    if len(prompt_ids) >= max_seq_len:
        raise ValueError(
            f"the prompt has {len(prompt_ids)} tokens and the context holds {max_seq_len}; "
            f"shorten the prompt to at most {max_seq_len - 1}, so that an answer fits"
        )
    if unknown := [i for i in prompt_ids if not 0 <= i < vocab_size]:
        raise ValueError(f"the prompt holds id {unknown[0]}; the model knows 0 to {vocab_size - 1}")
