"""What must hold of the model whatever it has learnt."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.kv_cache import KvCache
from danlu.model.positions import Rope, rotate
from danlu.model.presets import BERT, LLAMA, QWEN2, QWEN3

SIZE = {
    "vocab_size": 96,
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "head_dim": 16,
    "d_ff": 56,
}


def random_ids(batch: int, seq: int, vocab: int = 96, seed: int = 1) -> torch.Tensor:
    return torch.randint(vocab, (batch, seq), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=[LLAMA, QWEN2, QWEN3])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return LanguageModel(request.param(**SIZE)).eval()


@pytest.mark.parametrize("packed", [False, True])
def test_a_later_token_never_changes_an_earlier_logit(model: LanguageModel, packed: bool):
    segments = torch.zeros(2, 24, dtype=torch.int64) if packed else None
    input_ids = random_ids(2, 24)
    before = model(input_ids, None, segments)
    input_ids[:, 13] = (input_ids[:, 13] + 1) % 96
    after = model(input_ids, None, segments)
    assert torch.equal(before[:, :13], after[:, :13])
    assert not torch.equal(before[:, 13:], after[:, 13:])


def test_another_segment_never_changes_a_logit(model: LanguageModel):
    segments = torch.tensor([[0] * 9 + [1] * 8 + [2] * 7])
    input_ids = random_ids(1, 24)
    before = model(input_ids, None, segments)
    input_ids[:, :9] = (input_ids[:, :9] + 1) % 96
    after = model(input_ids, None, segments)
    assert torch.equal(before[:, 9:], after[:, 9:])


def test_packed_segments_read_like_rows_of_their_own(model: LanguageModel):
    first, second = random_ids(1, 9, seed=2), random_ids(1, 15, seed=3)
    packed = torch.cat((first, second), dim=1)
    positions = torch.cat((torch.arange(9), torch.arange(15)))[None]
    segments = torch.tensor([[0] * 9 + [1] * 15])
    logits = model(packed, positions, segments)
    assert_close(logits[:, :9], model(first), atol=1e-5, rtol=1e-5)
    assert_close(logits[:, 9:], model(second), atol=1e-5, rtol=1e-5)


def test_cached_decoding_of_ragged_rows_matches_one_full_forward(model: LanguageModel):
    lengths, seq = [11, 4], 16
    input_ids = random_ids(2, seq)
    full = model(input_ids)
    config = model.config
    cache = KvCache(
        n_layers=config.n_layers,
        n_blocks=8,
        n_kv_heads=config.n_kv_heads,
        block_size=8,
        head_dim=config.head_dim,
    )
    positions, tables = torch.arange(11).expand(2, 11), torch.tensor([[5, 0, 3], [1, 7, 2]])
    cache.select(tables, positions)
    prefill = model(input_ids[:, :11], positions, kv_cache=cache)
    for row, length in enumerate(lengths):
        assert_close(prefill[row, :length], full[row, :length], atol=1e-5, rtol=1e-5)
    for step in range(5):
        at = torch.tensor(lengths)[:, None] + step
        cache.select(tables, at)
        logits = model(input_ids.gather(1, at), at, kv_cache=cache)
        assert_close(logits[:, 0], full[torch.arange(2), at[:, 0]], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("preset", [LLAMA, QWEN2, QWEN3])
def test_untrained_loss_is_log_vocab(preset: type, tied: bool):
    size = SIZE | {"vocab_size": 2048, "d_model": 256, "d_ff": 512}
    model = LanguageModel(preset(**size, tie_embeddings=tied))
    input_ids, target_ids = random_ids(4, 64, 2048, 4), random_ids(4, 64, 2048, 5)
    total = model.nll_sum(input_ids, None, None, target_ids, torch.ones_like(input_ids, dtype=torch.bool))
    assert abs(total.item() / 256 - math.log(2048)) < 0.08


def test_rope_makes_attention_scores_a_function_of_distance():
    rope = Rope(LLAMA(**SIZE))
    q, k = torch.randn(2, 1, 1, 1, 16, generator=torch.Generator().manual_seed(0))
    at = {p: rope.angles(torch.tensor([[p]])) for p in (0, 3, 40, 43)}
    near = (rotate(q, at[3]) * rotate(k, at[0])).sum()
    far = (rotate(q, at[43]) * rotate(k, at[40])).sum()
    assert_close(near, far, atol=1e-4, rtol=1e-4)


def test_rope_turns_each_pair_by_position_over_theta_to_a_growing_power():
    cos, sin = Rope(LLAMA(**SIZE)).angles(torch.tensor([[2]]))
    assert_close(cos[0, 0, 0, 4], torch.tensor(math.cos(2 / 100)))  # pair 4 of 8: theta ** (8 / 16) = 100
    assert_close(sin[0, 0, 0, 0], torch.tensor(math.sin(2.0)))


@pytest.mark.parametrize(
    ("preset", "size", "count"),
    [
        (
            LLAMA,
            {
                "vocab_size": 128256,
                "d_model": 2048,
                "n_layers": 16,
                "n_heads": 32,
                "n_kv_heads": 8,
                "d_ff": 8192,
            },
            1_235_814_400,  # Llama 3.2 1B
        ),
        (
            QWEN2,
            {
                "vocab_size": 151936,
                "d_model": 896,
                "n_layers": 24,
                "n_heads": 14,
                "n_kv_heads": 2,
                "d_ff": 4864,
            },
            494_032_768,  # Qwen 2.5 0.5B
        ),
        (
            QWEN3,
            {
                "vocab_size": 151936,
                "d_model": 1024,
                "n_layers": 28,
                "n_heads": 16,
                "n_kv_heads": 8,
                "d_ff": 3072,
            },
            596_049_920,  # Qwen 3 0.6B
        ),
    ],
)
def test_preset_has_the_published_number_of_parameters(preset: type, size: dict[str, int], count: int):
    head_dim = 128 if preset is QWEN3 else 64
    with torch.device("meta"):
        model = LanguageModel(preset(**size, head_dim=head_dim))
    assert sum(p.numel() for p in model.parameters()) == count


def test_a_score_model_starts_from_the_language_models_own_backbone():
    lm = LanguageModel(QWEN3(**SIZE))
    scorer = ScoreModel.from_language_model(lm, seed=3)
    input_ids = random_ids(2, 8)
    assert torch.equal(scorer.backbone(input_ids), lm.backbone(input_ids))
    with torch.no_grad():
        scorer.backbone.norm.weight.mul_(2)
    assert not torch.equal(scorer.backbone(input_ids), lm.backbone(input_ids))


def test_the_shift_is_subtracted_at_every_position():
    scorer = ScoreModel(QWEN3(**SIZE))
    input_ids = random_ids(2, 8)
    plain = scorer(input_ids)
    scorer.shift.fill_(1.5)
    assert_close(scorer(input_ids), plain - 1.5)


def test_the_same_seed_draws_the_same_weights_and_another_does_not():
    one, same, other = (LanguageModel(QWEN3(**SIZE), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.lm_head.weight, same.lm_head.weight)
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_kv_heads": 3}, "n_heads is 4; it must be a multiple of model.n_kv_heads, 3"),
        ({"head_dim": 15}, "head_dim is 15; it must be even"),
        ({"n_layers": 0}, "n_layers is 0; it must be positive"),
        ({"mlp": "maxout"}, "mlp is 'maxout'; it must be one of"),
        ({"mlp": "moe"}, "experts is not set; mlp = 'moe' needs it"),
        ({"window": 8}, "goes with a pattern that names 'window'"),
    ],
)
def test_impossible_settings_are_named(changes: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        QWEN3(**(SIZE | changes))


@pytest.mark.parametrize("head", [LanguageModel, ScoreModel])
def test_a_decoders_head_over_an_encoder_says_what_stands_there(head: type[LanguageModel | ScoreModel]):
    with pytest.raises(ConfigError, match=r"topology is 'encoder'.*MaskedLanguageModel"):
        head(BERT(**{**SIZE, "n_kv_heads": SIZE["n_heads"]}))
