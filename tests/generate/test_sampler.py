from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from danlu.config import ConfigError
from danlu.generate.native import library
from danlu.generate.sampler import Completion, Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.model.layers import Linear

PROMPTS = [[5, 9, 2], [7], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [30, 30], [11, 12, 13, 14, 15, 16, 17]]
GREEDY = SamplingConfig(max_new_tokens=12, temperature=0.0)
DRAWN = SamplingConfig(max_new_tokens=12, temperature=0.8, seed=3)


def tiny_model(**choices: object) -> LanguageModel:
    sizes = {
        "vocab_size": 40,
        "d_model": 32,
        "n_layers": 2,
        "n_heads": 4,
        "n_kv_heads": 2,
        "head_dim": 16,
        "d_ff": 48,
    }
    model = LanguageModel(ModelConfig(**sizes | {"max_seq_len": 64} | choices), seed=1)
    with torch.no_grad():  # an untrained model is all but uniform; larger weights give it something to say
        for parameter in model.parameters():
            parameter.mul_(3 if parameter.ndim == 2 else 1)
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) * 0.1)
    return model.eval()


MakeSampler = Callable[..., Sampler]


@pytest.fixture(params=["native", "torch"])
def sampler_for(request: pytest.FixtureRequest) -> MakeSampler:
    """Both kernels must keep every promise."""
    if request.param == "native" and library() is None:
        pytest.skip("no C compiler")
    return partial(Sampler, kernel=request.param)


FAMILIES = [{}, {"qk_norm": True}, {"bias": "qkv", "tie_embeddings": False}]
ODD_SIZES = {"vocab_size": 37, "d_model": 41, "d_ff": 45, "n_heads": 3, "n_kv_heads": 1}


@pytest.fixture(params=[*FAMILIES, ODD_SIZES], ids=str)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return tiny_model(**request.param)


def full_logits(model: LanguageModel, prompt: list[int], completion: Completion) -> Tensor:
    """What one pass over the whole text answers at each place where the completion has a token."""
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + list(completion.ids)]))[0]
    return logits[len(prompt) - 1 : -1]


def test_greedy_completions_are_what_one_full_forward_answers(model: LanguageModel, sampler_for: MakeSampler):
    completions = sampler_for(model, stop_ids={}).generate(PROMPTS, GREEDY)
    for prompt, completion in zip(PROMPTS, completions, strict=True):
        assert full_logits(model, prompt, completion).argmax(-1).tolist() == list(completion.ids)


def test_logprobs_are_those_of_the_full_forward(model: LanguageModel, sampler_for: MakeSampler):
    completions = sampler_for(model, stop_ids={}).generate(PROMPTS, DRAWN)
    for prompt, completion in zip(PROMPTS, completions, strict=True):
        expected = (full_logits(model, prompt, completion) / 0.8).log_softmax(-1)
        chosen = expected.gather(-1, torch.tensor(completion.ids)[:, None])[:, 0]
        assert_close(torch.tensor(completion.logprobs), chosen, atol=1e-4, rtol=0)


def test_a_model_that_computes_in_bfloat16_agrees_within_its_rounding(sampler_for: MakeSampler):
    model = tiny_model()
    model.backbone.compute_dtype = torch.bfloat16
    completions = sampler_for(model, stop_ids={}).generate(PROMPTS, SamplingConfig(max_new_tokens=12))
    gaps = [
        full_logits(model, prompt, c).log_softmax(-1).gather(-1, torch.tensor(c.ids)[:, None])[:, 0]
        - torch.tensor(c.logprobs)
        for prompt, c in zip(PROMPTS, completions, strict=True)
    ]
    assert torch.cat(gaps).abs().mean() < 0.02


