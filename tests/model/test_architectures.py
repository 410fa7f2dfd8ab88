"""Every architecture against transformers: tiny models with random weights, both ways, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import TokenIds, load_language_model, load_score_model, save_model
from danlu.model.kv_cache import KvCache

transformers = pytest.importorskip("transformers")

VOCAB = 96
BY_LLAMA: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.15,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
BY_GPT: dict[str, Any] = {
    "vocab_size": VOCAB,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 128,
    "initializer_range": 0.15,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT-1": ("OpenAIGPT", BY_GPT),
    "GPT-2": ("GPT2", BY_GPT),
    "GPT-2 of another width": ("GPT2", BY_GPT | {"n_inner": 40, "scale_attn_weights": False}),
    "GPT-3, as GPT-Neo": (
        "GPTNeo",
        {
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "num_layers": 4,
            "num_heads": 4,
            "max_position_embeddings": 128,
            "attention_types": [[["global", "local"], 2]],
            "window_size": 8,
            "initializer_range": 0.15,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": 0,
        },
    ),
    "Llama 2": ("Llama", BY_LLAMA),
    "Llama 3.1": ("Llama", BY_LLAMA | {"rope_parameters": LLAMA3, "head_dim": 16}),
    "Llama 3.2": ("Llama", BY_LLAMA | {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "Mistral": ("Mistral", BY_LLAMA | {"sliding_window": 8}),
    "Mistral 0.3": ("Mistral", BY_LLAMA | {"sliding_window": None}),
    "Qwen 2.5": ("Qwen2", BY_LLAMA | {"tie_word_embeddings": True}),
    "Qwen 2 with windows": (
        "Qwen2",
        BY_LLAMA | {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    ),
    "Qwen 3": ("Qwen3", BY_LLAMA | {"head_dim": 16}),
    "Qwen 3 MoE": (
        "Qwen3Moe",
        BY_LLAMA
        | {"head_dim": 16, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
        | {"norm_topk_prob": True},
    ),
    "Qwen 3 MoE, weights as they are": (
        "Qwen3Moe",
        BY_LLAMA
        | {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 3, "moe_intermediate_size": 24}
        | {"norm_topk_prob": False, "use_sliding_window": True, "sliding_window": 8},
    ),
}
LANGUAGE = {"OpenAIGPT": "OpenAIGPTLMHeadModel", "GPT2": "GPT2LMHeadModel"}


def theirs_of(architecture: str, *, kind: str | None = None, **changes: Any) -> Any:
    """A random model of theirs in which no bias is 0 and no norm is 1."""
    family, settings = ARCHITECTURES[architecture]
    config = getattr(transformers, f"{family}Config")(**(settings | changes))
    torch.manual_seed(3)
    name = LANGUAGE.get(family, f"{family}ForCausalLM") if kind is None else f"{family}{kind}"
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape) * 0.2)
    return model


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


def ids(batch: int = 3, seq: int = 37) -> Tensor:
    return torch.randint(1, VOCAB, (batch, seq), generator=torch.Generator().manual_seed(5))


def padding(lengths: list[int], seq: int, side: str) -> Tensor:
    """True where a row has a token, (batch, seq)."""
    place = torch.arange(seq).expand(len(lengths), seq)
    n = torch.tensor(lengths)[:, None]
    return place < n if side == "right" else place >= seq - n


@torch.no_grad()
def test_we_compute_what_transformers_computes_from_its_files(architecture: str, tmp_path: Path):
    theirs = theirs_of(architecture)
    theirs.save_pretrained(tmp_path)
    ours = load_language_model(tmp_path)
    assert sum(p.numel() for p in ours.parameters()) == theirs.num_parameters()
    assert_close(ours(ids()), theirs(ids()).logits, atol=1e-4, rtol=0)


@torch.no_grad()
def test_transformers_computes_what_we_compute_from_our_files(architecture: str, tmp_path: Path):
    theirs = theirs_of(architecture)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_language_model(tmp_path / "theirs")
    save_model(ours, tmp_path / "ours", token_ids=TokenIds(pad=0))
    back, report = type(theirs).from_pretrained(
        tmp_path / "ours", dtype=torch.float32, output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert_close(back.eval()(ids()).logits, ours(ids()), atol=1e-4, rtol=0)
    again = load_language_model(tmp_path / "ours")
    assert again.config == ours.config
    assert torch.equal(again(ids()), ours(ids()))


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_changes_no_logit(architecture: str, side: str, tmp_path: Path):
    theirs = theirs_of(architecture)
    theirs.save_pretrained(tmp_path)
    ours, input_ids = load_language_model(tmp_path), ids(3, 33)
    real = padding([33, 20, 11], 33, side)
    position_ids = (real.cumsum(1) - 1).clamp(min=0)
    expected = theirs(input_ids, attention_mask=real.long(), position_ids=position_ids).logits
    logits = ours(input_ids, position_ids, real.long())
    assert_close(logits[real], expected[real], atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_cache_changes_no_logit(architecture: str, tmp_path: Path):
    theirs = theirs_of(architecture)
    theirs.save_pretrained(tmp_path)
    ours, input_ids = load_language_model(tmp_path), ids(2, 40)
    expected, config = theirs(input_ids).logits, ours.config
    cache = KvCache(
        n_layers=config.n_layers,
        n_blocks=8,
        n_kv_heads=config.n_kv_heads,
        block_size=16,
        head_dim=config.head_dim,
    )
    for start, stop in [(0, 5), (5, 30), *((i, i + 1) for i in range(30, 40))]:
        at = torch.arange(start, stop).expand(2, stop - start)
        cache.select(torch.tensor([[6, 1, 3], [0, 7, 2]]), at)
        logits = ours(input_ids[:, start:stop], at, kv_cache=cache)
        assert_close(logits, expected[:, start:stop], atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("kernel", ["auto", "torch"])
def test_greedy_continuations_are_the_same(architecture: str, kernel: Any, tmp_path: Path):
    theirs = theirs_of(architecture)
    theirs.save_pretrained(tmp_path)
    ours, prompt = load_language_model(tmp_path).eval(), ids(1, 9)
    expected = theirs.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=64, do_sample=False
    )
    sampler = Sampler(ours, stop_ids=(), kernel=kernel)
    greedy = SamplingConfig(max_new_tokens=64, temperature=0)
    (completion,) = sampler.generate(prompt.tolist(), greedy)
    assert list(completion.ids) == expected[0, 9:].tolist()


@torch.no_grad()
def test_score_models_agree_both_ways(architecture: str, tmp_path: Path):
    theirs = theirs_of(architecture, kind="ForSequenceClassification", num_labels=1)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_score_model(tmp_path / "theirs")
    input_ids = ids()
    expected = theirs(input_ids).logits[:, 0]
    assert_close(ours(input_ids)[:, -1], expected, atol=1e-4, rtol=0)
    save_model(ours, tmp_path / "ours", token_ids=TokenIds(pad=0))
    back = type(theirs).from_pretrained(tmp_path / "ours", dtype=torch.float32).eval()
    assert_close(back(input_ids).logits[:, 0], expected, atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["Llama 2", "Llama 3.1", "Qwen 3"])
def test_positions_far_out_agree(architecture: str, tmp_path: Path):
    theirs = theirs_of(architecture, max_position_embeddings=131_072)
    theirs.save_pretrained(tmp_path)
    ours, input_ids = load_language_model(tmp_path), ids(2, 40)
    position_ids = (torch.arange(40) * 3000 + 11).expand(2, 40)  # up to 117,011
    expected = theirs(input_ids, position_ids=position_ids, attention_mask=torch.ones_like(input_ids)).logits
    assert_close(ours(input_ids, position_ids), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("architecture", ["GPT-2", "GPT-3, as GPT-Neo", "Mistral", "Qwen 3 MoE"])
def test_packed_segments_read_like_rows_of_their_own(architecture: str, tmp_path: Path):
    theirs_of(architecture).save_pretrained(tmp_path)
    model = load_language_model(tmp_path)
    first, second = ids(1, 21), ids(2, 14)[1:]
    packed = torch.cat((first, second), dim=1)
    positions = torch.cat((torch.arange(21), torch.arange(14)))[None]
    segments = torch.tensor([[0] * 21 + [1] * 14])
    logits = model(packed, positions, segments)
    assert_close(logits[:, :21], model(first), atol=1e-4, rtol=0)
    assert_close(logits[:, 21:], model(second), atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_short_formats_are_read_as_they_lie(architecture: str, dtype: Any, tmp_path: Path):
    theirs_of(architecture).to(getattr(torch, dtype)).save_pretrained(tmp_path / "theirs")
    ours = load_language_model(tmp_path / "theirs")
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    save_model(ours, tmp_path / "ours", dtype=dtype)
    again = load_language_model(tmp_path / "ours")
    for left, right in zip(ours.parameters(), again.parameters(), strict=True):
        assert torch.equal(left, right)


def test_every_architecture_learns(architecture: str, tmp_path: Path):
    theirs_of(architecture).save_pretrained(tmp_path)
    model = load_language_model(tmp_path)
    input_ids = ids(2, 24)
    everything = torch.ones_like(input_ids, dtype=torch.bool)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    losses: list[float] = []
    for _ in range(2):
        loss = model.nll_sum(input_ids, None, None, input_ids, everything)
        loss.backward()
        losses.append(loss.item())
        assert all(p.grad is not None for name, p in model.named_parameters() if "experts" not in name)
        optimizer.step()
    assert losses[1] < losses[0]


@pytest.mark.parametrize("cls", [LanguageModel, ScoreModel])
def test_stored_weights_keep_their_format(cls: type, tmp_path: Path):
    from danlu.model.hf import read_model
    from danlu.model.presets import GPT2

    size = dict(vocab_size=96, d_model=32, n_layers=2, n_heads=4, n_kv_heads=4, head_dim=8, d_ff=64)  # noqa: C408
    save_model(cls(GPT2(**size)), tmp_path, dtype="bfloat16")
    model = read_model(tmp_path, dtype="stored")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert torch.isfinite(model(ids(1, 8)).float()).all()