def test_a_long_prompt_is_read_as_by_one_full_forward(sampler_for: MakeSampler):
    model = tiny_model(max_seq_len=256)
    prompt = [(7 * i * i + i) % 40 for i in range(200)]
    (completion,) = sampler_for(model, stop_ids={}).generate([prompt], SamplingConfig(max_new_tokens=56))
    expected = full_logits(model, prompt, completion).log_softmax(-1)
    chosen = expected.gather(-1, torch.tensor(completion.ids)[:, None])[:, 0]
    assert len(completion.ids) == 56
    assert_close(torch.tensor(completion.logprobs), chosen, atol=1e-4, rtol=0)


def test_batch_mates_and_order_do_not_change_a_completion(sampler_for: MakeSampler):
    sampler = sampler_for(tiny_model(), stop_ids={})
    together = sampler.generate(PROMPTS, DRAWN)
    backwards = sampler.generate(PROMPTS[::-1], DRAWN, keys=[4, 3, 2, 1, 0])
    for key, prompt in enumerate(PROMPTS):
        (alone,) = sampler.generate([prompt], DRAWN, keys=[key])
        assert alone.ids == together[key].ids == backwards[4 - key].ids
        assert_close(alone.logprobs, together[key].logprobs, atol=1e-5, rtol=0)


def test_refilled_rows_give_what_fresh_ones_give(sampler_for: MakeSampler):
    model = tiny_model()
    lengths = [3, 12, 1, 7, 5, 9, 2, 12, 4, 6]
    wanted = [SamplingConfig(max_new_tokens=n, seed=5) for n in lengths]
    crowded = sampler_for(model, stop_ids={}, max_batch=3)
    ids = [crowded.add(PROMPTS[i % 5], wanted[i], key=i) for i in range(10)]
    while crowded.n_unfinished:
        assert len(crowded.step()) <= 3
    for i in range(10):
        fresh = sampler_for(model, stop_ids={})
        single = fresh.add(PROMPTS[i % 5], wanted[i], key=i)
        while fresh.n_unfinished:
            fresh.step()
        expected, found = fresh.take(single), crowded.take(ids[i])
        assert found is not None
        assert expected is not None
        assert found.ids == expected.ids
        assert len(found.ids) == lengths[i]


def test_several_completions_of_a_prompt_differ_and_equal_those_drawn_apart(sampler_for: MakeSampler):
    model = tiny_model()
    sampler = sampler_for(model, stop_ids={}, max_batch=4)
    grouped = sampler.generate(PROMPTS, DRAWN, n=3)
    assert len({completion.ids for completion in grouped[:3]}) == 3
    for i, completion in enumerate(grouped):
        single = sampler_for(model, stop_ids={})
        wanted = single.add(PROMPTS[i // 3], DRAWN, key=f"{i // 3}/{i % 3}")
        while single.n_unfinished:
            single.step()
        apart = single.take(wanted)
        assert apart is not None
        assert apart.ids == completion.ids


def test_prompts_that_begin_alike_give_what_they_give_alone(sampler_for: MakeSampler):
    model = tiny_model()
    shared = [(3 * i) % 37 for i in range(30)]
    prompts = [shared + tail for tail in ([1, 2, 3], [], [1, 2, 4, 5], [9], [1, 2, 3])] + [shared[:20], [2]]
    sampler = sampler_for(model, stop_ids={}, max_batch=3, max_seq_len=40)
    together = sampler.generate(prompts, DRAWN)
    for key, prompt in enumerate(prompts):
        alone = sampler_for(model, stop_ids={}, max_seq_len=40).generate([prompt], DRAWN, keys=[key])
        assert alone[0].ids == together[key].ids
        assert_close(alone[0].logprobs, together[key].logprobs, atol=1e-5, rtol=0)


def test_a_stop_token_ends_a_completion_and_belongs_to_it(sampler_for: MakeSampler):
    model = tiny_model()
    free = sampler_for(model, stop_ids={}).generate(PROMPTS, DRAWN)
    stop = free[2].ids[4]
    stopped = sampler_for(model, stop_ids={stop}).generate(PROMPTS, DRAWN)
    for unlimited, completion in zip(free, stopped, strict=True):
        ends = stop in unlimited.ids
        expected = unlimited.ids[: unlimited.ids.index(stop) + 1] if ends else unlimited.ids
        assert completion.ids == expected
        assert completion.finish_reason == ("stop" if ends else "length")
        assert len(completion.logprobs) == len(expected)


def test_a_completion_ends_where_the_context_does(sampler_for: MakeSampler):
    sampler = sampler_for(tiny_model(), stop_ids={}, max_seq_len=14)
    completions = sampler.generate(PROMPTS, SamplingConfig(max_new_tokens=50, temperature=0.0))
    assert [len(p) + len(c.ids) for p, c in zip(PROMPTS, completions, strict=True)] == [14] * 5
    assert {c.finish_reason for c in completions} == {"length"}


def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers(sampler_for: MakeSampler):
    sampler = sampler_for(tiny_model(), stop_ids={}, max_seq_len=10)
    with pytest.raises(ValueError, match=r"12 tokens .* holds 10"):
        sampler.add(list(range(12)), GREEDY)
    with pytest.raises(ValueError, match="empty"):
        sampler.add([], GREEDY)
    with pytest.raises(ValueError, match="id 40; the model knows 0 to 39"):
        sampler.add([3, 40], GREEDY)
    with pytest.raises(ValueError, match=r"65.*64"):
        sampler_for(tiny_model(), stop_ids={}, max_seq_len=65)


def test_refresh_takes_over_updated_weights(sampler_for: MakeSampler):
    model = tiny_model()
    sampler = sampler_for(model, stop_ids={})
    before = sampler.generate(PROMPTS, GREEDY)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(9)))
    after = sampler.generate(PROMPTS, GREEDY)
    assert after == sampler_for(model, stop_ids={}).generate(PROMPTS, GREEDY)
    assert after != before


def test_logits_that_are_not_finite_are_an_error(sampler_for: MakeSampler):
    model = tiny_model()
    with torch.no_grad():
        model.backbone.norm.weight.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="not finite"):
        sampler_for(model, stop_ids={}).generate(PROMPTS, DRAWN)


def test_a_refused_prompt_leaves_nothing_queued(sampler_for: MakeSampler):
    sampler = sampler_for(tiny_model(), stop_ids={}, max_seq_len=10)
    with pytest.raises(ValueError, match="12 tokens"):
        sampler.generate([[1, 2], list(range(12))], GREEDY)
    assert sampler.n_unfinished == 0


def test_a_cancelled_sequence_makes_room_and_changes_no_other(sampler_for: MakeSampler):
    model = tiny_model()
    sampler = sampler_for(model, stop_ids={}, max_batch=2)
    ids = [sampler.add(prompt, DRAWN, key=i) for i, prompt in enumerate(PROMPTS[:4])]
    sampler.step()
    sampler.cancel(ids[0])  # runs
    sampler.cancel(ids[3])  # waits
    while sampler.n_unfinished:
        assert {event[0] for event in sampler.step()} <= {ids[1], ids[2]}
    for i in (1, 2):
        alone = sampler_for(model, stop_ids={})
        wanted = alone.add(PROMPTS[i], DRAWN, key=i)
        while alone.n_unfinished:
            alone.step()
        found, expected = sampler.take(ids[i]), alone.take(wanted)
        assert found is not None
        assert expected is not None
        assert found.ids == expected.ids


def test_forbidden_ids_are_never_drawn(sampler_for: MakeSampler):
    free = sampler_for(tiny_model(), stop_ids={}).generate(PROMPTS, GREEDY)
    forbidden = set(free[0].ids)
    for sampling in (GREEDY, DRAWN):
        completions = sampler_for(tiny_model(), stop_ids={}, forbidden_ids=forbidden).generate(
            PROMPTS, sampling
        )
        assert not forbidden & {i for completion in completions for i in completion.ids}


def test_step_streams_the_tokens_that_the_completion_collects(sampler_for: MakeSampler):
    sampler = sampler_for(tiny_model(), stop_ids={}, max_batch=2)
    ids = [sampler.add(prompt, DRAWN, key=i) for i, prompt in enumerate(PROMPTS)]
    streamed: dict[int, list[tuple[int, float]]] = {i: [] for i in ids}
    while sampler.n_unfinished:
        for sequence_id, token, logprob in sampler.step():
            streamed[sequence_id].append((token, logprob))
    for i in ids:
        completion = sampler.take(i)
        assert completion is not None
        assert streamed[i] == list(zip(completion.ids, completion.logprobs, strict=True))
        assert sampler.take(i) is None


def test_sampled_first_tokens_follow_the_softmax_probabilities(sampler_for: MakeSampler):
    model = tiny_model()
    sampling = SamplingConfig(max_new_tokens=1, seed=0)
    completions = sampler_for(model, stop_ids={}, max_batch=512).generate([PROMPTS[0]], sampling, n=4096)
    counts = torch.bincount(torch.tensor([c.ids[0] for c in completions]), minlength=40)
    with torch.inference_mode():
        expected = model(torch.tensor([PROMPTS[0]]))[0, -1].softmax(-1) * 4096
    assert expected.min() > 5  # the usual condition of the test
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 62.4  # 99 % point of chi-square with 39 degrees of freedom


@pytest.mark.parametrize(
    "wrong", [{"max_new_tokens": 0}, {"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}]
)
def test_impossible_settings_are_refused_by_name(wrong: dict[str, float]):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SamplingConfig(**wrong)  # type: ignore[arg-type]


def test_the_native_kernel_gives_the_same_bits_whoever_shares_the_batch():
    if library() is None:
        pytest.skip("no C compiler")
    sampler = Sampler(tiny_model(), stop_ids={}, kernel="native")
    together = sampler.generate(PROMPTS * 4, DRAWN)
    for key, prompt in enumerate(PROMPTS * 4):
        assert sampler.generate([prompt], DRAWN, keys=[key]) == [together[key]]


def test_kernels_draw_the_same_tokens():
    if library() is None:
        pytest.skip("no C compiler")
    model = tiny_model()
    for sampling in (GREEDY, DRAWN, SamplingConfig(top_k=5, top_p=0.8, seed=1)):
        native, torch_ = (
            Sampler(model, stop_ids={}, kernel=kernel).generate(PROMPTS, sampling, n=8)
            for kernel in ("native", "torch")
        )
        assert [c.ids for c in native] == [c.ids for c in torch_]
        for one, other in zip(native, torch_, strict=True):
            assert_close(one.logprobs, other.logprobs, atol=1e-5, rtol=0)


def test_a_model_of_other_parts_runs_through_its_own_forward():
    class Scaled(Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    model = tiny_model()
    model.backbone.blocks[1].mlp.sublayer.out.__class__ = Scaled
    with pytest.raises(ValueError, match="native"):
        Sampler(model, stop_ids={}, kernel="native")
    (completion,) = Sampler(model, stop_ids={}).generate(PROMPTS[2:3], GREEDY)
    assert full_logits(model, PROMPTS[2], completion).argmax(-1).tolist() == list(completion.ids)


def test_without_a_compiler_the_models_own_forward_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    library.cache_clear()
    try:
        assert library() is None
        completions = Sampler(tiny_model(), stop_ids={}).generate(PROMPTS, GREEDY)
    finally:
        library.cache_clear()
    assert completions == Sampler(tiny_model(), stop_ids={}, kernel="torch").generate(PROMPTS, GREEDY)


def test_a_compiled_decoder_is_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    if library() is None:
        pytest.skip("no C compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.cache_clear()
    try:
        assert library() is not None
        (built,) = (tmp_path / "danlu").iterdir()
        made = built.stat().st_mtime_ns
        library.cache_clear()
        assert library() is not None
        assert built.stat().st_mtime_ns == made
    finally:
        library.cache_clear()
